/** Starting real children. */
import assert from "node:assert/strict";
import { openLibc } from "../kernel/libc.ts";
import { realTimers } from "./timers.ts";
import { capturedText, runToEnd } from "./run.ts";
import { type Child, OwnChildren, Spawner, type SpawnRequest } from "./spawn.ts";
import {
  FakeGroups,
  isThere,
  needGroups,
  needRoot,
  type Rig,
  rig,
  testNeeding,
  withGroups,
} from "./testing.ts";

async function started({ spawner }: Rig, request: SpawnRequest): Promise<Child> {
  const spawned = await spawner.spawn(request);
  assert(spawned.ok, spawned.ok ? "" : spawned.fault.message);
  return spawned.child;
}

async function outputOf(on: Rig, request: SpawnRequest, stdin?: string) {
  const child = await started(on, request);
  const ended = await runToEnd(child, {
    timers: on.timers,
    report: on.report,
    timeoutMs: 10_000,
    maxBytes: 65_536,
    stdin: stdin === undefined ? undefined : new TextEncoder().encode(stdin),
  });
  return { ...ended, out: capturedText(ended.stdout), err: capturedText(ended.stderr) };
}

const sh = (script: string, ...args: string[]) => ["/bin/busybox", "sh", "-c", script, ...args];

Deno.test("Spawner.spawn() gives a child exactly its environment, directory and session", async () => {
  const on = rig();
  const groups = new FakeGroups();
  for (const group of [undefined, await groups.create("env")]) {
    const { out, exit } = await outputOf(on, {
      argv: ["/bin/busybox", "env"],
      env: { A: "b c", Z: "" },
      group,
    });
    assert.deepEqual(out.trim().split("\n").sort(), [
      "A=b c",
      "PATH=/bin:/sbin:/usr/bin:/usr/sbin",
      "Z=",
    ]);
    assert.deepEqual(exit, { code: 0, signal: null });
    const stat = await outputOf(on, {
      argv: sh("echo $$; cut -d' ' -f1,5,6 /proc/self/stat; pwd", "x"),
      cwd: "/tmp",
      group,
    });
    const [pid, ids, cwd] = stat.out.trim().split("\n");
    assert.equal(ids?.split(" ").slice(1).join(" "), `${pid} ${pid}`, "own group and session");
    assert.equal(cwd, "/tmp");
  }
  assert.deepEqual(on.reports, []);
});

Deno.test("Spawner.spawn() passes arguments through untouched", async () => {
  const on = rig();
  const group = await new FakeGroups().create("args");
  const odd = ["", " ", "$HOME", "a\nb", "*", "-n", "'\"\\", "ü"];
  for (const into of [undefined, group]) {
    const argv = sh('printf "<%s>" "$@"', "sh", ...odd);
    const { out } = await outputOf(on, { argv, group: into });
    assert.equal(out, odd.map((text) => `<${text}>`).join(""));
  }
});

Deno.test("Spawner.spawn() answers what cannot be started as a value", async () => {
  const on = rig();
  const fault = async (request: SpawnRequest) => {
    const spawned = await on.spawner.spawn(request);
    assert(!spawned.ok);
    return spawned.fault.message;
  };
  assert.equal(await fault({ argv: ["no-such-program"] }), 'exec "no-such-program": ENOENT');
  assert.equal(await fault({ argv: ["/etc/passwd"] }), 'exec "/etc/passwd": EACCES');
  assert.equal(await fault({ argv: [] }), 'exec "": ENOENT');
  assert.equal(await fault({ argv: ["true"], cwd: "/no/such" }), 'chdir "/no/such": ENOENT');
  assert.equal(await fault({ argv: ["true"], env: { "a=b": "c" } }), 'env "a=b": EINVAL');
  assert.match(await fault({ argv: ["/bin/busybox", "a\0b"] }), /^spawn ".*": EINVAL$/);
  assert.match(await fault({ argv: ["/bin/busybox", "x".repeat(200_000)] }), /: E2BIG$/);
  assert.equal(on.own.size, 0);
  assert.deepEqual(on.reports, []);
});

