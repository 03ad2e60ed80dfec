/**
 * Which host tool comes from which Debian package, and getting what is missing.
 *
 * Two ways: `needTools()` installs on the host what the build runs there (as root; otherwise it
 * says the command), `debianPackage()` only downloads and unpacks what goes into the guest (any
 * user, nothing is installed on the host).
 */

import { basename, join } from "node:path";
import { cacheDir } from "./paths.ts";
import { CommandError, exists, HostError, run } from "./host.ts";
import { withProgress } from "./progress.ts";

/** Program → the Debian/Ubuntu package that brings it. */
const PACKAGE_OF: Readonly<Record<string, string>> = {
  "bc": "bc",
  "bison": "bison",
  "busybox": "busybox-static",
  "chromium": "chromium",
  "depmod": "kmod",
  "flex": "flex",
  "gcc": "build-essential",
  "git": "git",
  "ip": "iproute2",
  "make": "build-essential",
  "mkfs.erofs": "erofs-utils",
  "mkfs.ext4": "e2fsprogs",
  "qemu-system-aarch64": "qemu-system-arm",
  "qemu-system-x86_64": "qemu-system-x86",
  "script": "bsdutils",
  "setpriv": "util-linux",
  "unshare": "util-linux",
  "xz": "xz-utils",
  "zstd": "zstd",
};

/** Something is missing that this user may not install; the message has the command. */
export class MissingPackages extends HostError {
  override name = "MissingPackages";
  constructor(readonly packages: readonly string[], why: string) {
    super(
      `${why} needs packages that are not installed: ${packages.join(" ")}. Install them with:\n` +
        `  sudo apt-get update && sudo apt-get install --no-install-recommends ${
          packages.join(" ")
        }`,
    );
  }
}

/** Makes sure that programs are there, installing as root. Throws MissingPackages. */
export async function needTools(tools: readonly string[], why: string): Promise<void> {
  const missing = [];
  for (const tool of tools) if (!await onPath(tool)) missing.push(packageOf(tool));
  await install([...new Set(missing)], why);
}

/** Makes sure that packages are installed, whatever program they bring. */
export async function needPackages(packages: readonly string[], why: string): Promise<void> {
  const missing = [];
  for (const name of packages) if (await installedVersion(name) === null) missing.push(name);
  await install(missing, why);
}

function packageOf(tool: string): string {
  const name = PACKAGE_OF[tool];
  if (name === undefined) throw new Error(`find the package of ${tool}: not in the table`);
  return name;
}

async function onPath(tool: string): Promise<boolean> {
  const folders = [...(Deno.env.get("PATH") ?? "").split(":"), "/usr/sbin", "/sbin"];
  for (const folder of folders) {
    try {
      if (folder && await exists(join(folder, tool))) return true;
    } catch (error) {
      // A folder on the PATH that this user may not enter has no program for them.
      if (!(error instanceof Deno.errors.PermissionDenied)) throw error;
    }
  }
  return false;
}

async function install(packages: readonly string[], why: string): Promise<void> {
  if (packages.length === 0) return;
  if (Deno.uid() !== 0 || !await onPath("apt-get")) throw new MissingPackages(packages, why);
  console.error(`Installing ${packages.join(" ")} through apt-get, for ${why}.`);
  // A machine that was set up just now may still be installing its own updates.
  const patience = ["-o", "DPkg::Lock::Timeout=120"];
  const argv = ["apt-get", ...patience, "install", "-y", "--no-install-recommends", ...packages];
  await orWithFreshLists(() => run(argv, { env: APT_ENV }));
}

const APT_ENV = { DEBIAN_FRONTEND: "noninteractive" };

/**
 * Runs what needs apt's lists; where it fails and we may, once more with fresh ones: a fresh
 * machine has none, an old one has lists of versions that are gone.
 */
async function orWithFreshLists<T>(work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof CommandError) || !await refreshLists()) throw error;
    return await work();
  }
}

let refreshed: Promise<boolean> | null = null;

/** `apt-get update`, once in this process and only as root. False when that is not to be had. */
function refreshLists(): Promise<boolean> {
  refreshed ??= (async () => {
    if (Deno.uid() !== 0 || !await onPath("apt-get")) return false;
    console.error("Asking for apt's newest package lists.");
    // Without a network it fails; the first error says more than this one would.
    return (await run(["apt-get", "update"], { env: APT_ENV, accept: [0, 100] })).code === 0;
  })();
  return refreshed;
}

/** The version dpkg has installed, or null. */
export async function installedVersion(name: string): Promise<string | null> {
  const query = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Version}", name];
  const { code, stdout } = await run(query, { accept: [0, 1] });
  const [status, version] = stdout.split(" ");
  return code === 0 && status === "installed" && version ? version : null;
}

