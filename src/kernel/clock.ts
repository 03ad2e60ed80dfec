/**
 * The kernel's clocks.
 *
 * Owns: clock_gettime(2) and clock_settime(2).
 * Must never: be confused: BOOTTIME counts suspend and never steps (deadlines, leases, tokens);
 * MONOTONIC stamps kernel events; REALTIME is what people read and may step at any time.
 */

import { check } from "./errno.ts";
import { pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";

const CLOCKS = { realtime: 0, monotonic: 1, boottime: 7 } as const;
/** A clock by name. */
export type Clock = keyof typeof CLOCKS;

/** struct timespec { time_t sec; long nsec; }: two 64-bit words. */
const SIZEOF_TIMESPEC = 16;

/** Reads and sets the clocks. */
export class Clocks {
  readonly #libc: Libc<"clock_gettime" | "clock_settime">;
  readonly #spec = pinned(SIZEOF_TIMESPEC);
  readonly #view = new DataView(this.#spec.buffer);

  constructor(libc: Libc<"clock_gettime" | "clock_settime">) {
    this.#libc = libc;
  }

  /** Microseconds since boot, suspend included. */
  boottime(): number {
    return this.read("boottime");
  }

  /** Microseconds since boot, suspend left out. */
  monotonic(): number {
    return this.read("monotonic");
  }

  /** Microseconds since 1970-01-01T00:00Z. */
  realtime(): number {
    return this.read("realtime");
  }

  /** A clock in whole microseconds: exact as a number for 285 years. @throws SysError */
  read(clock: Clock): number {
    check(
      this.#libc,
      this.#libc.sym.clock_gettime(CLOCKS[clock], this.#spec),
      "clock_gettime",
      clock,
    );
    const seconds = this.#view.getUint32(0, true) + this.#view.getInt32(4, true) * 2 ** 32;
    return seconds * 1e6 + Math.floor(this.#view.getUint32(8, true) / 1000);
  }

  /**
   * Steps the wall clock.
   *
   * @param microseconds since 1970-01-01T00:00Z, at least 0
   * @throws SysError EPERM without CAP_SYS_TIME, EINVAL before the boot
   */
  setRealtime(microseconds: number): void {
    const spec = pinned(SIZEOF_TIMESPEC);
    const view = new DataView(spec.buffer);
    view.setBigInt64(0, BigInt(Math.floor(microseconds / 1e6)), true);
    view.setBigInt64(8, BigInt(Math.floor(microseconds % 1e6)) * 1000n, true);
    check(
      this.#libc,
      this.#libc.sym.clock_settime(CLOCKS.realtime, spec),
      "clock_settime",
      () => `realtime ${microseconds} µs`,
    );
  }
}
