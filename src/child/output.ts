/**
 * Output: one of a child's output streams, read to its end.
 *
 * Owns the reading loop. Must never reject, stop at a consumer's error, or read a flood as fast as
 * it comes: the child then waits in its write, which is where it belongs.
 */
import { type Report, sleep, type Timers } from "./timers.ts";

/**
 * Takes a chunk; answers how many milliseconds to wait before the next is read, if at all. A chunk
 * is 64 KiB at most: 1 ms each is 64 MB/s, 10 ms 6 MB/s.
 */
export type OnChunk = (chunk: Uint8Array) => number | void;

/** For consumers whose work grows with the bytes: a chunk this large comes from a flood. */
export function floodPause(chunk: Uint8Array): number {
  return chunk.length >= 16_384 ? 10 : 0;
}

export interface OutputOptions {
  readonly timers: Timers;
  readonly report: Report;
  readonly onChunk: OnChunk;
  /** Called once: at the end of the stream, or when it is cancelled. */
  readonly onEnd?: () => void;
}

export class Output {
  /** Settles at the end, or when cancelled. Never rejects. */
  readonly done: Promise<void>;
  readonly #reader: ReadableStreamDefaultReader<Uint8Array>;
  #over = false;

  constructor(stream: ReadableStream<Uint8Array>, readonly options: OutputOptions) {
    this.#reader = stream.getReader();
    this.done = this.#drain();
  }

  /** Closes our end of the pipe, whoever still holds the other. */
  cancel(): void {
    this.#end();
    this.#reader.cancel().catch((error) => this.options.report("cancel child output", error));
  }

  async #drain(): Promise<void> {
    const { timers, onChunk, report } = this.options;
    try {
      for (;;) {
        const { value, done } = await this.#reader.read();
        if (done) break;
        const pause = this.#guard(() => onChunk(value)) ?? 0;
        if (pause > 0) await sleep(timers, pause);
      }
    } catch (error) {
      if (!this.#over) report("read child output", error);
    }
    this.#end();
  }

  #end(): void {
    if (this.#over) return;
    this.#over = true;
    this.#guard(() => this.options.onEnd?.());
  }

  #guard<T>(run: () => T): T | undefined {
    try {
      return run();
    } catch (error) {
      this.options.report("child output", error);
      return undefined;
    }
  }
}
