/**
 * Hosts: under which names this machine answers, and to pages of which origins.
 *
 * Owns the Host and Origin allow-lists and the CORS answer. A Host that is not
 * listed is refused whatever its credential: that is what stops DNS rebinding.
 */
import type { Machine } from "../../bus/machine.ts";

export interface Policy {
  /** `host:port` as a browser sends it; port 80 may be left out. */
  readonly hosts: readonly string[];
  /** Origins besides a page's own: `scheme://host:port`. */
  readonly origins: readonly string[];
  /** Whether an IP literal that is one of this machine's own addresses counts as a listed host. */
  readonly ownAddresses?: boolean | undefined;
}

export type HostVerdict =
  | { ok: true; origin: string | null }
  | { ok: false; status: 421 | 403; reason: string };

interface Authority {
  name: string;
  /** Empty for port 80. */
  port: string;
}

/** Reads `host[:port]` (RFC 9110 §7.2), lower case, without a trailing dot; null when it is none. */
function readAuthority(text: string): Authority | null {
  const match = /^(\[[0-9a-f:.]{2,45}\]|[a-z0-9_-][a-z0-9._-]{0,252})(?::(\d{1,5}))?$/.exec(
    text.toLowerCase(),
  );
  if (match === null || Number(match[2] ?? 0) > 65_535) return null;
  const port = match[2] ?? "";
  return { name: match[1]!.replace(/\.$/, ""), port: port === "80" ? "" : port };
}

function canonical({ name, port }: Authority): string {
  return port === "" ? name : `${name}:${port}`;
}

export class Hosts {
  readonly #hosts: ReadonlySet<string>;
  readonly #origins: ReadonlySet<string>;
  readonly #own: (() => readonly string[]) | null;

  /** @throws TypeError on a listed host that is not one */
  constructor(policy: Policy, machine: Pick<Machine, "network">) {
    this.#hosts = new Set(policy.hosts.map((text) => {
      const authority = readAuthority(text);
      if (authority === null) {
        throw new TypeError(`policy host ${JSON.stringify(text)}: not a host`);
      }
      return canonical(authority);
    }));
    this.#origins = new Set(
      policy.origins.map((text) => text.toLowerCase().replace(/\/$/, "")),
    );
    this.#own = policy.ownAddresses === true
      ? () => machine.network().links.flatMap((link) => link.addresses.map((a) => a.address))
      : null;
  }

  /** Whether a request came under a listed name and, if a page sent it, from a listed origin. */
  check(request: Request): HostVerdict {
    const header = request.headers.get("host");
    if (header === null) return { ok: false, status: 421, reason: "no Host header" };
    const host = readAuthority(header);
    if (host === null || !this.#listed(host)) {
      return { ok: false, status: 421, reason: "Host not on the list" };
    }
    // An absolute-form target overrides Host (RFC 9112 §3.2.2): both must be the same.
    const target = readAuthority(/^https?:\/\/([^/?#]*)/i.exec(request.url)?.[1] ?? "");
    if (target === null || canonical(target) !== canonical(host)) {
      return { ok: false, status: 421, reason: "request target and Host differ" };
    }
    const origin = request.headers.get("origin");
    if (origin === null) return { ok: true, origin: null };
    if (!this.#allowsOrigin(origin, host)) {
      return { ok: false, status: 403, reason: "Origin not on the list" };
    }
    return { ok: true, origin };
  }

  #listed(host: Authority): boolean {
    if (this.#hosts.has(canonical(host))) return true;
    if (this.#own === null) return false;
    const literal = host.name.replace(/^\[|\]$/g, "");
    return /^[\d.]+$|:/.test(literal) && this.#own().includes(literal);
  }

  #allowsOrigin(origin: string, host: Authority): boolean {
    const text = origin.toLowerCase();
    if (this.#origins.has(text)) return true;
    const own = readAuthority(/^http:\/\/([^/?#]*)$/.exec(text)?.[1] ?? "");
    return own !== null && canonical(own) === canonical(host);
  }
}

/** Adds to an answer what lets a page of an allowed origin read it (Fetch standard, CORS). */
export function allowOrigin(headers: Headers, origin: string | null): void {
  headers.append("vary", "Origin");
  if (origin !== null) headers.set("access-control-allow-origin", origin);
}

/** The answer to a CORS preflight from an allowed origin; null when the request is none. */
export function preflight(request: Request): Response | null {
  if (request.method !== "OPTIONS" || !request.headers.has("access-control-request-method")) {
    return null;
  }
  return new Response(null, {
    status: 204,
    headers: {
      "access-control-allow-methods": "GET, POST, DELETE",
      "access-control-allow-headers": "authorization, content-type, accept, last-event-id",
      "access-control-max-age": "600",
    },
  });
}
