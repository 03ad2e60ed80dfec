/**
 * The process table: every process as the last scan of /proc saw it.
 *
 * Owns the scan, done in slices of at most 2 ms so that a machine with
 * thousands of processes does not stop PID 1's loop.
 */
import type { ProcessInfo } from "../../bus/shapes.ts";
import { type Proc, type ProcessStat, TICKS_PER_SECOND } from "../../src/kernel/proc.ts";

const sliceMs = 2;

interface Row {
  readonly info: ProcessInfo;
  readonly startTicks: number;
  readonly cpuTicks: number;
}

export class ProcessTable {
  readonly #proc: Proc;
  readonly #pause: () => Promise<void>;
  #rows = new Map<number, Row>();
  #scannedAt = 0;
  #scanning: Promise<void> | null = null;

  /** `pause` lets the loop turn between two slices. */
  constructor(proc: Proc, pause: () => Promise<void>) {
    this.#proc = proc;
    this.#pause = pause;
  }

  /** The processes of the last scan, by pid. */
  list(): ProcessInfo[] {
    return [...this.#rows.values()].map((row) => row.info);
  }

  /** Processes and kernel threads of the last scan. */
  get size(): number {
    return this.#rows.size;
  }

  /** Scans /proc; a call during a scan waits for that one. */
  scan(): Promise<void> {
    this.#scanning ??= this.#scan().finally(() => this.#scanning = null);
    return this.#scanning;
  }

  async #scan(): Promise<void> {
    const now = performance.now();
    const seconds = this.#scannedAt === 0 ? 0 : (now - this.#scannedAt) / 1000;
    const next = new Map<number, Row>();
    let sliceEnds = now + sliceMs;
    for (const pid of this.#proc.pids()) {
      const row = this.#row(pid, seconds);
      if (row !== null) next.set(pid, row);
      if (performance.now() > sliceEnds) {
        await this.#pause();
        sliceEnds = performance.now() + sliceMs;
      }
    }
    this.#rows = next;
    this.#scannedAt = now;
  }

  #row(pid: number, seconds: number): Row | null {
    const before = this.#rows.get(pid);
    // A kernel thread never changes in a way anybody looks at: its row is read once.
    if (before !== undefined && before.info.kernel) return before;
    const stat = this.#proc.processStat(pid);
    if (stat === null) return null;
    const cpuTicks = stat.userTicks + stat.systemTicks;
    const same = before !== undefined && before.startTicks === stat.startTicks;
    const cpu = same && seconds > 0 ? (cpuTicks - before.cpuTicks) / TICKS_PER_SECOND / seconds : 0;
    // Read anew each time: a process that drops its privileges keeps its start time.
    const uid = stat.kernelThread ? 0 : this.#proc.processStatus(pid)?.uid;
    // Ended since the line above: nobody's, and least of all root's.
    if (uid === undefined) return null;
    return { info: info(stat, uid, cpu), startTicks: stat.startTicks, cpuTicks };
  }
}

function info(stat: ProcessStat, uid: number, cpu: number): ProcessInfo {
  return {
    pid: stat.pid,
    ppid: stat.ppid,
    comm: stat.comm,
    state: stat.state,
    uid,
    threads: stat.threads,
    rss: stat.residentBytes,
    cpu: Math.round(cpu * 1000) / 1000,
    started_s: stat.startTicks / TICKS_PER_SECOND,
    kernel: stat.kernelThread,
  };
}
