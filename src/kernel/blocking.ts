/**
 * Calls that may wait for ever, kept on a short leash.
 *
 * Owns: the count of calls parked in Deno's pool of 32 blocking threads and their deadlines.
 * Must never: let a hung disk take the pool (every async file operation of PID 1 needs it), or
 * claim that a timed-out call was undone: its thread stays in the kernel until the kernel lets go,
 * and its slot stays taken until then.
 */

import { type Alarms, runtimeAlarms } from "./timers.ts";

/** How a leashed call ended. */
export type Outcome<T> =
  | { readonly state: "done"; readonly value: T }
  /** The deadline passed; the call is still in the kernel. */
  | { readonly state: "timeout" }
  /** Too many calls are stuck already; this one was not started. */
  | { readonly state: "busy" };

/** Runs blocking calls with a deadline, a bounded number at once. */
export class BlockingCalls {
  #inFlight = 0;
  readonly #held = new Set<object>();

  readonly #alarms: Alarms;

  /**
   * @param limit most calls in the kernel at once, timed-out ones included
   * @param alarms what keeps the deadlines
   */
  constructor(readonly limit = 8, alarms: Alarms = runtimeAlarms) {
    this.#alarms = alarms;
  }

  /** Calls in the kernel now, timed-out ones included. */
  get inFlight(): number {
    return this.#inFlight;
  }

  /**
   * Runs `call` and waits at most `deadlineMs` for it.
   *
   * @param holding buffers the kernel was given: kept from the collector until it lets go of them,
   *   which after a timeout is later than our caller's own end
   * @throws whatever `call` throws, if it does so before the deadline
   */
  async run<T>(
    call: () => Promise<T>,
    deadlineMs: number,
    holding: readonly unknown[] = [],
  ): Promise<Outcome<T>> {
    if (this.#inFlight >= this.limit) return { state: "busy" };
    this.#held.add(holding);
    this.#inFlight++;
    const deadline = Promise.withResolvers<Outcome<T>>();
    const alarm = this.#alarms.set(() => deadline.resolve({ state: "timeout" }), deadlineMs);
    // `finally` here, not on the race: the slot is free only when the kernel has let go.
    const answer = (async (): Promise<Outcome<T>> => {
      try {
        return { state: "done", value: await call() };
      } finally {
        this.#inFlight--;
        this.#held.delete(holding);
      }
    })();
    try {
      return await Promise.race([answer, deadline.promise]);
    } finally {
      this.#alarms.clear(alarm);
    }
  }
}
