import assert from "node:assert/strict";
import fc from "fast-check";
import type { LeaseInfo } from "../../bus/shapes.ts";
import { type Applied, DhcpClient } from "./dhcp_client.ts";
import { answer, FakePort, FakeTimers, kindOf, settle } from "./fakes.ts";

class World {
  readonly timers = new FakeTimers();
  readonly port = new FakePort();
  readonly told: string[] = [];
  readonly causes: (number | undefined)[] = [];
  readonly changes: string[] = [];
  readonly faults: string[] = [];
  apply: (lease: LeaseInfo) => Promise<Applied> = () => Promise.resolve({ ok: true });
  readonly client: DhcpClient;

  constructor(random = () => 0.5) {
    this.client = new DhcpClient({
      link: "eth0",
      mac: new Uint8Array([2, 0, 0, 0, 0, 1]),
      random,
      port: this.port,
      timers: this.timers,
      apply: (lease) => {
        this.changes.push(`apply ${lease.address}`);
        return this.apply(lease);
      },
      withdraw: (lease) => {
        this.changes.push(`withdraw ${lease.address}`);
        return Promise.resolve({ ok: true });
      },
      notify: (type, data, cause) => {
        this.told.push("mode" in data ? `${type} ${data.mode}` : type);
        this.causes.push(cause);
      },
      report: (where, error) => this.faults.push(`${where}: ${error}`),
    });
  }

  /** The address on the link, or null. */
  get address(): string | null {
    return this.client.lease?.address ?? null;
  }

  /** A server that answers everything as it should. */
  serve(leaseS = 3600): this {
    this.port.onSent = (message) => {
      const type = { discover: "offer", request: "ack" }[kindOf(message)] as "offer" | "ack";
      if (type === undefined) return;
      this.timers.after(5, () => this.port.deliver(answer(message, { type, leaseS })));
    };
    return this;
  }
}

Deno.test("DhcpClient.linkUp() gets a lease and keeps it by renewing", async () => {
  const world = new World().serve(100);
  assert.equal(world.address, null);
  world.client.linkUp();
  await world.timers.advance(50);
  assert.equal(world.address, "10.0.2.15");
  await world.timers.advance(1_000_000);
  assert.equal(world.client.state, "bound");
  assert.ok(world.told.filter((type) => type === "addr.renewed").length >= 18, "every 50 s");
  assert.equal(world.told.filter((type) => type === "addr.leased").length, 1);
  assert.deepEqual(world.told.filter((type) => type.endsWith("lost")), []);
  assert.deepEqual(world.faults, []);
});

Deno.test("DhcpClient takes an answer that came in time before the alarm about its absence", async () => {
  const world = new World();
  // The answers arrive, but the loop is busy until well after the retry is due.
  world.port.onSent = (message) => {
    const type = { discover: "offer", request: "ack" }[kindOf(message)] as "offer" | "ack";
    world.port.arrived.push(answer(message, { type }));
  };
  world.client.linkUp();
  await world.timers.advance(3000);
  await world.timers.advance(3000);
  assert.equal(world.address, "10.0.2.15");
  assert.deepEqual(world.port.kinds(), ["discover", "request"], "nothing is asked twice");
  assert.deepEqual(world.told.filter((type) => type === "addr.lease_failed"), []);
});

Deno.test("DhcpClient sets no alarm for packets that change nothing", async () => {
  const world = new World().serve();
  world.client.linkUp();
  await world.timers.advance(50);
  let alarms = 0;
  const { after } = world.timers;
  world.timers.after = (...args) => {
    alarms++;
    return after.apply(world.timers, args);
  };
  const { message } = world.port.sent[0]!;
  for (let i = 0; i < 1000; i++) {
    world.port.deliver(new Uint8Array(300));
    world.port.deliver(answer(message, { type: "offer", xid: i }));
  }
  assert.equal(alarms, 0, "a flood on the network is no flood of alarms");
  await world.timers.advance(1_800_000);
  assert.ok(world.told.includes("addr.renewed"), "the alarm that was set still rings");
});

Deno.test("DhcpClient outlives a socket that can not be read when its alarm rings", async () => {
  const world = new World();
  world.port.drain = () => {
    throw new Error("recvfrom: ENOMEM");
  };
  world.client.linkUp();
  await world.timers.advance(20_000);
  assert.ok(world.port.sent.length >= 4, "it goes on asking");
  assert.equal(world.faults[0], "dhcp eth0: Error: recvfrom: ENOMEM");
});

Deno.test("DhcpClient tells addr.leased only when the address is on the link", async () => {
  const world = new World().serve();
  let done = (_: Applied) => {};
  world.apply = () => new Promise((resolve) => done = resolve);
  world.client.linkUp();
  await world.timers.advance(50);
  assert.deepEqual(world.changes, ["apply 10.0.2.15"]);
  assert.equal(world.address, null);
  assert.ok(!world.told.includes("addr.leased"));
  done({ ok: true });
  await settle();
  assert.equal(world.address, "10.0.2.15");
  assert.ok(world.told.includes("addr.leased"));
});

