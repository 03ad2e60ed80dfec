/** Alarms, real and fake, and the deadlines made of them. */
import assert from "node:assert/strict";
import { FakeTimers } from "./fake_timers.ts";
import { deadlineFor, late, realTimers, sleep, within } from "./timers.ts";

Deno.test("realTimers() reports what a callback throws and goes on", async () => {
  const reports: unknown[] = [];
  const timers = realTimers((where, error) => reports.push([where, (error as Error).message]));
  timers.set(() => {
    throw new Error("boom");
  }, 1);
  timers.clear(timers.set(() => reports.push("cleared"), 1));
  await sleep(timers, 10);
  assert.deepEqual(reports, [["timer", "boom"]]);
});

Deno.test("within() answers the value, late, or the rejection, and leaves no alarm", async () => {
  const timers = new FakeTimers();
  assert.equal(await within(timers, 10, Promise.resolve(7)), 7);
  await assert.rejects(within(timers, 10, Promise.reject(new Error("no"))), /no/);
  const never = within(timers, 10, new Promise<number>(() => {}));
  await timers.advance(10);
  assert.equal(await never, late);
  assert.equal(timers.pending, 0);
});

Deno.test("deadlineFor() rings on time when this process ran on time", async () => {
  const timers = new FakeTimers();
  let rung = 0;
  deadlineFor(timers, 1000, () => rung++);
  await timers.advance(999);
  assert.equal(rung, 0);
  await timers.advance(1);
  assert.equal(rung, 1);
});

Deno.test("deadlineFor() puts itself off once when this process was held up", async () => {
  const timers = new FakeTimers();
  let rung = 0;
  const cancel = deadlineFor(timers, 1000, () => rung++);
  timers.stall(1500);
  await timers.advance(0);
  assert.equal(rung, 0, "the answer may lie unread");
  await timers.advance(499);
  assert.equal(rung, 0);
  await timers.advance(1);
  assert.equal(rung, 1);
  cancel();
  const second = deadlineFor(timers, 1000, () => rung++);
  timers.stall(60_000);
  await timers.advance(0);
  second();
  await timers.advance(10_000);
  assert.equal(rung, 1, "cancelled while put off");
});

Deno.test("FakeTimers.advance() rings in the order of due times", async () => {
  const timers = new FakeTimers();
  const rung: number[] = [];
  timers.set(() => rung.push(2), 20);
  timers.set(() => {
    rung.push(1);
    timers.set(() => rung.push(3), 15);
  }, 10);
  assert.equal(timers.next, 10);
  await timers.advance(30);
  assert.deepEqual(rung, [1, 2, 3]);
  assert.equal(timers.next, null);
});
