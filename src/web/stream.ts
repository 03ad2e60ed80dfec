/**
 * Stream: the page's WebSocket to the machine, kept alive for as long as the
 * page is open.
 *
 * Owns the connection's state, the position it resumes from, the backoff, and
 * the finding that the machine is another boot than before. Each attempt first
 * asks `GET status` who is there: a WebSocket cannot tell a refused token from
 * a dead machine, and a position of another boot must not be sent.
 * Must never give up by itself except on a refused token, never retry in a
 * tight loop, and never let a listener's error end it.
 */
import { readFrame } from "./item.ts";
import type { Item } from "./item.ts";

/** Times are milliseconds of the injected clock. */
export type Connection =
  | { readonly state: "idle" }
  | { readonly state: "connecting" }
  | { readonly state: "live"; readonly since: number }
  | { readonly state: "reconnecting"; readonly retryAt: number; readonly reason: string }
  | {
    readonly state: "offline";
    readonly since: number;
    readonly retryAt: number;
    readonly reason: string;
  }
  | { readonly state: "unauthorised"; readonly reason: string };

/** Who answered `GET status`. */
export type Head =
  | { readonly status: "here"; readonly boot: string; readonly head: number }
  | { readonly status: "unauthorised"; readonly reason: string }
  | { readonly status: "unreachable"; readonly reason: string };

/** The part of a WebSocket used here. */
export interface StreamSocket {
  onmessage: ((event: MessageEvent) => void) | null;
  onclose: ((event: CloseEvent) => void) | null;
  close(): void;
}

export interface StreamDeps {
  /** Must not reject, and must answer within a few seconds. */
  head(): Promise<Head>;
  /** Opens a socket that resumes after `<boot>:<seq>`; may throw. */
  open(after: string): StreamSocket;
  /** Monotonic milliseconds. */
  now(): number;
  /** Calls back once after `ms`; answers the cancel function. */
  delay(ms: number, callback: () => void): () => void;
  /** 0 ≤ x < 1. */
  random(): number;
}

/** Called in order. May throw: the error goes to `fault` and the stream goes on. */
export interface StreamListener {
  connection(connection: Connection): void;
  /** The machine is another boot than the one heard before (`previous` null at first). */
  boot(boot: string, previous: string | null): void;
  items(items: readonly Item[], unreadable: number): void;
  fault(error: unknown): void;
}

/** Events of history asked for at first contact and after a reboot. */
export const backfill = 1_000;
/** The first retry comes within half of this, the slowest every `backoffMax`. */
const backoffBase = 500;
const backoffMax = 5_000;
/** Failing for longer than this is called offline instead of reconnecting. */
const offlineAfter = 30_000;
/** A connection that lives this long starts the backoff anew. */
const steadyAfter = 5_000;
const helloTimeout = 8_000;
/** The machine samples itself every second, so this much silence is worth a question. */
const silenceAllowed = 5_000;
const silenceMax = 300_000;

/** Full jitter above a floor: half to all of an exponentially growing step, in ms. */
export function backoffMs(attempt: number, random: number): number {
  const step = Math.min(backoffMax, backoffBase * 2 ** Math.min(attempt, 10));
  return Math.round(step * (0.5 + random / 2));
}

/** Where to resume: the exact position in the same boot, else its recent history. */
export function resumeFrom(
  position: { readonly boot: string; readonly seq: number } | null,
  head: { readonly boot: string; readonly head: number },
): number {
  if (position !== null && position.boot === head.boot) return position.seq;
  return Math.max(0, head.head - backfill);
}

export class Stream {
  readonly #deps: StreamDeps;
  readonly #listener: StreamListener;
  #position: { boot: string; seq: number } | null = null;
  #socket: StreamSocket | null = null;
  #cancels = new Set<() => void>();
  /** Raised by every start, stop and drop: a callback of an older run finds itself stale. */
  #run = 0;
  #attempt = 0;
  #failingSince: number | null = null;
  #heardAt = 0;
  #patience = silenceAllowed;

  constructor(deps: StreamDeps, listener: StreamListener) {
    this.#deps = deps;
    this.#listener = listener;
  }

  /** Connects now, whatever it was waiting for. */
  start(): void {
    this.#reset();
    this.#attempt = 0;
    this.#failingSince = null;
    void this.#connect(this.#run);
  }

  /** Tries now instead of at the end of the backoff; the backoff itself goes on growing. */
  retry(): void {
    this.#reset();
    void this.#connect(this.#run);
  }

  /** Closes and stays closed until `start()`. */
  stop(): void {
    this.#reset();
    this.#tell({ state: "idle" });
  }

  #reset(): void {
    this.#run++;
    for (const cancel of this.#cancels) cancel();
    this.#cancels.clear();
    const socket = this.#socket;
    this.#socket = null;
    if (socket !== null) {
      socket.onmessage = null;
      socket.onclose = null;
      socket.close();
    }
  }

