/**
 * The hardware that resets the machine when nobody feeds it.
 *
 * Owns: one watchdog device, armed from the moment it is opened.
 * Must never: be fed from a timer of its own: only the main loop may, once it has shown it lives.
 *
 * Documentation/watchdog/watchdog-api.rst, linux/watchdog.h.
 */

import { check, SysError } from "./errno.ts";
import { closeFd, O, openFd, writeFd } from "./fd.ts";
import { pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** WDIOC_*: _IOR('W', n, int), and _IOWR for SETTIMEOUT; the same on x86_64 and aarch64. */
const WDIOC = {
  GETBOOTSTATUS: 0x80045702n,
  KEEPALIVE: 0x80045705n,
  SETTIMEOUT: 0xc0045706n,
  GETTIMEOUT: 0x80045707n,
} as const;
/** WDIOF_CARDRESET: the last reset was the watchdog's. */
const WDIOF_CARDRESET = 0x20;

/** The symbols a watchdog calls. */
export type WatchdogLibc = Libc<"open" | "write" | "ioctl" | "close">;

/** An armed watchdog. */
export class Watchdog {
  readonly #libc: WatchdogLibc;
  readonly #fd: number;
  readonly #int = new Int32Array(pinned(4).buffer);
  #open = true;

  /** Opens and thereby arms it. @throws SysError ENOENT without one, EBUSY when held */
  constructor(libc: WatchdogLibc, readonly path = "/dev/watchdog") {
    this.#libc = libc;
    this.#fd = openFd(libc, path, O.WRONLY);
  }

  /**
   * Sets the time it may go unfed.
   *
   * @returns the seconds the device chose, near what was asked
   * @throws SysError EINVAL beyond what the device can do
   */
  setTimeout(seconds: number): number {
    return this.#control(WDIOC.SETTIMEOUT, "WDIOC_SETTIMEOUT", seconds);
  }

  /** The time it may go unfed, seconds. @throws SysError */
  timeout(): number {
    return this.#control(WDIOC.GETTIMEOUT, "WDIOC_GETTIMEOUT", 0);
  }

  /** Whether the last reset of the machine was this watchdog's. @throws SysError */
  causedLastReset(): boolean {
    return (this.#control(WDIOC.GETBOOTSTATUS, "WDIOC_GETBOOTSTATUS", 0) & WDIOF_CARDRESET) !== 0;
  }

  /** Feeds it. @throws SysError */
  keepAlive(): void {
    this.#control(WDIOC.KEEPALIVE, "WDIOC_KEEPALIVE", 0);
  }

  /**
   * Disarms and closes it: "V" is the word that says so. With `nowayout` the device stays armed.
   * Safe to call twice.
   *
   * @throws SysError when the word could not be written; the device is then armed still
   */
  disarm(): void {
    if (!this.#open) return;
    this.#open = false;
    const count = writeFd(this.#libc, this.#fd, new TextEncoder().encode("V"));
    closeFd(this.#libc, this.#fd);
    if (count < 0) throw new SysError("write", `"V" to ${this.path}`, -count);
  }

  #control(request: bigint, name: string, value: number): number {
    this.#int[0] = value;
    check(
      this.#libc,
      this.#libc.sym.ioctl(this.#fd, request, new Uint8Array(this.#int.buffer)),
      "ioctl",
      () => `${name} on ${this.path}`,
    );
    return this.#int[0];
  }
}
