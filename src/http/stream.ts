/**
 * Stream: events to clients as they happen, over WebSocket and as server-sent
 * events.
 *
 * Owns the clients and their pace. A client costs a cursor in the ring and one
 * frame: whoever reads slowly lags and is told what it lost, whoever does not
 * read at all is cut off and counted. It must never queue for a client beyond
 * a fixed number of bytes, and never let one client's trouble reach another.
 */
import type { Bus, Clock, Consumer, Item, Source } from "../../bus/bus.ts";
import { eventId, type Position } from "../../bus/envelope.ts";
import type { EventType } from "../../bus/events.ts";
import { offeredProtocols, streamProtocol } from "./auth.ts";
import { problem } from "./problem.ts";
import type { Exchange } from "./reaper.ts";

export interface StreamLimits {
  readonly sockets: number;
  /** Server-sent event streams, chat answers among them. */
  readonly sse: number;
  /** Length of one frame, in UTF-16 units; the event that crosses it, 8 KiB at most, is still in it. */
  readonly frame: number;
  /** Full frames sent in a row before other clients have their turn. */
  readonly burst: number;
  /** Least time between two frames to a client that has more to read, ms. */
  readonly flushMs: number;
  /** Bytes a socket may hold unsent before its client is fed no more. */
  readonly buffered: number;
  /** A client that reads nothing for this long is cut off, ms. */
  readonly stalledMs: number;
  /** Between two comments on a silent event stream, ms. */
  readonly heartbeatMs: number;
  /** WebSocket ping and the wait for its pong, s. */
  readonly idleS: number;
  /**
   * Longest message a client may send, in UTF-16 units; all are ignored. It is seen when it is whole:
   * what the runtime gathers until then has no bound (docs/SECURITY.md).
   */
  readonly incoming: number;
}

export const streamLimits: StreamLimits = {
  sockets: 100,
  sse: 20,
  frame: 24_000,
  burst: 4,
  flushMs: 5,
  buffered: 256 << 10,
  stalledMs: 10_000,
  heartbeatMs: 15_000,
  idleS: 30,
  incoming: 1_024,
};

export interface StreamsOptions {
  readonly bus: Bus;
  readonly source: Source;
  readonly clock: Clock;
  readonly report: (where: string, error: unknown) => void;
  readonly limits?: Partial<StreamLimits> | undefined;
  /** `Deno.upgradeWebSocket`, or what stands in for it. */
  readonly upgrade?: typeof Deno.upgradeWebSocket | undefined;
}

/** What a client wants to hear and may. */
export interface Feed {
  /** Who reads, for the record. */
  readonly reader: string;
  readonly types: ReadonlySet<EventType>;
  /** Absent: from now on. */
  readonly after?: Position | undefined;
}

interface Client {
  readonly kind: "sockets" | "sse";
  /** Called every few seconds with ms of the monotonic clock. */
  check(now: number): void;
  /** The server stops. */
  leave(): void;
}

const sleep = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** An item as an element of a frame. */
function encode(item: Item): string {
  if (item.kind === "event") return item.json;
  const { from, to, count, reason } = item;
  return JSON.stringify({ gap: { from, to, count, reason } });
}

export class Streams {
  readonly #options: StreamsOptions;
  readonly #limits: StreamLimits;
  readonly #clients = new Set<Client>();
  #counts = { sockets: 0, sse: 0 };
  #serial = 0;

  constructor(options: StreamsOptions) {
    this.#options = options;
    this.#limits = { ...streamLimits, ...options.limits };
  }

  /** Clients now. */
  get count(): number {
    return this.#clients.size;
  }

