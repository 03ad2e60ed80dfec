/**
 * The server and its streams over real sockets. The kernel's list of
 * connections is read from /proc/net/tcp; cutting one closes the test's own end
 * of it, which is what the server sees of a reset.
 */
import assert from "node:assert/strict";
import type { Connection } from "./reaper.ts";
import { detached, type ReaperLimits } from "./reaper.ts";
import { type AnyRoute, route } from "./route.ts";
import { routes } from "./routes/index.ts";
import { type HttpServer, serve } from "./server.ts";
import type { StreamLimits } from "./stream.ts";
import { type Bench, bench, bootId, realClock, token, until } from "./testing.ts";

interface Live extends Bench {
  readonly port: number;
  readonly host: string;
  readonly server: HttpServer<Connection>;
  /** A TCP connection that has sent `text`. */
  connect(text: string): Promise<Deno.TcpConn>;
  [Symbol.asyncDispose](): Promise<void>;
}

interface LiveOptions {
  limits?: Partial<StreamLimits>;
  reaper?: Partial<ReaperLimits>;
  sweepMs?: number;
  ringBytes?: number;
  routes?: readonly AnyRoute[];
}

function freePort(): number {
  using listener = Deno.listen({ port: 0, hostname: "127.0.0.1" });
  return listener.addr.port;
}

/** Server ends of established connections to `port`, as the kernel lists them (proc_net_tcp(5)). */
function listed(port: number): Connection[] {
  const local = `:${port.toString(16).toUpperCase().padStart(4, "0")}`;
  return Deno.readTextFileSync("/proc/net/tcp").split("\n").slice(1).flatMap((line) => {
    const [, from, to, state] = line.trim().split(/\s+/);
    if (!from?.endsWith(local) || state !== "01") return [];
    return [{
      remoteAddress: "127.0.0.1",
      remotePort: parseInt(to!.split(":")[1]!, 16),
      state: "established",
    }];
  });
}

async function live(options: LiveOptions = {}): Promise<Live> {
  const port = freePort();
  const host = `127.0.0.1:${port}`;
  const made = await bench({
    clock: realClock,
    ringBytes: options.ringBytes ?? 4 << 20,
    policy: { hosts: [host], origins: [] },
    limits: options.limits,
    routes: options.routes,
  });
  const ours = new Map<number, Deno.TcpConn>();
  const report = (where: string, error: unknown) => made.reports.push(`${where}: ${error}`);
  const server = serve<Connection>(made.app, { bus: made.bus, clock: realClock, report }, {
    port,
    hostname: "127.0.0.1",
    sweepMs: options.sweepMs ?? 50,
    limits: options.reaper,
    connections: {
      list: () => listed(port),
      destroy: ({ remotePort }) => {
        const socket = ours.get(remotePort);
        if (socket === undefined) return false;
        shut(socket);
        return ours.delete(remotePort);
      },
    },
  });
  return {
    ...made,
    port,
    host,
    server,
    async connect(text) {
      const socket = await Deno.connect({ port, hostname: "127.0.0.1" });
      ours.set((socket.localAddr as Deno.NetAddr).port, socket);
      await socket.write(new TextEncoder().encode(text));
      return socket;
    },
    async [Symbol.asyncDispose]() {
      for (const socket of ours.values()) shut(socket);
      await server.close(200);
    },
  };
}

function shut(socket: Deno.TcpConn): void {
  try {
    socket.close();
  } catch (error) {
    // A test may have closed it before the server asked for it.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  }
}

/** What a socket says until it is quiet for `quietMs` or closed. */
async function hear(socket: Deno.TcpConn, quietMs = 300): Promise<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(1 << 16);
  let text = "";
  for (;;) {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const quiet = new Promise<null>((resolve) => timer = setTimeout(resolve, quietMs, null));
    const read = socket.read(buffer).catch(() => null);
    const length = await Promise.race([read, quiet]);
    clearTimeout(timer);
    if (length === null) {
      shut(socket);
      await read;
      return text;
    }
    text += decoder.decode(buffer.subarray(0, length), { stream: true });
  }
}

