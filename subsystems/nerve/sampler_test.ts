import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { Proc } from "../../src/kernel/proc.ts";
import type { ProcessTable } from "./process_table.ts";
import { cpuShares, Sampler, type SamplerDeps } from "./sampler.ts";

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

/** A sampler whose clock, /proc and mounts are the test's, and how to let seconds pass. */
function rig(about: Partial<SamplerDeps>) {
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  let alarm = () => {};
  const nothing = () => null;
  const sampler = new Sampler({
    proc: { meminfo: nothing, stat: nothing, loadavg: nothing, uptime: nothing } as unknown as Proc,
    table: { scan: () => Promise.resolve(), size: 0 } as unknown as ProcessTable,
    clocks: { realtime: () => 0, boottime: () => 0 },
    timers: { set: (run) => (alarm = run, 1), clear: () => {} },
    mounts: () => [],
    room: () => Promise.resolve(null),
    report: (where, error) => assert.fail(`${where}: ${error}`),
    ...about,
  });
  const settled = () => new Promise((resolve) => setTimeout(resolve, 0));
  const tick = () => {
    alarm();
    return settled();
  };
  const start = () => {
    sampler.start(bus.source("nerve.sampler", sampler.grants));
    return settled();
  };
  return { bus, sampler, start, tick };
}

Deno.test("Sampler tells a step of the wall clock from a machine that stood still", async () => {
  let [wall, boot, pause] = [1e15, 5e6, 0];
  const clocks = {
    realtime: () => {
      const now = wall;
      // Stopped by its host right after the reading.
      wall += pause;
      boot += pause;
      pause = 0;
      return now;
    },
    boottime: () => boot,
  };
  const { bus, sampler, start, tick } = rig({ clocks });
  const steps: number[] = [];
  bus.subscribe("clock.stepped", (event) => {
    if (event.type === "clock.stepped") steps.push(event.data.by_ms);
  });
  const second = () => {
    wall += 1e6;
    boot += 1e6;
    return tick();
  };
  await start();
  await second();
  pause = 2e6;
  await second();
  await second();
  assert.deepEqual(steps, []);
  wall -= 3e6;
  await second();
  await second();
  assert.deepEqual(steps, [-3000]);
  sampler.stop();
});

Deno.test("Sampler measures a file system at once when it is mounted, else every fifth time", async () => {
  let mounts = ["/"];
  const asked: string[] = [];
  const { sampler, start, tick } = rig({
    mounts: () => mounts,
    room: (mount) => {
      asked.push(mount);
      return Promise.resolve({ total: 2, free: 1, inodes: 2, inodesFree: 1 });
    },
  });
  await start();
  await tick();
  assert.deepEqual(asked.splice(0), ["/"]);
  mounts = ["/", "/data"];
  await tick();
  assert.deepEqual(asked.splice(0), ["/", "/data"]);
  await tick();
  await tick();
  assert.deepEqual(asked.splice(0), []);
  await tick();
  assert.deepEqual(asked.splice(0), ["/", "/data"]);
  sampler.stop();
});
