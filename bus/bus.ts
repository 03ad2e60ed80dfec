/**
 * The bus: one ordered stream of typed events per boot.
 *
 * Owns sequence numbers, delivery and the history ring. It must never throw
 * into a publisher because of a subscriber, never deliver after an
 * unsubscribe, and never lose an event without counting it: for every
 * consumer, published = delivered + reported lost.
 */
import { type AnyEvent, type EventOf, type Position, toCloudEvent } from "./envelope.ts";
import { catalogue, type EventData, type EventType, isEventType } from "./events.ts";
import { Ring } from "./ring.ts";
import { schemaNow } from "./schema.ts";
import { compileTopics, matches } from "./topics.ts";

/** The two clocks an event carries. `wall` in ms, `mono` in µs of CLOCK_BOOTTIME. */
export interface Clock {
  wall(): number;
  mono(): number;
}

export interface BusOptions {
  /** Hexadecimal id of this boot. */
  boot: string;
  clock: Clock;
  /** Bytes of history; see `ringSize()`. */
  ringBytes: number;
  /** Events of history at most. */
  ringEvents?: number;
  /** Check every event against its schema (tests); needs `loadZod()` first. */
  validate?: boolean;
}

export interface PublishOptions {
  subject?: string | undefined;
  /** `seq` of the event that led to this one. */
  cause?: number | undefined;
}

/** A named publisher that may publish only what its grants match. */
export interface Source {
  readonly name: string;
  /** Throws when `type` is outside the source's grants: that is a bug of the source. */
  publish<T extends EventType>(type: T, data: EventData<T>, options?: PublishOptions): EventOf<T>;
}

export type Handler = (event: AnyEvent) => void;

/** What a consumer yields: an encoded event, or how many were lost before the next one. */
export type Item =
  | { kind: "event"; seq: number; type: EventType; json: string }
  | { kind: "gap"; from: number; to: number; count: number; reason: string };

interface Subscriber {
  readonly types: ReadonlySet<EventType>;
  readonly handler: Handler;
  active: boolean;
}

/** An event is at most this long when encoded; longer strings in it are cut. */
export const maxEventBytes = 8192;
/** Places whose faults are counted; beyond that the one that failed longest ago is forgotten. */
const maxPlaces = 1024;
/** The ring reserves three bytes a character and takes events of up to a quarter of itself. */
const ringShare = 12;

/** History for a machine of `memTotal` bytes: a sixteenth, at most 64 MiB. */
export function ringSize(memTotal: number): number {
  return Math.max(1 << 20, Math.min(64 << 20, Math.floor(memTotal / 16)));
}

export class Bus {
  readonly boot: string;
  readonly #clock: Clock;
  readonly #ring: Ring;
  readonly #validate: boolean;
  /** `maxEventBytes`, or what a small ring takes. */
  readonly #maxBytes: number;
  readonly #subscribers: Subscriber[] = [];
  readonly #byType = new Map<EventType, Subscriber[]>();
  readonly #consumers = new Set<Consumer>();
  readonly #queue: AnyEvent[] = [];
  readonly #self: Source;
  #delivering = false;
  #report: (where: string, error: unknown) => void;

