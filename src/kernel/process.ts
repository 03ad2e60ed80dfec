/**
 * This process, and signals to others.
 *
 * Owns: getpid, kill, pidfds, prctl.
 * Must never: signal a pid that was looked up earlier when a pidfd can be held instead: numbers are
 * used again.
 *
 * kill(2), pidfd_open(2), pidfd_send_signal(2), prctl(2).
 */

import { check, Errno, SysError } from "./errno.ts";
import type { Libc } from "./libc.ts";
import { Signal, type SignalName } from "./signals.ts";

/** linux/prctl.h */
const PR_SET_CHILD_SUBREAPER = 36;

/** A signal by name or number. */
export type SignalLike = keyof typeof Signal | number;

function numberOf(signal: SignalLike): number {
  return typeof signal === "number" ? signal : Signal[signal];
}

/** This process's id. */
export function getpid(libc: Libc<"getpid">): number {
  return libc.sym.getpid();
}

/**
 * Sends a signal.
 *
 * @param pid a process, or −pgid for a whole group; 0 and −1 are refused as mistakes
 * @returns false when no such process is there (ESRCH)
 * @throws SysError EPERM, EINVAL
 */
export function kill(libc: Libc<"kill">, pid: number, signal: SignalLike): boolean {
  // 0 means our own group and −1 everyone: never what a caller with a pid in hand wants.
  if (!Number.isInteger(pid) || pid === 0 || pid === -1) {
    throw new SysError("kill", String(pid), Errno.EINVAL);
  }
  if (libc.sym.kill(pid, numberOf(signal)) >= 0) return true;
  const errno = libc.errno();
  if (errno === Errno.ESRCH) return false;
  throw new SysError("kill", `${pid} ${signal}`, errno);
}

/**
 * Signals every process but PID 1 and, when called from it, itself: the shutdown's last word.
 *
 * @returns false when there was none to signal
 * @throws SysError
 */
export function killAll(libc: Libc<"kill">, signal: SignalLike): boolean {
  if (libc.sym.kill(-1, numberOf(signal)) >= 0) return true;
  const errno = libc.errno();
  if (errno === Errno.ESRCH) return false;
  throw new SysError("kill", `everyone ${signal}`, errno);
}

/**
 * Opens a pidfd: it names one process for ever and becomes readable when that process ends.
 *
 * @returns null when no such process is there (ESRCH)
 * @throws SysError; ENOSYS where the C library lacks the call
 */
export function pidfdOpen(libc: Libc<"pidfd_open">, pid: number): number | null {
  const { pidfd_open } = libc.sym;
  if (pidfd_open === null) throw new SysError("pidfd_open", String(pid), Errno.ENOSYS);
  // A pidfd is always close-on-exec.
  const fd = pidfd_open(pid, 0);
  if (fd >= 0) return fd;
  const errno = libc.errno();
  if (errno === Errno.ESRCH) return null;
  throw new SysError("pidfd_open", String(pid), errno);
}

/**
 * Signals the process a pidfd names, never another.
 *
 * @returns false when it has ended (ESRCH)
 * @throws SysError
 */
export function pidfdSendSignal(
  libc: Libc<"pidfd_send_signal">,
  pidfd: number,
  signal: SignalLike,
): boolean {
  const { pidfd_send_signal } = libc.sym;
  if (pidfd_send_signal === null) {
    throw new SysError("pidfd_send_signal", String(pidfd), Errno.ENOSYS);
  }
  if (pidfd_send_signal(pidfd, numberOf(signal), null, 0) >= 0) return true;
  const errno = libc.errno();
  if (errno === Errno.ESRCH) return false;
  throw new SysError("pidfd_send_signal", `${pidfd} ${signal}`, errno);
}

/** Makes orphans among our descendants ours to reap, as if we were PID 1. @throws SysError */
export function setChildSubreaper(libc: Libc<"prctl">, on: boolean): void {
  check(
    libc,
    libc.sym.prctl(PR_SET_CHILD_SUBREAPER, on ? 1n : 0n, 0n, 0n, 0n),
    "prctl",
    "PR_SET_CHILD_SUBREAPER",
  );
}

/** How a process ended. */
export type ExitStatus =
  | { readonly code: number }
  | { readonly signal: SignalName; readonly core: boolean };
