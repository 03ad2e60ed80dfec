import assert from "node:assert/strict";
import fc from "fast-check";
import { openLibc } from "./libc.ts";
import type { Handler } from "./reactor.ts";
import { BootTimers } from "./timers.ts";

/** The real timerfd; the reactor is turned by hand and the clock by the test. */
function setUp() {
  const libc = openLibc();
  let handler: Handler = () => {};
  const errors: unknown[] = [];
  const clock = { now: 0 };
  const reactor = {
    add: (fd: number, _interest: unknown, added: Handler) => {
      handler = added;
      return { fd, active: true, modify() {}, remove() {} };
    },
  };
  const timers = new BootTimers(
    libc,
    reactor,
    (_where, error) => errors.push(error),
    () => clock.now,
  );
  const ready = { read: true, write: false, priority: false, hangup: false, error: false };
  const turn = (now: number) => {
    clock.now = now;
    handler(ready);
  };
  const close = () => {
    timers.close();
    libc.close();
  };
  return { timers, turn, errors, close };
}

Deno.test("BootTimers.set() rings in order of time, never early, and clear() forgets", () => {
  fc.assert(fc.property(
    fc.array(fc.record({ ms: fc.integer({ min: 0, max: 100 }), cleared: fc.boolean() }), {
      maxLength: 60,
    }),
    (alarms) => {
      const { timers, turn, close } = setUp();
      const rung: number[] = [];
      let now = 0;
      const ids = alarms.map(({ ms }) =>
        timers.set(() => {
          assert.ok(ms <= now);
          rung.push(ms);
        }, ms)
      );
      alarms.forEach(({ cleared }, index) => cleared && timers.clear(ids[index]));
      for (now = 0; now <= 100; now += 7) turn(now);
      turn(now = 200);
      close();
      const expected = alarms.filter(({ cleared }) => !cleared).map(({ ms }) => ms);
      assert.deepEqual(rung.toSorted((a, b) => a - b), expected.toSorted((a, b) => a - b));
    },
  ));
});

Deno.test("BootTimers.set() reports a throwing alarm and rings the next", () => {
  const { timers, turn, errors, close } = setUp();
  let rang = false;
  timers.set(() => {
    throw new Error("boom");
  }, 1);
  timers.set(() => rang = true, 2);
  turn(5);
  close();
  assert.equal(errors.length, 1);
  assert.ok(rang);
});

Deno.test("BootTimers.clear() keeps no place for alarms that were cleared long before their time", () => {
  const { timers, turn, close } = setUp();
  const rung: number[] = [];
  for (let round = 0; round < 10_000; round++) {
    const id = timers.set(() => rung.push(round), 600_000 - round);
    if (round % 1000 !== 0) timers.clear(id);
  }
  assert.deepEqual([timers.size, timers.kept < 200], [10, true], `${timers.kept} kept`);
  turn(600_001);
  assert.deepEqual([timers.size, timers.kept], [0, 0]);
  close();
  assert.deepEqual(rung, [9, 8, 7, 6, 5, 4, 3, 2, 1, 0].map((thousands) => thousands * 1000));
});