  /**
   * Turns a request into a WebSocket that carries `feed`. Host, origin and
   * credential were checked before: the runtime checks none of them.
   */
  openSocket(request: Request, feed: Feed, exchange: Exchange): Response {
    // Copied now: the request can not be read once it is upgraded.
    const offered = offeredProtocols(request);
    const upgrade = request.headers.get("upgrade")?.toLowerCase();
    // RFC 6455 §4.4; the runtime does not look at the version.
    if (upgrade !== "websocket" || request.headers.get("sec-websocket-version") !== "13") {
      return problem(426, "This is a WebSocket, of version 13.", {
        headers: {
          upgrade: "websocket",
          connection: "upgrade",
          "sec-websocket-version": "13",
        },
      });
    }
    if (offered.length > 0 && !offered.includes(streamProtocol)) {
      return problem(400, `Subprotocols: expected ${streamProtocol} among them.`);
    }
    if (this.#full("sockets")) return busy();
    let upgraded: Deno.WebSocketUpgrade;
    try {
      upgraded = (this.#options.upgrade ?? Deno.upgradeWebSocket)(request, {
        idleTimeout: this.#limits.idleS,
        ...(offered.length === 0 ? {} : { protocol: streamProtocol }),
      });
    } catch (error) {
      if (!(error instanceof TypeError)) throw error;
      return problem(400, `The WebSocket handshake is not valid: ${error.message.slice(0, 200)}`);
    }
    const { bus, source, clock, report } = this.#options;
    const consumer = bus.consume({ types: feed.types, after: feed.after });
    const release = exchange.hold();
    const client = new SocketClient({
      socket: upgraded.socket,
      name: `websocket ${++this.#serial} (${feed.reader})`,
      hello: JSON.stringify([{ hello: { boot: bus.boot, head: bus.head } }]),
      consumer,
      source,
      clock,
      limits: this.#limits,
      report,
      doom: () => exchange.doom(),
      ended: () => {
        release();
        this.#remove(client);
      },
    });
    this.#add(client);
    return upgraded.response;
  }

  /** Answers a request with `feed` as server-sent events (WHATWG HTML §9.2). */
  openEvents(feed: Feed, exchange: Exchange): Response {
    const release = this.reserve(exchange);
    if (release === null) return busy();
    const { bus, source, clock, report } = this.#options;
    const client = new EventsClient({
      name: `sse ${++this.#serial} (${feed.reader})`,
      boot: bus.boot,
      head: bus.head,
      fromNow: feed.after === undefined,
      consumer: bus.consume({ types: feed.types, after: feed.after }),
      source,
      clock,
      limits: this.#limits,
      report,
      doom: () => exchange.doom(),
      ended: () => {
        release();
        this.#clients.delete(client);
      },
    });
    this.#clients.add(client);
    exchange.onEnd(() => client.leave());
    return eventStream(client.body);
  }

