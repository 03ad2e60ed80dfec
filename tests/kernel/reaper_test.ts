/** Reaping beside the runtime's own children, as PID 1 must. */
import assert from "node:assert/strict";
import { denoErrno, Errno } from "../../src/kernel/errno.ts";
import { openLibc } from "../../src/kernel/libc.ts";
import { type ExitStatus, setChildSubreaper } from "../../src/kernel/process.ts";
import { Reaper } from "../../src/kernel/reaper.ts";
import { kernelTest, readable, until } from "./harness.ts";

const apart = { module: import.meta.url, unshare: [] };
const need = readable(`/proc/self/task/${Deno.pid}/children`);

/** Children of this process that ended and were not waited for. */
function zombies(): number {
  let count = 0;
  for (const entry of Deno.readDirSync("/proc")) {
    if (!/^\d+$/.test(entry.name)) continue;
    try {
      const stat = Deno.readTextFileSync(`/proc/${entry.name}/stat`);
      const [state, ppid] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      if (state === "Z" && ppid === String(Deno.pid)) count++;
    } catch (error) {
      if (![Errno.ENOENT, Errno.ESRCH].some((errno) => errno === denoErrno(error))) throw error;
    }
  }
  return count;
}

kernelTest(
  "Reaper: 500 orphans beside 100 own children: no zombie, no wrong status",
  need,
  async () => {
    const libc = openLibc();
    setChildSubreaper(libc, true);
    const own = new Set<number>();
    const orphans: ExitStatus[] = [];
    const reaper = new Reaper(
      libc,
      (pid) => own.has(pid),
      (_pid, status) => orphans.push(status),
      (where, error) => assert.fail(`${where}: ${error}`),
    );
    const sweep = () => reaper.sweep();
    Deno.addSignalListener("SIGCHLD", sweep);
    const tick = setInterval(sweep, 250);

    const spawn = (script: string) => {
      const child = new Deno.Command("sh", { args: ["-c", script] }).spawn();
      own.add(child.pid);
      return child;
    };
    const statuses = [];
    for (let round = 0; round < 100; round++) {
      // Each own child leaves five orphans behind: four exit with 7, one is killed.
      const orphan = "(sleep 0.0$((RANDOM % 5)); exit 7) &";
      const killed = "sh -c 'kill -TERM $$' &";
      const child = spawn(`${orphan} ${orphan} ${orphan} ${orphan} ${killed} exit ${round}`);
      statuses.push(child.status.then((status) => {
        own.delete(child.pid);
        return status.code === round && status.success === (round === 0);
      }));
      if (round % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    }
    const right = await Promise.all(statuses);
    assert.ok(right.every(Boolean), "every own status is its own");
    await until(() => orphans.length === 500, 20_000);
    const count = (wanted: (status: ExitStatus) => boolean) => orphans.filter(wanted).length;
    assert.equal(count((status) => "code" in status && status.code === 7), 400);
    assert.equal(count((status) => "signal" in status && status.signal === "SIGTERM"), 100);
    assert.equal(zombies(), 0);
    assert.equal(reaper.reaped, 500);
    clearInterval(tick);
    Deno.removeSignalListener("SIGCHLD", sweep);
  },
  apart,
);

kernelTest("Reaper: an own zombie at the head hides no orphan", need, async () => {
  const libc = openLibc();
  setChildSubreaper(libc, true);
  const reaped: number[] = [];
  const heads = new Set<number>();
  const reaper = new Reaper(
    libc,
    (pid) => heads.has(pid),
    (pid) => reaped.push(pid),
    (where, error) => assert.fail(`${where}: ${error}`),
  );
  // The runtime reaps its own at once, so an orphan stands in: first of the list, claimed as own.
  const started = new Deno.Command("sh", { args: ["-c", "(sleep 0.2; exit 1) & echo $!"] })
    .outputSync();
  // Orphans outlive their shell, which would else reap them itself.
  heads.add(Number(new TextDecoder().decode(started.stdout)));
  new Deno.Command("sh", { args: ["-c", "(sleep 0.2; exit 2) & (sleep 0.2; exit 3) &"] })
    .outputSync();
  await until(() => zombies() === 3);
  assert.equal(reaper.sweep(), 2);
  assert.equal(zombies(), 1, "the own one is left alone");
  heads.clear();
  assert.equal(reaper.sweep(), 1);
  assert.equal(zombies(), 0);
}, apart);
