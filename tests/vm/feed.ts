/**
 * A client of the event stream over WebSocket, as the page and the command line have it.
 *
 * Keeps every item in the order it came; judges nothing.
 */

import type { Guest } from "./guest.ts";
import type { ApiEvent } from "./shared.ts";

/** A hole in a stream, as the server tells of it. */
export interface Gap {
  from: number;
  to: number;
  count: number;
  reason: string;
}

/** One element of a frame. */
export type FeedItem =
  | { kind: "hello"; boot: string; head: number }
  | { kind: "event"; event: ApiEvent; atMs: number }
  | { kind: "gap"; gap: Gap };

export interface FeedOptions {
  /** `<boot>:<seq>`: resume after this event. */
  after?: string;
  /** Patterns of types, separated by commas. */
  type?: string;
  /** Subprotocols instead of the usual two, which carry the token. */
  protocols?: string[];
  /** A ticket instead of the token. */
  ticket?: string;
}

/** The handshake was refused. */
export class FeedRefused extends Error {
  override name = "FeedRefused";
}

/** One open stream. */
export class Feed implements AsyncDisposable {
  readonly items: FeedItem[] = [];
  /** How the stream ended; null while it is open. */
  closed: { code: number; reason: string } | null = null;
  /** The subprotocol the server chose. */
  readonly protocol: string;
  readonly #socket: WebSocket;
  readonly #looks = new Set<() => void>();
  readonly #ended: Promise<void>;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    this.protocol = socket.protocol;
    socket.onmessage = ({ data }) => this.#receive(String(data));
    this.#ended = new Promise((resolve) => {
      socket.onclose = ({ code, reason }) => {
        this.closed = { code, reason };
        resolve();
        this.#look();
      };
    });
  }

  /** Opens a stream. Throws FeedRefused when the handshake fails. */
  static async open(guest: Guest, options: FeedOptions = {}): Promise<Feed> {
    const query = new URLSearchParams();
    for (const name of ["after", "type", "ticket"] as const) {
      const value = options[name];
      if (value !== undefined) query.set(name, value);
    }
    const protocols = options.protocols ??
      (options.ticket === undefined ? ["osym.v1", `osym.token.${guest.token}`] : ["osym.v1"]);
    const url = `${guest.url.replace("http", "ws")}/api/v1/stream?${query}`;
    const socket = new WebSocket(url, protocols);
    await new Promise<void>((resolve, reject) => {
      socket.onopen = () => resolve();
      socket.onerror = (event) => {
        reject(new FeedRefused(event instanceof ErrorEvent ? event.message : "refused"));
      };
    });
    const feed = new Feed(socket);
    await feed.wait("hello", (item) => item.kind === "hello");
    return feed;
  }

  /** The events so far. */
  get events(): ApiEvent[] {
    return this.items.flatMap((item) => item.kind === "event" ? [item.event] : []);
  }

  get gaps(): Gap[] {
    return this.items.flatMap((item) => item.kind === "gap" ? [item.gap] : []);
  }

  /** The first item that `predicate` accepts, seen already or to come. Throws at the deadline. */
  wait(
    what: string,
    predicate: (item: FeedItem) => boolean,
    timeoutMs = 15_000,
  ): Promise<FeedItem> {
    return new Promise((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#looks.delete(look);
      };
      const look = () => {
        const found = this.items.find(predicate);
        if (found !== undefined) {
          settle();
          resolve(found);
        } else if (this.closed !== null) {
          settle();
          reject(new Error(`wait for ${what} on a stream: it ended: ${this.closed.code}`));
        }
      };
      const timer = setTimeout(() => {
        settle();
        reject(new Error(`wait for ${what} on a stream: not within ${timeoutMs} ms`));
      }, timeoutMs);
      this.#looks.add(look);
      look();
    });
  }

  /** The first event of a type that `predicate` accepts, and when it arrived here. */
  async event(
    type: string,
    predicate: (event: ApiEvent) => boolean = () => true,
    timeoutMs?: number,
  ): Promise<{ event: ApiEvent; atMs: number }> {
    const found = await this.wait(
      type,
      (item) => item.kind === "event" && item.event.type === type && predicate(item.event),
      timeoutMs,
    );
    if (found.kind !== "event") throw new Error("unreachable");
    return found;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    if (this.closed === null) this.#socket.close();
    await this.#ended;
  }

  #receive(text: string): void {
    const atMs = performance.now();
    for (const item of JSON.parse(text) as Record<string, unknown>[]) {
      if ("hello" in item) {
        this.items.push({ kind: "hello", ...item.hello as { boot: string; head: number } });
      } else if ("gap" in item) this.items.push({ kind: "gap", gap: item.gap as Gap });
      else this.items.push({ kind: "event", event: item as unknown as ApiEvent, atMs });
    }
    this.#look();
  }

  #look(): void {
    for (const look of [...this.#looks]) look();
  }
}
