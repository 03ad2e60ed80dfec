/** The leash on blocking calls. */
import assert from "node:assert/strict";
import { BlockingCalls } from "./blocking.ts";

Deno.test("BlockingCalls.run() answers the value", async () => {
  const calls = new BlockingCalls();
  assert.deepEqual(await calls.run(() => Promise.resolve(7), 1000), { state: "done", value: 7 });
  assert.equal(calls.inFlight, 0);
});

Deno.test("BlockingCalls.run() lets go at the deadline and keeps the slot until the end", async () => {
  const calls = new BlockingCalls(1);
  const hung = Promise.withResolvers<number>();
  assert.deepEqual(await calls.run(() => hung.promise, 5), { state: "timeout" });
  assert.equal(calls.inFlight, 1);
  assert.deepEqual(await calls.run(() => Promise.resolve(1), 5), { state: "busy" });
  hung.resolve(1);
  await hung.promise;
  await Promise.resolve();
  assert.equal(calls.inFlight, 0);
});

Deno.test("BlockingCalls.run() passes a rejection on, and drops one that comes too late", async () => {
  const calls = new BlockingCalls();
  await assert.rejects(calls.run(() => Promise.reject(new Error("early")), 1000), /early/);
  const late = Promise.withResolvers<number>();
  assert.deepEqual(await calls.run(() => late.promise, 1), { state: "timeout" });
  late.reject(new Error("late"));
  await new Promise((resolve) => setTimeout(resolve, 5));
  assert.equal(calls.inFlight, 0);
});

Deno.test("BlockingCalls keeps its deadlines by the alarms it was given", async () => {
  const alarms: { run: () => void; ms: number }[] = [];
  const cleared: (number | undefined)[] = [];
  const calls = new BlockingCalls(8, {
    set: (run, ms) => alarms.push({ run, ms }),
    clear: (id) => cleared.push(id),
  });
  const outcome = calls.run(() => new Promise(() => {}), 30_000);
  assert.equal(alarms[0]?.ms, 30_000);
  alarms[0]?.run();
  assert.deepEqual(await outcome, { state: "timeout" });
  assert.deepEqual(cleared, [1]);
});
