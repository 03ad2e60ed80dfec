/** Children and orphans: spawning into groups, and burying beside the runtime's own. */

import assert from "node:assert/strict";
import { capturedText, runToEnd } from "../../src/child/run.ts";
import { OwnChildren, Spawner } from "../../src/child/spawn.ts";
import { CgroupTasks } from "../../src/child/task_groups.ts";
import { Cgroup } from "../../src/kernel/cgroup.ts";
import { Clocks } from "../../src/kernel/clock.ts";
import { denoErrno, Errno } from "../../src/kernel/errno.ts";
import { type ExitStatus, setChildSubreaper } from "../../src/kernel/process.ts";
import { Reaper } from "../../src/kernel/reaper.ts";
import { BootTimers } from "../../src/kernel/timers.ts";
import { failOn, libc, shell, until, withReactor } from "./harness.ts";

/** Children of this process that ended and were not waited for. */
function zombies(): number {
  let count = 0;
  for (const { name } of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${name}/stat`);
      const [state, parent] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state === "Z" && parent === String(Deno.pid)) count++;
    } catch (error) {
      const errno = denoErrno(error);
      if (errno !== Errno.ENOENT && errno !== Errno.ESRCH) throw error;
    }
  }
  return count;
}

Deno.test("Reaper: 2,000 orphans beside 500 own children: no zombie, no wrong status", async () => {
  const own = new Set<number>();
  const told = new Map<number, ExitStatus>();
  const twice: number[] = [];
  const reaper = new Reaper(
    libc,
    (pid) => own.has(pid),
    (pid, status) => told.has(pid) ? void twice.push(pid) : void told.set(pid, status),
    failOn,
  );
  setChildSubreaper(libc, true);
  const sweep = () => void reaper.sweep();
  Deno.addSignalListener("SIGCHLD", sweep);
  const tick = setInterval(sweep, 250);

  // An orphan waits for the end of its stdin, which comes when its parent is seen to have ended:
  // one that ends earlier would be its parent's to bury. Three exit with 7, one is killed.
  const orphan = "( read _ <&3; exit 7 ) & echo $!; ";
  const killed = "sh -c 'read _; kill -TERM $$' <&3 & echo $!; ";
  const script = `exec 3<&0; ${orphan}${orphan}${orphan}${killed}exit `;
  const wanted = new Map<number, "exit" | "signal">();
  const wrong: unknown[] = [];
  const life = async (round: number) => {
    const child = shell(`${script}${round % 120}`, { stdin: "piped", stdout: "piped" });
    own.add(child.pid);
    // The orphans hold the pipe open: its end is theirs, so the lines are read and not the whole.
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    while (text.split("\n").length < 5) {
      const { value, done } = await reader.read();
      if (done) break;
      text += value;
    }
    const status = await child.status;
    own.delete(child.pid);
    if (status.code !== round % 120 || status.signal !== null) wrong.push([round, status]);
    const pids = text.trim().split("\n").map(Number);
    pids.forEach((pid, at) => wanted.set(pid, at < 3 ? "exit" : "signal"));
    await child.stdin.close();
    await reader.cancel();
  };
  for (let round = 0; round < 500; round += 10) {
    await Promise.all(Array.from({ length: 10 }, (_, at) => life(round + at)));
  }
  assert.deepEqual(wrong, []);
  assert.equal(wanted.size, 2000);
  await until(() => told.size >= 2000, () => ({ told: told.size, zombies: zombies() }), 120_000);
  for (const [pid, how] of wanted) {
    const status = told.get(pid);
    if (how === "exit") assert.deepEqual(status, { code: 7 }, String(pid));
    else assert.equal(status !== undefined && "signal" in status && status.signal, "SIGTERM");
  }
  assert.deepEqual([told.size, reaper.reaped, twice], [2000, 2000, []]);
  assert.equal(zombies(), 0);
  clearInterval(tick);
  Deno.removeSignalListener("SIGCHLD", sweep);
  setChildSubreaper(libc, false);
});

Deno.test("Spawner starts a child inside its group, and its group ends all it left behind", () =>
  withReactor(async (reactor) => {
    const clocks = new Clocks(libc);
    const timers = new BootTimers(libc, reactor, failOn, () => clocks.boottime() / 1000);
    const groups = new CgroupTasks({
      parent: "/tasks",
      open: (name) => new Cgroup(name),
      timers,
      report: failOn,
    });
    const spawner = new Spawner({ own: new OwnChildren(), timers, report: failOn });
    const group = await groups.create("selftest-spawn", { memoryBytes: 64 << 20, pids: 50 });
    const script =
      'cat /proc/self/cgroup; echo "$GREETING" >&2; ls /proc/self/fd; sleep 1000 & exit 3';
    const spawned = await spawner.spawn({
      argv: ["/bin/sh", "-c", script],
      env: { GREETING: "hello" },
      group,
    });
    assert.ok(spawned.ok);
    const options = { timers, report: failOn, timeoutMs: 60_000, maxBytes: 4096 };
    const result = await runToEnd(spawned.child, options);
    assert.deepEqual(result.exit, { code: 3, signal: null });
    assert.equal(result.stopped, null);
    assert.equal(capturedText(result.stdout), `0::${group.path}\n0\n1\n2\n3\n`);
    assert.equal(capturedText(result.stderr), "hello\n");
    const kernels = new Cgroup("tasks/selftest-spawn");
    await until(() => !kernels.populated(), () => kernels.processes());
    assert.equal(kernels.read("pids.max")?.trim(), "50");
    await group.remove();
    assert.equal(kernels.read("cgroup.procs"), null);
    const missing = await spawner.spawn({ argv: ["/bin/none"] });
    assert.ok(!missing.ok && /exec "\/bin\/none": ENOENT/.test(missing.fault.message));
    timers.close();
  }));