  /** A place among the event streams, until released or the exchange ends; null when there is none. */
  reserve(exchange: Exchange): (() => void) | null {
    if (this.#full("sse")) return null;
    this.#counts.sse++;
    exchange.streaming();
    let held = true;
    const release = () => {
      if (held) this.#counts.sse--;
      held = false;
    };
    exchange.onEnd(release);
    return release;
  }

  /** Looks after every client; called every few seconds. */
  sweep(): void {
    const now = this.#options.clock.mono() / 1000;
    for (const client of [...this.#clients]) client.check(now);
  }

  /** Ends every stream. */
  close(): void {
    for (const client of [...this.#clients]) client.leave();
  }

  #full(kind: "sockets" | "sse"): boolean {
    return this.#counts[kind] >= this.#limits[kind];
  }

  #add(client: SocketClient): void {
    this.#counts.sockets++;
    this.#clients.add(client);
  }

  #remove(client: SocketClient): void {
    if (this.#clients.delete(client)) this.#counts.sockets--;
  }
}

/** 503: every place for a stream is taken. */
export function busy(): Response {
  return problem(503, "Too many streams are open.", { headers: { "retry-after": "5" } });
}

/** The answer that carries server-sent events. */
export function eventStream(body: ReadableStream<Uint8Array>): Response {
  return new Response(body, { headers: { "content-type": "text/event-stream; charset=utf-8" } });
}

interface ClientOptions {
  readonly name: string;
  readonly consumer: Consumer;
  readonly source: Source;
  readonly clock: Clock;
  readonly limits: StreamLimits;
  readonly report: (where: string, error: unknown) => void;
  /** Cut the connection if it does not close by itself. */
  readonly doom: () => void;
  /** Called once. */
  readonly ended: () => void;
}

/** One WebSocket: takes from the ring only what its client has room for. */
class SocketClient implements Client {
  readonly kind = "sockets";
  readonly #options: ClientOptions & { socket: WebSocket; hello: string };
  readonly #opened: number;
  #lost = 0;
  #ended = false;

  constructor(options: ClientOptions & { socket: WebSocket; hello: string }) {
    this.#options = options;
    this.#opened = this.#now();
    const { socket, limits, report } = options;
    socket.onopen = () => {
      this.#pump().catch((error) => {
        report(`http stream ${options.name}`, error);
        this.#close(1011, "internal error");
      });
    };
    socket.onmessage = ({ data }) => {
      const fits = typeof data === "string" && data.length <= limits.incoming;
      if (!fits) this.#close(1009, "this stream takes no messages");
    };
    // What went wrong is on the wire; the close that follows ends the client.
    socket.onerror = () => this.#end();
    socket.onclose = () => this.#end();
  }

  check(now: number): void {
    const { socket, limits } = this.#options;
    if (socket.readyState === WebSocket.CONNECTING && now - this.#opened > limits.stalledMs) {
      this.#close(1001, "never opened");
    }
  }

  leave(): void {
    this.#close(1001, "the machine is stopping");
  }

  async #pump(): Promise<void> {
    const { socket, consumer, limits, hello } = this.#options;
    socket.send(hello);
    let sent = -Infinity;
    let burst = 0;
    while (await this.#hasRoom()) {
      const items = await consumer.next(1);
      if (items.length === 0) return;
      // The first event after a silence goes at once; under load frames fill for a moment.
      const early = sent + limits.flushMs - this.#now();
      if (early > 0) await sleep(early);
      const frame = this.#fill(items);
      if (socket.readyState !== WebSocket.OPEN) return;
      socket.send(frame);
      // A full frame means more is there: on with it, letting others into the loop now and then.
      const full = frame.length >= limits.frame;
      sent = full ? -Infinity : this.#now();
      burst = full ? burst + 1 : 0;
      if (burst >= limits.burst) {
        burst = 0;
        await sleep(0);
      }
    }
  }

  #fill(items: Item[]): string {
    const { consumer, limits } = this.#options;
    let frame = "[";
    for (let more = items; more.length > 0;) {
      for (const item of more) {
        if (item.kind === "gap") this.#lost += item.count;
        frame += frame.length > 1 ? `,${encode(item)}` : encode(item);
      }
      more = frame.length < limits.frame ? consumer.take(1) : [];
    }
    return `${frame}]`;
  }

  /** Waits until the client has read enough to be sent more; false when it never will. */
  async #hasRoom(): Promise<boolean> {
    const { socket, limits } = this.#options;
    let least = socket.bufferedAmount;
    let progress = this.#now();
    let pause = 4;
    while (socket.readyState === WebSocket.OPEN) {
      const buffered = socket.bufferedAmount;
      if (buffered <= limits.buffered) return true;
      if (buffered < least) {
        least = buffered;
        progress = this.#now();
      } else if (this.#now() - progress >= limits.stalledMs) {
        this.#drop();
        return false;
      }
      await sleep(pause);
      pause = Math.min(64, pause * 2);
    }
    return false;
  }

  #drop(): void {
    const { name, consumer, source, limits } = this.#options;
    const lost = this.#lost + consumer.lag;
    const reason = `read nothing for ${limits.stalledMs / 1000} s`;
    this.#close(1013, reason);
    source.publish("http.client_dropped", { client: name, reason, lost });
  }

  #close(code: number, reason: string): void {
    const { socket, doom } = this.#options;
    if (this.#ended) return;
    if (socket.readyState <= WebSocket.OPEN) socket.close(code, reason);
    // The close frame waits behind what the client has not read, possibly for ever.
    doom();
    this.#end();
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#options.consumer.close();
    this.#options.ended();
  }

  #now(): number {
    return this.#options.clock.mono() / 1000;
  }
}

type EventsOptions = ClientOptions & {
  readonly boot: string;
  /** The newest event when the stream began. */
  readonly head: number;
  /** No position was asked for. */
  readonly fromNow: boolean;
};

