/** Tests of timeline.tsx's chart and processes.tsx's order. */
import assert from "node:assert/strict";
import type { ProcessInfo } from "../../bus/shapes.ts";
import type { Status } from "./api.ts";
import { sortProcesses } from "./processes.tsx";
import { chartOf, stopWords } from "./timeline.tsx";

const boot = (more: Partial<Status["boot"]>) =>
  ({ kernel_ms: 1_000, ready_ms: 300, phases: [], ...more }) as Status["boot"];

Deno.test("chartOf() puts kernel, import and phases on one axis", () => {
  const { bars, total, ready } = chartOf(boot({
    phases: [
      { name: "guard", at: 100, ms: 20, ok: true },
      { name: "data", at: 300, ms: 400, ok: false, error: "no disk" },
    ],
  }));
  assert.deepEqual(bars, [
    { name: "kernel", at: 0, ms: 1_000, kind: "kernel" },
    { name: "import", at: 1_000, ms: 100, kind: "runtime" },
    { name: "guard", at: 1_100, ms: 20, kind: "phase" },
    { name: "data", at: 1_300, ms: 400, kind: "phase", error: "no disk" },
  ]);
  assert.equal(total, 1_700);
  assert.equal(ready, 1_300);
});

Deno.test("chartOf() sets a runtime that began before PID 1's first statement apart", () => {
  const { bars, ready } = chartOf(boot({
    phases: [
      { name: "runtime", at: -700, ms: 700, ok: true },
      { name: "guard", at: 40, ms: 5, ok: true },
    ],
  }));
  assert.deepEqual(bars, [
    { name: "kernel", at: 0, ms: 1_000, kind: "kernel" },
    { name: "runtime", at: 1_000, ms: 700, kind: "runtime" },
    { name: "import", at: 1_700, ms: 40, kind: "runtime" },
    { name: "guard", at: 1_740, ms: 5, kind: "phase" },
  ]);
  assert.equal(ready, 2_000);
});

Deno.test("stopWords() worries about every stop that was not asked for", () => {
  assert.deepEqual(stopWords({ kind: "clean" }), { text: "clean power-off", worrying: false });
  assert.deepEqual(stopWords({ kind: "panic", text: "Oops" }), {
    text: "kernel panic: Oops",
    worrying: true,
  });
});

Deno.test("sortProcesses() sorts by a column and keeps equals by pid", () => {
  const items = [[3, 10], [1, 30], [2, 10]].map(([pid, rss]) => ({ pid, rss }) as ProcessInfo);
  const pids = (descending: boolean) =>
    sortProcesses(items, { column: "rss", descending }).map(({ pid }) => pid);
  assert.deepEqual(pids(true), [1, 2, 3]);
  assert.deepEqual(pids(false), [2, 3, 1]);
});
