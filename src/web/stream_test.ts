/** Tests of stream.ts on a clock and sockets of their own. */
import assert from "node:assert/strict";
import { backfill, backoffMs, Stream } from "./stream.ts";
import type { Connection, Head, StreamSocket } from "./stream.ts";

const bootA = "aaaaaaaaaaaaaaaa";
const bootB = "bbbbbbbbbbbbbbbb";

/** A machine, a clock and a network under the test's hand. */
class World {
  now = 0;
  head: Head = { status: "here", boot: bootA, head: 5_000 };
  sockets: (StreamSocket & { after: string; closed: boolean })[] = [];
  connections: Connection[] = [];
  boots: [string, string | null][] = [];
  seen: string[] = [];
  faults: unknown[] = [];
  heads = 0;
  throwOnItems = false;
  #timers: { at: number; callback: () => void }[] = [];

  readonly stream = new Stream({
    head: () => {
      this.heads++;
      return Promise.resolve(this.head);
    },
    open: (after) => {
      const socket = { after, closed: false, onmessage: null, onclose: null } as
        & StreamSocket
        & { after: string; closed: boolean };
      socket.close = () => socket.closed = true;
      this.sockets.push(socket);
      return socket;
    },
    now: () => this.now,
    delay: (ms, callback) => {
      const timer = { at: this.now + ms, callback };
      this.#timers.push(timer);
      return () => this.#timers = this.#timers.filter((other) => other !== timer);
    },
    random: () => 0.5,
  }, {
    connection: (connection) => this.connections.push(connection),
    boot: (boot, previous) => this.boots.push([boot, previous]),
    items: (items) => {
      if (this.throwOnItems) throw new Error("render");
      for (const item of items) {
        this.seen.push(item.kind === "event" ? `${item.event.sequence}` : item.kind);
      }
    },
    fault: (error) => this.faults.push(error),
  });

  get socket() {
    return this.sockets.at(-1)!;
  }

  get state(): string {
    return this.connections.at(-1)!.state;
  }

  send(...items: unknown[]): void {
    this.socket.onmessage?.({ data: JSON.stringify(items) } as MessageEvent);
  }

  hello(boot = bootA): void {
    this.send({ hello: { boot, head: 0 } });
  }

  event(sequence: number, boot = bootA): unknown {
    return { type: "link.up", source: "osym://x", time: "", boot, sequence };
  }

  drop(): void {
    this.socket.onclose?.({ reason: "" } as CloseEvent);
  }

  /** Lets promises settle, then moves the clock, timer by timer. */
  async pass(ms = 0): Promise<void> {
    const end = this.now + ms;
    for (;;) {
      for (let i = 0; i < 5; i++) await Promise.resolve();
      this.#timers.sort((a, b) => a.at - b.at);
      const timer = this.#timers[0];
      if (timer === undefined || timer.at > end) break;
      this.#timers.shift();
      this.now = timer.at;
      timer.callback();
    }
    this.now = end;
  }

  static async live(): Promise<World> {
    const world = new World();
    world.stream.start();
    await world.pass();
    world.hello();
    return world;
  }
}

Deno.test("Stream.start() asks who is there, then resumes from its recent history", async () => {
  const world = await World.live();
  assert.equal(world.socket.after, `${bootA}:${5_000 - backfill}`);
  assert.deepEqual(world.boots, [[bootA, null]]);
  assert.equal(world.state, "live");
});

Deno.test("Stream resumes exactly where it was and passes nothing twice", async () => {
  const world = await World.live();
  world.send(world.event(5_001), world.event(5_002));
  world.drop();
  assert.equal(world.state, "reconnecting");
  await world.pass(1_000);
  assert.equal(world.socket.after, `${bootA}:5002`);
  world.hello();
  world.send(world.event(5_002), world.event(5_003));
  assert.deepEqual(world.seen, ["5001", "5002", "5003"]);
  assert.equal(world.boots.length, 1);
});

Deno.test("Stream takes a gap as a step forward", async () => {
  const world = await World.live();
  world.send(world.event(5_001), { gap: { from: 5_002, to: 5_100, count: 99, reason: "slow" } });
  world.drop();
  await world.pass(1_000);
  assert.equal(world.socket.after, `${bootA}:5100`);
  assert.deepEqual(world.seen, ["5001", "gap"]);
});

Deno.test("Stream finds another boot and says so once", async () => {
  const world = await World.live();
  world.head = { status: "here", boot: bootB, head: 40 };
  world.drop();
  await world.pass(1_000);
  assert.deepEqual(world.boots.at(-1), [bootB, bootA]);
  assert.equal(world.socket.after, `${bootB}:0`);
  world.hello(bootB);
  world.send(world.event(1, bootB));
  assert.deepEqual(world.seen, ["1"]);
});

