/**
 * Supervision: how long to wait before a child that ended is started again, the same for services,
 * minds, the journal and the courier.
 *
 * Owns arithmetic only: the clock and the dice are the caller's.
 */

export interface BackoffPolicy {
  /** Wait before the first restart: short enough that one crash goes unnoticed. */
  readonly firstMs: number;
  readonly factor: number;
  /** Longest wait, so that what was repaired elsewhere comes back within a minute. */
  readonly capMs: number;
  /** Spread, as a share of the wait: children that fell together must not rise together. */
  readonly jitter: number;
  /** A child that lived this long was healthy: counting starts again. */
  readonly stableMs: number;
}

export const defaultBackoff: BackoffPolicy = {
  firstMs: 100,
  factor: 2,
  capMs: 60_000,
  jitter: 0.2,
  stableMs: 60_000,
};

/**
 * Milliseconds to wait after `failures` earlier failures in a row (0 for the first).
 *
 * @param roll 0…1, the dice: 0.5 is the middle of the spread
 */
export function backoffMs(
  failures: number,
  roll: number,
  policy: BackoffPolicy = defaultBackoff,
): number {
  // 2^1024 is Infinity, which the cap takes care of.
  const base = Math.min(policy.capMs, policy.firstMs * policy.factor ** Math.max(0, failures));
  const spread = 1 + policy.jitter * (Math.min(1, Math.max(0, roll)) - 0.5);
  return Math.min(policy.capMs, Math.round(base * spread));
}

/** Failures in a row so far, given that the last life lasted `ranMs`. */
export function failuresAfter(
  failures: number,
  ranMs: number,
  policy: BackoffPolicy = defaultBackoff,
): number {
  return ranMs >= policy.stableMs ? 0 : failures;
}

/** The same two, kept for one child. */
export class Backoff {
  #failures = 0;

  constructor(
    readonly random: () => number = Math.random,
    readonly policy: BackoffPolicy = defaultBackoff,
  ) {}

  /** Failures in a row. */
  get failures(): number {
    return this.#failures;
  }

  /** A life of `ranMs` ended: answers how long to wait before the next. */
  next(ranMs: number): number {
    this.#failures = failuresAfter(this.#failures, ranMs, this.policy);
    return backoffMs(this.#failures++, this.random(), this.policy);
  }
}
