/**
 * Token: where the page's credential comes from (the URL fragment, a paste) and
 * where it is kept (this tab's sessionStorage).
 *
 * The fragment never reaches a server; it is taken out of the address bar at
 * once so that a screenshot or a copied link does not carry it. Must never put
 * the token into the DOM, a log or a URL.
 */

/** The parts of a browser window this file touches. */
export interface TokenHome {
  readonly location: { readonly hash: string; readonly pathname: string; readonly search: string };
  readonly history: { replaceState(data: unknown, unused: string, url: string): void };
  /** Null where the browser refuses storage: the token then lives in memory only. */
  readonly storage: Pick<Storage, "getItem" | "setItem" | "removeItem"> | null;
}

const key = "osym.token";
/** RFC 9110 §5.6.2 token characters: what a WebSocket subprotocol can carry. */
const tokenPattern = /^[!#$%&'*+.^_`|~0-9A-Za-z-]{8,512}$/;

/** Reads a pasted token or a whole `…#token=…` URL; null when it is neither. */
export function parseToken(text: string): string | null {
  const trimmed = text.trim();
  const fragment = trimmed.indexOf("#");
  const inUrl = fragment < 0 ? null : new URLSearchParams(trimmed.slice(fragment + 1)).get("token");
  const candidate = inUrl ?? trimmed;
  return tokenPattern.test(candidate) ? candidate : null;
}

/** Takes the token out of the address bar, if there is one, and keeps it. */
export function takeToken(home: TokenHome): string | null {
  const { hash, pathname, search } = home.location;
  if (new URLSearchParams(hash.slice(1)).has("token")) {
    home.history.replaceState(null, "", pathname + search);
    const token = parseToken(hash);
    if (token !== null) {
      keepToken(home, token);
      return token;
    }
  }
  const kept = home.storage?.getItem(key) ?? null;
  return kept === null ? null : parseToken(kept);
}

/** Keeps the token for this tab. */
export function keepToken(home: TokenHome, token: string): void {
  home.storage?.setItem(key, token);
}

/** Forgets the token. */
export function forgetToken(home: TokenHome): void {
  home.storage?.removeItem(key);
}

/** The browser's window as a `TokenHome`; a browser that refuses storage yields none. */
export function browserHome(): TokenHome {
  let storage: Storage | null;
  try {
    storage = globalThis.sessionStorage;
  } catch {
    // SecurityError: site data is blocked. The page works, but a reload asks again.
    storage = null;
  }
  return { location: globalThis.location, history: globalThis.history, storage };
}
