import assert from "node:assert/strict";
import fc from "fast-check";
import {
  type DhcpContext,
  type DhcpEffect,
  type DhcpEvent,
  type DhcpState,
  dueAt,
  expiryOf,
  infinite,
  initialState,
  type Lease,
  leaseFrom,
  retryDelayMs,
  step,
} from "./dhcp.ts";
import { type DhcpMessage, type DhcpReply, Option, readReply } from "./dhcp_codec.ts";
import { type Answer, answer, kindOf } from "./fakes.ts";

const mac = new Uint8Array([0x52, 0x54, 0, 1, 2, 3]);

/** Drives the machine by hand: no clock but `now`, no random but the middle. */
class Bench {
  state: DhcpState = initialState;
  now = 0;
  effects: readonly DhcpEffect[] = [];
  readonly context: DhcpContext;
  /** Addresses are on the link as soon as they are asked for. */
  applies = true;

  constructor(random = () => 0.5) {
    this.context = { link: "eth0", mac, hostname: "osymbiote", random };
  }

  get name(): string {
    return this.state.name;
  }

  get held(): Lease | null {
    return this.state.held;
  }

  do(event: DhcpEvent): this {
    const { state, effects } = step(this.state, event, this.context);
    this.state = state;
    this.effects = effects;
    if (!this.applies) return this;
    for (const effect of effects) {
      if (effect.do !== "apply") continue;
      const { address } = effect.lease;
      const applied = step(this.state, { type: "applied", now: this.now, address }, this.context);
      this.state = applied.state;
      this.effects = [...this.effects, ...applied.effects];
    }
    return this;
  }

  linkUp(): this {
    return this.do({ type: "link_up", now: this.now });
  }

  linkDown(): this {
    return this.do({ type: "link_down", now: this.now });
  }

  renew(): this {
    return this.do({ type: "renew", now: this.now });
  }

  stop(): this {
    return this.do({ type: "stop", now: this.now, reason: "released" });
  }

  /** Lets time pass to the moment the machine asked for, and past it by `ms`. */
  timer(ms = 0): this {
    const due = dueAt(this.state);
    assert.notEqual(due, null, `${this.state.name} waits for nothing`);
    this.now = Math.max(this.now, due!) + ms;
    return this.do({ type: "timer", now: this.now });
  }

