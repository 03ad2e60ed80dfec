import assert from "node:assert/strict";
import { memoryBounds } from "./memory.ts";

const MiB = 1 << 20;

Deno.test("memoryBounds() leaves the agent its working set, and a small machine half", () => {
  const left = (mib: number) => {
    const { tasks } = memoryBounds(mib * MiB);
    return Math.ceil((mib * MiB - tasks) / MiB);
  };
  assert.equal(left(4096), 615);
  assert.equal(left(512), 77);
  assert.equal(left(128), 48);
  assert.equal(left(80), 40);
});

Deno.test("memoryBounds() has one task meet its own bound before the bound of all", () => {
  for (const mib of [48, 96, 512, 65_536]) {
    const { core, tasks, task } = memoryBounds(mib * MiB);
    assert.ok(task < tasks && tasks < mib * MiB, `${mib} MiB`);
    assert.ok(core + tasks <= mib * MiB, `${mib} MiB: what is promised is there`);
  }
});
