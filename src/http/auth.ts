/**
 * Auth: who is asking. Bearer tokens known only by their SHA-256, the
 * WebSocket subprotocol that carries one, and single-use tickets.
 *
 * Owns credentials of this boot, in memory. It must never keep, log or publish
 * a token or a ticket, never take a token from a query string, and never
 * answer earlier for a wrong credential than for a right one.
 */
import type { Clock, Source } from "../../bus/bus.ts";
import type { Principal } from "../../bus/gate.ts";
import { roleScopes } from "../../bus/scopes.ts";
import { sha256Hex } from "./sha256.ts";

/** The WebSocket subprotocol this server speaks, and the prefix of the one that carries a token. */
export const streamProtocol = "osym.v1";
export const tokenProtocolPrefix = "osym.token.";

/** How long a ticket may wait to be used, ms. */
export const ticketLifetimeMs = 30_000;
/** Tickets outstanding at once; the oldest gives way. */
const maxTickets = 256;
/** Longer credentials are refused unread: ours have 43 characters. */
const maxCredential = 512;

export type Authentication =
  | { ok: true; principal: Principal }
  | { ok: false; reason: string };

export interface Ticket {
  ticket: string;
  expires_in_ms: number;
}

/** The principal of the launch token: the admin whose credential dies with the launcher. */
export function launchPrincipal(): Principal {
  return { id: "token:launch", kind: "human", lineage: "launch", scopes: roleScopes("admin") };
}

export class Tokens {
  readonly #clock: Clock;
  readonly #admitted: { hash: string; principal: Principal }[] = [];
  /** By SHA-256 of the ticket; `expires` in ms of CLOCK_BOOTTIME. In order of issue. */
  readonly #tickets = new Map<string, { principal: Principal; expires: number }>();

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Admits the credential whose SHA-256 is `hash` (64 lower-case hexadecimal
   * digits) as `principal`.
   *
   * @throws TypeError on anything that is not such a hash
   */
  admit(hash: string, principal: Principal): void {
    if (!/^[0-9a-f]{64}$/.test(hash)) {
      throw new TypeError("admit token: expected 64 lower-case hexadecimal digits of SHA-256");
    }
    this.#admitted.push({ hash, principal });
  }

  /**
   * Who sent `request`. `stream` requests may also carry their token in a
   * subprotocol or a ticket in the query, since a browser cannot set headers
   * on them.
   */
  authenticate(request: Request, stream = false): Authentication {
    const header = request.headers.get("authorization");
    if (header !== null) {
      const bearer = /^bearer +([\x21-\x7e]+)$/i.exec(header.slice(0, maxCredential + 16));
      if (bearer === null) return { ok: false, reason: "malformed Authorization header" };
      return this.#byToken(bearer[1]!);
    }
    if (stream) {
      const offered = offeredProtocols(request);
      const carried = offered.filter((name) => name.startsWith(tokenProtocolPrefix));
      if (carried.length > 1) return { ok: false, reason: "more than one token subprotocol" };
      if (carried.length === 1) return this.#byToken(carried[0]!.slice(tokenProtocolPrefix.length));
      const ticket = new URL(request.url).searchParams.get("ticket");
      if (ticket !== null) return this.#byTicket(ticket);
    }
    return { ok: false, reason: "no credential" };
  }

  /** A ticket that opens one stream as `principal` within `ticketLifetimeMs`. */
  issueTicket(principal: Principal): Ticket {
    const bytes = crypto.getRandomValues(new Uint8Array(32));
    const ticket = btoa(String.fromCharCode(...bytes))
      .replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
    if (this.#tickets.size >= maxTickets) {
      for (const oldest of this.#tickets.keys()) {
        this.#tickets.delete(oldest);
        break;
      }
    }
    this.#tickets.set(sha256Hex(ticket), { principal, expires: this.#now() + ticketLifetimeMs });
    return { ticket, expires_in_ms: ticketLifetimeMs };
  }

  #byToken(token: string): Authentication {
    if (token.length > maxCredential) return { ok: false, reason: "unknown token" };
    const hash = sha256Hex(token);
    let found: Principal | null = null;
    // Every hash is compared to its end: time says nothing about which, or how much of it, matched.
    for (const { hash: known, principal } of this.#admitted) {
      if (sameText(known, hash)) found = principal;
    }
    return found === null ? { ok: false, reason: "unknown token" } : { ok: true, principal: found };
  }

  #byTicket(ticket: string): Authentication {
    const hash = sha256Hex(ticket.slice(0, maxCredential));
    const held = this.#tickets.get(hash);
    this.#tickets.delete(hash);
    if (held === undefined || this.#now() >= held.expires) {
      return { ok: false, reason: "unknown, used or expired ticket" };
    }
    return { ok: true, principal: held.principal };
  }

  #now(): number {
    return this.#clock.mono() / 1000;
  }
}

/** The WebSocket subprotocols a request offers, in its order (RFC 6455 §4.1). */
export function offeredProtocols(request: Request): string[] {
  const header = request.headers.get("sec-websocket-protocol");
  if (header === null) return [];
  return header.split(",").map((name) => name.trim()).filter((name) => name !== "");
}

/** Equality in time that depends on the length only. */
function sameText(a: string, b: string): boolean {
  if (a.length !== b.length) return false;
  let difference = 0;
  for (let i = 0; i < a.length; i++) difference |= a.charCodeAt(i) ^ b.charCodeAt(i);
  return difference === 0;
}

/** The least time between two events about the same kind of refusal, ms. */
const thinningMs = 5_000;

/**
 * Turns refused requests into `auth.refused` events: the first of a kind at
 * once, then at most one per kind in `thinningMs`, its `count` telling how many
 * it stands for. The sum of counts is the number of refusals.
 */
export class Refusals {
  readonly #source: Source;
  readonly #clock: Clock;
  /** By status and reason, both of them our own words: bounded. */
  readonly #kinds = new Map<
    string,
    { status: number; reason: string; path: string; count: number; published: number }
  >();

  constructor(source: Source, clock: Clock) {
    this.#source = source;
    this.#clock = clock;
  }

  /** Counts one refusal. `path` without its query, which may hold a ticket. */
  note(status: number, reason: string, path: string): void {
    const key = `${status} ${reason}`;
    let kind = this.#kinds.get(key);
    if (kind === undefined) {
      kind = { status, reason, path, count: 0, published: -Infinity };
      this.#kinds.set(key, kind);
    }
    kind.count++;
    kind.path = path.slice(0, 256);
    this.flush();
  }

  /** Publishes what is due; `all` also what is not. Called every few seconds by whoever listens. */
  flush(all = false): void {
    const now = this.#clock.mono() / 1000;
    for (const kind of this.#kinds.values()) {
      if (kind.count === 0 || (!all && now - kind.published < thinningMs)) continue;
      const { status, reason, path, count } = kind;
      kind.count = 0;
      kind.published = now;
      this.#source.publish("auth.refused", { status, reason, path, count });
    }
  }
}
