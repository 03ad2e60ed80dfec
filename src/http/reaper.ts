/**
 * Reaper: which connections have had a request, and the end of those that hold
 * a place and give nothing for it.
 *
 * Owns the book of peers by remote address and port. The runtime's server never
 * times out a half-sent header, so this does, through the kernel's own list of
 * connections. It must never cut a peer that a request or a stream is in flight
 * for, except one that has stopped reading.
 */
import type { Source } from "../../bus/bus.ts";

/** A TCP connection of our port, as the kernel lists it. */
export interface Connection {
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** A name as in net/tcp_states.h: `established`, `close-wait`, … */
  readonly state: string;
  /** Names this connection for ever: tells a reused port from the one before. */
  readonly cookie?: bigint | undefined;
}

/** The kernel's view of our connections. May reject: that is reported, and the next sweep asks again. */
export interface ConnectionTable<C extends Connection> {
  /** Connections to our port, listeners left out. */
  list(): readonly C[] | Promise<readonly C[]>;
  /** Resets one; false when it is gone or may not be. */
  destroy(connection: C): boolean | Promise<boolean>;
}

export interface ReaperLimits {
  /**
   * A connection may be this old before its first request, ms. It is first seen up to one sweep
   * late and judged up to one late again: with 2 s a sweep, gone within 12 s and the time to cut.
   */
  readonly firstRequestMs: number;
  /** It may be idle this long between requests, ms. */
  readonly idleMs: number;
  /** A client may take this long to read an answer that is no stream, ms. */
  readonly readMs: number;
  /** A client that was told to go has this long to do so, ms. */
  readonly doomMs: number;
  /** Connections at once. */
  readonly connections: number;
  /** Requests in flight at once, streams left out. */
  readonly requests: number;
}

export const reaperLimits: ReaperLimits = {
  firstRequestMs: 8_000,
  idleMs: 60_000,
  readMs: 60_000,
  doomMs: 2_000,
  connections: 2_048,
  requests: 512,
};

/** One request in flight, as the routes see it. */
export interface Exchange {
  /** Its answer is a stream: it may take for ever. */
  streaming(): void;
  /** Keeps its connection past the end of the exchange (an upgraded socket); answers the release. */
  hold(): () => void;
  /** Its client was told to go: cut the connection if it stays. */
  doom(): void;
  /** Calls back once when the exchange has ended, however it did. */
  onEnd(callback: () => void): void;
}

/** Where there is no connection: tests, and requests made inside the process. */
export const detached: Exchange = {
  streaming() {},
  hold: () => () => {},
  doom() {},
  onEnd() {},
};

/** What the server does with an exchange besides. */
export interface Tracked extends Exchange {
  /** The answer is made; sending begins. */
  answered(): void;
  /** Sent or broken off. Idempotent. */
  end(): void;
}

interface Peer {
  readonly firstSeen: number;
  cookie: bigint | undefined;
  requests: number;
  inFlight: number;
  holds: number;
  lastActive: number;
  /** Since when the oldest unsent answer waits for its reader; null when none does. */
  sendingSince: number | null;
  doomedAt: number | null;
}

type Fate = "silent" | "idle" | "unread" | "doomed";

const gone = new Set(["time-wait", "close", "listen", "syn-recv", "new-syn-recv"]);

/** One name per peer, whether the address is written as IPv4 or mapped into IPv6. */
export function peerKey(address: string, port: number): string {
  return `${address.replace(/^::ffff:(?=\d+\.)/i, "")}:${port}`;
}

export interface ReaperOptions<C extends Connection> {
  /** Absent: nothing is cut, only counted. */
  readonly table?: ConnectionTable<C> | undefined;
  readonly source: Source;
  /** Milliseconds, monotonic. */
  readonly now: () => number;
  readonly report: (where: string, error: unknown) => void;
  readonly limits?: Partial<ReaperLimits> | undefined;
}

export class ConnectionReaper<C extends Connection = Connection> {
  readonly #options: ReaperOptions<C>;
  readonly #limits: ReaperLimits;
  readonly #peers = new Map<string, Peer>();
  #listed = 0;
  #inFlight = 0;
  #sweeping = false;
  #reaped = 0;

  constructor(options: ReaperOptions<C>) {
    this.#options = options;
    this.#limits = { ...reaperLimits, ...options.limits };
  }

  /** Connections at the last sweep. */
  get connections(): number {
    return this.#listed;
  }

  /** Requests in flight, streams left out. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /** Connections cut so far. */
  get reaped(): number {
    return this.#reaped;
  }

