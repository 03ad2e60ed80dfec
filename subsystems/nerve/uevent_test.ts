import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import { Errno } from "../../src/kernel/errno.ts";
import type { Handler } from "../../src/kernel/reactor.ts";
import { fakeLibc } from "../../tests/kernel/harness.ts";
import { UeventSensor } from "./uevent.ts";

/** A sensor that is sent what the test puts into `inbox`. */
function setUp() {
  const inbox: (string | "ENOBUFS")[] = [];
  let errno = 0;
  let handler: Handler = () => {};
  const libc = fakeLibc({
    socket: () => 9,
    bind: () => 0,
    getsockname: () => 0,
    setsockopt: () => 0,
    getsockopt: () => 0,
    sendto: () => 0,
    close: () => 0,
    recvfrom: (_fd, buffer) => {
      const next = inbox.shift();
      if (next === undefined || next === "ENOBUFS") {
        errno = next === undefined ? Errno.EAGAIN : Errno.ENOBUFS;
        return -1;
      }
      return new TextEncoder().encodeInto(next, buffer as Uint8Array<ArrayBuffer>).written;
    },
  }, () => errno);
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  const sensor = new UeventSensor(libc, {
    add: (fd: number, _interest: unknown, added: Handler) => {
      handler = added;
      return { fd, active: true, modify() {}, remove() {} };
    },
  });
  sensor.start(bus.source("nerve.uevent", [...sensor.grants, "bus.gap"]));
  const ready = { read: true, write: false, priority: false, hangup: false, error: false };
  return {
    inbox,
    turn: () => handler(ready),
    told: () =>
      events.splice(0).map(({ type, data }) =>
        type === "bus.gap" ? `gap ${data.count} ${data.reason}` : type
      ),
  };
}

Deno.test("UeventSensor publishes what comes, goes and changes, and that something was lost", () => {
  const { inbox, turn, told } = setUp();
  inbox.push("add@/devices/a\0SUBSYSTEM=net\0", "ENOBUFS", "remove@/devices/a\0");
  inbox.push("change@/devices/b\0");
  turn();
  assert.deepEqual(told(), [
    "device.added",
    "gap null ENOBUFS",
    "device.removed",
    "device.changed",
  ]);
});

Deno.test("UeventSensor says once a drain how many messages were malformed, and hears the rest", () => {
  const { inbox, turn, told } = setUp();
  inbox.push("torn", "add@/devices/a\0", "add@relative\0");
  turn();
  assert.deepEqual(told(), ["device.added", "gap 2 malformed uevent"]);
  turn();
  assert.deepEqual(told(), [], "what was told is not told again");
  inbox.push("torn");
  turn();
  assert.deepEqual(told(), ["gap 1 malformed uevent"]);
});