  constructor(options: BusOptions) {
    this.boot = options.boot;
    this.#clock = options.clock;
    this.#ring = new Ring(options.ringBytes, options.ringEvents ?? 100_000);
    this.#validate = options.validate ?? false;
    this.#maxBytes = Math.min(maxEventBytes, Math.floor(options.ringBytes / ringShare));
    this.#self = this.source("bus", ["bus.*", "system.fault"]);
    const counts = new Map<string, number>();
    this.#report = (where, error) => {
      const count = (counts.get(where) ?? 0) + 1;
      counts.delete(where);
      counts.set(where, count);
      if (counts.size > maxPlaces) counts.delete(counts.keys().next().value!);
      // A handler that throws on every event must not double the traffic.
      if (count > 8 && (count & (count - 1)) !== 0) return;
      this.#self.publish("system.fault", { where, ...saidBy(error), count });
    };
  }

  /** The reporter every guard hands its errors to: it publishes `system.fault`, thinned by powers of two. */
  get report(): (where: string, error: unknown) => void {
    return this.#report;
  }

  /** Sequence number of the newest event; 0 before the first. */
  get head(): number {
    return this.#ring.next - 1;
  }

  /** Sequence number of the oldest event still in history. */
  get tail(): number {
    return this.#ring.first;
  }

  /** Bytes of history this bus was built with. */
  get historyBytes(): number {
    return this.#ring.size;
  }

  /** A publisher named `name` that may publish types matching `grants` (topic patterns). */
  source(name: string, grants: readonly string[]): Source {
    // Asked at a type's first event: most sources publish a few types of the many there are.
    const allowed = new Set<EventType>();
    const may = (type: EventType) =>
      isEventType(type) && grants.some((grant) => matches(grant, type));
    return {
      name,
      publish: (type, data, options) => {
        if (!allowed.has(type)) {
          if (!may(type)) throw new Error(`publish "${type}" by "${name}": not among its grants`);
          allowed.add(type);
        }
        return this.#publish(name, type, data, options);
      },
    };
  }

  /** Calls `handler` for every event a pattern matches; answers the unsubscribe. Throws on a malformed pattern. */
  subscribe(patterns: string | readonly string[], handler: Handler): () => void {
    const topics = compileTopics(typeof patterns === "string" ? [patterns] : patterns);
    if (!topics.ok) throw new Error(`subscribe: ${topics.reason}`);
    const subscriber: Subscriber = { types: topics.types, handler, active: true };
    this.#subscribers.push(subscriber);
    this.#byType.clear();
    return () => {
      if (!subscriber.active) return;
      subscriber.active = false;
      this.#subscribers.splice(this.#subscribers.indexOf(subscriber), 1);
      this.#byType.clear();
    };
  }

  /** A pull consumer over the ring; see `Consumer`. */
  consume(options: ConsumeOptions): Consumer {
    const consumer = new Consumer(
      this.#ring,
      this.boot,
      options,
      () => this.#consumers.delete(consumer),
    );
    this.#consumers.add(consumer);
    return consumer;
  }

  #publish<T extends EventType>(
    source: string,
    type: T,
    data: EventData<T>,
    options?: PublishOptions,
  ): EventOf<T> {
    if (this.#validate) {
      const parsed = schemaNow(catalogue[type].schema)?.safeParse(data);
      if (parsed !== undefined && !parsed.success) {
        throw new Error(`publish "${type}" by "${source}": ${parsed.error.message}`);
      }
    }
    const event: EventOf<T> = {
      seq: this.#ring.next,
      boot: this.boot,
      type,
      source,
      time: this.#clock.wall(),
      mono: this.#clock.mono(),
      ...(options?.subject === undefined ? {} : { subject: options.subject }),
      ...(options?.cause === undefined ? {} : { cause: options.cause }),
      data,
    };
    let json = JSON.stringify(toCloudEvent(event as EventOf));
    let cutFrom = 0;
    if (json.length > this.#maxBytes / 3) {
      const bytes = encodedLength(json);
      if (bytes > this.#maxBytes) {
        cutFrom = bytes;
        json = encodeCut(event as EventOf, this.#maxBytes);
      }
    }
    this.#ring.push(type, json, (seq, evictedType) => {
      for (const consumer of this.#consumers) consumer.evicted(seq, evictedType);
    });
    Object.freeze(data);
    Object.freeze(event);
    this.#deliver(event as AnyEvent);
    if (cutFrom > 0) this.#self.publish("bus.truncated", { type, bytes: cutFrom });
    return event;
  }

  /** Handlers may publish: such events queue behind, so that every handler sees one order. */
  #deliver(event: AnyEvent): void {
    this.#queue.push(event);
    if (this.#delivering) return;
    this.#delivering = true;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        for (const subscriber of this.#subscribersOf(next.type)) {
          if (!subscriber.active) continue;
          try {
            subscriber.handler(next);
          } catch (error) {
            // A fault about a fault is not published: that could go on for ever.
            if (next.type !== "system.fault") this.#report(`subscriber of ${next.type}`, error);
          }
        }
        for (const consumer of this.#consumers) consumer.wake(next.type);
      }
    } finally {
      this.#delivering = false;
    }
  }

  #subscribersOf(type: EventType): Subscriber[] {
    let list = this.#byType.get(type);
    if (list === undefined) {
      list = this.#subscribers.filter((subscriber) => subscriber.types.has(type));
      this.#byType.set(type, list);
    }
    return list;
  }
}

export interface ConsumeOptions {
  /** Types wanted; all when absent. */
  types?: ReadonlySet<EventType> | undefined;
  /** Resume after this event; absent: only what is published from now on. */
  after?: Position | undefined;
  /** Events it may lag behind before the oldest are counted as lost (default: all the ring holds). */
  maxLag?: number | undefined;
}

/**
 * A cursor over the ring: it costs no memory of its own, drops its oldest when
 * it lags too far, and says exactly how many it lost. Resuming with an unknown
 * boot, or a position that history no longer reaches, yields a gap first.
 */
export class Consumer {
  readonly #ring: Ring;
  readonly #types: ReadonlySet<EventType> | undefined;
  readonly #maxLag: number;
  readonly #onClose: () => void;
  #cursor: number;
  #lost: { from: number; to: number; count: number } | null = null;
  #pendingGap: Item | null = null;
  #waiting: (() => void) | null = null;
  #closed = false;