  /** The server answers the last message sent. */
  reply(fields: Answer): this {
    return this.do({ type: "reply", now: this.now, reply: this.replyTo(this.#lastSent!, fields) });
  }

  replyTo(message: DhcpMessage, fields: Answer): DhcpReply {
    const read = readReply(answer(message, fields));
    if (!read.ok) throw new Error(read.reason);
    return read.reply;
  }

  #lastSent: DhcpMessage | null = null;

  /** Messages of the last step, as `"discover to 255.255.255.255"`. */
  sent(): string[] {
    return this.effects.filter((effect) => effect.do === "send").map((effect) => {
      this.#lastSent = effect.message;
      return `${kindOf(effect.message)} to ${effect.to}`;
    });
  }

  get message(): DhcpMessage {
    this.sent();
    return this.#lastSent!;
  }

  /** Notices of the last step, as `"addr.leased 10.0.2.15"`. */
  told(): string[] {
    return this.effects.filter((effect) => effect.do === "notice").map(({ notice }) => {
      switch (notice.type) {
        case "addr.leased":
        case "addr.renewed":
          return `${notice.type} ${notice.data.address}`;
        case "addr.lease_requested":
          return `${notice.type} ${notice.data.mode}`;
        default:
          return `${notice.type} ${notice.data.reason}`;
      }
    });
  }

  changes(): string[] {
    return this.effects.filter((effect) => effect.do === "apply" || effect.do === "withdraw")
      .map((effect) => `${effect.do} ${effect.lease.address}`);
  }

  /** Up to a lease of `fields`. */
  bind(fields: Partial<Answer> = {}): this {
    this.linkUp();
    this.sent();
    this.reply({ type: "offer", ...fields });
    this.sent();
    return this.reply({ type: "ack", ...fields });
  }
}

const broadcast = "255.255.255.255";

Deno.test("step() goes from link up to a lease in two exchanges", () => {
  const bench = new Bench().linkUp();
  assert.equal(bench.name, "selecting");
  assert.deepEqual(bench.sent(), [`discover to ${broadcast}`]);
  assert.deepEqual(bench.told(), ["addr.lease_requested discover"]);
  const discover = bench.message;
  assert.equal(discover.broadcast, true);
  assert.deepEqual(discover.options.get(Option.clientId), new Uint8Array([1, ...mac]));
  assert.equal(new TextDecoder().decode(discover.options.get(Option.hostname)), "osymbiote");

  bench.now = 30;
  bench.reply({ type: "offer" });
  assert.equal(bench.name, "requesting");
  assert.deepEqual(bench.sent(), [`request to ${broadcast}`]);
  const request = bench.message;
  assert.equal(request.xid, discover.xid, "RFC 2131 §4.4.1: one transaction");
  assert.equal(request.ciaddr, "0.0.0.0");
  assert.deepEqual(request.options.get(Option.requestedAddress), new Uint8Array([10, 0, 2, 15]));
  assert.deepEqual(request.options.get(Option.server), new Uint8Array([10, 0, 2, 2]));

  bench.now = 60;
  bench.reply({ type: "ack" });
  assert.equal(bench.name, "bound");
  assert.deepEqual(bench.changes(), ["apply 10.0.2.15"]);
  assert.deepEqual(bench.told(), ["addr.leased 10.0.2.15"]);
  assert.deepEqual(bench.held?.info, {
    link: "eth0",
    address: "10.0.2.15",
    prefix: 24,
    router: "10.0.2.2",
    dns: ["10.0.2.3"],
    server: "10.0.2.2",
    lease_s: 3600,
    t1_s: 1800,
    t2_s: 3150,
  });
  assert.equal(bench.held?.since, 30, "the lease runs from its request");
});

Deno.test("step() asks again after about 1, 2, 4, 8, 16, 32, 64, 64 s, in the same transaction", () => {
  const bench = new Bench().linkUp();
  const { xid } = bench.message;
  const delays: number[] = [];
  for (let i = 0; i < 8; i++) {
    const before = bench.now;
    bench.timer();
    delays.push(bench.now - before);
    assert.deepEqual(bench.sent(), [`discover to ${broadcast}`]);
    assert.equal(bench.message.xid, xid);
    assert.equal(bench.message.secs, Math.floor(bench.now / 1000));
  }
  assert.deepEqual(delays, [1000, 2000, 4000, 8000, 16000, 32000, 64000, 64000]);
  assert.match(bench.told()[0]!, /^addr.lease_failed no usable offer within 191.0 s$/);
});

Deno.test("retryDelayMs() is randomised by a second, less while it is short", () => {
  fc.assert(
    fc.property(fc.nat(20), fc.double({ min: 0, max: 0.999, noNaN: true }), (sends, x) => {
      const context = { link: "eth0", mac, random: () => x };
      const middle = [1, 2, 4, 8, 16, 32, 64][Math.min(sends, 6)]! * 1000;
      const delay = retryDelayMs(sends, context);
      assert.ok(Math.abs(delay - middle) <= Math.min(1000, middle / 4), `${sends}: ${delay}`);
    }),
  );
});

Deno.test("step() ignores answers that are not to its question, and says so when it fails", () => {
  const bench = new Bench().linkUp();
  const discover = bench.message;
  const strays: [Answer, RegExp][] = [
    [{ type: "offer", xid: discover.xid + 1 }, /of another transaction/],
    [{ type: "offer", chaddr: new Uint8Array(6) }, /for another machine/],
    [{ type: "ack" }, /ack to a discover/],
    [{ type: "nak" }, /nak to a discover/],
    [{ type: "offer", server: null }, /names no server/],
    [{ type: "offer", server: "127.0.0.1" }, /127.0.0.1 is not a server's address/],
    [{ type: "offer", address: "0.0.0.0" }, /not an address a host may have/],
    [{ type: "offer", address: "224.0.0.9" }, /not an address a host may have/],
    [{ type: "offer", address: "10.0.2.255" }, /broadcast address/],
    [{ type: "offer", netmask: "255.0.255.0" }, /not a netmask/],
    [{ type: "offer", leaseS: null }, /no lease time/],
    [{ type: "offer", leaseS: 0 }, /a lease of 0 s/],
    [{ type: "offer", leaseS: 4 }, /a lease of 4 s/],
  ];
  for (const [fields, why] of strays) {
    bench.reply(fields);
    assert.deepEqual(bench.effects, []);
    assert.match("exchange" in bench.state ? bench.state.exchange.ignoredWhy : "", why);
  }
  bench.do({ type: "noise", now: bench.now, reason: "op 9 is neither 1 nor 2" });
  bench.timer();
  assert.deepEqual(bench.told(), [
    "addr.lease_failed no usable offer within 1.0 s; ignored 14, the last because: op 9 is neither 1 nor 2",
  ]);
});

Deno.test("step() takes a confirmation only of the server and address it chose", () => {
  const bench = new Bench().linkUp();
  bench.sent();
  bench.reply({ type: "offer" });
  bench.sent();
  for (const fields of [{ server: "10.0.2.9" }, { server: null }, { address: "10.0.2.16" }]) {
    bench.reply({ type: "ack", ...fields });
    assert.deepEqual([bench.name, bench.effects], ["requesting", []]);
  }
  bench.reply({ type: "nak", server: "10.0.2.9" });
  assert.equal(bench.name, "requesting");
  bench.reply({ type: "offer", address: "10.0.2.99" });
  assert.equal(bench.name, "requesting");
  bench.reply({ type: "ack" });
  assert.equal(bench.name, "bound");
  bench.reply({ type: "nak" });
  assert.equal(bench.name, "bound", "the transaction is over");
});

Deno.test("step() looks for another server when one does not confirm its offer", () => {
  const bench = new Bench().linkUp();
  bench.sent();
  bench.reply({ type: "offer" });
  const requestXid = bench.message.xid;
  for (let i = 1; i < 4; i++) assert.deepEqual(bench.timer().sent(), [`request to ${broadcast}`]);
  const late = new Bench();
  Object.assign(late, { state: bench.state, now: bench.now });
  bench.timer();
  assert.equal(bench.name, "selecting");
  assert.match(bench.told()[0]!, /10\.0\.2\.2 did not confirm its offer within 15\.0 s/);
  const reply = late.replyTo(bench.message, { type: "ack", xid: requestXid });
  late.do({ type: "reply", now: late.now, reply });
  assert.equal(late.held?.since, late.now, "a lease runs from the last request sent");
});

Deno.test("step() pauses after a NAK to a request, longer each time", () => {
  const bench = new Bench().linkUp();
  const pauses: number[] = [];
  for (let i = 0; i < 4; i++) {
    bench.sent();
    bench.reply({ type: "offer" });
    bench.sent();
    bench.reply({ type: "nak", text: "go away" });
    assert.equal(bench.name, "init");
    assert.deepEqual(bench.told(), ["addr.lease_failed refused by 10.0.2.2: go away"]);
    const before = bench.now;
    bench.timer();
    pauses.push(bench.now - before);
    assert.deepEqual(bench.sent(), [`discover to ${broadcast}`]);
  }
  assert.deepEqual(pauses, [2000, 4000, 8000, 16000]);
});

Deno.test("step() renews at T1 from its own server and keeps the address", () => {
  const bench = new Bench().bind({ leaseS: 3600 });
  bench.timer();
  assert.equal(bench.now, 1_800_000);
  assert.equal(bench.name, "renewing");
  assert.deepEqual(bench.sent(), ["request to 10.0.2.2"]);
  const request = bench.message;
  assert.equal(request.ciaddr, "10.0.2.15");
  assert.equal(request.broadcast, false);
  assert.equal(request.options.has(Option.requestedAddress), false, "RFC 2131 table 5");
  assert.equal(request.options.has(Option.server), false, "RFC 2131 table 5");
  bench.now += 40;
  bench.reply({ type: "ack" });
  assert.equal(bench.name, "bound");
  assert.deepEqual(bench.told(), ["addr.renewed 10.0.2.15"]);
  assert.deepEqual(bench.changes(), ["apply 10.0.2.15"]);
  assert.equal(expiryOf(bench.held!), 1_800_000 + 3_600_000);
});

Deno.test("step() renews, rebinds, and at last loses the lease of a silent server", () => {
  const bench = new Bench().bind({ leaseS: 3600 });
  const timeline: string[] = [];
  for (let i = 0; i < 40 && bench.name !== "selecting"; i++) {
    bench.timer();
    timeline.push(`${bench.now / 1000} ${bench.name} ${bench.sent().join()}`);
  }
  assert.deepEqual(timeline, [
    "1800 renewing request to 10.0.2.2",
    "2475 renewing request to 10.0.2.2",
    "2812.5 renewing request to 10.0.2.2",
    "2981.25 renewing request to 10.0.2.2",
    "3065.625 renewing request to 10.0.2.2",
    "3125.625 renewing request to 10.0.2.2",
    `3150 rebinding request to ${broadcast}`,
    `3375 rebinding request to ${broadcast}`,
    `3487.5 rebinding request to ${broadcast}`,
    `3547.5 rebinding request to ${broadcast}`,
    `3600 selecting discover to ${broadcast}`,
  ]);
  assert.deepEqual(bench.changes(), ["withdraw 10.0.2.15"]);
  assert.deepEqual(bench.told(), [
    "addr.lease_lost expired",
    "addr.lease_requested discover",
  ]);
});

Deno.test("step() rebinds to any server", () => {
  const bench = new Bench().bind({ leaseS: 3600 });
  bench.now = 3_200_000;
  bench.do({ type: "timer", now: bench.now });
  assert.equal(bench.name, "rebinding", "slept past T2");
  bench.sent();
  bench.reply({ type: "ack", server: "10.0.2.77" });
  assert.equal(bench.name, "bound");
  assert.equal(bench.held?.info.server, "10.0.2.77");
});

Deno.test("step() repeats renewals of short leases sooner", () => {
  const bench = new Bench().bind({ leaseS: 60 });
  bench.timer();
  const before = bench.now;
  bench.timer();
  assert.equal(bench.now - before, 11_250);
});

Deno.test("step() drops the address on a NAK to a renewal and asks anew at once", () => {
  const bench = new Bench().bind();
  bench.timer();
  bench.sent();
  bench.reply({ type: "nak", text: "wrong network" });
  assert.equal(bench.name, "selecting");
  assert.deepEqual(bench.changes(), ["withdraw 10.0.2.15"]);
  assert.deepEqual(bench.told(), [
    "addr.lease_lost refused by 10.0.2.2: wrong network",
    "addr.lease_requested discover",
  ]);
});

Deno.test("step() asks on link up whether the old address still holds", () => {
  const bench = new Bench().bind().linkDown();
  assert.deepEqual([bench.name, bench.effects], ["down", []]);
  bench.now += 1000;
  bench.linkUp();
  assert.equal(bench.name, "rebooting");
  assert.deepEqual(bench.sent(), [`request to ${broadcast}`]);
  assert.equal(bench.message.ciaddr, "0.0.0.0");
  assert.equal(bench.message.options.has(Option.server), false, "RFC 2131 table 5: INIT-REBOOT");
  assert.deepEqual(
    bench.message.options.get(Option.requestedAddress),
    new Uint8Array([10, 0, 2, 15]),
  );
  bench.reply({ type: "ack", server: "10.0.2.5" });
  assert.equal(bench.name, "bound");
  assert.deepEqual(bench.told(), ["addr.renewed 10.0.2.15"]);
});

Deno.test("step() leaves the old network's address on a NAK after link up", () => {
  const bench = new Bench().bind().linkDown().linkUp();
  bench.sent();
  bench.reply({ type: "nak" });
  assert.equal(bench.name, "selecting");
  assert.deepEqual(bench.changes(), ["withdraw 10.0.2.15"]);
});

Deno.test("step() keeps an unconfirmed address while it looks for another, until it expires", () => {
  const bench = new Bench().bind({ leaseS: 100 }).linkDown().linkUp();
  bench.timer().timer();
  assert.equal(bench.name, "selecting");
  assert.match(bench.told()[0]!, /nobody confirmed 10\.0\.2\.15 within 3\.0 s/);
  assert.notEqual(bench.held, null);
  while (bench.held !== null) bench.timer();
  assert.equal(bench.now, 100_000);
  assert.equal(bench.name, "selecting", "the question under way goes on");
  assert.deepEqual(bench.told(), ["addr.lease_lost expired"]);
});

Deno.test("step() replaces an address by another", () => {
  const bench = new Bench().bind().linkDown().linkUp();
  bench.timer().timer();
  bench.sent();
  bench.reply({ type: "offer", address: "10.0.2.44" });
  bench.sent();
  bench.reply({ type: "ack", address: "10.0.2.44" });
  assert.deepEqual(bench.changes(), ["withdraw 10.0.2.15", "apply 10.0.2.44"]);
  assert.deepEqual(bench.told(), ["addr.leased 10.0.2.44"], "it has a successor: it is not lost");
});

Deno.test("step() tells the loss of a lease whose successor could not be applied", () => {
  const bench = new Bench().bind().linkDown().linkUp();
  bench.timer().timer();
  bench.sent();
  bench.reply({ type: "offer", address: "10.0.2.44" });
  bench.sent();
  bench.applies = false;
  bench.reply({ type: "ack", address: "10.0.2.44" });
  bench.do({ type: "apply_failed", now: bench.now, address: "10.0.2.44", reason: "EPERM" });
  assert.deepEqual(bench.told(), ["addr.lease_lost could not be applied: EPERM"]);
});

Deno.test("step() lets an address expire while the link is down", () => {
  const bench = new Bench().bind({ leaseS: 10 }).linkDown();
  bench.timer();
  assert.equal(bench.name, "down");
  assert.deepEqual(bench.told(), ["addr.lease_lost expired"]);
  assert.equal(dueAt(bench.state), null);
  assert.deepEqual(bench.linkUp().sent(), [`discover to ${broadcast}`]);
});

Deno.test("step() takes a second link up for the same one", () => {
  const bench = new Bench().linkUp();
  bench.now = 200;
  assert.deepEqual(bench.linkUp().effects, []);
  bench.now = 5000;
  assert.deepEqual(bench.linkUp().sent(), [`discover to ${broadcast}`]);
  const bound = new Bench().bind();
  assert.deepEqual(bound.linkUp().effects, []);
});

Deno.test("step() renews on request, quickly at first, and then as the protocol says", () => {
  const bench = new Bench().bind({ leaseS: 3600 });
  bench.now = 100_000;
  bench.renew();
  assert.deepEqual(bench.sent(), ["request to 10.0.2.2"]);
  const delays: number[] = [];
  for (let i = 0; i < 5; i++) {
    const before = bench.now;
    bench.timer();
    delays.push(Math.round((bench.now - before) / 1000));
  }
  assert.deepEqual(delays.slice(0, 4), [1, 2, 4, 8]);
  assert.ok(delays[4]! > 1000, "half of what is left until T2");
  bench.sent();
  bench.reply({ type: "ack" });
  assert.equal(bench.name, "bound");
});

Deno.test("step() does not renew again while the answer may be near", () => {
  const bench = new Bench().bind({ leaseS: 3600 });
  bench.now = 100_000;
  bench.renew();
  assert.deepEqual(bench.sent(), ["request to 10.0.2.2"]);
  bench.now += 900;
  assert.deepEqual(bench.renew().effects, [], "the first question is still open");
  bench.reply({ type: "ack" });
  assert.deepEqual(bench.told(), ["addr.renewed 10.0.2.15"]);
  bench.now = 3_300_000;
  bench.do({ type: "timer", now: bench.now });
  assert.equal(bench.name, "rebinding");
  assert.deepEqual(bench.renew().effects, []);
  bench.now += 1000;
  assert.deepEqual(bench.renew().sent(), [`request to ${broadcast}`]);
});

Deno.test("step() asks anew on request when there is no lease", () => {
  const bench = new Bench().linkUp();
  bench.timer().timer().timer();
  bench.now += 1500;
  bench.renew();
  assert.deepEqual(bench.sent(), [`discover to ${broadcast}`]);
  assert.equal(dueAt(bench.state)! - bench.now, 1000, "from the shortest pause again");
  bench.now += 500;
  assert.deepEqual(bench.renew().effects, [], "the answer may be near");
  assert.deepEqual(new Bench().renew().effects, []);
});

Deno.test("step() never waits for the end of an infinite lease", () => {
  const bench = new Bench().bind({ leaseS: infinite });
  assert.equal(dueAt(bench.state), null);
  assert.deepEqual(bench.held?.info.t1_s, infinite);
  const long = new Bench().bind({ leaseS: infinite - 1 });
  assert.equal(dueAt(long.state), (infinite - 1) * 500);
});

Deno.test("step() gives an address back that could not be applied, and pauses", () => {
  const bench = new Bench();
  bench.applies = false;
  bench.bind();
  assert.equal(bench.name, "bound");
  assert.deepEqual(bench.told(), [], "not told before it is there");
  bench.do({ type: "apply_failed", now: bench.now, address: "10.0.2.15", reason: "EPERM" });
  assert.equal(bench.name, "init");
  assert.deepEqual(bench.changes(), ["withdraw 10.0.2.15"]);
  assert.deepEqual(bench.told(), [
    "addr.lease_failed 10.0.2.15 could not be applied: EPERM",
  ]);
  assert.equal(dueAt(bench.state)! - bench.now, 10_000);
});

Deno.test("step() releases on stop, and then hears nothing", () => {
  const bench = new Bench().bind().stop();
  assert.deepEqual(bench.sent(), ["release to 10.0.2.2"]);
  assert.equal(bench.message.ciaddr, "10.0.2.15");
  assert.deepEqual(bench.message.options.get(Option.server), new Uint8Array([10, 0, 2, 2]));
  assert.deepEqual(bench.effects.map((effect) => effect.do), ["send", "withdraw", "notice"]);
  assert.deepEqual(bench.told(), ["addr.lease_lost released"]);
  assert.equal(dueAt(bench.state), null);
  for (const event of ["link_down", "timer", "renew"] as const) {
    assert.deepEqual(bench.do({ type: event, now: bench.now }).effects, [], event);
  }
  assert.equal(bench.name, "stopped");
});

Deno.test("leaseFrom() defaults and distrusts T1 and T2", () => {
  const times = (fields: Partial<Answer>) => {
    const bench = new Bench().linkUp();
    const lease = leaseFrom(bench.replyTo(bench.message, { type: "ack", ...fields }), "eth0");
    if (typeof lease === "string") throw new Error(lease);
    return [lease.t1_s, lease.t2_s];
  };
  assert.deepEqual(times({ leaseS: 800 }), [400, 700]);
  assert.deepEqual(times({ leaseS: 800, t1S: 100, t2S: 200 }), [100, 200]);
  assert.deepEqual(times({ leaseS: 800, t1S: 0, t2S: 0 }), [400, 700]);
  assert.deepEqual(times({ leaseS: 800, t1S: 900, t2S: 850 }), [400, 700]);
  assert.deepEqual(times({ leaseS: 800, t1S: 750 }), [400, 700], "T1 after the default T2");
  assert.deepEqual(times({ leaseS: 800, t2S: 300 }), [150, 300], "the default T1 after T2");
  assert.deepEqual(times({ leaseS: 800, t1S: 1, t2S: 2 }), [400, 700], "more often than sane");
});

Deno.test("leaseFrom() keeps routers and name servers that make sense", () => {
  const bench = new Bench().linkUp();
  const lease = leaseFrom(
    bench.replyTo(bench.message, {
      type: "ack",
      routers: ["0.0.0.0", "10.0.2.15", "10.0.2.1"],
      dns: ["127.0.0.1", "10.0.2.3", "10.0.2.3", "1.1.1.1", "9.9.9.9", "8.8.8.8"],
      netmask: null,
    }),
    "eth0",
  );
  if (typeof lease === "string") throw new Error(lease);
  assert.equal(lease.router, "10.0.2.1");
  assert.deepEqual(lease.dns, ["10.0.2.3", "1.1.1.1", "9.9.9.9"]);
  assert.equal(lease.prefix, 8, "class A");
});

Deno.test("step() survives any order of events: no throw, no spin, one address at most", () => {
  const event = fc.oneof(
    { weight: 2, arbitrary: fc.constantFrom("link_up", "link_down", "renew", "stop" as const) },
    { weight: 4, arbitrary: fc.constant("timer" as const) },
    { weight: 8, arbitrary: fc.constantFrom("offer", "ack", "nak" as const) },
    { weight: 2, arbitrary: fc.constantFrom("applied", "apply_failed", "early" as const) },
  );
  const fields = fc.record({
    address: fc.constantFrom("10.0.2.15", "10.0.2.16", "0.0.0.0"),
    server: fc.constantFrom("10.0.2.2", "10.0.2.3", null),
    leaseS: fc.constantFrom(0, 5, 60, 3600, infinite, null),
    netmask: fc.constantFrom("255.255.255.0", "255.0.255.0", null),
  });
  const schedule = fc.array(fc.tuple(event, fields, fc.nat(3000)), { maxLength: 60 });
  fc.assert(
    fc.property(schedule, fc.integer(), (steps, seed) => {
      let x = seed >>> 0;
      const bench = new Bench(() => (x = (x * 1664525 + 1013904223) >>> 0) / 2 ** 32);
      bench.applies = false;
      let on: string | null = null;
      for (const [what, reply, pause] of steps) {
        const before = bench.state;
        bench.now += pause;
        if (what === "timer") bench.now = Math.max(bench.now, dueAt(bench.state) ?? 0);
        const now = bench.now;
        if (what === "offer" || what === "ack" || what === "nak") {
          if (bench.message !== null) bench.reply({ type: what, ...reply });
        } else if (what === "applied" || what === "apply_failed") {
          const address = bench.held?.info.address ?? reply.address;
          bench.do({ type: what, now, address, reason: "EIO" });
        } else if (what === "early") bench.do({ type: "timer", now });
        else bench.do({ type: what, now, reason: "released" } as DhcpEvent);

        for (const effect of bench.effects) {
          if (effect.do === "apply") {
            assert.ok(on === null || on === effect.lease.address, "a second address on the link");
            on = effect.lease.address;
          } else if (effect.do === "withdraw") {
            assert.equal(effect.lease.address, on, "withdrawn and not there");
            on = null;
          }
        }
        assert.equal(bench.held?.info.address ?? null, on, "held is what is on the link");
        const { held } = bench.state;
        if (what === "timer" && held !== null) {
          assert.ok(now < expiryOf(held), "used after its end");
        }
        if (what === "timer" && before.name !== "stopped") {
          const due = dueAt(bench.state);
          assert.ok(due === null || due > now, `${bench.name} spins`);
        }
      }
    }),
    { numRuns: 1500 },
  );
});
