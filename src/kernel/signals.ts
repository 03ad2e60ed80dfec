/**
 * Signal numbers, and what of their handling Deno cannot set.
 *
 * Owns: the table number ↔ name (asm-generic/signal.h, the same on x86_64 and aarch64).
 * Must never: make JavaScript a handler, it cannot run in one; `Deno.addSignalListener` is the way,
 * and signalfd is not, because another thread takes the signal.
 *
 * signal(2), sigaction(2), signal(7).
 */

import { Errno, SysError } from "./errno.ts";
import { cstr, pinned } from "./layout.ts";
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

/** SIG_ERR is ((void (*)(int)) −1). */
const SIG_ERR = 0xffff_ffff_ffff_ffffn;
/** RTLD_DEFAULT, dlfcn.h. */
const RTLD_DEFAULT = 0n;
/** int abs(int): takes a number, touches nothing, and is safe in a signal handler. */
const INERT_FUNCTION = "abs";

/**
 * Makes SIGUSR1 do nothing to this process, and nothing to its children that they would not expect.
 *
 * Deno answers SIGUSR1 by opening an unauthenticated inspector on 127.0.0.1:9229. It installs that
 * handler half a second after its loop first rests, which on a busy machine may be any time. But it
 * installs each signal's handler only once: call this after `Deno.addSignalListener("SIGUSR1")`,
 * and nothing sets it again.
 *
 * Not SIG_IGN: that is inherited through exec, and every child would be deaf to SIGUSR1. A handler
 * becomes the default again there. signal(2), signal(7), execve(2).
 *
 * @throws SysError
 */
export function ignoreSigusr1(libc: Libc<"signal" | "dlsym">): void {
  const handler = libc.sym.dlsym(RTLD_DEFAULT, cstr(INERT_FUNCTION));
  if (handler === 0n) throw new SysError("dlsym", INERT_FUNCTION, Errno.ENOENT);
  const before = libc.sym.signal(Signal.SIGUSR1, handler);
  if (BigInt.asUintN(64, before) !== SIG_ERR) return;
  const errno = libc.errno();
  throw new SysError("signal", `SIGUSR1, ${INERT_FUNCTION}`, errno);
}

/**
 * struct sigaction of glibc and musl, 64 bit:
 * { void (*sa_handler)(int); sigset_t sa_mask; int sa_flags; void (*sa_restorer)(void); }
 */
const SIZEOF_SIGACTION = 152;
const OFFSETOF_MASK = 8;
/** SIG_DFL and SIG_IGN; what is above is a function. */
const SIG_IGN = 1n;
const LAST_SIGNAL = 64;

/**
 * Makes every handler block the signals of all other handlers while it runs.
 *
 * Those of SIGSEGV and SIGBUS run on a small stack of their own, 8 KiB in each thread. Signals that
 * are pending with one of them add their frames to it, 2 KiB each, before it has run one
 * instruction; where one no longer fits the kernel forces SIGSEGV, and that ends PID 1 too. With the
 * others blocked they wait until the small stack is left. sigaltstack(2).
 *
 * No signal without a handler may be among them: what the first thread of init blocks is not ignored
 * for it, and another thread then takes it and dies of it (kernel/signal.c, complete_signal()).
 *
 * Call it when every handler is installed. @throws SysError
 */
export function keepHandlersApart(libc: Libc<"sigaction">): void {
  const handled: { number: number; action: Uint8Array<ArrayBuffer> }[] = [];
  for (let number = 1; number <= LAST_SIGNAL; number++) {
    const action = pinned(SIZEOF_SIGACTION);
    if (libc.sym.sigaction(number, null, action) < 0) {
      const errno = libc.errno();
      // The C library keeps some to itself.
      if (errno === Errno.EINVAL) continue;
      throw new SysError("sigaction", signalName(number), errno);
    }
    const handler = new DataView(action.buffer).getBigUint64(0, true);
    if (handler > SIG_IGN) handled.push({ number, action });
  }
  for (const { number, action } of handled) {
    // sigset_t: signal n is bit n − 1.
    for (const { number: other } of handled) {
      action[OFFSETOF_MASK + ((other - 1) >> 3)]! |= 1 << ((other - 1) & 7);
    }
    if (libc.sym.sigaction(number, action, null) < 0) {
      throw new SysError("sigaction", signalName(number), libc.errno());
    }
  }
}
