#!/bin/sh
# OSymbiote: finds or installs the one Deno version this is made with, then hands over.
#
# Owns nothing else: what the commands and options mean is image/main.ts (./run.sh --help).
# Needs no root and writes only below the cache directory, except that as root missing Debian
# packages (npm here, build tools later) are installed through apt-get, and it says so.
set -eu

version=2.9.5
here=$(CDPATH='' cd -- "$(dirname -- "$0")" && pwd -P)

say() { printf '%s\n' "$*" >&2; }
fail() {
  say "run.sh: $*"
  exit 1
}

case ${XDG_CACHE_HOME:-} in
  # Its specification wants a relative path ignored.
  /*) cache=$XDG_CACHE_HOME/osymbiote ;;
  *) cache=${HOME:+$HOME/.cache/osymbiote} ;;
esac
[ -n "$cache" ] || fail "neither HOME nor XDG_CACHE_HOME is set: nowhere to keep Deno $version"

[ "$(uname -s)" = Linux ] || fail "this runs on Linux only"
case $(uname -m) in
  x86_64 | amd64) package=@deno/linux-x64-glibc ;;
  aarch64 | arm64) package=@deno/linux-arm64-glibc ;;
  *) fail "no Deno for $(uname -m): expected x86_64 or aarch64" ;;
esac

is_right() {
  [ -x "$1" ] && [ "$(DENO_NO_UPDATE_CHECK=1 "$1" --version 2>/dev/null | sed -n '1s/^deno \([^ ]*\).*/\1/p')" = "$version" ]
}

need_npm() {
  command -v npm >/dev/null 2>&1 && return
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
    say "Installing npm through apt-get: it brings Deno $version."
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends npm >&2 ||
      { apt-get update >&2 && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends npm >&2; } ||
      fail "apt-get could not install npm"
    return
  fi
  say "run.sh: Deno $version is not here, and neither is npm to get it with. Either:"
  say "  sudo apt-get update && sudo apt-get install --no-install-recommends npm"
  fail "or put Deno $version on the PATH; then run this again"
}

# Installed beside its final place and moved, so that a broken download is never used.
install_deno() {
  need_npm
  say "Getting Deno $version ($package from the npm registry)."
  mkdir -p "$cache"
  fresh=$(mktemp -d "$cache/deno.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  trap 'exit 130' INT TERM HUP
  (cd "$fresh" && npm install --ignore-scripts --no-audit --no-fund --no-update-notifier --no-save --no-package-lock \
    --loglevel=error --prefix "$fresh" "$package@$version" >&2) ||
    fail "npm could not install it; try: npm install --ignore-scripts --prefix '$cache/by-hand' $package@$version"
  chmod +x "$fresh/node_modules/$package/deno"
  is_right "$fresh/node_modules/$package/deno" || fail "$package@$version does not run here"
  mkdir -p "$cache/deno-$version"
  mv -f "$fresh/node_modules/$package/deno" "$cache/deno-$version/deno"
  rm -rf "$fresh"
  trap - EXIT INT TERM HUP
}

deno=$(command -v deno || true)
if ! is_right "${deno:-/nonexistent}"; then
  deno=$cache/deno-$version/deno
  is_right "$deno" || install_deno
fi

export DENO_NO_UPDATE_CHECK=1
# Children that call deno by name (tasks, the image build) get the same one.
PATH=$(dirname -- "$deno"):$PATH
export PATH

# Relative paths among the options are the caller's, so a machine is started where the caller is.
case ${1:-} in
  test)
    shift
    cd "$here"
    exec "$deno" run -A tests/main.ts "$@"
    ;;
  bench)
    shift
    cd "$here"
    exec "$deno" run -A bench/main.ts "$@"
    ;;
  ok)
    shift
    cd "$here"
    exec "$deno" task ok "$@"
    ;;
  build | kernel | clean | help)
    exec "$deno" run -A "$here/image/main.ts" "$@"
    ;;
  boot)
    shift
    exec "$deno" run -A "$here/image/main.ts" boot "$@"
    ;;
  '' | -*)
    exec "$deno" run -A "$here/image/main.ts" boot "$@"
    ;;
  *)
    fail "$1: unknown command; see ./run.sh --help"
    ;;
esac
