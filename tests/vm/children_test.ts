/**
 * What PID 1's children are given, where they live, and how `exec` treats them.
 */

import assert from "node:assert/strict";
import type { ExecResult as FullResult } from "../../bus/shapes.ts";
import type { Guest } from "./guest.ts";
import {
  endsWithoutFault,
  eventSince,
  eventually,
  head,
  long,
  mindRuns,
  sharedGuest,
  sleep,
} from "./shared.ts";

const guest = sharedGuest();

async function exec(argv: string[], more: Record<string, unknown> = {}): Promise<FullResult> {
  const result = await (await guest()).exec(argv, more);
  return result as unknown as FullResult;
}

async function sh(command: string, more: Record<string, unknown> = {}): Promise<FullResult> {
  return await exec(["/bin/sh", "-c", command], more);
}

/** A userland process as /proc shows it from inside. */
interface Seen {
  pid: number;
  ppid: number;
  cgroup: string;
  argv: string;
  /** Descriptor → what it is. */
  fds: Map<number, string>;
}

/** Every userland process but the ones that look. */
async function userland(machine: Guest): Promise<Seen[]> {
  const text = await machine.shell(`
    for p in /proc/[0-9]*; do
      pid=\${p#/proc/}
      [ $pid = $$ ] && continue
      [ -n "$(tr -d '\\0' < $p/cmdline)" ] || continue
      echo "@ $pid $(sed -n 's/^PPid:.//p' $p/status) $(cut -d: -f3 $p/cgroup)"
      tr '\\0' ' ' < $p/cmdline; echo
      for fd in $p/fd/*; do echo "\${fd##*/} $(readlink $fd)"; done
    done 2>/dev/null; true`);
  return text.split("@ ").slice(1).map((block) => {
    const [head = "", argv = "", ...rest] = block.trimEnd().split("\n");
    const [pid, ppid, cgroup = ""] = head.split(" ");
    const fds = rest.map((line): [number, string] => {
      const [fd, ...target] = line.split(" ");
      return [Number(fd), target.join(" ")];
    }).filter(([fd]) => Number.isInteger(fd));
    return { pid: Number(pid), ppid: Number(ppid), cgroup, argv, fds: new Map(fds) };
  });
}

Deno.test("idle, there are at most four userland processes", async () => {
  const machine = await guest();
  // The last that is started by itself: from here on everything that will run is running.
  await mindRuns(machine);
  const counted = () => machine.json<{ userland: number }>("/api/v1/status");
  // PID 1 and the mind are two; the count is of the last scan.
  await eventually("a scan with the mind in it", async () => {
    const { userland } = await counted();
    return userland >= 2 && userland <= 4;
  }, 60_000);
  await sleep(3000);
  const { userland } = await counted();
  assert.ok(userland <= 4, `${userland} userland processes`);
});