Deno.test("Stream reconnects when the hello is of another boot than the status was", async () => {
  const world = new World();
  world.stream.start();
  await world.pass();
  world.head = { status: "here", boot: bootB, head: 3 };
  world.hello(bootB);
  assert.equal(world.state, "reconnecting");
  await world.pass(1_000);
  assert.equal(world.socket.after, `${bootB}:0`);
  assert.equal(world.sockets[0]!.closed, true);
});

Deno.test("Stream stops on a refused token and starts again with another", async () => {
  const world = await World.live();
  world.head = { status: "unauthorised", reason: "401" };
  world.drop();
  await world.pass(60_000);
  assert.equal(world.state, "unauthorised");
  const asked = world.heads;
  await world.pass(60_000);
  assert.equal(world.heads, asked);
  world.head = { status: "here", boot: bootA, head: 5_000 };
  world.stream.start();
  await world.pass();
  world.hello();
  assert.equal(world.state, "live");
});

Deno.test("Stream backs off, calls a long failure offline, and never stops trying", async () => {
  const world = new World();
  world.head = { status: "unreachable", reason: "down" };
  world.stream.start();
  await world.pass(20_000);
  assert.equal(world.state, "reconnecting");
  await world.pass(40_000);
  assert.equal(world.state, "offline");
  assert.ok(world.heads < 30, `${world.heads} attempts in a minute`);
  world.head = { status: "here", boot: bootA, head: 0 };
  await world.pass(6_000);
  world.hello();
  assert.equal(world.state, "live");
});

Deno.test("Stream.retry() tries at once", async () => {
  const world = await World.live();
  world.drop();
  world.stream.retry();
  await world.pass();
  assert.equal(world.sockets.length, 2);
});

Deno.test("Stream does not hammer a server that closes after each hello", async () => {
  const world = await World.live();
  let rounds = 0;
  for (const end = 60_000; world.now < end; rounds++) {
    world.drop();
    const sockets = world.sockets.length;
    while (world.sockets.length === sockets) await world.pass(100);
    world.hello();
  }
  assert.ok(rounds < 25, `${rounds} rounds in a minute`);
});

Deno.test("Stream asks after a silent machine and drops a dead connection", async () => {
  const world = await World.live();
  world.send(world.event(5_000 - backfill + 1));
  world.head = { status: "unreachable", reason: "no answer" };
  await world.pass(7_000);
  assert.equal(world.state, "reconnecting");
  assert.equal(world.sockets[0]!.closed, true);
});

Deno.test("Stream leaves a quiet machine alone and replaces a stalled socket", async () => {
  const world = await World.live();
  world.send(world.event(5_000));
  await world.pass(60_000);
  assert.equal(world.state, "live");
  assert.equal(world.sockets.length, 1);
  world.head = { status: "here", boot: bootA, head: 6_000 };
  await world.pass(120_000);
  assert.ok(world.sockets.length > 1);
  assert.equal(world.socket.after, `${bootA}:5000`);
});

Deno.test("Stream gives up on a socket that never says hello", async () => {
  const world = new World();
  world.stream.start();
  await world.pass(8_000);
  assert.equal(world.state, "reconnecting");
});

Deno.test("Stream survives a listener that throws and a socket that can not be opened", async () => {
  const world = await World.live();
  world.throwOnItems = true;
  world.send(world.event(5_001));
  assert.equal(world.faults.length, 1);
  world.throwOnItems = false;
  world.send(world.event(5_002));
  assert.deepEqual(world.seen, ["5002"]);
  world.send("nonsense");
  world.socket.onmessage?.({ data: "{" } as MessageEvent);
  assert.equal(world.state, "live");
});

Deno.test("Stream.stop() closes and ignores what comes late", async () => {
  const world = await World.live();
  const { onmessage } = world.socket;
  world.stream.stop();
  onmessage?.({ data: JSON.stringify([world.event(9_000)]) } as MessageEvent);
  await world.pass(60_000);
  assert.equal(world.state, "idle");
  assert.deepEqual(world.seen, []);
  assert.equal(world.sockets.length, 1);
});

Deno.test("backoffMs() grows to a bound and is jittered", () => {
  assert.equal(backoffMs(0, 0), 250);
  assert.equal(backoffMs(0, 0.999), 500);
  assert.equal(backoffMs(50, 0.999), 4_998);
});
