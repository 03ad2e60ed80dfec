/** Clocks, limits and names. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import { Clocks } from "./clock.ts";
import { openLibc } from "./libc.ts";

Deno.test("Clocks answer microseconds that agree with this runtime", () => {
  const clocks = new Clocks(openLibc());
  assert.ok(Math.abs(clocks.realtime() / 1000 - Date.now()) < 100);
  const first = clocks.monotonic();
  assert.ok(Number.isInteger(first) && clocks.monotonic() >= first);
  assert.ok(clocks.boottime() >= first);
});

Deno.test("Clocks.read() is exact past 2^32 seconds and before 1970", () => {
  const at = (seconds: bigint, nanoseconds: bigint) => {
    const libc = fakeLibc({
      clock_gettime: (_clock, spec) => {
        const view = new DataView((spec as Uint8Array<ArrayBuffer>).buffer);
        view.setBigInt64(0, seconds, true);
        view.setBigInt64(8, nanoseconds, true);
        return 0;
      },
      clock_settime: () => 0,
    });
    return new Clocks(libc).read("realtime");
  };
  assert.equal(at(5_000_000_000n, 999_999_999n), 5_000_000_000_999_999);
  assert.equal(at(-1n, 500_000_000n), -500_000);
});

Deno.test("Clocks.setRealtime() splits microseconds", () => {
  const script = new Script();
  const libc = fakeLibc(
    { clock_gettime: () => 0, clock_settime: script.fn(0, "EPERM") },
    script.errno,
  );
  const clocks = new Clocks(libc);
  clocks.setRealtime(1_700_000_000_123_456);
  const view = new DataView((script.calls[0]?.[1] as Uint8Array<ArrayBuffer>).buffer);
  assert.deepEqual([view.getBigInt64(0, true), view.getBigInt64(8, true)], [
    1_700_000_000n,
    123_456_000n,
  ]);
  assert.throws(() => clocks.setRealtime(1), { message: "clock_settime realtime 1 µs: EPERM" });
});
