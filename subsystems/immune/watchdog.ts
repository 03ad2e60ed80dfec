/**
 * Watchdog: feeds the hardware watchdog for as long as the main event loop turns.
 *
 * Owns the feeding and the judgement when to stop. It must be run from PID 1's main loop and
 * nowhere else: a feeder in a thread or a child would go on feeding while the core hangs, which is
 * the one thing the watchdog is there to notice.
 *
 * When the hardware resets the machine:
 * - the loop does not turn (a blocking call, an endless loop): nobody feeds, and the timeout
 *   later the hardware acts. No code of ours is needed for that, or could help.
 * - the loop turns, but only just: a timer of a third of the timeout comes more than a third of it
 *   late, three times in a row. The core is then useless to everyone who waits for it; feeding
 *   stops, an incident says so, and the hardware acts. One late turn means nothing: a stopped or
 *   overloaded host makes them.
 * - the loop turns but `alive` (a round trip through what must work, where one is given) has not
 *   come back for three periods. Likewise.
 * Feeding goes on as soon as the reason is gone, if the hardware has not acted first.
 *
 * On an orderly stop the device is closed with the magic letter, so that a slow unmount is not cut
 * off; on any other end it stays armed (Documentation/watchdog/watchdog-api.rst).
 */
import type { Report, TimerId, Timers } from "../../src/child/timers.ts";
import type { Incident, Incidents } from "./incidents.ts";

/** The device, armed since it was opened (src/kernel/watchdog.ts). All throw with the kernel's code. */
export interface WatchdogDevice {
  /** Seconds without feeding after which the hardware resets the machine. */
  timeout(): number;
  keepAlive(): void;
  /** Writes the magic letter and closes it. */
  disarm(): void;
}

export interface WatchdogOptions {
  readonly device: WatchdogDevice;
  readonly timers: Timers;
  readonly incidents: Incidents;
  readonly report: Report;
  /** Resolves when the core answered itself. Absent: only the loop is judged. */
  readonly alive?: () => Promise<void>;
}

/** Misses in a row before feeding stops. */
const maxMisses = 3;

export class Watchdog {
  readonly #options: WatchdogOptions;
  readonly #periodMs: number;
  #timer: TimerId | undefined;
  #due = 0;
  #misses = 0;
  #answered = true;
  #incident: Incident | null = null;

  /** @throws what the device's `timeout()` throws */
  constructor(options: WatchdogOptions) {
    this.#options = options;
    this.#periodMs = options.device.timeout() * 1000 / 3;
  }

  /** Whether the last turn fed the device. */
  get feeding(): boolean {
    return this.#timer !== undefined && this.#misses < maxMisses;
  }

  /** Feeds at once and from then on three times within each timeout. */
  start(): void {
    this.#feed();
    this.#schedule();
  }

  /** Stops feeding and disarms the device: for an orderly stop only. */
  stop(): void {
    this.#options.timers.clear(this.#timer);
    this.#timer = undefined;
    try {
      this.#options.device.disarm();
    } catch (error) {
      this.#options.report("watchdog disarm", error);
    }
  }

  #schedule(): void {
    this.#due = this.#options.timers.now() + this.#periodMs;
    this.#timer = this.#options.timers.set(() => this.#turn(), this.#periodMs);
  }

  #turn(): void {
    const lagMs = this.#options.timers.now() - this.#due;
    const fault = lagMs > this.#periodMs
      ? `the main loop turned ${Math.round(lagMs)} ms late`
      : this.#answered
      ? null
      : `the core has not answered itself for ${Math.round(this.#periodMs)} ms`;
    this.#misses = fault === null ? 0 : this.#misses + 1;
    if (this.#misses < maxMisses) {
      this.#feed();
      this.#incident?.resolved();
      this.#incident = null;
    } else {
      this.#incident ??= this.#options.incidents.open(
        "core.wedged",
        `${fault}, ${this.#misses} times in a row: the watchdog is no longer fed`,
      );
    }
    this.#probe();
    this.#schedule();
  }

  #probe(): void {
    const { alive, report } = this.#options;
    // One at a time: a core that does not answer is not asked more and more.
    if (alive === undefined || !this.#answered) return;
    this.#answered = false;
    alive().then(() => this.#answered = true, (error) => report("watchdog probe", error));
  }

  #feed(): void {
    try {
      this.#options.device.keepAlive();
    } catch (error) {
      this.#options.report("watchdog feed", error);
    }
  }
}
