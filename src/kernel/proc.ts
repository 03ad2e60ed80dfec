/**
 * What /proc says about the machine and its processes.
 *
 * Owns: the parsers of /proc's text files and `Proc`, which reads them.
 * Must never: read a file of /proc that can wait: `cmdline` and `environ` take the target's memory
 * lock and may page in from a disk, so neither is read.
 *
 * The parsers answer null (or leave a line out) for text that is not what the kernel writes. Sizes
 * are bytes, CPU times clock ticks (`TICKS_PER_SECOND`).
 *
 * proc(5).
 */

import { Errno, SysError } from "./errno.ts";
import { closeFd, O, openFd, readFd } from "./fd.ts";
import { pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";
import { type Mount, parseMountinfo } from "./mount.ts";

/** USER_HZ: the unit of CPU times in /proc, 100 on every architecture we run on. */
export const TICKS_PER_SECOND = 100;
/** The unit of RSS in /proc/[pid]/stat. 4 KiB pages on x86_64 and on every arm64 kernel we build. */
export const PAGE_BYTES = 4096;

/** /proc/meminfo. */
export interface Meminfo {
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** What new work can take without swapping. */
  readonly availableBytes: number;
  readonly buffersBytes: number;
  readonly cachedBytes: number;
  readonly swapTotalBytes: number;
  readonly swapFreeBytes: number;
  /** Every field by the kernel's name; sizes in bytes, counts (`HugePages_…`) as they are. */
  readonly fields: ReadonlyMap<string, number>;
}

/** Parses /proc/meminfo; null without MemTotal. */
export function parseMeminfo(text: string): Meminfo | null {
  const fields = new Map<string, number>();
  for (const line of text.split("\n")) {
    // "MemTotal:         492032 kB", "HugePages_Total:       0"
    const colon = line.indexOf(":");
    if (colon < 1) continue;
    const size = line.endsWith(" kB");
    const value = line.slice(colon + 1, size ? -3 : undefined).trim();
    if (value !== "") fields.set(line.slice(0, colon), count(value) * (size ? 1024 : 1));
  }
  const totalBytes = fields.get("MemTotal");
  if (totalBytes === undefined) return null;
  const of = (name: string) => fields.get(name) ?? 0;
  return {
    totalBytes,
    freeBytes: of("MemFree"),
    availableBytes: of("MemAvailable"),
    buffersBytes: of("Buffers"),
    cachedBytes: of("Cached"),
    swapTotalBytes: of("SwapTotal"),
    swapFreeBytes: of("SwapFree"),
    fields,
  };
}

/** CPU time by use, ticks since boot. */
export interface CpuTimes {
  readonly user: number;
  readonly nice: number;
  readonly system: number;
  readonly idle: number;
  readonly iowait: number;
  readonly irq: number;
  readonly softirq: number;
  readonly steal: number;
}

/** /proc/stat. */
export interface KernelStat {
  /** All CPUs together. */
  readonly total: CpuTimes;
  /** Each CPU that is online, by number. */
  readonly cpus: ReadonlyMap<number, CpuTimes>;
  readonly contextSwitches: number;
  /** Boot time, seconds since 1970. */
  readonly bootSeconds: number;
  /** Processes and threads made since boot. */
  readonly forks: number;
  readonly running: number;
  /** Waiting for a disk. */
  readonly blocked: number;
}

function cpuTimes(words: readonly string[]): CpuTimes {
  const [user = 0, nice = 0, system = 0, idle = 0, iowait = 0, irq = 0, softirq = 0, steal = 0] =
    words.map(count);
  return { user, nice, system, idle, iowait, irq, softirq, steal };
}

/** A non-negative integer, or 0 for anything else. No RegExp: this runs some hundred times a scan. */
function count(word: string | undefined): number {
  const value = Number(word);
  return Number.isInteger(value) && value >= 0 ? value : 0;
}

/** The lines of /proc/stat that hold one number we want. */
const SINGLE = new Set(["ctxt", "btime", "processes", "procs_running", "procs_blocked"]);

/** Parses /proc/stat; null without the `cpu` line. */
export function parseStat(text: string): KernelStat | null {
  let total: CpuTimes | null = null;
  const cpus = new Map<number, CpuTimes>();
  const single = new Map<string, number>();
  for (const line of text.split("\n")) {
    const space = line.indexOf(" ");
    const name = line.slice(0, Math.max(0, space));
    // "cpu" is followed by two spaces. The "intr" line has a thousand words: it is not split.
    if (name === "cpu") total = cpuTimes(line.slice(5).split(" "));
    else if (/^cpu\d{1,5}$/.test(name)) {
      cpus.set(Number(name.slice(3)), cpuTimes(line.slice(space + 1).split(" ")));
    } else if (SINGLE.has(name)) single.set(name, count(line.slice(space + 1)));
  }
  if (total === null) return null;
  const of = (name: string) => single.get(name) ?? 0;
  return {
    total,
    cpus,
    contextSwitches: of("ctxt"),
    bootSeconds: of("btime"),
    forks: of("processes"),
    running: of("procs_running"),
    blocked: of("procs_blocked"),
  };
}

/** /proc/loadavg. */
export interface Loadavg {
  readonly one: number;
  readonly five: number;
  readonly fifteen: number;
  /** Threads that run or could. */
  readonly running: number;
  /** Threads in all. */
  readonly threads: number;
  readonly lastPid: number;
}

/** Parses /proc/loadavg. */
export function parseLoadavg(text: string): Loadavg | null {
  const match = /^(\d+\.\d+) (\d+\.\d+) (\d+\.\d+) (\d+)\/(\d+) (\d+)\s*$/.exec(text);
  if (match === null) return null;
  const [one = 0, five = 0, fifteen = 0, running = 0, threads = 0, lastPid = 0] = match.slice(1)
    .map(Number);
  return { one, five, fifteen, running, threads, lastPid };
}

/** /proc/uptime. */
export interface Uptime {
  readonly seconds: number;
  /** Idle time of all CPUs together, seconds. */
  readonly idleSeconds: number;
}

/** Parses /proc/uptime. */
export function parseUptime(text: string): Uptime | null {
  const match = /^(\d+\.\d+) (\d+\.\d+)\s*$/.exec(text);
  return match === null ? null : { seconds: Number(match[1]), idleSeconds: Number(match[2]) };
}

/** /proc/[pid]/stat. */
export interface ProcessStat {
  readonly pid: number;
  /** At most 15 bytes; may hold spaces, parentheses and newlines: the process chose it. */
  readonly comm: string;
  /** R running, S sleeping, D waiting for a disk, Z zombie, T stopped, I idle kernel thread. */
  readonly state: string;
  readonly ppid: number;
  readonly pgrp: number;
  readonly session: number;
  readonly tty: number;
  readonly userTicks: number;
  readonly systemTicks: number;
  readonly nice: number;
  readonly threads: number;
  /** Ticks after boot; with the pid it names one process for ever. */
  readonly startTicks: number;
  readonly virtualBytes: number;
  readonly residentBytes: number;
  /** PF_KTHREAD: a thread of the kernel. */
  readonly kernelThread: boolean;
}

const PF_KTHREAD = 0x0020_0000;

/** Parses /proc/[pid]/stat: the name stands between the first "(" and the *last* ")". */
export function parseProcessStat(text: string): ProcessStat | null {
  const open = text.indexOf("(");
  const close = text.lastIndexOf(")");
  if (open < 2 || close < open) return null;
  // words[0] is field 3 of proc(5), the state.
  const words = text.slice(close + 1).trim().split(" ");
  const pid = count(text.slice(0, open - 1));
  if (pid === 0 || words.length < 22) return null;
  const field = (number: number) => count(words[number - 3]);
  return {
    pid,
    comm: text.slice(open + 1, close),
    state: words[0]!,
    ppid: field(4),
    pgrp: field(5),
    session: field(6),
    tty: field(7),
    userTicks: field(14),
    systemTicks: field(15),
    nice: Number.parseInt(words[19 - 3]!, 10) || 0,
    threads: field(20),
    startTicks: field(22),
    virtualBytes: field(23),
    residentBytes: field(24) * PAGE_BYTES,
    kernelThread: (field(9) & PF_KTHREAD) !== 0,
  };
}

/** /proc/[pid]/status. */
export interface ProcessStatus {
  readonly tgid: number;
  readonly ppid: number;
  readonly uid: number;
  readonly euid: number;
  readonly gid: number;
  readonly egid: number;
  readonly threads: number;
  /** Null for kernel threads and zombies. */
  readonly residentBytes: number | null;
  /** Every field as the kernel wrote it: `fields.get("SigCgt")`, `"NoNewPrivs"`, `"CapEff"`, … */
  readonly fields: ReadonlyMap<string, string>;
}

/** Parses /proc/[pid]/status; null without Tgid or Uid. */
export function parseProcessStatus(text: string): ProcessStatus | null {
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon > 0) fields.set(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  const [uid, euid] = (fields.get("Uid") ?? "").split("\t");
  const [gid, egid] = (fields.get("Gid") ?? "").split("\t");
  const tgid = count(fields.get("Tgid"));
  if (tgid === 0 || euid === undefined) return null;
  const resident = fields.get("VmRSS");
  return {
    tgid,
    ppid: count(fields.get("PPid")),
    uid: count(uid),
    euid: count(euid),
    gid: count(gid),
    egid: count(egid),
    threads: count(fields.get("Threads")),
    residentBytes: resident === undefined ? null : count(resident.split(" ")[0]) * 1024,
    fields,
  };
}

/** One line of /proc/net/dev. */
export interface NetDevice {
  readonly name: string;
  readonly rxBytes: number;
  readonly rxPackets: number;
  readonly rxErrors: number;
  readonly rxDropped: number;
  readonly txBytes: number;
  readonly txPackets: number;
  readonly txErrors: number;
  readonly txDropped: number;
}

/** Parses /proc/net/dev; a line that is not a device's is left out. */
export function parseNetDev(text: string): NetDevice[] {
  const devices: NetDevice[] = [];
  for (const line of text.split("\n")) {
    const colon = line.lastIndexOf(":");
    if (colon < 0) continue;
    const words = line.slice(colon + 1).trim().split(/ +/);
    if (words.length < 16) continue;
    const at = (index: number) => count(words[index]);
    devices.push({
      name: line.slice(0, colon).trim(),
      rxBytes: at(0),
      rxPackets: at(1),
      rxErrors: at(2),
      rxDropped: at(3),
      txBytes: at(8),
      txPackets: at(9),
      txErrors: at(10),
      txDropped: at(11),
    });
  }
  return devices;
}

/** One line of /proc/diskstats. */
export interface DiskStat {
  readonly major: number;
  readonly minor: number;
  readonly name: string;
  readonly reads: number;
  readonly readBytes: number;
  readonly readMs: number;
  readonly writes: number;
  readonly writtenBytes: number;
  readonly writeMs: number;
  readonly inFlight: number;
  /** Time with at least one request in flight, ms. */
  readonly busyMs: number;
}

/** /proc/diskstats counts in sectors of 512 bytes whatever the disk's own are. */
const SECTOR_BYTES = 512;

/** Parses /proc/diskstats; a line that is not a disk's is left out. */
export function parseDiskstats(text: string): DiskStat[] {
  const disks: DiskStat[] = [];
  for (const line of text.split("\n")) {
    const words = line.trim().split(/ +/);
    const name = words[2];
    if (words.length < 14 || name === undefined) continue;
    const at = (index: number) => count(words[index]);
    disks.push({
      major: at(0),
      minor: at(1),
      name,
      reads: at(3),
      readBytes: at(5) * SECTOR_BYTES,
      readMs: at(6),
      writes: at(7),
      writtenBytes: at(9) * SECTOR_BYTES,
      writeMs: at(10),
      inFlight: at(11),
      busyMs: at(12),
    });
  }
  return disks;
}

/** The symbols a reader of /proc calls. */
export type ProcLibc = Libc<"open" | "read" | "close">;

/** First size of the read buffer; it grows to the largest file seen. */
const BUFFER_BYTES = 64 * 1024;
/** A /proc file longer than this is cut: nothing we read comes near. */
const MAX_BYTES = 4 * 1024 * 1024;

/**
 * Reads /proc, synchronously: its text is made on the spot and waits for nothing. About 10 µs a
 * file.
 */
export class Proc {
  readonly #libc: ProcLibc;
  readonly #root: string;
  readonly #decoder = new TextDecoder();
  #buffer = pinned(BUFFER_BYTES);

  /** @param root elsewhere than /proc in tests */
  constructor(libc: ProcLibc, root = "/proc") {
    this.#libc = libc;
    this.#root = root;
  }

  /**
   * The text of a file below /proc; null when it is not there or its process has ended.
   *
   * @param path relative, such as `"net/dev"`
   * @throws SysError for any other refusal
   */
  read(path: string): string | null {
    const file = `${this.#root}/${path}`;
    let fd: number;
    try {
      fd = openFd(this.#libc, file, O.RDONLY);
    } catch (error) {
      if (error instanceof SysError && gone(error.errno)) return null;
      throw error;
    }
    try {
      return this.#readAll(fd, file);
    } finally {
      closeFd(this.#libc, fd);
    }
  }

  /** /proc/meminfo; null if unreadable. */
  meminfo(): Meminfo | null {
    return this.#parsed("meminfo", parseMeminfo);
  }

  /** /proc/stat; null if unreadable. */
  stat(): KernelStat | null {
    return this.#parsed("stat", parseStat);
  }

  /** /proc/loadavg; null if unreadable. */
  loadavg(): Loadavg | null {
    return this.#parsed("loadavg", parseLoadavg);
  }

  /** /proc/uptime; null if unreadable. */
  uptime(): Uptime | null {
    return this.#parsed("uptime", parseUptime);
  }

  /** /proc/net/dev. */
  netDev(): NetDevice[] {
    return this.#parsed("net/dev", parseNetDev) ?? [];
  }

  /** /proc/diskstats. */
  diskstats(): DiskStat[] {
    return this.#parsed("diskstats", parseDiskstats) ?? [];
  }

  /** /proc/self/mountinfo. */
  mounts(): Mount[] {
    return this.#parsed("self/mountinfo", parseMountinfo)?.mounts ?? [];
  }

  /** Every process, in the kernel's order. Scan in slices: each `processStat()` is some µs. */
  pids(): number[] {
    const pids: number[] = [];
    for (const entry of Deno.readDirSync(this.#root)) {
      if (/^[1-9]\d{0,9}$/.test(entry.name)) pids.push(Number(entry.name));
    }
    return pids;
  }

  /** /proc/[pid]/stat; null when the process has ended. */
  processStat(pid: number): ProcessStat | null {
    return this.#parsed(`${pid}/stat`, parseProcessStat);
  }

  /** /proc/[pid]/status; null when the process has ended. */
  processStatus(pid: number): ProcessStatus | null {
    return this.#parsed(`${pid}/status`, parseProcessStatus);
  }

  #parsed<T>(path: string, parse: (text: string) => T | null): T | null {
    const text = this.read(path);
    return text === null ? null : parse(text);
  }

  #readAll(fd: number, file: string): string | null {
    let length = 0;
    for (;;) {
      if (length === this.#buffer.byteLength) {
        if (length >= MAX_BYTES) break;
        const grown = pinned(length * 2);
        grown.set(this.#buffer);
        this.#buffer = grown;
      }
      const count = readFd(this.#libc, fd, this.#buffer.subarray(length));
      if (count === 0) break;
      if (count < 0) {
        if (gone(-count)) return null;
        throw new SysError("read", JSON.stringify(file), -count);
      }
      length += count;
    }
    return this.#decoder.decode(this.#buffer.subarray(0, length));
  }
}

function gone(errno: number): boolean {
  return errno === Errno.ENOENT || errno === Errno.ESRCH;
}