Deno.test("DhcpClient starts again when the address is refused, by a value or a throw", async () => {
  for (
    const refusal of [
      () => Promise.resolve({ ok: false as const, reason: "EPERM" }),
      () => Promise.reject(new Error("broken")),
    ]
  ) {
    const world = new World().serve();
    world.apply = refusal;
    world.client.linkUp();
    await world.timers.advance(100);
    assert.equal(world.address, null);
    if (world.faults.length === 0) assert.equal(world.client.state, "init");
    world.apply = () => Promise.resolve({ ok: true });
    await world.timers.advance(2_000_000);
    assert.equal(world.address, "10.0.2.15");
  }
});

Deno.test("DhcpClient goes on when packets can not be sent, and says why none came", async () => {
  const world = new World().serve();
  const reasons: string[] = [];
  world.port.refuse = "ENETDOWN";
  const client = world.client;
  client.linkUp();
  const renewal = client.renewNow(4000);
  await world.timers.advance(5000);
  const outcome = await renewal;
  assert.equal(outcome.ok, false);
  if (!outcome.ok) reasons.push(outcome.reason);
  assert.match(reasons[0]!, /no lease within 4000 ms: .*could not send to 255.*ENETDOWN/);
  world.port.refuse = null;
  await world.timers.advance(5000);
  assert.equal(client.lease?.address, "10.0.2.15");
});

Deno.test("DhcpClient.renewNow() answers with the renewed lease", async () => {
  const world = new World().serve();
  world.client.linkUp();
  await world.timers.advance(50);
  const renewal = world.client.renewNow(undefined, 77);
  await world.timers.advance(50);
  const outcome = await renewal;
  assert.equal(outcome.ok && outcome.lease.address, "10.0.2.15");
  assert.deepEqual(world.told.slice(-2), ["addr.lease_requested renew", "addr.renewed"]);
  assert.deepEqual(world.causes.slice(-2), [77, 77]);
  await world.timers.advance(3_600_000);
  assert.equal(world.causes.at(-1), undefined);
  assert.deepEqual(world.port.kinds().slice(0, 3), ["discover", "request", "request"]);
});

Deno.test("DhcpClient.renewNow() puts the address on the link before its server is asked", async () => {
  const world = new World().serve();
  world.client.linkUp();
  await world.timers.advance(50);
  world.changes.length = 0;
  const sent = world.port.sent.length;
  let put = (_: Applied) => {};
  world.apply = () => new Promise((resolve) => put = resolve);
  const renewal = world.client.renewNow();
  await settle();
  assert.deepEqual(world.changes, ["apply 10.0.2.15"], "somebody may have taken it off");
  assert.equal(world.port.sent.length, sent, "the answer would go to an address that is not there");
  world.apply = () => Promise.resolve({ ok: true });
  put({ ok: false, reason: "EIO" });
  await world.timers.advance(50);
  assert.equal((await renewal).ok, true);
  assert.equal(world.told.at(-1), "addr.renewed");
  world.port.onSent = null;
  world.apply = () => Promise.resolve({ ok: false, reason: "EIO" });
  const refused = world.client.renewNow(500);
  await world.timers.advance(500);
  assert.deepEqual(await refused, { ok: false, reason: "no lease within 500 ms: EIO" });
});

Deno.test("DhcpClient.renewNow() gets another lease when the server refuses the old", async () => {
  const world = new World().serve();
  world.client.linkUp();
  await world.timers.advance(50);
  const serve = world.port.onSent!;
  world.port.onSent = (message) => {
    world.port.onSent = serve;
    world.timers.after(5, () => world.port.deliver(answer(message, { type: "nak" })));
  };
  const renewal = world.client.renewNow();
  await world.timers.advance(100);
  assert.equal((await renewal).ok, true);
  assert.deepEqual(world.changes, [
    ...["apply 10.0.2.15", "apply 10.0.2.15"],
    ...["withdraw 10.0.2.15", "apply 10.0.2.15"],
  ]);
});

Deno.test("DhcpClient.renewNow() answers at once without a carrier, and when it goes", async () => {
  const world = new World();
  const before = await world.client.renewNow();
  assert.equal(before.ok ? "" : before.reason, "eth0 has no carrier");
  world.client.linkUp();
  const renewal = world.client.renewNow();
  world.client.linkDown();
  const during = await renewal;
  assert.equal(during.ok ? "" : during.reason, "eth0 has no carrier");
  assert.equal(world.timers.pending, 0, "no deadline left behind");
});

Deno.test("DhcpClient.stop() releases the lease before it takes the address away", async () => {
  const world = new World().serve();
  world.client.linkUp();
  await world.timers.advance(50);
  await world.client.stop();
  assert.deepEqual(world.port.kinds().at(-1), "release");
  assert.deepEqual(world.changes, ["apply 10.0.2.15", "withdraw 10.0.2.15"]);
  assert.equal(world.address, null);
  assert.equal(world.timers.pending, 0);
  const { message } = world.port.sent[0]!;
  world.port.deliver(answer(message, { type: "offer" }));
  assert.equal(world.client.state, "stopped");
});