Deno.test("Spawner.spawn() kills the child whose group does not take it", async () => {
  const on = rig();
  const groups = new FakeGroups();
  const group = await groups.create("full");
  groups.failing.add = "EAGAIN";
  const spawned = await on.spawner.spawn({ argv: sh("echo ran > /dev/stderr"), group });
  assert.deepEqual(spawned, {
    ok: false,
    fault: { operation: "cgroup", code: "EAGAIN", message: 'cgroup "/tasks/full": EAGAIN' },
  });
  assert.equal(on.own.size, 0);
  assert.deepEqual(on.reports, []);
});

testNeeding(
  needGroups,
  "Spawner.spawn() has the child in its group before it runs anything",
  async () => {
    const on = rig();
    await withGroups(on, async (groups) => {
      for (let i = 0; i < 20; i++) {
        const group = await groups.create(`race-${i}`);
        // A fork as the very first thing: it must be inside too.
        const { out } = await outputOf(on, {
          argv: sh("cat /proc/self/cgroup & cat /proc/self/cgroup; wait"),
          group,
        });
        const inside = out.split("\n").filter((line) => line.startsWith("0::"));
        assert.deepEqual(inside, [`0::${group.path}`, `0::${group.path}`]);
        await group.remove();
      }
    });
    assert.deepEqual(on.reports, []);
  },
);

testNeeding(needRoot, "Spawner.spawn() drops to the given user", async () => {
  const on = rig();
  const group = await new FakeGroups().create("user");
  for (const into of [undefined, group]) {
    const { out } = await outputOf(on, {
      argv: sh("id -u; id -g"),
      uid: 1234,
      gid: 4321,
      group: into,
    });
    assert.equal(out, "1234\n4321\n");
  }
});

Deno.test("Spawner.spawn() knows its own children from the start until they are reaped", async () => {
  const on = rig();
  const child = await started(on, { argv: ["/bin/busybox", "sleep", "10"] });
  assert.equal(on.own.isOwn(child.pid), true);
  assert.equal(child.exited, false);
  assert.equal(child.signal("SIGTERM"), true);
  assert.deepEqual(await child.exit, { code: null, signal: "SIGTERM" });
  assert.equal(on.own.isOwn(child.pid), false);
  assert.equal(child.signal("SIGTERM"), false);
  await Promise.all([child.stdout.cancel(), child.stderr.cancel()]);
});

Deno.test("Child.exit names every way to end, real-time signals too", async () => {
  const on = rig();
  const exits = [];
  for (const script of ["exit 7", "kill -KILL $$", "kill -34 $$"]) {
    exits.push((await outputOf(on, { argv: sh(script) })).exit);
  }
  assert.deepEqual(exits, [
    { code: 7, signal: null },
    { code: null, signal: "SIGKILL" },
    { code: null, signal: "SIG34" },
  ]);
  assert.deepEqual(on.reports, []);
});

Deno.test("Child.exit answers unknown when somebody else reaped the child", async () => {
  const on = rig();
  const libc = openLibc();
  const child = await started(on, { argv: ["/bin/busybox", "true"] });
  // waitid(P_PID, pid, info, WEXITED), before the runtime gets to it.
  assert.equal(libc.sym.waitid(1, child.pid, new Uint8Array(128), 4), 0);
  assert.deepEqual(await child.exit, { code: null, signal: null });
  assert.match(on.reports.join(), /^wait for \d+: .*ECHILD|No child/);
  await Promise.all([child.stdout.cancel(), child.stderr.cancel()]);
  libc.close();
});

