/**
 * TokenBucket: so many a second, with a burst.
 *
 * Owns a counter; must never wait or keep what it refused.
 */
export class TokenBucket {
  #tokens: number;
  #last: number;

  /**
   * @param perSecond tokens that come back each second
   * @param burst most that can be held, and what it starts with
   * @param now milliseconds on a clock that never steps
   */
  constructor(
    readonly perSecond: number,
    readonly burst: number,
    readonly now: () => number,
  ) {
    this.#tokens = burst;
    this.#last = now();
  }

  /** Takes one; false when there is none. */
  take(): boolean {
    const now = this.now();
    const gained = Math.max(0, now - this.#last) * this.perSecond / 1000;
    this.#tokens = Math.min(this.burst, this.#tokens + gained);
    this.#last = now;
    if (this.#tokens < 1) return false;
    this.#tokens--;
    return true;
  }
}
