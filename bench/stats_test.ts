import assert from "node:assert/strict";
import { median, spread } from "./stats.ts";

Deno.test("median() is the middle of an odd count, in any order", () => {
  assert.equal(median([9]), 9);
  assert.equal(median([5, 1, 3]), 3);
});

Deno.test("median() is the mean of the two middle readings of an even count", () => {
  assert.equal(median([4, 1, 3, 2]), 2.5);
});

Deno.test("median() compares numbers, not text", () => {
  assert.equal(median([100, 9, 20]), 20);
});

Deno.test("median() leaves its readings as they were", () => {
  const readings = [3, 1, 2];
  median(readings);
  assert.deepEqual(readings, [3, 1, 2]);
});

Deno.test("median() of nothing throws", () => {
  assert.throws(() => median([]), RangeError);
});

Deno.test("spread() gives median, extremes and count", () => {
  assert.deepEqual(spread([2, 8, 4, 900]), { median: 6, min: 2, max: 900, count: 4 });
});