Deno.test("Child.kill() ends the whole process group without a cgroup", async () => {
  const on = rig();
  const child = await started(on, { argv: sh("sleep 100 & echo $!; wait") });
  const reader = child.stdout.getReader();
  const pid = Number(new TextDecoder().decode((await reader.read()).value));
  assert.equal(isThere(pid), true);
  await child.kill();
  await child.exit;
  await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(isThere(pid), false);
  await child.kill(); // nothing is left, and that is no fault
  await Promise.all([reader.cancel(), child.stderr.cancel()]);
  assert.deepEqual(on.reports, []);
});

testNeeding(
  needGroups,
  "Child.kill() ends by cgroup what left its session and ignores SIGTERM",
  async () => {
    const on = rig();
    await withGroups(on, async (groups) => {
      const group = await groups.create("tree");
      const child = await started(on, {
        argv: sh("trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; sleep 100' & wait"),
        group,
      });
      const reader = child.stdout.getReader();
      const pid = Number(new TextDecoder().decode((await reader.read()).value));
      child.signal("SIGTERM");
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(isThere(pid), true);
      const from = performance.now();
      await child.kill();
      await child.exit;
      await group.remove();
      assert(performance.now() - from < 250, "tree kill within 250 ms");
      assert.equal(isThere(pid), false);
      await Promise.all([reader.cancel(), child.stderr.cancel()]);
    });
    assert.deepEqual(on.reports, []);
  },
);

testNeeding(needGroups, "Child.kill() ends a child that left its cgroup", async () => {
  const on = rig();
  await withGroups(on, async (groups, directory) => {
    const group = await groups.create("runaway");
    const script = 'trap "" TERM; echo $$ > "$1/cgroup.procs"; echo moved; sleep 100';
    const child = await started(on, { argv: sh(script, "sh", directory), group });
    const reader = child.stdout.getReader();
    assert.equal(new TextDecoder().decode((await reader.read()).value), "moved\n");
    await child.kill();
    const deadline = new Promise((resolve) => setTimeout(resolve, 1000, "lives on"));
    const exit = await Promise.race([child.exit, deadline]);
    if (exit === "lives on") Deno.kill(-child.pid, "SIGKILL");
    assert.deepEqual(exit, { code: null, signal: "SIGKILL" });
    await Promise.all([reader.cancel(), child.stderr.cancel(), group.remove()]);
  });
  assert.deepEqual(on.reports, []);
});

Deno.test("Child.stdin.write() answers false once the child does not read", async () => {
  const on = rig();
  const child = await started(on, { argv: ["/bin/busybox", "true"], stdin: "piped" });
  await child.exit;
  assert.equal(await child.stdin?.write(new Uint8Array(1 << 20)), false);
  assert.equal(await child.stdin?.write(new Uint8Array(1)), false);
  await child.stdin?.close();
  await Promise.all([child.stdout.cancel(), child.stderr.cancel()]);
  assert.deepEqual(on.reports, []);
});

Deno.test("Spawner.spawn() gives up on a disk that does not answer", async () => {
  const reports: string[] = [];
  const report = (where: string) => void reports.push(where);
  const timers = realTimers(report);
  const spawner = new Spawner({
    own: new OwnChildren(),
    report,
    timers: { ...timers, set: (run) => timers.set(run, 1) },
    files: { stat: () => new Promise(() => {}) },
  });
  const spawned = await spawner.spawn({ argv: ["x"] });
  assert(!spawned.ok);
  assert.equal(spawned.fault.message, 'exec "x": ETIMEDOUT');
});

Deno.test("Spawner.spawn() leaves the runtime's threads to others while a disk hangs", async () => {
  const on = rig();
  let hanging = 0;
  const spawner = new Spawner({
    ...on,
    timers: { ...on.timers, set: (run) => on.timers.set(run, 1) },
    files: {
      stat: () => {
        hanging++;
        return new Promise(() => {});
      },
    },
  });
  const argv = ["/data/x"];
  const all = await Promise.all(Array.from({ length: 40 }, () => spawner.spawn({ argv })));
  assert(all.every((spawned) => !spawned.ok && spawned.fault.code === "ETIMEDOUT"));
  assert.equal(hanging, 8);
});