  async #connect(run: number): Promise<void> {
    this.#tell({ state: "connecting" });
    try {
      const head = await this.#deps.head();
      if (run !== this.#run) return;
      if (head.status === "unauthorised") {
        this.#reset();
        this.#tell({ state: "unauthorised", reason: head.reason });
      } else if (head.status === "unreachable") {
        this.#fail(head.reason);
      } else {
        this.#open(run, head);
      }
    } catch (error) {
      if (run === this.#run) this.#fail(String(error));
    }
  }

  #open(run: number, head: { boot: string; head: number }): void {
    const seq = resumeFrom(this.#position, head);
    const previous = this.#position?.boot ?? null;
    this.#position = { boot: head.boot, seq };
    if (previous !== head.boot) this.#guard(() => this.#listener.boot(head.boot, previous));
    const socket = this.#deps.open(`${head.boot}:${seq}`);
    this.#socket = socket;
    const cancelHello = this.#after(
      helloTimeout,
      () => this.#fail(`the stream said nothing within ${helloTimeout / 1000} s`),
    );
    socket.onclose = (event) => {
      if (run !== this.#run) return;
      this.#fail(event.reason === "" ? "the connection closed" : event.reason);
    };
    socket.onmessage = (event) => {
      if (run !== this.#run || typeof event.data !== "string") return;
      cancelHello();
      this.#heardAt = this.#deps.now();
      this.#guard(() => this.#read(run, event.data));
    };
  }

  #read(run: number, text: string): void {
    const frame = readFrame(text);
    const fresh: Item[] = [];
    for (const item of frame.items) {
      if (item.kind === "hello") {
        if (item.boot !== this.#position?.boot) return this.#fail("the machine is another boot");
        this.#greeted(run);
      } else if (this.#advance(item)) {
        fresh.push(item);
      }
    }
    if (fresh.length > 0) this.#patience = silenceAllowed;
    if (fresh.length > 0 || frame.unreadable > 0) this.#listener.items(fresh, frame.unreadable);
  }

  /** Moves the position over an item; false for one already seen or of another boot. */
  #advance(item: Item): boolean {
    const position = this.#position;
    if (position === null || item.kind === "hello") return false;
    if (item.kind === "gap") {
      if (item.gap.to !== null && item.gap.to > position.seq) position.seq = item.gap.to;
      return true;
    }
    if (item.event.boot !== position.boot) return true;
    if (item.event.sequence <= position.seq) return false;
    position.seq = item.event.sequence;
    return true;
  }

  #greeted(run: number): void {
    this.#failingSince = null;
    this.#tell({ state: "live", since: this.#deps.now() });
    this.#after(steadyAfter, () => this.#attempt = 0);
    this.#listen(run);
  }

  /** Asks after the machine when the stream falls silent: a half-open socket never closes. */
  #listen(run: number): void {
    this.#after(1_000, () => {
      if (this.#deps.now() - this.#heardAt < this.#patience) return this.#listen(run);
      void this.#probe(run);
    });
  }

  async #probe(run: number): Promise<void> {
    try {
      const head = await this.#deps.head();
      if (run !== this.#run) return;
      if (head.status === "unauthorised") {
        this.#reset();
        return this.#tell({ state: "unauthorised", reason: head.reason });
      }
      if (head.status === "unreachable") return this.#fail(head.reason);
      const position = this.#position;
      const behind = position === null || position.boot !== head.boot || position.seq < head.head;
      // Silence with a moving head may be a stalled socket or a narrow scope: try
      // a new socket, each time after twice the patience.
      this.#patience = Math.min(silenceMax, this.#patience * 2);
      if (behind) return this.#fail("the stream stalled");
      this.#heardAt = this.#deps.now();
      this.#listen(run);
    } catch (error) {
      if (run === this.#run) this.#fail(String(error));
    }
  }

  #fail(reason: string): void {
    this.#reset();
    const run = this.#run;
    const now = this.#deps.now();
    this.#failingSince ??= now;
    const wait = backoffMs(this.#attempt++, this.#deps.random());
    const retryAt = now + wait;
    const since = this.#failingSince;
    this.#tell(
      now - since > offlineAfter
        ? { state: "offline", since, retryAt, reason }
        : { state: "reconnecting", retryAt, reason },
    );
    this.#after(wait, () => void this.#connect(run));
  }

  #after(ms: number, callback: () => void): () => void {
    const cancel = this.#deps.delay(ms, () => {
      this.#cancels.delete(cancel);
      callback();
    });
    this.#cancels.add(cancel);
    return () => {
      this.#cancels.delete(cancel);
      cancel();
    };
  }

  #tell(connection: Connection): void {
    this.#guard(() => this.#listener.connection(connection));
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      this.#listener.fault(error);
    }
  }
}
