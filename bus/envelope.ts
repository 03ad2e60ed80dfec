/**
 * The envelope every event travels in: compact and frozen inside, CloudEvents
 * 1.0 at every edge.
 *
 * Owns the two encodings and nothing else.
 */
import type { EventData, EventType } from "./events.ts";

/** One event. `time` is wall milliseconds, `mono` microseconds of CLOCK_BOOTTIME. */
export interface EventOf<T extends EventType = EventType> {
  readonly seq: number;
  readonly boot: string;
  readonly type: T;
  /** Subsystem and part, dotted: `nerve.kmsg`, `immune.supervisor`. */
  readonly source: string;
  readonly time: number;
  readonly mono: number;
  readonly subject?: string;
  /** `seq` of the event that led to this one, in the same boot. */
  readonly cause?: number;
  readonly data: EventData<T>;
}

/** Any event of the catalogue, discriminated by `type`. */
export type AnyEvent = { [T in EventType]: EventOf<T> }[EventType];

/** A CloudEvents 1.0 JSON object (https://cloudevents.io, JSON format 1.0). */
export interface CloudEvent {
  specversion: "1.0";
  id: string;
  source: string;
  type: string;
  time: string;
  datacontenttype: "application/json";
  subject?: string;
  /** Extension attributes, lower case letters as the specification asks. */
  sequence: number;
  boot: string;
  mono: number;
  cause?: number;
  data: unknown;
}

let cachedMs = -1;
let cachedIso = "";
/** RFC 3339 of a wall time in ms; storms share a millisecond, so it is cached. */
export function isoTime(ms: number): string {
  if (ms !== cachedMs) {
    cachedIso = new Date(ms).toISOString();
    cachedMs = ms;
  }
  return cachedIso;
}

/** `<boot>:<seq>`, the identity of an event and the `after` of a resume. */
export function eventId(boot: string, seq: number): string {
  return `${boot}:${seq}`;
}

/** Encodes once, for the ring and every edge that reads from it. */
export function toCloudEvent(event: EventOf): CloudEvent {
  const out: CloudEvent = {
    specversion: "1.0",
    id: eventId(event.boot, event.seq),
    source: `osym://${event.source.replaceAll(".", "/")}`,
    type: event.type,
    time: isoTime(event.time),
    datacontenttype: "application/json",
    sequence: event.seq,
    boot: event.boot,
    mono: event.mono,
    data: event.data,
  };
  if (event.subject !== undefined) out.subject = event.subject;
  if (event.cause !== undefined) out.cause = event.cause;
  return out;
}

/** Where a resume starts: after this event. */
export interface Position {
  boot: string;
  seq: number;
}

/** Parses `<boot>:<seq>`; null when it is not one. */
export function parsePosition(text: string): Position | null {
  const match = /^([0-9a-f]{8,64}):(\d{1,15})$/.exec(text);
  if (match === null) return null;
  return { boot: match[1]!, seq: Number(match[2]) };
}
