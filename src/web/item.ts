/**
 * Item: what arrives on the stream. One text frame is a JSON array of events,
 * gap markers and, first of all, a hello.
 *
 * Owns the reading of frames. Must never throw on what it reads: an item that
 * is none of the three is counted, not believed.
 */
import type { CloudEvent } from "../../bus/envelope.ts";

/** Events that were lost on the way to this client. Unknown numbers are null. */
export interface Gap {
  readonly from: number | null;
  readonly to: number | null;
  readonly count: number | null;
  readonly reason: string;
}

export type Item =
  | { readonly kind: "hello"; readonly boot: string; readonly head: number }
  | { readonly kind: "event"; readonly event: CloudEvent }
  | { readonly kind: "gap"; readonly gap: Gap };

export interface Frame {
  readonly items: readonly Item[];
  /** Items (or whole frames) that could not be read. */
  readonly unreadable: number;
}

/** Reads one text frame of `GET /api/v1/stream`. */
export function readFrame(text: string): Frame {
  let parsed: unknown;
  try {
    parsed = JSON.parse(text);
  } catch {
    return { items: [], unreadable: 1 };
  }
  if (!Array.isArray(parsed)) return { items: [], unreadable: 1 };
  const items: Item[] = [];
  for (const value of parsed) {
    const item = readItem(value);
    if (item !== null) items.push(item);
  }
  return { items, unreadable: parsed.length - items.length };
}

function readItem(value: unknown): Item | null {
  if (!isRecord(value)) return null;
  if (isEvent(value)) return { kind: "event", event: value };
  if (isRecord(value.gap)) {
    const { from, to, count, reason } = value.gap;
    return {
      kind: "gap",
      gap: {
        from: whole(from),
        to: whole(to),
        count: whole(count),
        reason: typeof reason === "string" ? reason : "unknown",
      },
    };
  }
  if (isRecord(value.hello)) {
    const { boot, head } = value.hello;
    if (typeof boot !== "string" || boot === "") return null;
    return { kind: "hello", boot, head: whole(head) ?? 0 };
  }
  return null;
}

/** Whether a value has the attributes the page counts on; `data` may be anything. */
export function isEvent(value: unknown): value is CloudEvent {
  return isRecord(value) &&
    typeof value.type === "string" && value.type !== "" &&
    typeof value.boot === "string" &&
    typeof value.source === "string" &&
    typeof value.time === "string" &&
    whole(value.sequence) !== null;
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function whole(value: unknown): number | null {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0 ? value : null;
}
