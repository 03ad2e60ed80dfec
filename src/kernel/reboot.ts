/**
 * The last calls a machine makes: flush, and power off or restart.
 *
 * Owns: sync(2) under a deadline and reboot(2).
 * Must never: wait for ever for a disk that is gone: the deadline passes, and the machine goes down.
 *
 * sync(2), reboot(2), linux/reboot.h.
 */

import type { BlockingCalls, Outcome } from "./blocking.ts";
import { check } from "./errno.ts";
import type { Libc } from "./libc.ts";

/** LINUX_REBOOT_CMD_*: the numbers are compared as 32 bits, so they are passed as int. */
const COMMANDS = {
  /** Stops the machine and cuts the power. */
  "power-off": 0x4321fedc,
  restart: 0x01234567,
  halt: 0xcdef0123 | 0,
  /** Ctrl-Alt-Del sends SIGINT to PID 1 instead of restarting at once. */
  "cad-off": 0,
  "cad-on": 0x89abcdef | 0,
} as const;
/** A command of reboot(2). */
export type RebootCommand = keyof typeof COMMANDS;

/**
 * Calls reboot(2). On success `power-off`, `restart` and `halt` do not return. Nothing is flushed:
 * call `sync()` before.
 *
 * @throws SysError EPERM without CAP_SYS_BOOT
 */
export function reboot(libc: Libc<"reboot">, command: RebootCommand): void {
  check(libc, libc.sym.reboot(COMMANDS[command]), "reboot", command);
}

/** Writes all dirty data to the disks, waiting at most `deadlineMs`. */
export async function sync(
  libc: Libc<"syncAsync">,
  calls: BlockingCalls,
  deadlineMs: number,
): Promise<Outcome<void>> {
  return await calls.run(() => libc.sym.syncAsync(), deadlineMs);
}
