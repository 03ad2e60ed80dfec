/**
 * Signal numbers, and the one disposition that Deno cannot set.
 *
 * Owns: the table number ↔ name (asm-generic/signal.h, the same on x86_64 and aarch64).
 * Must never: install a handler. JavaScript cannot run in one; `Deno.addSignalListener` is the way,
 * and signalfd is not, because another thread takes the signal.
 *
 * signal(2), signal(7).
 */

import { SysError } from "./errno.ts";
import type { Libc } from "./libc.ts";

/** Name → number. */
export const Signal = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGTRAP: 5,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGUSR1: 10,
  SIGSEGV: 11,
  SIGUSR2: 12,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
  SIGSTKFLT: 16,
  SIGCHLD: 17,
  SIGCONT: 18,
  SIGSTOP: 19,
  SIGTSTP: 20,
  SIGTTIN: 21,
  SIGTTOU: 22,
  SIGURG: 23,
  SIGXCPU: 24,
  SIGXFSZ: 25,
  SIGVTALRM: 26,
  SIGPROF: 27,
  SIGWINCH: 28,
  SIGIO: 29,
  SIGPWR: 30,
  SIGSYS: 31,
} as const;

/** The name of a signal; `"SIG<number>"` stands for a real-time one. */
export type SignalName = keyof typeof Signal | `SIG${number}`;

const BY_NUMBER: ReadonlyMap<number, keyof typeof Signal> = new Map(
  (Object.keys(Signal) as (keyof typeof Signal)[]).map((name) => [Signal[name], name]),
);

/** The name of a signal number. */
export function signalName(number: number): SignalName {
  return BY_NUMBER.get(number) ?? `SIG${number}`;
}

/** SIG_IGN is ((void (*)(int)) 1), SIG_ERR is −1. */
const SIG_IGN = 1n;
const SIG_ERR = 0xffff_ffff_ffff_ffffn;

/**
 * Makes the kernel drop SIGUSR1 for this process.
 *
 * Deno answers SIGUSR1 by opening an unauthenticated inspector on 127.0.0.1:9229, even with a
 * listener. It installs that handler some time in its first half second, so this must be called
 * later than that, and may be called again.
 *
 * @throws SysError
 */
export function ignoreSigusr1(libc: Libc<"signal">): void {
  const before = libc.sym.signal(Signal.SIGUSR1, SIG_IGN);
  if (BigInt.asUintN(64, before) !== SIG_ERR) return;
  const errno = libc.errno();
  throw new SysError("signal", "SIGUSR1, SIG_IGN", errno);
}
