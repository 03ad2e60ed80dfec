/**
 * Topics: NATS's subject patterns over dotted event types (`*` one token, `>`
 * one or more tokens at the end), turned into a set of types once so that
 * publishing never matches strings.
 *
 * Owns no subscribers.
 */
import { eventTypes } from "./events.ts";
import type { EventType } from "./events.ts";

export type TopicFault = { ok: false; reason: string };
export type Topics = { ok: true; types: ReadonlySet<EventType> };

/** Whether `pattern` matches the dotted `subject` (NATS subject rules). */
export function matches(pattern: string, subject: string): boolean {
  const want = pattern.split(".");
  const have = subject.split(".");
  for (let i = 0; i < want.length; i++) {
    if (want[i] === ">") return i === want.length - 1 && have.length > i;
    if (i >= have.length) return false;
    if (want[i] !== "*" && want[i] !== have[i]) return false;
  }
  return want.length === have.length;
}

/**
 * The catalogue's types that any of the patterns matches. A malformed pattern,
 * or one that matches nothing there is, is refused with a reason that names it.
 */
export function compileTopics(patterns: readonly string[]): Topics | TopicFault {
  const types = new Set<EventType>();
  for (const pattern of patterns) {
    if (!/^(?:[a-z_*]+\.)*(?:[a-z_*]+|>)$/.test(pattern) || pattern.length > 128) {
      return {
        ok: false,
        reason: `type "${
          pattern.slice(0, 128)
        }": expected dotted lower-case tokens, * or a final >`,
      };
    }
    const before = types.size;
    let hit = false;
    for (const type of eventTypes) {
      if (matches(pattern, type)) {
        types.add(type);
        hit = true;
      }
    }
    if (!hit && types.size === before) {
      return { ok: false, reason: `type "${pattern}": matches no event type of the catalogue` };
    }
  }
  return { ok: true, types };
}
