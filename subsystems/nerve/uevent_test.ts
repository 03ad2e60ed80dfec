import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import { FakeNetlink } from "../../tests/kernel/harness.ts";
import { UeventSensor } from "./uevent.ts";

/** A sensor on a socket that holds what the test sends. */
function setUp() {
  const netlink = new FakeNetlink();
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  const sensor = new UeventSensor(netlink.libc, netlink.reactor);
  sensor.start(bus.source("nerve.uevent", [...sensor.grants, "bus.gap"]));
  return {
    send: (...messages: string[]) =>
      netlink.inbox.push(...messages.map((message) => new TextEncoder().encode(message))),
    overflow: () => netlink.inbox.push("ENOBUFS"),
    turn: () => netlink.turn(),
    told: () =>
      events.splice(0).map(({ type, data }) =>
        type === "bus.gap" ? `gap ${data.count} ${data.reason}` : type
      ),
  };
}

Deno.test("UeventSensor publishes what comes, goes and changes, and that something was lost", () => {
  const { send, overflow, turn, told } = setUp();
  send("add@/devices/a\0SUBSYSTEM=net\0");
  overflow();
  send("remove@/devices/a\0", "change@/devices/b\0");
  turn();
  assert.deepEqual(told(), [
    "device.added",
    "gap null ENOBUFS",
    "device.removed",
    "device.changed",
  ]);
});

Deno.test("UeventSensor says once a drain how many messages were malformed, and hears the rest", () => {
  const { send, turn, told } = setUp();
  send("torn", "add@/devices/a\0", "add@relative\0");
  turn();
  assert.deepEqual(told(), ["device.added", "gap 2 malformed uevent"]);
  turn();
  assert.deepEqual(told(), [], "what was told is not told again");
  send("torn");
  turn();
  assert.deepEqual(told(), ["gap 1 malformed uevent"]);
});
