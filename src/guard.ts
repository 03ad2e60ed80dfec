/**
 * The typed view of what boot.js set up before any other code ran.
 *
 * Owns nothing: boot.js does. Outside PID 1 (tests, prewarming) there is no
 * boot.js, and an inert guard stands in.
 */

export interface Guard {
  /** `performance.now()` at PID 1's first statement, ms. */
  readonly startedAt: number;
  readonly signals: string[];
  readonly faults: { where: string; error: unknown }[];
  onSignal: ((signal: string) => void) | null;
  onFault: ((where: string, error: unknown) => void) | null;
}

/** The guard boot.js installed, or an inert one where it did not run. */
export function guard(): Guard {
  const installed = Reflect.get(globalThis, Symbol.for("osymbiote.guard"));
  return (installed as Guard | undefined) ??
    { startedAt: 0, signals: [], faults: [], onSignal: null, onFault: null };
}
