/**
 * Turns: so many at once, so many waiting in order, and no more.
 *
 * Owns a count and a queue of waiters; knows nothing of what they do.
 */
export class Turns {
  readonly #queue: (() => void)[] = [];
  #running = 0;

  /**
   * @param atOnce how many may hold a turn
   * @param limit how many may wait for one
   */
  constructor(readonly atOnce: number, readonly limit: number) {}

  get waiting(): number {
    return this.#queue.length;
  }

  get running(): number {
    return this.#running;
  }

  /** Waits for a turn. `mine` must be given back with `done()`; the others hold nothing. */
  take(signal?: AbortSignal): Promise<"mine" | "full" | "aborted"> {
    if (signal?.aborted) return Promise.resolve("aborted");
    if (this.#running < this.atOnce) {
      this.#running++;
      return Promise.resolve("mine");
    }
    if (this.#queue.length >= this.limit) return Promise.resolve("full");
    return new Promise((resolve) => {
      const abort = () => {
        this.#queue.splice(this.#queue.indexOf(enter), 1);
        resolve("aborted");
      };
      const enter = () => {
        signal?.removeEventListener("abort", abort);
        resolve("mine");
      };
      signal?.addEventListener("abort", abort, { once: true });
      this.#queue.push(enter);
    });
  }

  /** Gives a turn back: the first who waits gets it. */
  done(): void {
    const next = this.#queue.shift();
    if (next === undefined) this.#running--;
    else next();
  }
}