/** An unpacked package in the cache. */
export interface DebianPackage {
  name: string;
  version: string;
  /** The folder its files are in, as they would be below `/`. */
  folder: string;
}

/**
 * Downloads a package (any user may) and unpacks it into the cache, once per version. With the
 * archive out of reach, the newest version already in the cache serves.
 */
export async function debianPackage(name: string): Promise<DebianPackage> {
  const store = join(cacheDir(), "packages");
  await Deno.mkdir(store, { recursive: true });
  let trouble: Error = new HostError(
    `get the package ${name}: apt knows no version of it; run: sudo apt-get update`,
  );
  try {
    const found = await orWithFreshLists(() => currentPackage(name, store));
    if (found) return found;
  } catch (error) {
    if (!(error instanceof CommandError)) throw error;
    trouble = error;
  }
  const cached = await newestCached(store, name);
  if (cached) return cached;
  throw trouble;
}

/** What apt would install now; null when it knows no version. */
async function currentPackage(name: string, store: string): Promise<DebianPackage | null> {
  const version = await candidateVersion(name);
  if (version === null) return null;
  // A Debian version's ":" and "~" are no trouble in a path, but ":" is in PATH-like lists.
  const folder = join(store, `${name}_${version.replaceAll(":", "%3a")}`);
  if (!await exists(folder)) {
    await withProgress(`Getting ${name} ${version}`, () => unpack(name, version, store, folder));
  }
  return { name, version, folder };
}

/** A file of an unpacked package, wherever its release has it: below / or below /usr. */
export async function packagedFile(unpacked: DebianPackage, path: string): Promise<string> {
  for (const prefix of ["", "usr"]) {
    const file = join(unpacked.folder, prefix, path);
    if (await exists(file)) return file;
  }
  throw new Error(`unpack ${unpacked.name} ${unpacked.version}: there is no ${path} in it`);
}

/** The version apt would install, or null when it knows none, with fresh lists if we may. */
export async function candidateVersion(name: string): Promise<string | null> {
  return (await firstCandidate([name]))?.version ?? null;
}

/** A package that apt knows, and the version of it that would be installed. */
interface Candidate {
  name: string;
  version: string;
}

/** The first of several names that apt knows; null when it knows none even with fresh lists. */
export async function firstCandidate(names: readonly string[]): Promise<Candidate | null> {
  return await firstKnown(names) ?? (await refreshLists() ? await firstKnown(names) : null);
}

async function firstKnown(names: readonly string[]): Promise<Candidate | null> {
  for (const name of names) {
    const version = await knownVersion(name);
    if (version !== null) return { name, version };
  }
  return null;
}

async function knownVersion(name: string): Promise<string | null> {
  const { stdout } = await run(["apt-cache", "policy", name]);
  const version = /^ {2}Candidate: (\S+)$/m.exec(stdout)?.[1];
  return version === undefined || version === "(none)" ? null : version;
}

async function newestCached(store: string, name: string): Promise<DebianPackage | null> {
  let newest: { folder: string; mtime: number } | null = null;
  for await (const entry of Deno.readDir(store)) {
    if (!entry.name.startsWith(`${name}_`)) continue;
    const folder = join(store, entry.name);
    const mtime = (await Deno.stat(folder)).mtime?.getTime() ?? 0;
    if (newest === null || mtime > newest.mtime) newest = { folder, mtime };
  }
  if (newest === null) return null;
  const version = basename(newest.folder).slice(name.length + 1).replaceAll("%3a", ":");
  return { name, version, folder: newest.folder };
}

async function unpack(name: string, version: string, store: string, to: string): Promise<void> {
  const work = await Deno.makeTempDir({ dir: store, prefix: "new-" });
  try {
    // Without this option apt complains that its sandbox user can not write here.
    const sandbox = ["-o", "APT::Sandbox::User=root"];
    await run(["apt-get", ...sandbox, "download", `${name}=${version}`], { cwd: work });
    const [file] = (await Array.fromAsync(Deno.readDir(work))).filter((entry) => entry.isFile);
    if (!file) throw new Error(`get the package ${name}: apt-get download left no file`);
    await run(["dpkg-deb", "-x", join(work, file.name), join(work, "root")]);
    await Deno.rename(join(work, "root"), to).catch((error) => {
      // Somebody else was faster; theirs is the same.
      if (!(error instanceof Deno.errors.AlreadyExists) && error?.code !== "ENOTEMPTY") throw error;
    });
  } finally {
    await Deno.remove(work, { recursive: true });
  }
}