const get = (path: string, host: string, more = "") =>
  `GET ${path} HTTP/1.1\r\nHost: ${host}\r\nAuthorization: Bearer ${token}\r\n${more}\r\n`;

const upgrade = (path: string, host: string) =>
  get(
    path,
    host,
    "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n" +
      "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Protocol: osym.v1\r\n",
  );

type Marker = { hello?: { boot: string; head: number }; gap?: { count: number; reason: string } };
type Element = Marker & { sequence?: number; type?: string; id?: string };

/** A browser's socket that keeps what it hears. */
async function listen({ host }: Live, query = "", protocols = [`osym.token.${token}`, "osym.v1"]) {
  const socket = new WebSocket(`ws://${host}/api/v1/stream${query}`, protocols);
  const heard: Element[] = [];
  const frames: number[] = [];
  let closed: CloseEvent | null = null;
  socket.onmessage = ({ data }) => {
    frames.push(data.length);
    heard.push(...JSON.parse(data));
  };
  const ended = new Promise<CloseEvent>((resolve) =>
    socket.onclose = (event) => {
      closed = event;
      resolve(event);
    }
  );
  await until(() => heard.length > 0 || closed !== null, "hello");
  return { socket, heard, frames, ended, sequences: () => heard.flatMap((e) => e.sequence ?? []) };
}

Deno.test("serve() answers over a socket with problems, the page and events", async () => {
  await using made = await live();
  const headers = { authorization: `Bearer ${token}` };
  const status = await fetch(`http://${made.host}/api/v1/status`, { headers });
  assert.equal((await status.json()).boot.id, bootId);
  const refused = await fetch(`http://${made.host}/api/v1/status`);
  assert.equal(refused.status, 401);
  await refused.body?.cancel();
  const foreign = await hear(await made.connect(get("/", "evil.example")));
  assert.match(foreign, /^HTTP\/1.1 421 [^]*application\/problem\+json/);
  const absolute = await hear(await made.connect(get("http://evil.example/", made.host)));
  assert.match(absolute, /^HTTP\/1.1 421 /);
  assert.match(await hear(await made.connect("GET / HTTP/1.1\r\n\r\n")), /^HTTP\/1.1 4(00|21) /);
  assert.match(
    await hear(await made.connect("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n")),
    / 421 /,
  );
  assert.deepEqual(made.reports, []);
});

Deno.test("serve() lives through a 10 MB header, a flood of nonsense and a large body", async () => {
  await using made = await live();
  for (const text of [`GET / HTTP/1.1\r\nA: ${"a".repeat(10 << 20)}`, "\0".repeat(1 << 16)]) {
    const sent = made.connect(text).catch(() => null);
    const socket = await sent;
    if (socket !== null) assert.match(await hear(socket), /^(HTTP\/1.1 4\d\d |$)/);
  }
  const response = await fetch(`http://${made.host}/api/v1/exec`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
    body: new Uint8Array(8 << 20),
  });
  assert.equal(response.status, 413);
  await response.body?.cancel();
  const alive = await fetch(`http://${made.host}/healthz`);
  assert.equal((await alive.json()).status, "alive");
  assert.deepEqual(made.reports, []);
});

Deno.test("serve() reads a body of one-byte chunks without keeping a buffer for each", async () => {
  await using made = await live();
  const body = `{"argv":["${"x".repeat(20_000)}"]}`;
  const socket = await made.connect(
    `POST /api/v1/exec HTTP/1.1\r\nHost: ${made.host}\r\nAuthorization: Bearer ${token}\r\n` +
      "Content-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
  );
  const before = Deno.memoryUsage().rss;
  const bytes = new TextEncoder().encode(body.replaceAll(/./g, "1\r\n$&\r\n") + "0\r\n\r\n");
  for (let at = 0; at < bytes.length;) at += await socket.write(bytes.subarray(at));
  await until(() => made.machine.acts.length === 1, "the act");
  // The runtime reads each into 64 KiB of its own: 1.2 GiB, were they kept.
  const grown = Deno.memoryUsage().rss - before;
  assert.ok(grown < 400 << 20, `${grown >> 20} MiB for ${body.length} bytes`);
  assert.match(await hear(socket), /^HTTP\/1.1 200 /);
});

