/** Running commands for real. */
import assert from "node:assert/strict";
import type { Principal } from "../../bus/gate.ts";
import { schema } from "../../bus/schema.ts";
import { type ExecResult, execResult } from "../../bus/shapes.ts";
import { execArgs } from "../../bus/shapes.ts";
import {
  FakeGroups,
  isThere,
  needGroups,
  rig,
  testNeeding,
  withGroups,
} from "../../src/child/testing.ts";
import type { TaskGroups } from "../../src/child/spawn.ts";
import type { ActResult } from "./act.ts";
import { execAct } from "./exec.ts";

const principal: Principal = { id: "t", kind: "human", lineage: "t", scopes: [] };
let serial = 0;

async function exec(
  args: Record<string, unknown>,
  { groups, signal, on = rig() }: {
    groups?: TaskGroups | null;
    signal?: AbortSignal;
    on?: ReturnType<typeof rig>;
  } = {},
): Promise<ActResult> {
  const { spawner, timers, report } = on;
  const act = execAct({ spawner, groups: groups ?? null, timers, report });
  const parsed = (await schema(execArgs)).parse(args);
  const action = `t-${++serial}`;
  const result = await act.run(parsed, { action, principal, cause: 1, signal });
  assert.deepEqual(on.reports, []);
  assert.equal(on.own.size, 0);
  return result;
}

async function ran(
  args: Record<string, unknown>,
  options?: Parameters<typeof exec>[1],
): Promise<ExecResult & { ok: boolean; summary: string }> {
  const done = await exec(args, options);
  assert(done.status === "done", JSON.stringify(done));
  const result = done.result as ExecResult;
  (await schema(execResult)).parse(result);
  return { ...result, ok: done.ok, summary: done.summary };
}

const sh = (script: string) => ["/bin/busybox", "sh", "-c", script];

Deno.test("exec.run answers output, code and summary", async () => {
  const groups = new FakeGroups();
  const result = await ran({ argv: sh("echo out; echo err >&2; exit 3") }, { groups });
  assert.equal(result.stdout, "out\n");
  assert.equal(result.stderr, "err\n");
  assert.deepEqual([result.code, result.signal, result.timed_out], [3, null, false]);
  assert.deepEqual(result.truncated, { stdout: 0, stderr: 0 });
  assert.equal(result.ok, false);
  assert.match(result.summary, /: exit 3$/);
  assert.deepEqual(groups.made, [`act-${result.action}`]);
  assert.deepEqual(groups.removed, groups.made);
  assert.deepEqual(groups.pids, [result.pid]);
});

Deno.test("exec.run answers the name of the signal", async () => {
  const result = await ran({ argv: sh("kill -KILL $$") });
  assert.deepEqual([result.code, result.signal, result.ok], [null, "SIGKILL", false]);
});

Deno.test("exec.run takes environment, directory and stdin", async () => {
  const result = await ran({
    argv: sh("pwd; echo $A; echo $HOME; cat"),
    env: { A: "b" },
    cwd: "/tmp",
    stdin: "in ü",
  });
  assert.equal(result.stdout, "/tmp\nb\n/\nin ü");
});

Deno.test("exec.run stops at its timeout and says so", async () => {
  const result = await ran({ argv: ["/bin/busybox", "sleep", "100"], timeout_ms: 50 });
  assert.deepEqual([result.timed_out, result.code, result.signal], [true, null, "SIGTERM"]);
  assert.match(result.summary, /stopped after 50 ms$/);
});

Deno.test("exec.run stops when its caller goes away", async () => {
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 20);
  const result = await ran({ argv: ["/bin/busybox", "sleep", "100"] }, {
    signal: controller.signal,
  });
  assert.equal(result.timed_out, false);
  assert.match(result.summary, /its caller went away$/);
});

Deno.test("exec.run cuts each stream at 256 KiB and counts the rest", async () => {
  const result = await ran({ argv: ["/bin/busybox", "head", "-c", "300000", "/dev/zero"] });
  assert.equal(result.stdout.length, 262_144);
  assert.equal(result.truncated.stdout, 300_000 - 262_144);
});

Deno.test("exec.run refuses what cannot be started, and leaves no group", async () => {
  const groups = new FakeGroups();
  const missing = await exec({ argv: ["no-such-program"] }, { groups });
  assert.deepEqual(missing, { status: "failed", reason: 'exec "no-such-program": ENOENT' });
  assert.deepEqual(groups.removed, groups.made);
  groups.failing.create = "ENOSPC";
  const full = await exec({ argv: ["true"] }, { groups });
  assert(full.status === "failed");
  assert.match(full.reason, /^cgroup "act-t-\d+": ENOSPC$/);
});

testNeeding(needGroups, "exec.run leaves nothing running and no group behind", async () => {
  const on = rig();
  await withGroups(on, async (groups, directory) => {
    const result = await ran({
      argv: sh("setsid sh -c 'trap \"\" TERM; sleep 100' & sleep 7 & echo $!"),
    }, { groups, on });
    assert(result.ms < 2000);
    assert.equal(isThere(Number(result.stdout)), false);
    const many = Array.from(
      { length: 40 },
      (_, i) => ran({ argv: sh(`echo ${i}`) }, { groups, on: rig() }),
    );
    const outputs = (await Promise.all(many)).map(({ stdout }) => stdout);
    assert.deepEqual(outputs, outputs.map((_, i) => `${i}\n`));
    assert.deepEqual([...Deno.readDirSync(directory)].filter((entry) => entry.isDirectory), []);
  });
});
