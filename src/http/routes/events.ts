/** Events: history, and the two streams that continue it. */
import { eventId, parsePosition, type Position } from "../../../bus/envelope.ts";
import { catalogue, type EventType, eventTypes } from "../../../bus/events.ts";
import type { Zod } from "../../../bus/schema.ts";
import { allows, type Scope } from "../../../bus/scopes.ts";
import { compileTopics } from "../../../bus/topics.ts";
import type { Call } from "../route.ts";
import { forbidden, invalid, route } from "../route.ts";
import type { Feed } from "../stream.ts";
import { wholeNumber } from "./list.ts";

/** Text of events one answer holds, in UTF-16 units; the event that crosses it is still in it. */
const maxAnswer = 1 << 20;

const feedQuery = (z: Zod) =>
  z.object({
    after: z.string().max(96).optional().describe("`<boot>:<seq>`: what came after this event"),
    type: z.string().max(2_048).optional().describe(
      "patterns of types, separated by commas: `*` one token, `>` the rest",
    ),
  }).strict();

const listQuery = (z: Zod) => feedQuery(z).extend({ limit: wholeNumber(z, 1, 1_000).optional() });

const gapShape = (z: Zod) =>
  z.object({
    from: z.number().int(),
    to: z.number().int(),
    count: z.number().int(),
    reason: z.string(),
  });

const cloudEvent = (z: Zod) =>
  z.object({
    specversion: z.literal("1.0"),
    id: z.string(),
    source: z.string(),
    type: z.string(),
    time: z.string(),
    datacontenttype: z.literal("application/json"),
    subject: z.string().optional(),
    sequence: z.number().int(),
    boot: z.string(),
    mono: z.number(),
    cause: z.number().int().optional(),
    data: z.unknown(),
  });

const eventList = (z: Zod) =>
  z.object({ items: z.array(cloudEvent(z)), gap: gapShape(z).optional(), next: z.string() });

const ticketShape = (z: Zod) => z.object({ ticket: z.string(), expires_in_ms: z.number() });

const readable = new WeakMap<readonly Scope[], ReadonlySet<EventType>>();

/** The types whose scope these grants cover. */
function readableTypes(scopes: readonly Scope[]): ReadonlySet<EventType> {
  let types = readable.get(scopes);
  if (types === undefined) {
    types = new Set(eventTypes.filter((type) => allows(scopes, catalogue[type].scope)));
    readable.set(scopes, types);
  }
  return types;
}

/** What a caller asks to hear, narrowed to what it may; or the refusal. */
function readFeed(
  { principal, query, request }: Call<{ after?: string; type?: string }>,
): Feed | Response {
  // An event source that reconnects by itself sends this instead of `after`.
  const last = request.headers.get("last-event-id");
  const from = last ?? query.after;
  let after: Position | undefined;
  if (from !== undefined && from !== "") {
    const position = parsePosition(from);
    if (position === null) {
      return invalid("The position is not valid.", [
        {
          field: last === null ? "after" : "Last-Event-ID",
          expected: "<boot>:<seq>, the id of an event",
        },
      ]);
    }
    after = position;
  }
  const wanted = query.type === undefined
    ? { ok: true as const, types: new Set(eventTypes) }
    : compileTopics(query.type.split(","));
  if (!wanted.ok) {
    return invalid("The types are not valid.", [{ field: "type", expected: wanted.reason }]);
  }
  const may = readableTypes(principal.scopes);
  const types = new Set([...wanted.types].filter((type) => may.has(type)));
  if (types.size === 0) {
    const [first] = wanted.types;
    return forbidden(catalogue[first!].scope);
  }
  return { reader: principal.id, types, after };
}

export const events = route({
  method: "GET",
  path: "/api/v1/events",
  scope: "core:event:read",
  summary: "Events in memory after `after`, or from the oldest; `next` is the next `after`.",
  query: listQuery,
  response: eventList,
  handler(call) {
    const feed = readFeed(call);
    if (feed instanceof Response) return feed;
    const { bus } = call.edge;
    const limit = call.query.limit ?? 100;
    const after = feed.after ?? { boot: bus.boot, seq: bus.tail - 1 };
    const head = bus.head;
    const consumer = bus.consume({ types: feed.types, after });
    const items: string[] = [];
    let gap = "";
    let last: number | null = null;
    let length = 0;
    while (items.length < limit && length < maxAnswer) {
      const taken = consumer.take(1);
      if (taken.length === 0) break;
      for (const item of taken) {
        if (item.kind === "gap") {
          const { from, to, count, reason } = item;
          gap = `,"gap":${JSON.stringify({ from, to, count, reason })}`;
        } else {
          items.push(item.json);
          length += item.json.length;
          last = item.seq;
        }
      }
    }
    // Read to the end, what did not match is behind us too.
    const next = consumer.lag === 0 ? head : last ?? after.seq;
    consumer.close();
    const body = `{"items":[${items.join(",")}]${gap},"next":"${eventId(bus.boot, next)}"}`;
    return new Response(body, { headers: { "content-type": "application/json" } });
  },
});

export const stream = route({
  method: "GET",
  path: "/api/v1/stream",
  scope: "core:event:read",
  summary: "Events as they happen, over a WebSocket.",
  query: feedQuery,
  streams: "websocket",
  handler(call) {
    const feed = readFeed(call);
    if (feed instanceof Response) return feed;
    return call.edge.streams.openSocket(call.request, feed, call.exchange);
  },
});

export const eventSource = route({
  method: "GET",
  path: "/api/v1/events/stream",
  scope: "core:event:read",
  summary: "Events as they happen, as server-sent events.",
  query: feedQuery,
  streams: "sse",
  handler(call) {
    const feed = readFeed(call);
    if (feed instanceof Response) return feed;
    return call.edge.streams.openEvents(feed, call.exchange);
  },
});

export const ticket = route({
  method: "POST",
  path: "/api/v1/stream/ticket",
  scope: "core:event:read",
  summary: "A ticket that opens one stream within 30 s, as `?ticket=`.",
  response: ticketShape,
  handler: ({ edge, principal }) => edge.tokens.issueTicket(principal),
});