  /** Enters a request of `key`; null when there is no room for one more. */
  begin(key: string): Tracked | null {
    const known = this.#peers.get(key);
    if (this.#inFlight >= this.#limits.requests) return null;
    if (
      known === undefined && Math.max(this.#listed, this.#peers.size) > this.#limits.connections
    ) {
      return null;
    }
    const peer = known ?? this.#meet(key, undefined);
    // A request on a connection that was to be cut and is free again: the port was taken anew.
    if (peer.inFlight === 0 && peer.holds === 0) peer.doomedAt = null;
    peer.requests++;
    peer.inFlight++;
    peer.lastActive = this.#options.now();
    this.#inFlight++;
    return this.#track(key, peer);
  }

  /** Looks at every connection once and cuts those whose time is over. Never rejects. */
  async sweep(): Promise<void> {
    const { table, report } = this.#options;
    if (table === undefined || this.#sweeping) return;
    this.#sweeping = true;
    try {
      await this.#reap(table);
    } catch (error) {
      report("http connection sweep", error);
    } finally {
      this.#sweeping = false;
    }
  }

  async #reap(table: ConnectionTable<C>): Promise<void> {
    const connections = (await table.list()).filter(({ state }) => !gone.has(state.toLowerCase()));
    const now = this.#options.now();
    const present = new Set<string>();
    const doomed: { connection: C; key: string; fate: Fate }[] = [];
    for (const connection of connections) {
      const key = peerKey(connection.remoteAddress, connection.remotePort);
      present.add(key);
      const peer = this.#recognise(key, connection.cookie);
      const fate = this.#judge(peer, now);
      if (fate !== null) doomed.push({ connection, key, fate });
    }
    this.#listed = connections.length;
    for (const [key, peer] of this.#peers) {
      if (!present.has(key) && peer.inFlight === 0 && peer.holds === 0) this.#peers.delete(key);
    }
    this.#overflow(connections, doomed);
    const counts = new Map<Fate, number>();
    await Promise.all(doomed.map(async ({ connection, key, fate }) => {
      if (!await table.destroy(connection)) return;
      this.#peers.delete(key);
      this.#listed--;
      this.#reaped++;
      counts.set(fate, (counts.get(fate) ?? 0) + 1);
    }));
    for (const [fate, count] of counts) {
      this.#options.source.publish("http.reaped", { count, older_than_ms: this.#patience(fate) });
    }
  }

  /** Beyond the cap the connections that have waited longest without a request go, oldest first. */
  #overflow(connections: readonly C[], doomed: { connection: C; key: string; fate: Fate }[]): void {
    let excess = connections.length - doomed.length - this.#limits.connections;
    if (excess <= 0) return;
    const chosen = new Set(doomed.map(({ key }) => key));
    const idle = connections.flatMap((connection) => {
      const key = peerKey(connection.remoteAddress, connection.remotePort);
      const peer = this.#peers.get(key);
      if (peer === undefined || chosen.has(key) || peer.inFlight > 0 || peer.holds > 0) return [];
      return [{ connection, key, since: peer.lastActive }];
    }).sort((a, b) => a.since - b.since);
    for (const { connection, key } of idle) {
      if (excess-- <= 0) return;
      doomed.push({ connection, key, fate: "doomed" });
    }
  }

  #judge(peer: Peer, now: number): Fate | null {
    const { firstRequestMs, idleMs, readMs, doomMs } = this.#limits;
    if (peer.doomedAt !== null && now - peer.doomedAt >= doomMs) return "doomed";
    if (peer.sendingSince !== null && now - peer.sendingSince >= readMs) return "unread";
    if (peer.inFlight > 0 || peer.holds > 0) return null;
    if (peer.requests === 0) return now - peer.firstSeen >= firstRequestMs ? "silent" : null;
    return now - peer.lastActive >= idleMs ? "idle" : null;
  }

  #patience(fate: Fate): number {
    const { firstRequestMs, idleMs, readMs } = this.#limits;
    return { silent: firstRequestMs, idle: idleMs, unread: readMs, doomed: 0 }[fate];
  }

  #recognise(key: string, cookie: bigint | undefined): Peer {
    const known = this.#peers.get(key);
    if (known === undefined) return this.#meet(key, cookie);
    const reused = known.cookie !== undefined && cookie !== undefined && known.cookie !== cookie;
    if (reused && known.inFlight === 0 && known.holds === 0) return this.#meet(key, cookie);
    known.cookie = cookie;
    return known;
  }

  #meet(key: string, cookie: bigint | undefined): Peer {
    const now = this.#options.now();
    const peer: Peer = {
      firstSeen: now,
      cookie,
      requests: 0,
      inFlight: 0,
      holds: 0,
      lastActive: now,
      sendingSince: null,
      doomedAt: null,
    };
    this.#peers.set(key, peer);
    return peer;
  }

  #track(key: string, peer: Peer): Tracked {
    const callbacks: (() => void)[] = [];
    let streaming = false;
    let ended = false;
    return {
      streaming: () => {
        if (streaming || ended) return;
        streaming = true;
        this.#inFlight--;
      },
      hold: () => {
        let held = true;
        peer.holds++;
        return () => {
          if (!held) return;
          held = false;
          peer.holds--;
          this.#settle(key, peer);
        };
      },
      doom: () => {
        peer.doomedAt ??= this.#options.now();
      },
      onEnd: (callback) => {
        if (ended) callback();
        else callbacks.push(callback);
      },
      answered: () => {
        if (!streaming && !ended) peer.sendingSince = this.#options.now();
      },
      end: () => {
        if (ended) return;
        ended = true;
        if (!streaming) this.#inFlight--;
        peer.inFlight--;
        peer.sendingSince = null;
        this.#settle(key, peer);
        for (const callback of callbacks) {
          try {
            callback();
          } catch (error) {
            this.#options.report("http exchange end", error);
          }
        }
      },
    };
  }

  /** Without the kernel's list a peer is forgotten as soon as nothing is in flight for it. */
  #settle(key: string, peer: Peer): void {
    peer.lastActive = this.#options.now();
    if (this.#options.table !== undefined || peer.inFlight > 0 || peer.holds > 0) return;
    if (this.#peers.get(key) === peer) this.#peers.delete(key);
  }
}
