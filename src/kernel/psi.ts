/**
 * Pressure: how much time work lost waiting for CPU, memory or disk.
 *
 * Owns: the parser of pressure files, and a trigger: a descriptor that becomes ready (EPOLLPRI)
 * when a stall threshold is crossed.
 *
 * Documentation/accounting/psi.rst.
 */

import { SysError } from "./errno.ts";
import { closeFd, O, openFd, writeFd } from "./fd.ts";
import { cstr } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** One line of a pressure file. */
export interface PressureLine {
  /** Share of time stalled over the last 10, 60 and 300 s, percent. */
  readonly avg10: number;
  readonly avg60: number;
  readonly avg300: number;
  /** Stalled since boot, µs. */
  readonly totalUs: number;
}

/** A pressure file: `some` task stalled, or all of them (`full`; absent for cpu on old kernels). */
export interface Pressure {
  readonly some: PressureLine;
  readonly full: PressureLine | null;
}

/** Parses /proc/pressure/* or a cgroup's *.pressure; null without a `some` line. */
export function parsePressure(text: string): Pressure | null {
  const lines = new Map<string, PressureLine>();
  for (const line of text.split("\n")) {
    const match = /^(some|full) avg10=(\d+\.\d+) avg60=(\d+\.\d+) avg300=(\d+\.\d+) total=(\d+)$/
      .exec(line);
    if (match === null) continue;
    const [avg10 = 0, avg60 = 0, avg300 = 0, totalUs = 0] = match.slice(2).map(Number);
    lines.set(match[1]!, { avg10, avg60, avg300, totalUs });
  }
  const some = lines.get("some");
  return some === undefined ? null : { some, full: lines.get("full") ?? null };
}

/** When a trigger fires. */
export interface PressureThreshold {
  readonly kind: "some" | "full";
  /** Stalled time, µs, … */
  readonly stallUs: number;
  /**
   * … within any window of this length, µs: 500,000 to 10,000,000; whole 2,000,000s without
   * CAP_SYS_RESOURCE.
   */
  readonly windowUs: number;
}

/**
 * A pressure trigger. Add `fd` to the reactor with interest `"priority"`; it fires at most once a
 * window. `error` on it means the cgroup is gone.
 */
export class PressureTrigger {
  readonly fd: number;
  readonly #libc: Libc<"open" | "write" | "close">;
  #open = true;

  /** @throws SysError EOPNOTSUPP when PSI is off (`psi=1` turns it on), EINVAL for a bad window */
  constructor(
    libc: Libc<"open" | "write" | "close">,
    path: string,
    threshold: PressureThreshold,
  ) {
    this.#libc = libc;
    this.fd = openFd(libc, path, O.RDWR);
    const words = `${threshold.kind} ${threshold.stallUs} ${threshold.windowUs}`;
    const count = writeFd(libc, this.fd, cstr(words));
    if (count < 0) {
      closeFd(libc, this.fd);
      throw new SysError("write", `${JSON.stringify(words)} to ${path}`, -count);
    }
  }

  /** Closes the trigger; remove it from the reactor first. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#libc, this.fd);
  }
}
