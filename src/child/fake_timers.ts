/**
 * FakeTimers: a clock that moves only when a test says so.
 *
 * Owns no real alarm. For tests only; nothing of the system imports it.
 */
import type { TimerId, Timers } from "./timers.ts";

export class FakeTimers implements Timers {
  #now: number;
  #next = 1;
  readonly #alarms = new Map<TimerId, { due: number; run: () => void }>();

  constructor(now = 0) {
    this.#now = now;
  }

  now(): number {
    return this.#now;
  }

  set(run: () => void, ms: number): TimerId {
    const id = this.#next++;
    this.#alarms.set(id, { due: this.#now + Math.max(0, ms), run });
    return id;
  }

  clear(id: TimerId | undefined): void {
    if (id !== undefined) this.#alarms.delete(id);
  }

  /** Alarms that have not rung. */
  get pending(): number {
    return this.#alarms.size;
  }

  /** Milliseconds until the next alarm; null without one. */
  get next(): number | null {
    let due = Infinity;
    for (const alarm of this.#alarms.values()) due = Math.min(due, alarm.due);
    return due === Infinity ? null : due - this.#now;
  }

  /** Moves on by `ms`, ringing what falls due in order and letting promises settle in between. */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (;;) {
      let first: TimerId | undefined;
      for (const [id, alarm] of this.#alarms) {
        if (alarm.due <= end && (first === undefined || alarm.due < this.#alarms.get(first)!.due)) {
          first = id;
        }
      }
      if (first === undefined) break;
      const alarm = this.#alarms.get(first)!;
      this.#alarms.delete(first);
      this.#now = Math.max(this.#now, alarm.due);
      alarm.run();
      await settle();
    }
    this.#now = end;
  }

  /** Jumps without ringing anything: a machine that was stopped. The next `advance` rings late. */
  stall(ms: number): void {
    this.#now += ms;
  }
}

/** Lets promise chains that wait for nothing else run out. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 20; i++) await Promise.resolve();
}
