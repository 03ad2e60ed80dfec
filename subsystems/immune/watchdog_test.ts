/** When the watchdog is fed, and when it no longer is. */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import { loadZod } from "../../bus/schema.ts";
import { FakeTimers } from "../../src/child/fake_timers.ts";
import { Incidents } from "./incidents.ts";
import { Watchdog } from "./watchdog.ts";

await loadZod();

function watched(alive?: () => Promise<void>) {
  const timers = new FakeTimers();
  const bus = new Bus({
    boot: "abcdef0123456789",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
    validate: true,
  });
  const events: AnyEvent[] = [];
  bus.subscribe("incident.*", (event) => events.push(event));
  const fed: number[] = [];
  const reports: string[] = [];
  let disarmed = 0;
  let broken = false;
  const watchdog = new Watchdog({
    timers,
    incidents: new Incidents(bus, timers),
    report: (where) => reports.push(where),
    alive,
    device: {
      timeout: () => 30,
      keepAlive: () => {
        if (broken) throw new Error("EIO");
        fed.push(timers.now());
      },
      disarm: () => {
        disarmed++;
        if (broken) throw new Error("EIO");
      },
    },
  });
  return {
    timers,
    watchdog,
    events,
    fed,
    reports,
    disarmed: () => disarmed,
    breakIt: () => broken = true,
    told: () => events.map(({ type }) => type),
  };
}

Deno.test("Watchdog feeds at once and three times within the timeout", async () => {
  const { watchdog, timers, fed, events } = watched();
  watchdog.start();
  await timers.advance(35_000);
  assert.deepEqual(fed, [0, 10_000, 20_000, 30_000]);
  assert.equal(watchdog.feeding, true);
  assert.deepEqual(events, []);
});

Deno.test("Watchdog goes on after one long stall: a stopped host is no wedged core", async () => {
  const { watchdog, timers, fed, events } = watched();
  watchdog.start();
  timers.stall(100_000);
  await timers.advance(10_000);
  assert.deepEqual(fed, [0, 100_000, 110_000]);
  assert.deepEqual(events, []);
});

Deno.test("Watchdog stops feeding a loop that only just turns, and says why", async () => {
  const { watchdog, timers, fed, told, events } = watched();
  watchdog.start();
  for (let i = 0; i < 4; i++) {
    timers.stall(21_000);
    await timers.advance(0);
  }
  assert.deepEqual(fed, [0, 21_000, 42_000]);
  assert.equal(watchdog.feeding, false);
  assert.deepEqual(told(), ["incident.opened"]);
  const opened = events[0];
  assert.match(
    opened?.type === "incident.opened" ? opened.data.evidence : "",
    /^the main loop turned 11000 ms late, 3 times in a row: the watchdog is no longer fed$/,
  );
  await timers.advance(10_000);
  assert.equal(fed.length, 4, "and feeds again once the reason is gone");
  assert.deepEqual(told(), ["incident.opened", "incident.resolved"]);
});

Deno.test("Watchdog stops feeding when the core does not answer itself", async () => {
  let hung = false;
  let release = () => {};
  let asked = 0;
  const { watchdog, timers, fed, told } = watched(() => {
    asked++;
    return hung ? new Promise<void>((resolve) => release = resolve) : Promise.resolve();
  });
  watchdog.start();
  await timers.advance(20_000);
  hung = true;
  await timers.advance(30_000);
  assert.deepEqual(fed, [0, 10_000, 20_000, 30_000, 40_000, 50_000]);
  await timers.advance(30_000);
  assert.equal(fed.length, 6);
  assert.equal(asked, 3, "one question at a time");
  assert.deepEqual(told(), ["incident.opened"]);
  hung = false;
  release();
  await timers.advance(10_000);
  assert.equal(fed.length, 7);
  assert.deepEqual(told(), ["incident.opened", "incident.resolved"]);
});

Deno.test("Watchdog counts a probe that fails as no answer, and reports it", async () => {
  const { watchdog, timers, reports, told } = watched(() => Promise.reject(new Error("broken")));
  watchdog.start();
  await timers.advance(60_000);
  assert.deepEqual(told(), ["incident.opened"]);
  assert.deepEqual(reports, ["watchdog probe"]);
});

Deno.test("Watchdog.stop() disarms and feeds no more", async () => {
  const { watchdog, timers, fed, disarmed } = watched();
  watchdog.start();
  watchdog.stop();
  await timers.advance(100_000);
  assert.deepEqual([fed, disarmed(), watchdog.feeding], [[0], 1, false]);
});

Deno.test("Watchdog reports a device that fails and goes on", async () => {
  const { watchdog, timers, reports, breakIt } = watched();
  watchdog.start();
  breakIt();
  await timers.advance(20_000);
  watchdog.stop();
  assert.deepEqual(reports, ["watchdog feed", "watchdog feed", "watchdog disarm"]);
});