Deno.test("children hold descriptors 0–2 only, and live in groups below /tasks", async () => {
  const machine = await guest();
  await mindRuns(machine);
  await machine.post("/api/v1/services", { name: "held", argv: ["/bin/sleep", "1000"] });
  const running = machine.exec(["/bin/sleep", "600"]);
  const seen = await eventually("the children", async () => {
    const processes = await userland(machine);
    // By how they begin: a shell that still waits to become one has the same words further on.
    return processes.filter(({ argv }) => argv.startsWith("/bin/sleep")).length === 2 && processes;
  }, 60_000);
  const init = seen.find(({ pid }) => pid === 1);
  assert.equal(init?.cgroup, "/core");
  assert.ok(init.fds.size > 10, "PID 1 itself holds many, which could have leaked");
  const ofInit = new Set(init.fds.values());
  const others = seen.filter(({ pid }) => pid !== 1);
  for (const { pid, argv, cgroup, fds } of others) {
    assert.match(cgroup, /^\/tasks\/./, `${argv} (${pid})`);
    // A runtime opens some of its own; of PID 1's it holds the ends of its three pipes alone.
    const own = [0, 1, 2].map((fd) => fds.get(fd) ?? "");
    for (const [fd, target] of [...fds].filter(([fd]) => fd > 2)) {
      const what = `${argv} (${pid}): ${fd} ${target}`;
      assert.ok(argv.startsWith("/bin/deno"), what);
      if (own.includes(target)) continue;
      assert.match(target, /^anon_inode:\[event(fd|poll)\]$|^pipe:|^socket:|^\/var\/deno\//, what);
      if (/^(pipe|socket):/.test(target)) assert.equal(ofInit.has(target), false, what);
    }
    for (const fd of [0, 1, 2]) assert.ok(fds.has(fd), `${argv}: descriptor ${fd}`);
  }
  const groups = others.filter(({ argv }) => argv.includes("sleep")).map(({ cgroup }) => cgroup);
  assert.ok(groups.some((group) => /^\/tasks\/svc-held-\d+$/.test(group)), groups.join());
  assert.ok(groups.some((group) => /^\/tasks\/act-/.test(group)), groups.join());
  await machine.api("/api/v1/services/held", { method: "DELETE" }).then((r) => r.body?.cancel());
  await machine.shell("killall sleep");
  await running;
});

Deno.test("a command sees exactly its own descriptors, environment and directory", async () => {
  // The fourth is ls's own, of the directory it lists.
  const listed = await exec(["/bin/ls", "/proc/self/fd"]);
  assert.deepEqual(listed.stdout.trim().split("\n"), ["0", "1", "2", "3"]);
  const env = { GREETING: "hello world", EMPTY: "" };
  const { stdout } = await exec(["/usr/bin/env"], { env });
  assert.deepEqual(stdout.trim().split("\n").sort(), [
    "EMPTY=",
    "GREETING=hello world",
    "HOME=/",
    "PATH=/bin:/sbin:/usr/bin:/usr/sbin",
  ]);
  assert.equal((await exec(["/bin/pwd"], { cwd: "/run" })).stdout, "/run\n");
  assert.equal((await exec(["/bin/pwd"])).stdout, "/\n");
  assert.equal((await exec(["/bin/cat"])).stdout, "", "standard input is empty");
});

Deno.test("standard input reaches the command, all of it", async () => {
  const stdin = "line ä\n".repeat(50_000);
  const counted = await exec(["/usr/bin/wc", "-c"], { stdin });
  assert.equal(counted.stdout.trim(), String(new TextEncoder().encode(stdin).length));
  const echoed = await exec(["/bin/cat"], { stdin: "one\ntwo" });
  assert.equal(echoed.stdout, "one\ntwo");
  // A command that reads nothing must not hold the answer up.
  const ignored = await exec(["/bin/true"], { stdin });
  assert.equal(ignored.code, 0);
});

Deno.test("exit codes, signals and both streams are told apart", async () => {
  const both = await sh("echo out; echo err >&2; exit 42");
  const { stdout, stderr, code, signal, timed_out } = both;
  assert.deepEqual({ stdout, stderr, code, signal, timed_out }, {
    stdout: "out\n",
    stderr: "err\n",
    code: 42,
    signal: null,
    timed_out: false,
  });
  for (const name of ["TERM", "KILL", "SEGV", "USR1"]) {
    const killed = await sh(`kill -${name} $$`);
    assert.deepEqual([killed.code, killed.signal], [null, `SIG${name}`]);
  }
});

Deno.test("what can not be started is named: ENOENT, EACCES, a directory that is none", async () => {
  const machine = await guest();
  const refused = async (body: Record<string, unknown>) => {
    const headers = { "content-type": "application/json" };
    const init = { method: "POST", headers, body: JSON.stringify(body) };
    const answer = await machine.api("/api/v1/exec", init);
    const { detail } = await answer.json() as { detail: string };
    assert.ok(answer.status >= 400 && answer.status < 600, `${answer.status}`);
    return detail;
  };
  assert.match(
    await refused({ argv: ["/bin/no-such-program"] }),
    /exec "\/bin\/no-such-program": ENOENT/,
  );
  assert.match(await refused({ argv: ["no-such-program"] }), /exec "no-such-program": ENOENT/);
  assert.match(await refused({ argv: ["/etc/passwd"] }), /exec "\/etc\/passwd": EACCES/);
  assert.match(
    await refused({ argv: ["/bin/true"], cwd: "/nowhere" }),
    /chdir "\/nowhere": ENOENT/,
  );
  assert.match(await refused({ argv: ["/bin/true"], cwd: "/etc/passwd" }), /chdir .*ENOTDIR/);
});

Deno.test("an answer does not wait for what was put into the background, and that is gone then", async () => {
  const machine = await guest();
  const result = await sh("sleep 71 & echo hi");
  assert.deepEqual([result.stdout, result.code], ["hi\n", 0]);
  assert.ok(result.ms < 30_000, `${result.ms} ms`);
  assert.equal(await machine.shell("ps -o args | grep 'sleep 7[1]' || true"), "");
});

Deno.test("a timeout kills a tree that ignores SIGTERM and was forked twice", async () => {
  const machine = await guest();
  const tree = "trap '' TERM; (trap '' TERM; (trap '' TERM; sleep 72; sleep 72) & sleep 72) & " +
    "echo started; while :; do sleep 72; done";
  const result = await sh(tree, { timeout_ms: 1500 });
  assert.equal(result.timed_out, true);
  assert.equal(result.stdout, "started\n");
  assert.deepEqual([result.code, result.signal], [null, "SIGKILL"]);
  assert.equal(await machine.shell("ps -o args | grep 'sleep 7[2]' || true"), "");
  // One is the group of the command that looks.
  assert.equal((await machine.shell("ls /sys/fs/cgroup/tasks | grep -c ^act-")).trim(), "1");
});

Deno.test("output beyond 256 KiB is cut, and how much is told", async () => {
  const limit = 256 * 1024;
  const result = await sh(
    "head -c 1000000 /dev/zero | tr '\\0' x; head -c 300000 /dev/zero | tr '\\0' y >&2",
  );
  assert.equal(result.stdout, "x".repeat(limit));
  assert.equal(result.stderr, "y".repeat(limit));
  assert.deepEqual(result.truncated, { stdout: 1_000_000 - limit, stderr: 300_000 - limit });
  const small = await sh("echo x");
  assert.deepEqual(small.truncated, { stdout: 0, stderr: 0 });
});

Deno.test("a client that goes away ends its command", async () => {
  const machine = await guest();
  const since = await head(machine);
  const abort = new AbortController();
  const body = JSON.stringify({ argv: ["/bin/sh", "-c", "/bin/sleep 73; echo done > /tmp/done"] });
  const asking = machine.api("/api/v1/exec", {
    method: "POST",
    headers: { "content-type": "application/json" },
    body,
    signal: abort.signal,
  });
  // By its path: BusyBox's shell starts its own applets as /proc/self/exe, named "exe" at first.
  await eventSince(machine, since, "process.execed", ({ data }) => data.comm === "sleep");
  abort.abort();
  await assert.rejects(asking);
  const finished = await eventSince(
    machine,
    since,
    "action.finished",
    ({ data }) => String(data.summary).includes("sleep 73"),
  );
  assert.equal(finished.data.ok, false);
  assert.match(String(finished.data.summary), /its caller went away/);
  assert.equal(await machine.shell("ps -o args | grep 'sleep 7[3]' || true"), "");
});

Deno.test("a task that eats all memory dies alone; PID 1 answers on", async () => {
  const machine = await guest();
  const since = await head(machine);
  // More than /tasks may have, less than the kernel would refuse at once. Which bound it meets first,
  // its group's or the machine's, depends on what else is in memory.
  const hog = await sh("/bin/dd if=/dev/zero of=/dev/null bs=440M count=1");
  assert.deepEqual([hog.code, hog.signal], [null, "SIGKILL"]);
  const log = (await machine.shell("dmesg")).split("\n");
  assert.ok(
    log.some((line) => /out of memory: Killed process \d+ \(dd\)/i.test(line)),
  );
  assert.equal(log.some((line) => /Killed process 1 /.test(line)), false);
  assert.equal((await sh("echo alive")).stdout, "alive\n");
  const { boot } = await machine.json<{ boot: { id: string } }>("/api/v1/status");
  assert.ok(since.startsWith(boot.id), "still the same boot");
});

const bombName = "a fork bomb is bounded by its group; PID 1 answers on";
Deno.test(long ? bombName : `${bombName} [skipped: takes minutes, runs with --long]`, {
  ignore: !long,
}, async () => {
  const machine = await guest();
  const bomb = machine.exec(["/bin/sh", "-c", "b() { b | b & }; b; sleep 1000"], {
    timeout_ms: 10_000,
  }).catch(() => null);
  for (let i = 0; i < 5; i++) {
    await sleep(2000);
    const answer = await machine.api("/healthz");
    assert.deepEqual(await answer.json(), { status: "alive" });
  }
  await bomb;
  await eventually("everything of it to be gone", async () => {
    return (await machine.json<{ userland: number }>("/api/v1/status")).userland <= 5;
  }, 120_000);
  assert.equal((await sh("echo alive")).stdout, "alive\n");
});

endsWithoutFault("children", guest);
