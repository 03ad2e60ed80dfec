/**
 * Incidents: something found wrong, what was tried, and when it was over, as events that name each
 * other.
 *
 * Owns ids and the order opened → remedied* → resolved. Decides nothing.
 */
import type { Bus, Source } from "../../bus/bus.ts";
import type { Timers } from "../../src/child/timers.ts";

export interface Incident {
  readonly id: string;
  readonly kind: string;
  /** `seq` of its newest event: the cause of what is done about it. */
  readonly seq: number;
  /** A remedy was tried, with this result. */
  remedied(remedy: string, result: string): void;
  /** It is over; more calls change nothing. */
  resolved(cause?: number): void;
}

export class Incidents {
  readonly #source: Source;
  #count = 0;

  constructor(readonly bus: Pick<Bus, "source" | "boot">, readonly timers: Timers) {
    this.#source = bus.source("immune", ["incident.*"]);
  }

  /** Publishes `incident.opened`. */
  open(kind: string, evidence: string, cause?: number): Incident {
    const id = `inc-${this.bus.boot.slice(0, 6)}-${++this.#count}`;
    const started = this.timers.now();
    const about = { incident: id, kind };
    let seq = this.#source.publish(
      "incident.opened",
      { ...about, evidence: evidence.slice(0, 1024) },
      { cause, subject: id },
    ).seq;
    let over = false;
    return {
      id,
      kind,
      get seq() {
        return seq;
      },
      remedied: (remedy, result) => {
        if (over) return;
        seq = this.#source.publish(
          "incident.remedied",
          { ...about, remedy, result: result.slice(0, 1024) },
          { cause: seq, subject: id },
        ).seq;
      },
      resolved: (resolvedBy) => {
        if (over) return;
        over = true;
        seq = this.#source.publish(
          "incident.resolved",
          { ...about, ms: Math.round(this.timers.now() - started) },
          { cause: resolvedBy ?? seq, subject: id },
        ).seq;
      },
    };
  }
}
