/** How long to wait before a child is started again. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Backoff, backoffMs, defaultBackoff, failuresAfter } from "./supervision.ts";

Deno.test("backoffMs() doubles from 100 ms to a minute", () => {
  const waits = [0, 1, 2, 3, 8, 9, 10, 1000].map((failures) => backoffMs(failures, 0.5));
  assert.deepEqual(waits, [100, 200, 400, 800, 25_600, 51_200, 60_000, 60_000]);
});

Deno.test("backoffMs() stays within its spread and cap for every roll", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 5000 }), fc.double({ noNaN: true }), (failures, roll) => {
      const wait = backoffMs(failures, roll);
      const base = Math.min(60_000, 100 * 2 ** Math.min(failures, 20));
      assert(wait >= Math.floor(base * 0.9) && wait <= Math.min(60_000, Math.ceil(base * 1.1)));
    }),
  );
});

Deno.test("failuresAfter() starts again after a stable minute", () => {
  assert.equal(failuresAfter(7, 59_999), 7);
  assert.equal(failuresAfter(7, 60_000), 0);
});

Deno.test("Backoff.next() grows while lives are short and resets after a long one", () => {
  const backoff = new Backoff(() => 0.5);
  assert.deepEqual([backoff.next(10), backoff.next(10), backoff.next(10)], [100, 200, 400]);
  assert.equal(backoff.failures, 3);
  assert.equal(backoff.next(defaultBackoff.stableMs), 100);
  assert.equal(backoff.next(10), 200);
});
