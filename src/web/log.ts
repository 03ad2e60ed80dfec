/**
 * Log: the events this page holds, bounded, with what arrived counted.
 *
 * An immutable value: `append` answers the next one, so a paused view simply
 * keeps the one it was paused on. A storm of one family must never push the
 * last events of the others out: each family keeps its newest `familyFloor`.
 */
import type { CloudEvent } from "../../bus/envelope.ts";
import { familyOf } from "./family.ts";
import type { Gap } from "./item.ts";

interface Keyed {
  /** Order of arrival in this page; never reused. */
  readonly key: number;
  readonly family: string;
}

export interface EventEntry extends Keyed {
  readonly kind: "event";
  readonly event: CloudEvent;
}

/** Events were lost on the way here. */
export interface GapEntry extends Keyed {
  readonly kind: "gap";
  readonly gap: Gap;
  /** Wall time in ms. */
  readonly time: number;
}

/** From here on it is another boot. */
export interface BootEntry extends Keyed {
  readonly kind: "boot";
  readonly boot: string;
  readonly time: number;
  /** Milliseconds without a word from the machine. */
  readonly silentMs: number;
}

export type Entry = EventEntry | GapEntry | BootEntry;

export interface Log {
  /** Oldest first, ascending by key. */
  readonly entries: readonly Entry[];
  /** Events ever received, by family; markers are not counted. */
  readonly counts: ReadonlyMap<string, number>;
  readonly received: number;
}

export const capacity = 2_000;
export const familyFloor = 50;

export const emptyLog: Log = { entries: [], counts: new Map(), received: 0 };

let nextKey = 1;

export function eventEntry(event: CloudEvent): EventEntry {
  return { kind: "event", key: nextKey++, family: familyOf(event.type), event };
}

export function gapEntry(gap: Gap, time: number): GapEntry {
  return { kind: "gap", key: nextKey++, family: "bus", gap, time };
}

export function bootEntry(boot: string, time: number, silentMs: number): BootEntry {
  return { kind: "boot", key: nextKey++, family: "boot", boot, time, silentMs };
}

/** The log with a batch behind it, cut back to `capacity`. */
export function append(log: Log, batch: readonly Entry[]): Log {
  const counts = new Map(log.counts);
  let received = log.received;
  for (const entry of batch) {
    if (entry.kind !== "event") continue;
    counts.set(entry.family, (counts.get(entry.family) ?? 0) + 1);
    received++;
  }
  return { entries: evict(log.entries.concat(batch)), counts, received };
}

/** Drops the oldest of whichever families hold more than their floor. */
function evict(entries: readonly Entry[]): readonly Entry[] {
  let excess = entries.length - capacity;
  if (excess <= 0) return entries;
  const held = new Map<string, number>();
  for (const { family } of entries) held.set(family, (held.get(family) ?? 0) + 1);
  const kept: Entry[] = [];
  for (const entry of entries) {
    const count = held.get(entry.family)!;
    if (excess > 0 && count > familyFloor) {
      held.set(entry.family, count - 1);
      excess--;
    } else {
      kept.push(entry);
    }
  }
  // Only with more families than capacity / familyFloor, which a hostile stream could invent.
  return excess > 0 ? kept.slice(excess) : kept;
}

/** The entry of an event, if the log still holds it. */
export function findEvent(log: Log, boot: string, sequence: number): EventEntry | null {
  for (let i = log.entries.length - 1; i >= 0; i--) {
    const entry = log.entries[i]!;
    if (
      entry.kind === "event" && entry.event.sequence === sequence && entry.event.boot === boot
    ) return entry;
  }
  return null;
}

/** Entries whose event names this one as its cause, oldest first, at most `limit`. */
export function findEffects(log: Log, cause: CloudEvent, limit: number): EventEntry[] {
  const found: EventEntry[] = [];
  for (const entry of log.entries) {
    if (found.length >= limit) break;
    if (
      entry.kind === "event" && entry.event.cause === cause.sequence &&
      entry.event.boot === cause.boot
    ) found.push(entry);
  }
  return found;
}