/** One event stream: the next bytes are made when the client has taken the last. */
class EventsClient implements Client {
  readonly kind = "sse";
  readonly body: ReadableStream<Uint8Array>;
  readonly #options: EventsOptions;
  readonly #encoder = new TextEncoder();
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;
  /** The consumer has one waiter, and this is it, over any number of heartbeats. */
  #waiting = false;
  /** What it brought and nobody has sent yet. */
  #arrived: Item[] | null = null;
  #rouse: (() => void) | null = null;
  #heartbeat: ReturnType<typeof setTimeout> | undefined;
  /** When bytes were handed over that nobody has taken yet; null while waiting for events. */
  #handedOver: number | null = null;
  #lost = 0;
  #ended = false;

  constructor(options: EventsOptions) {
    this.#options = options;
    const { boot, head, fromNow } = options;
    // Who breaks off before the first event of a stream that began now comes back to where it began.
    const id = fromNow ? `id: ${eventId(boot, head)}\n` : "";
    this.body = new ReadableStream({
      start: (controller) => {
        this.#controller = controller;
        const hello = JSON.stringify({ boot, head });
        this.#send(`retry: 2000\nevent: hello\n${id}data: ${hello}\n\n`);
      },
      pull: () => this.#pull(),
      cancel: () => this.#end(),
    });
  }

  check(now: number): void {
    const { limits } = this.#options;
    if (this.#handedOver !== null && now - this.#handedOver >= limits.stalledMs) this.#drop();
  }

  leave(): void {
    if (this.#ended) return;
    this.#end();
    this.#controller?.close();
  }

  async #pull(): Promise<void> {
    this.#handedOver = null;
    try {
      const items = await this.#next();
      if (this.#ended) return;
      if (items === null) this.#send(": alive\n\n");
      else if (items.length > 0) this.#send(this.#fill(items));
    } catch (error) {
      this.#fail(error);
    }
  }

  /** An errored stream would print to the console; a closed one does not. */
  #fail(error: unknown): void {
    this.#options.report(`http stream ${this.#options.name}`, error);
    this.leave();
  }

  /** Waits for an event, or answers null after a heartbeat's time. */
  async #next(): Promise<Item[] | null> {
    const { consumer, limits } = this.#options;
    if (this.#arrived === null) {
      // Not a race: one that is run again for every heartbeat keeps what lost it.
      await new Promise<void>((resolve) => {
        this.#rouse = resolve;
        this.#heartbeat = setTimeout(resolve, limits.heartbeatMs);
        if (this.#waiting) return;
        this.#waiting = true;
        consumer.next(1).then((items) => {
          this.#waiting = false;
          this.#arrived = items;
          this.#rouse?.();
        }).catch((error) => this.#fail(error));
      });
      clearTimeout(this.#heartbeat);
    }
    const items = this.#arrived;
    this.#arrived = null;
    return items;
  }

  #fill(items: Item[]): string {
    const { consumer, limits, boot } = this.#options;
    let text = "";
    for (let more = items; more.length > 0;) {
      for (const item of more) {
        if (item.kind === "gap") {
          this.#lost += item.count;
          const { from, to, count, reason } = item;
          text += `event: gap\ndata: ${JSON.stringify({ from, to, count, reason })}\n\n`;
        } else {
          text += `id: ${eventId(boot, item.seq)}\ndata: ${item.json}\n\n`;
        }
      }
      more = text.length < limits.frame ? consumer.take(1) : [];
    }
    return text;
  }

  #send(text: string): void {
    this.#controller?.enqueue(this.#encoder.encode(text));
    this.#handedOver = this.#now();
  }

  #drop(): void {
    const { name, consumer, source, limits, doom } = this.#options;
    const lost = this.#lost + consumer.lag;
    doom();
    this.leave();
    source.publish("http.client_dropped", {
      client: name,
      reason: `read nothing for ${limits.stalledMs / 1000} s`,
      lost,
    });
  }

  #end(): void {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#heartbeat);
    this.#options.consumer.close();
    this.#options.ended();
  }

  #now(): number {
    return this.#options.clock.mono() / 1000;
  }
}
