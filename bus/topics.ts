/**
 * Topics: NATS's subject patterns over dotted event types (`*` one token, `>`
 * one or more tokens at the end), turned into a set of types once so that
 * publishing never matches strings.
 *
 * Owns no subscribers.
 */
import { type EventType, eventTypes, isEventType } from "./events.ts";

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
    // What stands before the first wildcard tells most types apart without splitting them.
    const start = pattern.replace(/[*>].*$/, "");
    const hits = isEventType(pattern)
      ? [pattern]
      : eventTypes.filter((type) => type.startsWith(start) && matches(pattern, type));
    for (const type of hits) types.add(type);
    if (hits.length === 0) {
      return { ok: false, reason: `type "${pattern}": matches no event type of the catalogue` };
    }
  }
  return { ok: true, types };
}
