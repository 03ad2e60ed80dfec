/** The reflex that gets a lost lease back, on a clock that a test moves. */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import type { ActOutcome } from "../../bus/machine.ts";
import type { LeaseInfo } from "../../bus/shapes.ts";
import { loadZod } from "../../bus/schema.ts";
import { FakeTimers, settle } from "../../src/child/fake_timers.ts";
import { Incidents } from "./incidents.ts";
import { LeaseReflex } from "./lease.ts";
import { immune } from "./principal.ts";
import { allows } from "../../bus/scopes.ts";

await loadZod();

function reflexOn(leases: { link: string; address: string }[] = []) {
  const timers = new FakeTimers();
  const bus = new Bus({
    boot: "abcdef0123456789",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
    validate: true,
  });
  const events: AnyEvent[] = [];
  bus.subscribe("incident.*", (event) => events.push(event));
  const net = bus.source("net", ["addr.*", "link.*"]);
  const acts: { at: number; args: unknown; cause: number | undefined; principal: string }[] = [];
  const reports: string[] = [];
  /** What a renewal does: nothing that helps, until a test says otherwise. */
  const network: { renew: () => ActOutcome | Promise<ActOutcome> } = {
    renew: () => ({ status: "failed", action: "a", reason: "no answer" }),
  };
  const reflex = new LeaseReflex({
    bus,
    incidents: new Incidents(bus, timers),
    timers,
    report: (where, error) => reports.push(`${where}: ${error}`),
    random: () => 0.5,
    leases: () => leases,
    hands: {
      act: async (principal, kind, args, about) => {
        assert.equal(kind, "network.renew");
        acts.push({ at: timers.now(), args, cause: about?.cause, principal: principal.id });
        return await network.renew();
      },
    },
  });
  reflex.start();
  reflex.start();
  const lease: LeaseInfo = {
    link: "eth0",
    address: "10.0.2.15",
    prefix: 24,
    dns: [],
    server: "10.0.2.2",
    lease_s: 60,
    t1_s: 30,
    t2_s: 50,
  };
  const done: ActOutcome = { status: "done", action: "a", result: null };
  return {
    timers,
    reflex,
    acts,
    events,
    reports,
    network,
    net,
    done,
    leased: (link = "eth0", address = lease.address) =>
      net.publish("addr.leased", { ...lease, link, address }),
    lost: (link = "eth0") =>
      net.publish("addr.lease_lost", { link, address: lease.address, reason: "NAK" }),
    address: (type: "addr.added" | "addr.removed", address = lease.address, link = "eth0") =>
      net.publish(type, { index: 2, link, address, prefix: 24 }),
    link: (type: "link.up" | "link.down" | "link.removed") =>
      net.publish(type, { index: 2, link: "eth0" }),
    told: () => events.map((event) => event.type.split(".")[1]),
    kinds: () =>
      events.flatMap((event) => event.type === "incident.opened" ? [event.data.kind] : []),
  };
}

Deno.test("LeaseReflex renews a lost lease and tells how it ended", async () => {
  const on = reflexOn();
  on.leased();
  on.network.renew = () => {
    on.leased("eth0", "10.0.2.16");
    return on.done;
  };
  const { seq } = on.lost();
  await settle();
  assert.deepEqual(on.told(), ["opened", "remedied", "resolved"]);
  assert.equal(on.events[0]?.cause, seq);
  assert.deepEqual(on.acts, [{
    at: 0,
    args: { link: "eth0" },
    cause: on.events[0]?.seq,
    principal: "immune",
  }]);
  const [opened, remedied] = on.events;
  assert.equal(
    opened?.type === "incident.opened" && opened.data.evidence,
    "eth0 lost its lease of 10.0.2.15: NAK",
  );
  assert.equal(remedied?.type === "incident.remedied" && remedied.data.result, "renewed");
  assert.equal(on.timers.pending, 0);
});

Deno.test("LeaseReflex.start() knows of the lease that came before it listened", async () => {
  const on = reflexOn([{ link: "eth0", address: "10.0.2.15" }]);
  on.network.renew = () => {
    on.leased();
    return on.done;
  };
  on.address("addr.removed");
  await on.timers.advance(1000);
  await settle();
  assert.deepEqual(on.kinds(), ["address.removed"]);
  assert.deepEqual(on.told(), ["opened", "remedied", "resolved"]);
});

Deno.test("LeaseReflex holds the scope for the one act it proposes", () => {
  assert.equal(allows(immune.scopes, "shell:network:renew"), true);
  assert.equal(allows(immune.scopes, "shell:exec:exec"), false);
  assert.equal(allows(immune.scopes, "shell:power:off"), false);
});

Deno.test("LeaseReflex retries with backoff, gives up, and still sees the end", async () => {
  const on = reflexOn();
  on.leased();
  on.lost();
  await on.timers.advance(3_600_000);
  assert.deepEqual(on.acts.map(({ at }) => at), [
    ...[0, 1000, 3000, 7000, 15_000, 31_000, 63_000],
    ...[123_000, 183_000],
  ]);
  const last = on.events.at(-1);
  assert.equal(
    last?.type === "incident.remedied" && last.data.result,
    "gave up after 9 tries; waiting for a lease",
  );
  assert.equal(on.timers.pending, 0);
  on.leased();
  assert.equal(on.told().at(-1), "resolved");
  assert.equal(on.told().filter((what) => what === "opened").length, 1);
});

