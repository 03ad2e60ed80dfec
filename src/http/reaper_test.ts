import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import { loadZod } from "../../bus/schema.ts";
import { type Connection, ConnectionReaper, peerKey, type ReaperLimits } from "./reaper.ts";
import { bootId, ManualClock } from "./testing.ts";

/** A kernel with a list of connections that a test writes. */
async function kernel(limits: Partial<ReaperLimits> = {}) {
  await loadZod();
  const clock = new ManualClock();
  const bus = new Bus({ boot: bootId, clock, ringBytes: 1 << 20, validate: true });
  const events: unknown[] = [];
  bus.subscribe("http.reaped", ({ data }) => events.push(data));
  const open = new Map<number, Connection>();
  const refused = new Set<number>();
  const reports: string[] = [];
  const reaper = new ConnectionReaper({
    table: {
      list: () => [...open.values()],
      destroy: ({ remotePort }) => !refused.has(remotePort) && open.delete(remotePort),
    },
    source: bus.source("http", ["http.*"]),
    now: () => clock.mono() / 1_000,
    report: (where, error) => reports.push(`${where}: ${error}`),
    limits,
  });
  const connect = (port: number, state = "established", cookie?: bigint) =>
    open.set(port, { remoteAddress: "10.0.2.2", remotePort: port, state, cookie });
  const request = (port: number) => reaper.begin(peerKey("10.0.2.2", port));
  /** Lets time pass with a sweep every two seconds. */
  const pass = async (ms: number) => {
    for (let passed = 0; passed < ms; passed += 2_000) {
      clock.ms += 2_000;
      await reaper.sweep();
    }
  };
  return { clock, reaper, open, refused, reports, events, connect, request, pass };
}

Deno.test("ConnectionReaper.sweep() cuts connections that never sent a request, within 12 s", async () => {
  const { reaper, open, events, connect, request, pass } = await kernel();
  for (let port = 1; port <= 1_000; port++) connect(port);
  request(500)!.end();
  await pass(8_000);
  assert.equal(open.size, 1_000);
  await pass(2_000);
  assert.deepEqual([...open.keys()], [500]);
  assert.deepEqual(events, [{ count: 999, older_than_ms: 8_000 }]);
  assert.equal(reaper.reaped, 999);
  assert.equal(reaper.connections, 1);
});

Deno.test("ConnectionReaper.sweep() cuts what idles after its requests, not what is in flight", async () => {
  const { open, connect, request, pass } = await kernel();
  connect(1);
  connect(2);
  connect(3);
  request(1)!.end();
  const running = request(2)!;
  const socket = request(3)!;
  const release = socket.hold();
  socket.end();
  await pass(58_000);
  assert.deepEqual([...open.keys()], [1, 2, 3]);
  await pass(4_000);
  assert.deepEqual([...open.keys()], [2, 3]);
  await pass(600_000);
  running.end();
  release();
  release();
  assert.deepEqual([...open.keys()], [2, 3]);
  await pass(62_000);
  assert.equal(open.size, 0);
});

Deno.test("ConnectionReaper.sweep() cuts a client that does not read its answer, unless it streams", async () => {
  const { open, connect, request, pass } = await kernel();
  connect(1);
  connect(2);
  const plain = request(1)!;
  plain.answered();
  const stream = request(2)!;
  stream.streaming();
  stream.answered();
  await pass(62_000);
  assert.deepEqual([...open.keys()], [2]);
  plain.end();
  stream.end();
});

Deno.test("ConnectionReaper.sweep() cuts a doomed client soon, and not its port's next owner", async () => {
  const { open, connect, request, pass } = await kernel();
  connect(1, "established", 1n);
  const first = request(1)!;
  first.doom();
  await pass(4_000);
  assert.equal(open.size, 0);
  first.end();
  connect(1, "established", 2n);
  request(1)!.end();
  await pass(4_000);
  assert.equal(open.size, 1);
});

Deno.test("ConnectionReaper.sweep() tells a reused port from the connection before", async () => {
  const { open, connect, request, pass } = await kernel();
  connect(1, "established", 1n);
  await pass(2_000);
  request(1)!.end();
  await pass(2_000);
  connect(1, "established", 2n);
  await pass(14_000);
  assert.equal(open.size, 0, "the second had no request, whatever the first had");
});

Deno.test("ConnectionReaper.sweep() leaves alone what is closing by itself", async () => {
  const { open, connect, pass } = await kernel();
  connect(1, "time-wait");
  connect(2, "close-wait");
  await pass(20_000);
  assert.deepEqual([...open.keys()], [1]);
});

Deno.test("ConnectionReaper.sweep() counts only what was really cut", async () => {
  const { open, refused, events, connect, pass } = await kernel();
  connect(1);
  refused.add(1);
  await pass(20_000);
  assert.equal(open.size, 1);
  assert.deepEqual(events, []);
});

Deno.test("ConnectionReaper.sweep() cuts the longest idle beyond the cap", async () => {
  const { open, clock, connect, request, pass } = await kernel({ connections: 3 });
  for (let port = 1; port <= 5; port++) {
    connect(port);
    const exchange = request(port);
    clock.ms += 10;
    if (port !== 1) exchange?.end();
  }
  await pass(2_000);
  assert.deepEqual([...open.keys()], [1, 4, 5]);
});

Deno.test("ConnectionReaper.begin() has room for a bounded number of requests, streams apart", async () => {
  const { reaper, request } = await kernel({ requests: 2 });
  const first = request(1)!;
  const second = request(2)!;
  assert.equal(request(3), null);
  second.streaming();
  const third = request(3)!;
  assert.equal(reaper.inFlight, 2);
  for (const exchange of [first, second, third, third]) exchange.end();
  assert.equal(reaper.inFlight, 0);
});

Deno.test("ConnectionReaper.sweep() reports a list that fails and asks again", async () => {
  const { reaper, reports, open, connect, pass } = await kernel();
  connect(1);
  const values = open.values.bind(open);
  open.values = () => {
    throw new Error("ENOBUFS");
  };
  await reaper.sweep();
  assert.deepEqual(reports, ["http connection sweep: Error: ENOBUFS"]);
  open.values = values;
  await pass(14_000);
  assert.equal(open.size, 0);
});

Deno.test("Tracked.onEnd() calls back once, also when the exchange has ended", async () => {
  const { request, reports } = await kernel();
  const exchange = request(1)!;
  let calls = 0;
  exchange.onEnd(() => calls++);
  exchange.onEnd(() => {
    throw new Error("mine");
  });
  exchange.end();
  exchange.end();
  exchange.onEnd(() => calls++);
  assert.equal(calls, 2);
  assert.deepEqual(reports, ["http exchange end: Error: mine"]);
});
