import assert from "node:assert/strict";
import { Bus } from "../bus/bus.ts";
import type { AnyEvent } from "../bus/envelope.ts";
import type { Spawner } from "./child/spawn.ts";
import { FakeGroups, rig } from "./child/testing.ts";
import { parseTap, runSelftest, TapReader } from "./selftest.ts";

Deno.test("parseTap() reads results and nothing else", () => {
  assert.deepEqual(parseTap("ok 1 - Reaper: 0 zombies"), {
    ok: true,
    name: "Reaper: 0 zombies",
    skipped: false,
  });
  assert.deepEqual(parseTap("not ok 2 - x \\# y"), { ok: false, name: "x # y", skipped: false });
  assert.deepEqual(parseTap("ok 3 - later # SKIP"), { ok: true, name: "later", skipped: true });
  for (const line of ["TAP version 14", "# running 1 test", "1..3", "", "okay 1 - x", "  ---"]) {
    assert.equal(parseTap(line), null);
  }
});

Deno.test("TapReader hands a failed test what is said below it, and no other", () => {
  const results: [string, boolean, string][] = [];
  const tap = new TapReader(({ name, ok }, detail) => results.push([name, ok, detail]));
  const block = ["  ---", '  {"message":"Error: on purpose"}', "  ..."];
  for (
    const line of ["TAP version 14", "ok 1 - a", "not ok 2 - b", ...block, "# x.js", "ok 3 - c"]
  ) {
    tap.line(line);
  }
  for (const line of ["not ok 4 - d", "why", "1..4"]) tap.line(line);
  assert.equal(tap.end(), "why\n1..4");
  assert.deepEqual(results, [
    ["a", true, ""],
    ["b", false, '---\n  {"message":"Error: on purpose"}\n  ...'],
    ["c", true, ""],
    ["d", false, "why\n1..4"],
  ]);
});

/** Runs a disk with one test file on it; the runtime of the image is what `spawn` makes of it. */
async function selftest(spawn: Spawner["spawn"], { timers, report }: ReturnType<typeof rig>) {
  const folder = await Deno.makeTempDir({ prefix: "osym-selftest-" });
  await Deno.writeTextFile(`${folder}/a_test.js`, "");
  await Deno.writeTextFile(`${folder}/notes.txt`, "");
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  const groups = new FakeGroups();
  const source = bus.source("selftest", ["selftest.*"]);
  try {
    await runSelftest(folder, { source, spawner: { spawn }, groups, timers, report });
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
  return { groups, told: events.map(({ type, data }) => ({ type, ...data })) };
}

Deno.test("runSelftest() reports each result, and releases its control group", async () => {
  const on = rig();
  const argv = ["/bin/busybox", "sh", "-c", "echo ok 1 - a; echo not ok 2 - b; echo why; exit 1"];
  const { groups, told } = await selftest(
    (request) => on.spawner.spawn({ ...request, argv }),
    on,
  );
  assert.deepEqual(told, [
    { type: "selftest.started", files: 1 },
    { type: "selftest.reported", name: "a", ok: true },
    { type: "selftest.reported", name: "b", ok: false, detail: "why" },
    { type: "selftest.finished", passed: 1, failed: 1, ignored: 0, code: 1 },
  ]);
  assert.equal(groups.pids.length, 1, "it ran in the group");
  assert.deepEqual([groups.made, groups.removed], [["selftest"], ["selftest"]]);
  assert.deepEqual(on.reports, []);
});

Deno.test("runSelftest() that can not start is a failed one, and releases its control group", async () => {
  const on = rig();
  const argv = ["/nowhere/deno"];
  const { groups, told } = await selftest(
    (request) => on.spawner.spawn({ ...request, argv }),
    on,
  );
  assert.deepEqual(told.map(({ type }) => type), [
    "selftest.started",
    "selftest.reported",
    "selftest.finished",
  ]);
  assert.match(JSON.stringify(told[1]), /\/nowhere\/deno.*ENOENT|ENOENT.*\/nowhere\/deno/);
  assert.deepEqual([groups.made, groups.removed], [["selftest"], ["selftest"]]);
  assert.deepEqual(on.reports, []);
});