Deno.test("LeaseReflex stops retrying once a lease comes by itself", async () => {
  const on = reflexOn();
  on.leased();
  on.lost();
  await on.timers.advance(500);
  on.leased();
  assert.deepEqual(on.told(), ["opened", "remedied", "resolved"]);
  await on.timers.advance(600_000);
  assert.equal(on.acts.length, 1);
});

Deno.test("LeaseReflex renews an address that was taken off, but not one that was replaced", async () => {
  const on = reflexOn();
  on.leased();
  on.address("addr.removed", "192.168.0.9");
  on.address("addr.removed");
  await on.timers.advance(100);
  on.address("addr.added");
  await on.timers.advance(1000);
  assert.deepEqual(on.kinds(), [], "put back");
  on.address("addr.removed");
  on.leased("eth0", "10.0.2.99");
  await on.timers.advance(1000);
  assert.deepEqual(on.kinds(), [], "replaced");
  on.address("addr.removed", "10.0.2.99");
  await on.timers.advance(299);
  assert.deepEqual(on.kinds(), []);
  await on.timers.advance(1);
  assert.deepEqual(on.kinds(), ["address.removed"]);
  assert.equal(on.acts.length, 1);
});

Deno.test("LeaseReflex asks again when a carrier that went comes back", async () => {
  const on = reflexOn();
  on.link("link.up");
  await settle();
  assert.equal(on.acts.length, 0, "a link without a lease is the DHCP client's");
  on.leased();
  on.link("link.up");
  await settle();
  assert.equal(on.acts.length, 0, "it never went");
  on.link("link.down");
  on.network.renew = () => {
    on.leased();
    return on.done;
  };
  on.link("link.up");
  await settle();
  assert.deepEqual(on.kinds(), ["link.returned"]);
  assert.deepEqual(on.told(), ["opened", "remedied", "resolved"]);
});

Deno.test("LeaseReflex tries at once when the link of an open incident comes up", async () => {
  const on = reflexOn();
  on.leased();
  on.lost();
  await on.timers.advance(100_000);
  const before = on.acts.length;
  on.link("link.down");
  on.link("link.up");
  await settle();
  assert.equal(on.acts.length, before + 1);
  assert.deepEqual(on.kinds(), ["lease.lost"]);
});

Deno.test("LeaseReflex keeps links apart and one incident a link", async () => {
  const on = reflexOn();
  on.leased("eth0");
  on.leased("eth1");
  on.lost("eth0");
  on.lost("eth0");
  on.lost("eth1");
  await settle();
  assert.equal(on.kinds().length, 2);
  on.leased("eth1");
  assert.equal(on.told().filter((what) => what === "resolved").length, 1);
  on.net.publish("link.removed", { index: 2, link: "eth0" });
  assert.equal(on.told().filter((what) => what === "resolved").length, 2);
  await on.timers.advance(600_000);
  assert.equal(on.timers.pending, 0);
});

Deno.test("LeaseReflex renews nothing on a link whose removal was told before its lease's end", async () => {
  const on = reflexOn();
  on.leased();
  on.link("link.removed");
  on.lost();
  await on.timers.advance(600_000);
  assert.deepEqual([on.kinds(), on.acts], [[], []]);
});

Deno.test("LeaseReflex goes on when the lease is lost again during its renewal", async () => {
  const on = reflexOn();
  on.leased();
  on.network.renew = () => {
    on.leased();
    on.lost();
    return on.done;
  };
  on.lost();
  await settle();
  assert.deepEqual(on.told(), ["opened", "remedied"], "not resolved by a lease that went again");
  on.network.renew = () => {
    on.leased();
    return on.done;
  };
  await on.timers.advance(1000);
  assert.equal(on.told().at(-1), "resolved");
});

Deno.test("LeaseReflex survives hands that fail in every way", async () => {
  const on = reflexOn();
  on.leased();
  const outcomes: ActOutcome[] = [
    { status: "denied", action: "a", reason: "no scope" },
    { status: "invalid", faults: ["link: too long"] },
    { status: "conflict", reason: "busy" },
    { status: "not_found", reason: "no such link" },
  ];
  on.network.renew = () => outcomes.shift() ?? Promise.reject(new Error("hands broke"));
  on.lost();
  await on.timers.advance(600_000);
  const results = on.events.flatMap((event) =>
    event.type === "incident.remedied" ? [event.data.result] : []
  );
  assert.deepEqual(results, [
    "denied: no scope",
    "link: too long",
    "conflict: busy",
    "not_found: no such link",
  ]);
  assert.deepEqual(on.reports, ["renew eth0: Error: hands broke"]);
  on.reflex.stop();
  on.lost();
  await on.timers.advance(600_000);
  assert.equal(on.kinds().length, 1);
});
