/** One child from its start to its end. */
import assert from "node:assert/strict";
import { capturedText, type RunOptions, runToEnd } from "./run.ts";
import type { SpawnRequest } from "./spawn.ts";
import { isThere, needGroups, rig, testNeeding, withGroups } from "./testing.ts";

const sh = (script: string) => ["/bin/busybox", "sh", "-c", script];

async function run(
  request: SpawnRequest,
  options: Partial<RunOptions> = {},
  on = rig(),
) {
  const spawned = await on.spawner.spawn(request);
  assert(spawned.ok);
  const { timers, report } = on;
  const ended = await runToEnd(spawned.child, {
    timers,
    report,
    timeoutMs: 10_000,
    maxBytes: 65_536,
    ...options,
  });
  assert.deepEqual(on.reports, []);
  assert.equal(on.own.size, 0);
  return { ...ended, out: capturedText(ended.stdout), err: capturedText(ended.stderr) };
}

Deno.test("runToEnd() answers both streams and the exit", async () => {
  const ended = await run({ argv: sh("echo out; echo err >&2; exit 3") });
  assert.equal(ended.out, "out\n");
  assert.equal(ended.err, "err\n");
  assert.deepEqual(ended.exit, { code: 3, signal: null });
  assert.equal(ended.stopped, null);
});

Deno.test("runToEnd() does not wait for what was put into the background", async () => {
  const ended = await run({ argv: sh("sleep 7 & echo hi; echo $!") });
  const [hi, pid] = ended.out.split("\n");
  assert.equal(hi, "hi");
  assert(ended.ms < 2000, `${ended.ms} ms`);
  assert.equal(isThere(Number(pid)), false, "and ends it");
});

Deno.test("runToEnd() lets go of a pipe held by what escaped its process group", async () => {
  const ended = await run({ argv: sh("setsid sleep 3 & echo hi") });
  assert.equal(ended.out, "hi\n");
  assert(ended.ms < 2000, `${ended.ms} ms`);
});

Deno.test("runToEnd() keeps what the background still says at once", async () => {
  const ended = await run({ argv: sh("(sleep 0.02; echo late) & echo hi") });
  assert.equal(ended.out, "hi\nlate\n");
});

Deno.test("runToEnd() keeps the start of a stream and counts the rest", async () => {
  const ended = await run(
    { argv: sh("head -c 1000000 /dev/zero; printf 'ab\\303\\274' >&2") },
    { maxBytes: 3 },
  );
  assert.equal(ended.stdout.bytes.length, 3);
  assert.equal(ended.stdout.cut, 999_997);
  assert.equal(ended.err, "ab", "a character that was cut through is left out");
  assert.equal(ended.stderr.cut, 1);
});

Deno.test("runToEnd() keeps an output of single bytes whole and small", async () => {
  const ended = await run({ argv: sh("i=0; while [ $i -lt 500 ]; do printf x; i=$((i+1)); done") });
  assert.equal(ended.out, "x".repeat(500));
  assert(ended.stdout.bytes.buffer.byteLength <= 4096);
});

Deno.test("runToEnd() feeds stdin whole, and forgives a child that does not want it", async () => {
  const input = new TextEncoder().encode("x".repeat(300_000));
  const all = await run({ argv: ["/bin/busybox", "wc", "-c"], stdin: "piped" }, { stdin: input });
  assert.equal(all.out.trim(), "300000");
  const none = await run({ argv: ["/bin/busybox", "true"], stdin: "piped" }, { stdin: input });
  assert.deepEqual(none.exit, { code: 0, signal: null });
  const empty = await run({ argv: ["/bin/busybox", "cat"] });
  assert.equal(empty.out, "");
});

Deno.test("runToEnd() is not held by a stdin nobody reads", async () => {
  const input = new Uint8Array(1_000_000);
  const ended = await run(
    { argv: sh("setsid sleep 3 & exit 0"), stdin: "piped" },
    { stdin: input },
  );
  assert(ended.ms < 2000, `${ended.ms} ms`);
});

Deno.test("runToEnd() stops at the timeout, hard when it must", async () => {
  const soft = await run({ argv: ["/bin/busybox", "sleep", "100"] }, { timeoutMs: 50 });
  assert.deepEqual([soft.exit, soft.stopped], [{ code: null, signal: "SIGTERM" }, "timeout"]);
  const hard = await run(
    { argv: sh("trap '' TERM; echo on; while :; do sleep 1; done") },
    { timeoutMs: 100, graceMs: 50 },
  );
  assert.deepEqual([hard.exit, hard.stopped], [{ code: null, signal: "SIGKILL" }, "timeout"]);
  assert.equal(hard.out, "on\n");
});

Deno.test("runToEnd() stops when its caller goes away, before or while it runs", async () => {
  const request = { argv: ["/bin/busybox", "sleep", "100"] };
  const before = await run(request, { signal: AbortSignal.abort() });
  assert.equal(before.stopped, "abort");
  const controller = new AbortController();
  setTimeout(() => controller.abort(), 30);
  const during = await run(request, { signal: controller.signal });
  assert.equal(during.stopped, "abort");
  assert(during.ms < 2000);
});

testNeeding(needGroups, "runToEnd() leaves nothing in the group", async () => {
  const on = rig();
  await withGroups(on, async (groups, directory) => {
    const group = await groups.create("left");
    const ended = await run(
      {
        argv: sh("setsid sleep 100 >/dev/null 2>&1 & setsid sleep 100 & echo hi"),
        group,
      },
      {},
      on,
    );
    assert.equal(ended.out, "hi\n");
    await group.remove();
    assert.deepEqual([...Deno.readDirSync(directory)].filter((entry) => entry.isDirectory), []);
  });
});

Deno.test("runToEnd() reads a flood without giving it the whole machine", async () => {
  const flood = run({ argv: ["/bin/busybox", "yes"] }, { timeoutMs: 500, maxBytes: 1000 });
  let turns = 0;
  const tick = setInterval(() => turns++, 5);
  const ended = await flood;
  clearInterval(tick);
  assert.equal(ended.stopped, "timeout");
  assert(ended.stdout.cut > 1_000_000);
  assert(turns > 25, `the loop turned ${turns} times`);
});
