/** The parsers of /proc, and its reader. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, Script } from "../../tests/kernel/harness.ts";
import { openLibc } from "./libc.ts";
import {
  parseDiskstats,
  parseLoadavg,
  parseMeminfo,
  parseNetDev,
  parseProcessStat,
  parseProcessStatus,
  parseStat,
  parseUptime,
  Proc,
} from "./proc.ts";

Deno.test("parseMeminfo() answers bytes, and counts as they are", () => {
  const memory = parseMeminfo(
    "MemTotal:         492032 kB\nMemFree:   1 kB\nMemAvailable:   2 kB\nBuffers: 3 kB\nCached: 4 kB\n" +
      "SwapTotal: 5 kB\nSwapFree: 6 kB\nActive(anon):  7 kB\nHugePages_Total:       8\n",
  );
  assert.equal(memory?.totalBytes, 492032 * 1024);
  assert.deepEqual(
    [memory?.freeBytes, memory?.availableBytes, memory?.buffersBytes, memory?.cachedBytes].map(
      (bytes) => (bytes ?? 0) / 1024,
    ),
    [1, 2, 3, 4],
  );
  assert.equal(memory?.fields.get("Active(anon)"), 7 * 1024);
  assert.equal(memory?.fields.get("HugePages_Total"), 8);
  assert.equal(parseMeminfo("MemFree: 1 kB\n"), null);
});

Deno.test("parseStat() reads totals, CPUs and counters", () => {
  const stat = parseStat(
    "cpu  10 20 30 40 50 60 70 80 90 100\ncpu0 1 2 3 4 5 6 7 8 9 10\ncpu2 1 1 1 1\n" +
      "intr 5 0 1 2\nctxt 99\nbtime 1700000000\nprocesses 7\nprocs_running 3\nprocs_blocked 1\n",
  );
  assert.deepEqual(stat?.total, {
    user: 10,
    nice: 20,
    system: 30,
    idle: 40,
    iowait: 50,
    irq: 60,
    softirq: 70,
    steal: 80,
  });
  assert.deepEqual([...stat?.cpus.keys() ?? []], [0, 2]);
  assert.equal(stat?.cpus.get(2)?.steal, 0);
  assert.deepEqual(
    [stat?.contextSwitches, stat?.bootSeconds, stat?.forks, stat?.running, stat?.blocked],
    [99, 1700000000, 7, 3, 1],
  );
  assert.equal(parseStat("ctxt 1\n"), null);
});

Deno.test("parseLoadavg() and parseUptime() read their line or answer null", () => {
  assert.deepEqual(parseLoadavg("0.47 1.39 10.42 2/109 2028\n"), {
    one: 0.47,
    five: 1.39,
    fifteen: 10.42,
    running: 2,
    threads: 109,
    lastPid: 2028,
  });
  assert.equal(parseLoadavg("0.47 1.39"), null);
  assert.deepEqual(parseUptime("1628.51 2312.90\n"), { seconds: 1628.51, idleSeconds: 2312.9 });
  assert.equal(parseUptime(""), null);
});

const STAT_TAIL =
  "S 1 42 41 0 -1 4194560 1 2 3 4 15 16 0 0 20 -5 3 0 7777 8192 9 18446744073709551615";

Deno.test("parseProcessStat() survives any name", () => {
  const names = ["sh", "a b", "a) S 1", "(", ")", ") R 0 0", "((()))", "new\nline", ""];
  for (const name of names) {
    const stat = parseProcessStat(`42 (${name}) ${STAT_TAIL}\n`);
    assert.deepEqual([stat?.pid, stat?.comm, stat?.state, stat?.ppid], [42, name, "S", 1], name);
  }
});

Deno.test("parseProcessStat() reads the fields of proc(5) by number", () => {
  assert.deepEqual(parseProcessStat(`42 (x) ${STAT_TAIL}`), {
    pid: 42,
    comm: "x",
    state: "S",
    ppid: 1,
    pgrp: 42,
    session: 41,
    tty: 0,
    userTicks: 15,
    systemTicks: 16,
    nice: -5,
    threads: 3,
    startTicks: 7777,
    virtualBytes: 8192,
    residentBytes: 9 * 4096,
    kernelThread: false,
  });
  const thread = `2 (kthreadd) ${STAT_TAIL.replace("4194560", "2129984")}`;
  assert.equal(parseProcessStat(thread)?.kernelThread, true);
});

Deno.test("parseProcessStat() refuses torn lines, and never throws", () => {
  for (
    const text of ["", "42", "42 (x", "42 x)", "(x) S", `x (y) ${STAT_TAIL}`, "42 (x) S 1 2 3"]
  ) {
    assert.equal(parseProcessStat(text), null, text);
  }
  holds(fc.property(fc.string(), fc.string(), (name, tail) => {
    parseProcessStat(`42 (${name}) ${tail}`);
    parseProcessStat(tail);
    assert.equal(parseProcessStat(`42 (${name}) ${STAT_TAIL}`)?.comm, name);
  }));
});

Deno.test("parseProcessStatus() reads ids and keeps the rest", () => {
  const status = parseProcessStatus(
    "Name:\tsh\nTgid:\t42\nPid:\t42\nPPid:\t1\nUid:\t1000\t1001\t1002\t1003\nGid:\t5\t6\t7\t8\n" +
      "VmRSS:\t    1024 kB\nThreads:\t3\nSigCgt:\t0000000000000200\nNoNewPrivs:\t1\n",
  );
  assert.deepEqual(
    [status?.uid, status?.euid, status?.gid, status?.egid, status?.ppid, status?.threads],
    [1000, 1001, 5, 6, 1, 3],
  );
  assert.deepEqual([status?.residentBytes, status?.fields.get("NoNewPrivs")], [1048576, "1"]);
  assert.equal(parseProcessStatus("Name:\tx\nTgid:\t2\nUid:\t0\t0\t0\t0\n")?.residentBytes, null);
  assert.equal(parseProcessStatus("Name:\tx\n"), null);
});

Deno.test("parseNetDev() reads names with colons and skips the heading", () => {
  const devices = parseNetDev(
    "Inter-|   Receive                                                |  Transmit\n" +
      " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs\n" +
      "    lo: 100 1 2 3 0 0 0 0 200 4 5 6 0 0 0 0\n  eth0:1:7 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1\n",
  );
  assert.deepEqual(devices.map(({ name }) => name), ["lo", "eth0:1"]);
  assert.deepEqual(devices[0], {
    name: "lo",
    rxBytes: 100,
    rxPackets: 1,
    rxErrors: 2,
    rxDropped: 3,
    txBytes: 200,
    txPackets: 4,
    txErrors: 5,
    txDropped: 6,
  });
});

Deno.test("parseDiskstats() answers bytes of 512-byte sectors", () => {
  const [disk, ...rest] = parseDiskstats(
    " 254       0 vda 100 0 200 30 40 0 50 60 1 70 90 0 0 0 0 0 0\n 254 1 vda1\n",
  );
  assert.deepEqual(disk, {
    major: 254,
    minor: 0,
    name: "vda",
    reads: 100,
    readBytes: 102_400,
    readMs: 30,
    writes: 40,
    writtenBytes: 25_600,
    writeMs: 60,
    inFlight: 1,
    busyMs: 70,
  });
  assert.equal(rest.length, 0);
});

Deno.test("the parsers never throw on hostile text", () => {
  const word = fc.constantFrom(
    "cpu",
    "cpu0",
    "1",
    "-1",
    ":",
    "kB",
    "MemTotal:",
    " ",
    "\n",
    "\t",
    "é",
  );
  const text = fc.oneof(
    fc.string(),
    fc.array(word, { maxLength: 60 }).map((words) => words.join(" ")),
  );
  holds(fc.property(text, (input) => {
    for (
      const parse of [
        parseMeminfo,
        parseStat,
        parseLoadavg,
        parseUptime,
        parseProcessStat,
        parseProcessStatus,
        parseNetDev,
        parseDiskstats,
      ]
    ) parse(input);
  }));
});

Deno.test("Proc reads this host", () => {
  const proc = new Proc(openLibc());
  const memory = proc.meminfo();
  assert.ok(memory !== null && memory.availableBytes < memory.totalBytes);
  assert.ok((proc.stat()?.cpus.size ?? 0) > 0);
  assert.ok((proc.loadavg()?.threads ?? 0) > 0);
  assert.ok((proc.uptime()?.seconds ?? 0) > 0);
  assert.ok(proc.mounts().some(({ target }) => target === "/"));
  assert.ok(proc.pids().includes(Deno.pid));
  const own = proc.processStat(Deno.pid);
  assert.deepEqual([own?.pid, own?.ppid], [Deno.pid, Deno.ppid]);
  assert.equal(proc.processStatus(Deno.pid)?.tgid, Deno.pid);
  assert.deepEqual([proc.processStat(0x7fff_fffe), proc.read("none")], [null, null]);
});

Deno.test("Proc.read() grows for a long file, answers null when the process ends, throws else", () => {
  const fill = (...args: unknown[]) => (args[1] as Uint8Array).fill(0x61).byteLength;
  const read = (...steps: Parameters<Script["fn"]>) => {
    const script = new Script();
    const libc = fakeLibc(
      { open: () => 9, read: script.fn(...steps), close: () => 0 },
      script.errno,
    );
    return new Proc(libc).read("x");
  };
  assert.equal(read(fill, fill, 0)?.length, 128 * 1024);
  assert.equal(read(fill)?.length, 4 * 1024 * 1024, "a file without end is cut");
  assert.equal(read("ESRCH"), null);
  assert.throws(() => read("EIO"), { message: 'read "/proc/x": EIO' });
});