Deno.test("serve() reaps connections that never finish a header, and counts them", async () => {
  await using made = await live({ reaper: { firstRequestMs: 300 } });
  const half: Deno.TcpConn[] = [];
  for (let i = 0; i < 50; i++) half.push(await made.connect("GET / HTTP/1.1\r\nHost: "));
  const busy = await made.connect(get("/healthz", made.host));
  const count = () =>
    made.published("http.reaped").reduce((sum, { count }) => sum + Number(count), 0);
  await until(() => count() === 50, "50 reaped");
  await made.connect(""); // the server still accepts
  await busy.write(new TextEncoder().encode(get("/healthz", made.host)));
  assert.match(await hear(busy), /alive/);
  assert.equal(listed(made.port).length <= 2, true);
});

Deno.test("serve() tells an act that its client has gone", async () => {
  await using made = await live();
  made.machine.outcome = new Promise(() => {});
  const body = JSON.stringify({ argv: ["sleep"] });
  const socket = await made.connect(
    `POST /api/v1/exec HTTP/1.1\r\nHost: ${made.host}\r\nAuthorization: Bearer ${token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await until(() => made.machine.acts.length === 1, "the act");
  assert.equal(made.machine.acts[0]!.signal!.aborted, false);
  shut(socket);
  await until(() => made.machine.acts[0]!.signal!.aborted, "the abort");
});

Deno.test("serve() gives up a body that stops coming", async () => {
  await using made = await live();
  const socket = await made.connect(
    `POST /api/v1/exec HTTP/1.1\r\nHost: ${made.host}\r\nAuthorization: Bearer ${token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: 100\r\n\r\n{"argv"`,
  );
  await until(() => made.server.reaper.inFlight === 1, "the request");
  shut(socket);
  await until(() => made.server.reaper.inFlight === 0, "its end");
  assert.deepEqual(made.machine.acts, []);
  assert.deepEqual(made.published("http.failed"), []);
});

Deno.test("HttpServer.close() ends streams at once and waits for requests only so long", async () => {
  const made = await live();
  const client = await listen(made);
  const events = await made.connect(get("/api/v1/events/stream", made.host));
  await until(() => made.app.streams.count === 2, "two streams");
  made.machine.outcome = new Promise(() => {});
  const body = '{"argv":["x"]}';
  const stuck = await made.connect(
    `POST /api/v1/exec HTTP/1.1\r\nHost: ${made.host}\r\nAuthorization: Bearer ${token}\r\n` +
      `Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
  );
  await until(() => made.machine.acts.length === 1, "the act");
  const began = performance.now();
  assert.equal(await made.server.close(300), false);
  assert.ok(performance.now() - began < 2_000);
  assert.equal(await made.server.close(300), false);
  assert.equal((await client.ended).code, 1001);
  assert.equal(made.app.streams.count, 0);
  shut(stuck);
  shut(events);
  await assert.rejects(fetch(`http://${made.host}/healthz`));
});

Deno.test("serve() listens again when the runtime's server ends by itself", async () => {
  const made = await bench({ clock: realClock });
  const started: Deno.HttpServer[] = [];
  const listen = ((...given: Parameters<typeof Deno.serve>) => {
    const server = Deno.serve(...given);
    started.push(server);
    return server;
  }) as typeof Deno.serve;
  const reports: string[] = [];
  const report = (where: string, error: unknown) => reports.push(`${where}: ${error}`);
  const server = serve(made.app, { bus: made.bus, clock: realClock, report }, {
    port: 0,
    hostname: "127.0.0.1",
    listen,
  });
  await started[0]!.shutdown();
  await until(() => started.length === 2, "the second server");
  const alive = await fetch(`http://127.0.0.1:${server.port}/healthz`);
  assert.equal(alive.status, 421, "answered, though under a name that is not listed");
  await alive.body?.cancel();
  assert.deepEqual(reports, ["http server: Error: the listening socket ended"]);
  assert.equal(await server.close(1_000), true);
  assert.equal(started.length, 2);
});

Deno.test("serve() throws when the port is taken", async () => {
  await using made = await live();
  assert.throws(
    () =>
      serve(made.app, { bus: made.bus, clock: realClock, report: () => {} }, {
        port: made.port,
        hostname: "127.0.0.1",
      }),
    Deno.errors.AddrInUse,
  );
});

Deno.test("a stream greets, then carries every event in order to each client", async () => {
  await using made = await live();
  made.source.publish("process.forked", { pid: 1, ppid: 1 });
  const one = await listen(made);
  const two = await listen(made, "?type=process.*");
  const replay = await listen(made, `?after=${bootId}:0`);
  assert.deepEqual(one.heard[0], { hello: { boot: bootId, head: 1 } });
  assert.equal(one.socket.protocol, "osym.v1");
  for (let pid = 2; pid <= 2_000; pid++) {
    made.source.publish("process.forked", { pid, ppid: 1 });
    made.source.publish("sensor.started", { sensor: "s" });
  }
  await until(() => one.sequences().length === 3_998 && two.sequences().length === 1_999, "all");
  await until(() => replay.sequences().length === 3_999, "the replay");
  assert.deepEqual(one.sequences(), Array.from({ length: 3_998 }, (_, i) => i + 2));
  assert.ok(two.heard.slice(1).every(({ type }) => type === "process.forked"));
  assert.ok(one.frames.length < 400, `${one.frames.length} frames`);
  assert.ok(Math.max(...one.frames) <= 32 << 10, "a frame of more than 32 KiB");
  for (const { socket, ended } of [one, two, replay]) {
    socket.close();
    await ended;
  }
  await until(() => made.app.streams.count === 0, "the ends");
  assert.deepEqual(made.reports, []);
});

Deno.test("a stream that resumes in another boot says first what it cannot give", async () => {
  await using made = await live();
  made.source.publish("process.forked", { pid: 1, ppid: 1 });
  const client = await listen(made, `?after=ffffffffffffffff:7`);
  await until(() => client.heard.length === 3, "hello, gap, event");
  assert.match(client.heard[1]!.gap!.reason, /not this boot/);
  assert.equal(client.heard[2]!.sequence, 1);
  client.socket.close();
  await client.ended;
});

Deno.test("a stream takes a ticket once, and no other credential in the query", async () => {
  await using made = await live();
  const issued = await fetch(`http://${made.host}/api/v1/stream/ticket`, {
    method: "POST",
    headers: { authorization: `Bearer ${token}` },
  });
  const { ticket } = await issued.json();
  const first = await listen(made, `?ticket=${ticket}`, ["osym.v1"]);
  assert.equal(first.heard.length, 1);
  const again = await listen(made, `?ticket=${ticket}`, []);
  assert.equal(again.heard.length, 0);
  const tokenInQuery = await listen(made, `?token=${token}`, []);
  assert.equal(tokenInQuery.heard.length, 0);
  first.socket.close();
  await Promise.all([first.ended, again.ended, tokenInQuery.ended]);
});

Deno.test("a WebSocket is refused before the upgrade: 421, 403, 401, 400, 426", async () => {
  await using made = await live();
  const answer = async (text: string) =>
    Number((await hear(await made.connect(text))).split(" ")[1]);
  const good = upgrade("/api/v1/stream", made.host);
  assert.equal(await answer(good.replace(`Host: ${made.host}`, "Host: evil.example")), 421);
  assert.equal(
    await answer(good.replace("Connection", "Origin: https://evil.example\r\nConnection")),
    403,
  );
  assert.equal(await answer(good.replace(token, "wrong")), 401);
  assert.equal(await answer(good.replace("osym.v1", "chat")), 400);
  assert.equal(await answer(good.replace("/stream", "/stream?after=x")), 400);
  assert.equal(await answer(good.replace("Version: 13", "Version: 12")), 426);
  assert.equal(await answer(good.replace(/Sec-WebSocket-Key.*\r\n/, "")), 400);
  assert.equal(await answer(get("/api/v1/stream", made.host)), 426);
  assert.equal(await answer(good), 101);
  assert.deepEqual(made.published("http.failed"), []);
});

Deno.test("a WebSocket that never reads is cut off and counted; others miss nothing", async () => {
  await using made = await live({
    limits: { stalledMs: 300 },
    reaper: { doomMs: 100 },
    ringBytes: 8 << 20,
  });
  const reader = await listen(made);
  const idle = await made.connect(upgrade("/api/v1/stream", made.host));
  await until(() => made.app.streams.count === 2, "two clients");
  const text = "x".repeat(3_000);
  let published = 0;
  // In steps, so that the one who reads keeps up, until the other is found out.
  await until(
    () => {
      for (let i = 0; i < 100; i++) {
        made.source.publish("sensor.failed", { sensor: "s", error: text });
        published++;
      }
      return made.published("http.client_dropped").length > 0;
    },
    "the drop",
    20_000,
  );
  const [dropped] = made.published("http.client_dropped");
  assert.match(String(dropped!.client), /^websocket \d+ \(token:launch\)$/);
  assert.ok(Number(dropped!.lost) > 0);
  await until(() => listed(made.port).length <= 1, "the connection's end");
  await until(() => reader.sequences().includes(published), "the reader's last");
  const lost = reader.heard.reduce((sum, { gap }) => sum + (gap?.count ?? 0), 0);
  assert.equal(lost, 0);
  reader.socket.close();
  await reader.ended;
  shut(idle);
  await until(() => made.app.streams.count === 0, "the end");
  assert.deepEqual(made.reports, []);
});

Deno.test("a WebSocket that reads late is told exactly how much it lost", async () => {
  await using made = await live({ limits: { buffered: 8_192 }, ringBytes: 98_304 });
  const client = await listen(made);
  // One turn of the loop: more events than history holds before the client is served.
  for (let pid = 1; pid <= 5_000; pid++) made.source.publish("process.forked", { pid, ppid: 1 });
  await until(() => client.sequences().includes(5_000), "the last event");
  const lost = client.heard.reduce((sum, { gap }) => sum + (gap?.count ?? 0), 0);
  assert.ok(lost > 0);
  assert.equal(client.sequences().length + lost, 5_000);
  client.socket.close();
  await client.ended;
});

Deno.test("a WebSocket that talks is ignored, one that sends much is closed", async () => {
  await using made = await live();
  const client = await listen(made);
  client.socket.send("hello");
  made.source.publish("process.forked", { pid: 1, ppid: 1 });
  await until(() => client.sequences().length === 1, "the event");
  client.socket.send("x".repeat(10_000));
  assert.equal((await client.ended).code, 1009);
});

Deno.test("streams beyond the cap get 503, and a place is free again when one ends", async () => {
  await using made = await live({ limits: { sockets: 1, sse: 1 } });
  const socket = await made.connect(upgrade("/api/v1/stream", made.host));
  const events = await made.connect(get("/api/v1/events/stream", made.host));
  await until(() => made.app.streams.count === 2, "two streams");
  assert.match(await hear(await made.connect(upgrade("/api/v1/stream", made.host))), / 503 /);
  assert.match(await hear(await made.connect(get("/api/v1/events/stream", made.host))), / 503 /);
  shut(socket);
  shut(events);
  await until(() => made.app.streams.count === 0, "their ends");
  const again = await listen(made);
  assert.equal(again.heard.length, 1);
  again.socket.close();
  await again.ended;
});

Deno.test("an event stream resumes after Last-Event-ID, marks gaps and beats", async () => {
  await using made = await live({ limits: { heartbeatMs: 100 } });
  for (let pid = 1; pid <= 3; pid++) made.source.publish("process.forked", { pid, ppid: 1 });
  const text = await hear(
    await made.connect(
      get("/api/v1/events/stream?type=process.*", made.host, `Last-Event-ID: ${bootId}:1\r\n`),
    ).then((socket) => {
      setTimeout(shut, 600, socket);
      return socket;
    }),
    2_000,
  );
  assert.match(text, /text\/event-stream/);
  assert.match(text, /event: hello\ndata: \{"boot":"0123456789abcdef","head":3\}/);
  assert.deepEqual(text.match(/^id: .*/gm), [`id: ${bootId}:2`, `id: ${bootId}:3`]);
  assert.ok(text.match(/^: alive/gm)!.length >= 2);
  const other = await hear(
    await made.connect(get("/api/v1/events/stream?after=ffffffffffffffff:1", made.host)),
    80,
  );
  assert.match(other, /event: gap\ndata: .*not this boot/);
  await until(() => made.app.streams.count === 0, "their ends");
  assert.deepEqual(made.reports, []);
});

Deno.test("an event stream that breaks off before its first event can be resumed", async () => {
  await using made = await live();
  made.source.publish("process.forked", { pid: 1, ppid: 1 });
  const first = await hear(await made.connect(get("/api/v1/events/stream", made.host)), 100);
  assert.deepEqual(first.match(/^id: .*/gm), [`id: ${bootId}:1`]);
  made.source.publish("process.forked", { pid: 2, ppid: 1 });
  const resumed = get("/api/v1/events/stream", made.host, `Last-Event-ID: ${bootId}:1\r\n`);
  const again = await hear(await made.connect(resumed), 100);
  assert.deepEqual(again.match(/^id: .*/gm), [`id: ${bootId}:2`], "not the hello's: it would skip");
});

Deno.test("an event stream that waits long keeps nothing of its heartbeats", async () => {
  await using made = await live({ limits: { heartbeatMs: 5 } });
  const { bus } = made;
  let reactions = 0;
  const consume = bus.consume.bind(bus);
  bus.consume = (options) => {
    const consumer = consume(options);
    const next = consumer.next.bind(consumer);
    consumer.next = (max) => {
      const waiting = next(max);
      const then = waiting.then.bind(waiting);
      waiting.then = ((...given: Parameters<typeof then>) => {
        reactions++;
        return then(...given);
      }) as typeof waiting.then;
      return waiting;
    };
    return consumer;
  };
  const text = await hear(
    await made.connect(get("/api/v1/events/stream?type=link.*", made.host)).then((socket) => {
      setTimeout(shut, 300, socket);
      return socket;
    }),
  );
  assert.ok(text.match(/^: alive/gm)!.length >= 10);
  assert.ok(reactions <= 1, `${reactions} reactions wait for one event`);
});

Deno.test("an event stream that is never read is cut off and counted", async () => {
  await using made = await live({ limits: { stalledMs: 300 }, reaper: { doomMs: 100 } });
  await made.connect(get("/api/v1/events/stream", made.host));
  await until(() => made.app.streams.count === 1, "the client");
  const text = "x".repeat(3_000);
  await until(
    () => {
      for (let i = 0; i < 100; i++) {
        made.source.publish("sensor.failed", { sensor: "s", error: text });
      }
      return made.published("http.client_dropped").length > 0;
    },
    "the drop",
    20_000,
  );
  assert.match(String(made.published("http.client_dropped")[0]!.client), /^sse /);
  await until(() => listed(made.port).length === 0, "the connection's end");
  assert.equal(made.app.streams.count, 0);
  assert.deepEqual(made.reports, []);
});

Deno.test("a broken handler behind a socket is a 500, and the server goes on", async () => {
  const broken = route({
    method: "GET",
    path: "/broken",
    scope: "core:system:read",
    summary: "Breaks.",
    handler: () => {
      throw new Error("inside");
    },
  });
  await using made = await live({ routes: [...routes, broken] });
  for (let i = 0; i < 3; i++) {
    assert.match(await hear(await made.connect(get("/broken", made.host))), / 500 /);
  }
  assert.equal(made.published("http.failed").length, 3);
  assert.equal(
    (await made.app.fetch(
      new Request(`http://${made.host}/healthz`, { headers: { host: made.host } }),
      detached,
    )).status,
    200,
  );
});