  constructor(ring: Ring, boot: string, options: ConsumeOptions, onClose: () => void) {
    this.#ring = ring;
    this.#types = options.types;
    this.#maxLag = options.maxLag ?? Number.MAX_SAFE_INTEGER;
    this.#onClose = onClose;
    const { after } = options;
    if (after === undefined) {
      this.#cursor = ring.next;
    } else if (after.boot !== boot) {
      this.#cursor = ring.first;
      this.#pendingGap = {
        kind: "gap",
        from: 0,
        to: ring.first - 1,
        count: ring.first - 1,
        reason:
          `boot ${after.boot} is not this boot (${boot}): its events after ${after.seq} are not in memory`,
      };
    } else if (after.seq >= ring.next) {
      this.#cursor = ring.next;
      this.#pendingGap = {
        kind: "gap",
        from: ring.next,
        to: after.seq,
        count: 0,
        reason: `event ${after.seq} has not happened in boot ${boot}`,
      };
    } else {
      this.#cursor = Math.max(after.seq + 1, ring.first);
      if (this.#cursor > after.seq + 1) {
        const count = this.#cursor - after.seq - 1;
        this.#pendingGap = {
          kind: "gap",
          from: after.seq + 1,
          to: this.#cursor - 1,
          count,
          reason: "older than the history in memory",
        };
      }
    }
  }

  /** Events published and not yet taken, matching or not. */
  get lag(): number {
    return this.#ring.next - this.#cursor;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Up to `max` items that are there now, oldest first; empty when none are. */
  take(max: number): Item[] {
    const items: Item[] = [];
    if (this.#closed) return items;
    if (this.#pendingGap !== null && max > 0) {
      items.push(this.#pendingGap);
      this.#pendingGap = null;
    }
    while (this.lag > this.#maxLag) {
      this.#lose(this.#cursor, this.#ring.typeOf(this.#cursor)!);
      this.#cursor++;
    }
    if (this.#lost !== null && items.length < max) {
      items.push({ kind: "gap", ...this.#lost, reason: "consumer too slow" });
      this.#lost = null;
    }
    while (items.length < max && this.#cursor < this.#ring.next) {
      const seq = this.#cursor++;
      const type = this.#ring.typeOf(seq)!;
      if (this.#types !== undefined && !this.#types.has(type)) continue;
      items.push({ kind: "event", seq, type, json: this.#ring.read(seq)! });
    }
    return items;
  }

  /** Waits for at least one item, or answers an empty list once closed. */
  async next(max: number): Promise<Item[]> {
    for (;;) {
      const items = this.take(max);
      if (items.length > 0 || this.#closed) return items;
      await new Promise<void>((resolve) => this.#waiting = resolve);
    }
  }

  /** Ends the consumer; a waiting `next()` answers empty. Idempotent. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#onClose();
    this.#rouse();
  }

  /** For the bus only: something was published. */
  wake(type: EventType): void {
    if (this.#waiting === null) return;
    if (this.#types !== undefined && !this.#types.has(type)) return;
    this.#rouse();
  }

  /** For the bus only: history dropped an event this consumer may not have read. */
  evicted(seq: number, type: EventType): void {
    if (seq < this.#cursor) return;
    this.#lose(seq, type);
    this.#cursor = seq + 1;
  }

  #lose(seq: number, type: EventType): void {
    if (this.#types !== undefined && !this.#types.has(type)) return;
    if (this.#lost === null) this.#lost = { from: seq, to: seq, count: 1 };
    else {
      this.#lost.to = seq;
      this.#lost.count++;
    }
  }

  #rouse(): void {
    const resolve = this.#waiting;
    this.#waiting = null;
    resolve?.();
  }
}

/** What a thrown value says of itself. Anything may be thrown, and reading it may throw again. */
function saidBy(error: unknown): { message: string; stack?: string } {
  try {
    if (!(error instanceof Error)) return { message: String(error).slice(0, 1024) };
    const message = String(error.message).slice(0, 1024);
    return { message, stack: String(error.stack ?? "").slice(0, 2048) };
  } catch {
    return { message: "an error that can not be read" };
  }
}

function encodedLength(json: string): number {
  return new TextEncoder().encode(json).length;
}

/** An event's encoding, its strings and lists cut ever shorter until it has at most `maxBytes`. */
function encodeCut(event: EventOf, maxBytes: number): string {
  let json = "";
  for (let limit = 1024; limit >= 1; limit >>= 1) {
    const data = shorten(event.data, limit) as EventData<EventType>;
    const subject = event.subject?.slice(0, limit);
    json = JSON.stringify(toCloudEvent({ ...event, subject, data } as EventOf));
    if (encodedLength(json) <= maxBytes) break;
  }
  return json;
}

/** Cuts strings to `limit`, what is deeper to less; shapes stay valid: few-keyed objects keep all. */
function shorten(value: unknown, limit: number): unknown {
  if (typeof value === "string") return value.length > limit ? `${value.slice(0, limit)}…` : value;
  if (Array.isArray(value)) {
    return value.slice(0, Math.max(4, limit >> 4)).map((item) => shorten(item, limit >> 3));
  }
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(
      Object.entries(value).slice(0, Math.max(16, limit >> 4))
        .map(([key, item]) => [key.slice(0, 48), shorten(item, limit >> 1)]),
    );
  }
  return value;
}
