import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import { Errno } from "../../src/kernel/errno.ts";
import type { Handler } from "../../src/kernel/reactor.ts";
import { fakeLibc } from "../../tests/kernel/harness.ts";
import { KmsgSensor } from "./kmsg.ts";

/** A sensor whose kernel logs what the test puts into `log`, a record each. */
function setUp() {
  const log: string[] = [];
  let handler: Handler = () => {};
  const libc = fakeLibc({
    open: () => 9,
    lseek: () => 0,
    close: () => 0,
    read: (_fd, buffer) => {
      const next = log.shift();
      if (next === undefined) return -1;
      return new TextEncoder().encodeInto(next, buffer as Uint8Array<ArrayBuffer>).written;
    },
  }, () => Errno.EAGAIN);
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  const started: number[] = [];
  const sensor = new KmsgSensor(libc, {
    add: (fd: number, _interest: unknown, added: Handler) => {
      handler = added;
      return { fd, active: true, modify() {}, remove() {} };
    },
  }, (monotonicUs) => started.push(monotonicUs));
  sensor.start(bus.source("nerve.kmsg", [...sensor.grants, "bus.gap"]));
  const ready = { read: true, write: false, priority: false, hangup: false, error: false };
  return {
    log,
    started,
    turn: () => handler(ready),
    told: () =>
      events.splice(0).map((event) =>
        event.type === "bus.gap"
          ? `gap ${event.data.count} ${event.data.reason}`
          : event.type === "kernel.logged"
          ? event.data.text
          : event.type
      ),
  };
}

Deno.test("KmsgSensor publishes the log, what was overwritten of it, and when PID 1 began", () => {
  const { log, started, turn, told } = setUp();
  log.push("6,0,10,-;Linux", "6,1,20,-;Run /bin/deno as init process", "6,5,30,-;later");
  turn();
  assert.deepEqual(told(), [
    "Linux",
    "Run /bin/deno as init process",
    "gap 3 kernel log overrun",
    "later",
  ]);
  assert.deepEqual(started, [20]);
});

Deno.test("KmsgSensor says once a drain how many records were malformed, and hears the rest", () => {
  const { log, turn, told } = setUp();
  log.push("6,0,10,-;a", "torn", "6,2,30,-;b", "torn");
  turn();
  assert.deepEqual(told(), ["a", "b", "gap 2 malformed kernel log record"]);
  log.push("6,4,50,-;c");
  turn();
  assert.deepEqual(told(), ["c"], "what was told is not told again");
});
