/**
 * Timers: the clock and the alarms that everything about children is timed by.
 *
 * Owns the guard around every callback: an error in one must never reach the event loop, where it
 * would end PID 1. Tests put a fake in its place.
 */

/** Hands an error that was caught at a guard to whoever publishes it. Must not throw. */
export type Report = (where: string, error: unknown) => void;

/** Opaque. */
export type TimerId = number | ReturnType<typeof setTimeout>;

export interface Timers {
  /** Milliseconds on a clock that never steps. */
  now(): number;
  /** Calls `run` once, `ms` from now at the earliest. */
  set(run: () => void, ms: number): TimerId;
  /** Forgets an alarm; one that rang or never was is no matter. */
  clear(id: TimerId | undefined): void;
}

/**
 * The real ones.
 *
 * @param now milliseconds that never step; CLOCK_BOOTTIME where it is at hand
 */
export function realTimers(report: Report, now: () => number = () => performance.now()): Timers {
  return {
    now,
    set: (run, ms) =>
      setTimeout(() => {
        try {
          run();
        } catch (error) {
          report("timer", error);
        }
      }, ms),
    clear: (id) => clearTimeout(id),
  };
}

/** Resolves after `ms`. */
export function sleep(timers: Timers, ms: number): Promise<void> {
  return new Promise((resolve) => timers.set(resolve, ms));
}

/** What a deadline passed without: answered instead of a value. */
export const late = Symbol("late");

/** Waits for `work` at most `ms`; `late` when the deadline passes first. Rejects as `work` does. */
export async function within<T>(
  timers: Timers,
  ms: number,
  work: Promise<T>,
): Promise<T | typeof late> {
  let id: TimerId | undefined;
  const deadline = new Promise<typeof late>((resolve) => {
    id = timers.set(() => resolve(late), ms);
  });
  try {
    return await Promise.race([work, deadline]);
  } finally {
    timers.clear(id);
  }
}

/**
 * A deadline set for somebody else: when it rings late because this process did not get to run,
 * the other side's answer may lie unread, so it is put off once, as long as it was late (250 ms to
 * 2 s). Answers a function that cancels it.
 */
export function deadlineFor(timers: Timers, ms: number, expired: () => void): () => void {
  const due = timers.now() + ms;
  let id = timers.set(() => {
    const lateness = timers.now() - due;
    if (lateness < 100) return expired();
    id = timers.set(expired, Math.min(2000, Math.max(250, lateness)));
  }, ms);
  return () => timers.clear(id);
}
