/** So many a second, with a burst. */
import assert from "node:assert/strict";
import { TokenBucket } from "./rate.ts";

Deno.test("TokenBucket.take() allows the burst, then the rate", () => {
  let now = 0;
  const bucket = new TokenBucket(10, 3, () => now);
  assert.deepEqual([1, 2, 3, 4].map(() => bucket.take()), [true, true, true, false]);
  now = 99;
  assert.equal(bucket.take(), false);
  now = 201;
  assert.deepEqual([bucket.take(), bucket.take(), bucket.take()], [true, true, false]);
  now = 1e9;
  assert.deepEqual([1, 2, 3, 4].map(() => bucket.take()), [true, true, true, false]);
});

Deno.test("TokenBucket.take() gives nothing back for a clock that went backwards", () => {
  let now = 1000;
  const bucket = new TokenBucket(10, 1, () => now);
  assert.equal(bucket.take(), true);
  now = 0;
  assert.equal(bucket.take(), false);
  now = 99;
  assert.equal(bucket.take(), false);
});
