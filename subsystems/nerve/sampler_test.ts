import assert from "node:assert/strict";
import { cpuShares } from "./sampler.ts";

const zero = { user: 0, nice: 0, system: 0, idle: 0, iowait: 0, irq: 0, softirq: 0, steal: 0 };

Deno.test("cpuShares() splits the time between two readings", () => {
  const before = { ...zero, user: 100, idle: 900 };
  const now = {
    ...zero,
    user: 130,
    nice: 10,
    system: 20,
    irq: 5,
    softirq: 5,
    iowait: 30,
    idle: 1000,
  };
  assert.deepEqual(cpuShares(before, now), { busy: 0.35, user: 0.2, system: 0.15, iowait: 0.15 });
});

Deno.test("cpuShares() answers zeros when no time has passed or a counter went back", () => {
  assert.deepEqual(cpuShares(zero, zero), { busy: 0, user: 0, system: 0, iowait: 0 });
  const back = cpuShares({ ...zero, iowait: 50, idle: 10 }, { ...zero, iowait: 40, idle: 20 });
  assert.deepEqual(back, { busy: 0, user: 0, system: 0, iowait: 0 });
});
