/** Pressure. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, Script } from "../../tests/kernel/harness.ts";
import { parsePressure, PressureTrigger } from "./psi.ts";

Deno.test("parsePressure() reads both lines, and some alone", () => {
  const some = "some avg10=1.50 avg60=0.25 avg300=0.00 total=12345\n";
  assert.deepEqual(parsePressure(some), {
    some: { avg10: 1.5, avg60: 0.25, avg300: 0, totalUs: 12345 },
    full: null,
  });
  const both = parsePressure(`${some}full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n`);
  assert.equal(both?.full?.totalUs, 7);
  assert.equal(parsePressure("full avg10=0.00 avg60=0.00 avg300=0.00 total=7\n"), null);
  holds(fc.property(fc.string(), (text) => {
    parsePressure(text);
  }));
});

Deno.test("PressureTrigger writes the threshold with its NUL, and closes itself when refused", () => {
  const script = new Script();
  const closed = new Script();
  const libc = fakeLibc(
    { open: () => 9, write: script.fn(18, "EINVAL"), close: closed.fn(0) },
    script.errno,
  );
  const threshold = { kind: "some", stallUs: 50_000, windowUs: 500_000 } as const;
  const trigger = new PressureTrigger(libc, "/proc/pressure/memory", threshold);
  assert.deepEqual(script.calls[0]?.[1], new TextEncoder().encode("some 50000 500000\0"));
  trigger.close();
  trigger.close();
  assert.equal(closed.calls.length, 1);
  assert.throws(() => new PressureTrigger(libc, "/proc/pressure/memory", threshold), {
    message: 'write "some 50000 500000" to /proc/pressure/memory: EINVAL',
  });
  assert.equal(closed.calls.length, 2);
});
