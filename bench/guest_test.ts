import assert from "node:assert/strict";
import { type Boot, split, type Status } from "./guest.ts";

const phase = (name: string, at: number, ms: number, ok = true) => ({ name, at, ms, ok });

/** PID 1's first statement at 900 ms of the machine's clock, ready 300 ms later. */
const status: Status = {
  boot: {
    phases: [
      phase("runtime", -500, 500),
      phase("guard", 100, 20),
      phase("network", 130, 60),
      phase("ready", 290, 5),
      phase("data", 320, 400, false),
    ],
    ready_ms: 300,
    kernel_ms: 400,
  },
};
const ready = { atMs: 1350, data: { kernel_ms: 900, ms: 300 } };

function sum(boot: Boot): number {
  const { firmware, kernel, runtime, load, phases, lease, answer } = boot;
  return firmware + kernel + runtime + load + lease + answer +
    Object.values(phases).reduce((total, ms) => total + ms, 0);
}

Deno.test("split() gives parts that add up to the total", () => {
  const boot = split(1500, ready, 1250, status);
  assert.equal(sum(boot), 1500);
  assert.deepEqual(boot, {
    total: 1500,
    firmware: 150,
    kernel: 400,
    runtime: 500,
    load: 100,
    phases: { guard: 30, network: 160, ready: 10 },
    lease: 0,
    answer: 150,
  });
});

Deno.test("split() tells a lease that came after ready apart from the answer", () => {
  const boot = split(1500, ready, 1420, status);
  assert.equal(boot.lease, 70);
  assert.equal(boot.answer, 80);
  assert.equal(sum(boot), 1500);
});

Deno.test("split() refuses a boot with a failed phase before ready, and only before", () => {
  const { boot } = status;
  const failed = boot.phases.map((one) => one.name === "network" ? { ...one, ok: false } : one);
  assert.throws(
    () => split(1500, ready, 1250, { boot: { ...boot, phases: failed } }),
    /network: failed/,
  );
});
