import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import type {
  Address,
  Link,
  Route,
  RtListener,
  RtMessage,
  Rtnl,
} from "../../src/kernel/rtnetlink.ts";
import { RtnetlinkSensor } from "./rtnetlink.ts";

const eth0: Link = {
  index: 2,
  name: "eth0",
  hardware: 1,
  flags: 0,
  up: true,
  carrier: true,
  loopback: false,
  state: "up",
  mtu: 1500,
  mac: "52:54:00:00:00:01",
  kind: null,
  stats: null,
};
const address: Address = {
  index: 2,
  family: 4,
  address: "10.0.2.15",
  prefix: 24,
  scope: "global",
  broadcast: null,
  label: null,
  permanent: true,
  validSeconds: null,
};
const route: Route = {
  family: 4,
  destination: null,
  prefix: 0,
  gateway: "10.0.2.2",
  index: 2,
  source: null,
  metric: 0,
  table: 254,
  protocol: 16,
  scope: 0,
  type: 1,
};

/** A kernel whose tables the test changes; `listener` is what the sensor subscribed. */
class FakeRtnl {
  links = [eth0];
  addresses = [address];
  routes = [route, { ...route, table: 255 }];
  listener: RtListener | null = null;
  duringDump: (() => void) | null = null;
  subscribe(listener: RtListener) {
    this.listener = listener;
    return { close() {} };
  }
  async dumpLinks() {
    return await Promise.resolve({ ok: true as const, items: this.links });
  }
  async dumpAddrs() {
    this.duringDump?.();
    return await Promise.resolve({ ok: true as const, items: this.addresses });
  }
  async dumpRoutes() {
    return await Promise.resolve({ ok: true as const, items: this.routes });
  }
}

function setUp() {
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  const rtnl = new FakeRtnl();
  const faults: unknown[] = [];
  const sensor = new RtnetlinkSensor(
    rtnl as unknown as Rtnl,
    (_where, error) => faults.push(error),
  );
  const source = bus.source("nerve.rtnetlink", [...sensor.grants, "bus.gap"]);
  const types = () => events.splice(0).map((event) => event.type);
  return { rtnl, sensor, source, types, faults };
}

Deno.test("RtnetlinkSensor.start() publishes what is there", async () => {
  const { sensor, source, types } = setUp();
  await sensor.start(source);
  assert.deepEqual(types(), ["link.added", "link.up", "addr.added", "route.added"]);
  assert.deepEqual(sensor.links()[0]?.addresses, [{ address: "10.0.2.15", prefix: 24 }]);
  assert.deepEqual(sensor.routes(), [{
    destination: "default",
    gateway: "10.0.2.2",
    link: "eth0",
  }]);
});

Deno.test("RtnetlinkSensor turns carrier changes into link.down and link.up, once each", async () => {
  const { rtnl, sensor, source, types } = setUp();
  await sensor.start(source);
  types();
  const change = (carrier: boolean) =>
    rtnl.listener!.onMessage({ kind: "link.new", link: { ...eth0, carrier } });
  change(false);
  change(false);
  change(true);
  assert.deepEqual(types(), ["link.down", "link.up"]);
});

Deno.test("RtnetlinkSensor after an overflow says so and publishes exactly the difference", async () => {
  const { rtnl, sensor, source, types, faults } = setUp();
  await sensor.start(source);
  types();
  rtnl.addresses = [{ ...address, address: "10.0.2.16" }];
  rtnl.routes = [];
  rtnl.listener!.onOverflow();
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.deepEqual(types(), ["bus.gap", "addr.removed", "route.removed", "addr.added"]);
  assert.deepEqual(faults, []);
});

Deno.test("RtnetlinkSensor applies what changes during a dump after the dump", async () => {
  const { rtnl, sensor, source, types } = setUp();
  rtnl.duringDump = () =>
    rtnl.listener!.onMessage({ kind: "addr.new", address: { ...address, address: "10.0.2.99" } });
  await sensor.start(source);
  assert.deepEqual(types().at(-1), "addr.added");
  assert.equal(sensor.links()[0]?.addresses.length, 2);
});

/** Until every dump asked for has been answered. */
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

Deno.test("RtnetlinkSensor dumps again for what was lost while it dumped", async () => {
  const { rtnl, sensor, source, types, faults } = setUp();
  await sensor.start(source);
  types();
  rtnl.duringDump = () => {
    rtnl.duringDump = null;
    // The links are asked for already: what is lost now is in no answer of this dump. What was told
    // before the loss is older than the next one.
    rtnl.listener!.onMessage({ kind: "link.new", link: { ...eth0, carrier: true } });
    rtnl.links = [{ ...eth0, carrier: false }];
    rtnl.listener!.onOverflow();
  };
  rtnl.listener!.onOverflow();
  await settled();
  assert.deepEqual(types(), ["bus.gap", "bus.gap", "link.down"]);
  assert.equal(sensor.links()[0]?.carrier, false);
  assert.deepEqual(faults, []);
});

Deno.test("RtnetlinkSensor finds the IPv4 routes that go without a word", async () => {
  const down: RtMessage = { kind: "link.new", link: { ...eth0, up: false } };
  for (
    const [told, expected] of [
      [down, ["link.down", "route.removed"]],
      [{ kind: "addr.del", address }, ["addr.removed", "route.removed"]],
      [{ kind: "link.del", link: eth0 }, ["link.removed", "addr.removed", "route.removed"]],
    ] as [RtMessage, string[]][]
  ) {
    const { rtnl, sensor, source, types } = setUp();
    await sensor.start(source);
    types();
    rtnl.routes = [];
    if (told.kind !== "link.new") rtnl.addresses = [];
    rtnl.links = told.kind === "link.del" ? [] : told.kind === "link.new" ? [told.link] : [eth0];
    rtnl.listener!.onMessage(told);
    await settled();
    assert.deepEqual(types(), expected, told.kind);
    assert.deepEqual(sensor.routes(), []);
  }
});

Deno.test("RtnetlinkSensor asks no more than it must for a link that holds no routes", async () => {
  const { rtnl, sensor, source } = setUp();
  await sensor.start(source);
  let dumps = 0;
  rtnl.duringDump = () => dumps++;
  const eth1 = { ...eth0, index: 3, name: "eth1", up: false };
  rtnl.listener!.onMessage({ kind: "link.new", link: eth1 });
  rtnl.listener!.onMessage({ kind: "link.new", link: { ...eth0, mtu: 1400 } });
  await settled();
  assert.equal(dumps, 0);
});