Deno.test("DhcpClient survives sinks that throw", async () => {
  const world = new World().serve();
  const faults: string[] = [];
  const client = new DhcpClient({
    link: "eth0",
    mac: new Uint8Array([2, 0, 0, 0, 0, 1]),
    random: () => 0.5,
    port: world.port,
    timers: world.timers,
    apply: () => Promise.resolve({ ok: true }),
    withdraw: () => Promise.reject(new Error("withdraw broke")),
    notify: () => {
      throw new Error("sink broke");
    },
    report: (where, error) => faults.push(`${where}: ${(error as Error).message}`),
  });
  client.linkUp();
  await world.timers.advance(50);
  assert.equal(client.lease?.address, "10.0.2.15");
  await client.stop();
  assert.ok(faults.some((fault) => fault.endsWith("sink broke")));
  assert.ok(faults.some((fault) => fault.endsWith("withdraw broke")));
});

Deno.test("DhcpClient waits in pieces for what setTimeout can not wait for at once", async () => {
  const world = new World().serve(0xffff_fffe);
  world.client.linkUp();
  await world.timers.advance(50);
  await world.timers.advance(0xffff_fffe * 500 + 1000);
  assert.ok(world.told.includes("addr.renewed"));
});

Deno.test("DhcpClient in a hostile network: never throws, never floods, recovers", async () => {
  const behaviour = fc.constantFrom(
    ...["good", "good", "silent", "nak", "other", "garbage", "twice", "wrong xid"] as const,
  );
  const schedule = fc.array(
    fc.record({
      how: behaviour,
      ms: fc.integer({ min: 0, max: 90_000 }),
      event: fc.constantFrom("none", "none", "up", "down", "renew"),
      refuseApply: fc.boolean(),
    }),
    { maxLength: 20 },
  );
  await fc.assert(
    fc.asyncProperty(schedule, fc.integer(), async (steps, seed) => {
      let x = seed >>> 0;
      const world = new World(() => (x = (x * 1664525 + 1013904223) >>> 0) / 2 ** 32);
      let how: string = "good";
      world.port.onSent = (message) => {
        const kind = kindOf(message);
        if (kind !== "discover" && kind !== "request") return;
        const type = kind === "discover" ? "offer" as const : "ack" as const;
        const packets = {
          good: [answer(message, { type, leaseS: 60 })],
          silent: [],
          nak: [answer(message, { type: kind === "request" ? "nak" : "offer", leaseS: 60 })],
          other: [answer(message, { type, address: `10.0.2.${20 + (x % 200)}`, leaseS: 60 })],
          garbage: [crypto.getRandomValues(new Uint8Array(300))],
          twice: [answer(message, { type, leaseS: 7 }), answer(message, { type, leaseS: 60 })],
          "wrong xid": [answer(message, { type, xid: message.xid ^ 1 })],
        }[how]!;
        world.timers.after(x % 300, () => packets.forEach((packet) => world.port.deliver(packet)));
      };
      let kicks = 1;
      const began = world.timers.now();
      const renewals: Promise<unknown>[] = [];
      world.client.linkUp();
      for (const turn of steps) {
        how = turn.how;
        world.apply = () =>
          Promise.resolve(turn.refuseApply ? { ok: false, reason: "EIO" } : { ok: true });
        if (turn.event === "up") world.client.linkUp();
        if (turn.event === "down") world.client.linkDown();
        if (turn.event === "renew") renewals.push(world.client.renewNow());
        if (turn.event !== "none") kicks++;
        await world.timers.advance(turn.ms);
      }
      how = "good";
      world.apply = () => Promise.resolve({ ok: true });
      world.client.linkUp();
      await world.timers.advance(140_000);
      await Promise.all(renewals);
      assert.deepEqual(world.faults, []);
      assert.notEqual(world.address, null, "a good server in the end gives a lease");
      const seconds = (world.timers.now() - began) / 1000;
      assert.ok(
        world.port.sent.length <= 10 * kicks + seconds,
        `${world.port.sent.length} packets in ${seconds} s after ${kicks} kicks`,
      );
      // Nothing is renewed or lost that is not there.
      let leased = false;
      for (const type of world.told) {
        if (type === "addr.leased") leased = true;
        if (type === "addr.renewed") assert.equal(leased, true);
        if (type === "addr.lease_lost") assert.equal(leased, true), leased = false;
      }
      const balance = world.changes.reduce((on: string | null, change) => {
        const [what, address] = change.split(" ");
        if (what === "apply") assert.ok(on === null || on === address);
        else assert.equal(address, on);
        return what === "apply" ? address! : null;
      }, null);
      assert.equal(balance, world.address);
      await world.client.stop();
      // Answers still on their way arrive at a client that is gone.
      await world.timers.advance(1000);
      assert.equal(world.timers.pending, 0);
    }),
    { numRuns: 150 },
  );
});
