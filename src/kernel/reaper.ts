/**
 * Orphans: PID 1 is everyone's last parent, and must bury whoever ends.
 *
 * Owns: waitid(2) on children that are not this runtime's own.
 * Must never: reap a child that `Deno.Command` made: its status promise would reject with ECHILD.
 * So it only peeks (WNOWAIT) at whoever has ended, and takes only foreign pids. When an own zombie
 * stands at the head of the kernel's list, every peek shows that one; then the children are listed
 * from /proc and each foreign one is asked by itself.
 *
 * Call `sweep()` on SIGCHLD (signals coalesce: one may stand for many) and every 250 ms.
 *
 * waitid(2), proc_pid_task(5) (`children`, CONFIG_PROC_CHILDREN).
 */

import { denoErrno, Errno, SysError } from "./errno.ts";
import { pinned, Reader } from "./layout.ts";
import type { Libc } from "./libc.ts";
import type { ExitStatus } from "./process.ts";
import type { Report } from "./reactor.ts";
import { signalName } from "./signals.ts";

// <sys/wait.h>, linux/wait.h
const P_ALL = 0;
const P_PID = 1;
const WNOHANG = 1;
const WEXITED = 4;
const WNOWAIT = 0x0100_0000;
/** siginfo_t: signo @0, errno @4, code @8, pid @16, uid @20, status @24. */
const SIZEOF_SIGINFO = 128;
const OFFSETOF_PID = 16;
/** si_code of a child that exited by itself, was killed, was killed and dumped core. */
const CLD_EXITED = 1;
const CLD_DUMPED = 3;

/** Taken in one sweep: a storm must not hold the loop. Whoever gets that many sweeps again soon. */
export const SWEEP_LIMIT = 256;

/** Decodes what waitid(2) wrote; null when no child had ended. */
export function decodeSiginfo(bytes: Uint8Array): { pid: number; status: ExitStatus } | null {
  const reader = new Reader(bytes).skip(8);
  const code = reader.i32();
  reader.skip(OFFSETOF_PID - 12);
  const pid = reader.i32();
  reader.skip(4);
  const status = reader.i32();
  if (reader.error !== null || pid <= 0) return null;
  if (code === CLD_EXITED) return { pid, status: { code: status & 0xff } };
  return { pid, status: { signal: signalName(status), core: code === CLD_DUMPED } };
}

/** Children of this process, by every thread: each has a list of its own. */
function listChildren(): number[] {
  const children: number[] = [];
  for (const task of Deno.readDirSync("/proc/self/task")) {
    try {
      const text = Deno.readTextFileSync(`/proc/self/task/${task.name}/children`);
      for (const word of text.split(" ")) if (word !== "") children.push(Number(word));
    } catch (error) {
      // The thread ended between the listing and the reading; its children moved to another.
      const errno = denoErrno(error);
      if (errno !== Errno.ENOENT && errno !== Errno.ESRCH) throw error;
    }
  }
  return children;
}

/** Reaps children that are not our own. */
export class Reaper {
  readonly #libc: Libc<"waitid">;
  readonly #isOwn: (pid: number) => boolean;
  readonly #onOrphan: (pid: number, status: ExitStatus) => void;
  readonly #report: Report;
  readonly #listChildren: () => number[];
  readonly #info = pinned(SIZEOF_SIGINFO);
  #reaped = 0;

  /**
   * @param isOwn whether `Deno.Command` made this pid and has not yet told its status. The pid must
   *   be recorded in the same turn as the spawn, before anything can sweep.
   * @param onOrphan told after each foreign child is gone
   * @param listChildren pids of all children, dead and alive; replaced in tests
   */
  constructor(
    libc: Libc<"waitid">,
    isOwn: (pid: number) => boolean,
    onOrphan: (pid: number, status: ExitStatus) => void,
    report: Report,
    listChildrenOf: () => number[] = listChildren,
  ) {
    this.#libc = libc;
    this.#isOwn = isOwn;
    this.#onOrphan = onOrphan;
    this.#report = report;
    this.#listChildren = listChildrenOf;
  }

  /** Children reaped since the start. */
  get reaped(): number {
    return this.#reaped;
  }

  /** Reaps foreign children that have ended, up to `SWEEP_LIMIT`; answers how many. Never throws. */
  sweep(): number {
    const before = this.#reaped;
    try {
      while (this.#reaped - before < SWEEP_LIMIT) {
        const head = this.#wait(P_ALL, 0, WNOWAIT);
        if (head === null) break;
        if (this.#isOwn(head.pid)) {
          this.#walk(before + SWEEP_LIMIT);
          break;
        }
        this.#reap(head.pid);
      }
    } catch (error) {
      this.#report("reaper", error);
    }
    return this.#reaped - before;
  }

  /** An own zombie hides the rest: ask each foreign child by itself. */
  #walk(limit: number): void {
    for (const pid of this.#listChildren()) {
      if (this.#reaped >= limit) return;
      if (!this.#isOwn(pid)) this.#reap(pid);
    }
  }

  #reap(pid: number): void {
    const ended = this.#wait(P_PID, pid, 0);
    if (ended === null) return;
    this.#reaped++;
    try {
      this.#onOrphan(ended.pid, ended.status);
    } catch (error) {
      this.#report("reaper", error);
    }
  }

  /** One waitid; null when nobody (or no such child) has ended. @throws SysError */
  #wait(idType: number, id: number, flags: number): { pid: number; status: ExitStatus } | null {
    // The kernel leaves si_pid alone when no child has ended, and tells by a zero there.
    this.#info.fill(0);
    for (;;) {
      if (this.#libc.sym.waitid(idType, id, this.#info, WEXITED | WNOHANG | flags) >= 0) {
        return decodeSiginfo(this.#info);
      }
      const errno = this.#libc.errno();
      if (errno === Errno.ECHILD) return null;
      if (errno !== Errno.EINTR) throw new SysError("waitid", String(id), errno);
    }
  }
}
