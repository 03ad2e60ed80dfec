/**
 * LineSplitter: text lines out of a byte stream that may be endless, binary or hostile.
 *
 * Owns one line's worth of bytes at most. Must never grow with its input: what does not fit is cut
 * and counted.
 */

import { TokenBucket } from "./rate.ts";

const newline = 10;

/** How many lines end in `bytes`. */
export function lineEnds(bytes: Uint8Array): number {
  let count = 0;
  for (let at = 0; at < bytes.length; at++) if (bytes[at] === newline) count++;
  return count;
}

export class LineSplitter {
  readonly #line: Uint8Array;
  readonly #decoder = new TextDecoder();
  #length = 0;
  #cut = 0;

  /**
   * @param maxBytes longest line kept; the rest of it is counted
   * @param onLine takes a line without its ending, and how many bytes of it were cut
   */
  constructor(maxBytes: number, readonly onLine: (line: string, cut: number) => void) {
    this.#line = new Uint8Array(maxBytes);
  }

  push(chunk: Uint8Array): void {
    let start = 0;
    for (;;) {
      const end = chunk.indexOf(newline, start);
      this.#keep(chunk.subarray(start, end < 0 ? chunk.length : end));
      if (end < 0) return;
      this.#flush();
      start = end + 1;
    }
  }

  /** Passes over every line that ends in `chunk`, the one begun among them; answers how many. */
  skip(chunk: Uint8Array): number {
    const last = chunk.lastIndexOf(newline);
    if (last >= 0) this.#reset();
    this.#keep(chunk.subarray(last + 1));
    return lineEnds(chunk);
  }

  /** The stream ended: what was begun is a line too. */
  end(): void {
    if (this.#length > 0 || this.#cut > 0) this.#flush();
  }

  #keep(bytes: Uint8Array): void {
    const room = Math.min(bytes.length, this.#line.length - this.#length);
    this.#line.set(bytes.subarray(0, room), this.#length);
    this.#length += room;
    this.#cut += bytes.length - room;
  }

  #flush(): void {
    let length = this.#length;
    if (this.#cut === 0 && length > 0 && this.#line[length - 1] === 13) length--;
    const cut = this.#cut;
    this.#reset();
    this.onLine(this.#decoder.decode(this.#line.subarray(0, length)), cut);
  }

  #reset(): void {
    this.#length = 0;
    this.#cut = 0;
  }
}

export interface LineLimits {
  /** Longest line, in bytes. */
  readonly maxBytes: number;
  readonly perSecond: number;
  readonly burst: number;
  /** Milliseconds on a clock that never steps. */
  readonly now: () => number;
}

/** A line that was let through, with what was lost of it and before it. */
export interface MeteredLine {
  readonly line: string;
  /** Bytes cut off its end. */
  readonly cut: number;
  /** Lines refused since the one before. */
  readonly lost: number;
}

/**
 * LineSplitter with a rate: a child that prints without end costs a count, not an event each, nor
 * even a look at each line: of `yes`, 64 KiB would take 15 ms.
 */
export class MeteredLines {
  readonly #splitter: LineSplitter;
  readonly #bucket: TokenBucket;
  #lost = 0;

  constructor(limits: LineLimits, onLine: (line: MeteredLine) => void) {
    this.#bucket = new TokenBucket(limits.perSecond, limits.burst, limits.now);
    this.#splitter = new LineSplitter(limits.maxBytes, (line, cut) => {
      const lost = this.#lost;
      this.#lost = 0;
      onLine({ line, cut, lost });
    });
  }

  push(chunk: Uint8Array): void {
    for (let start = 0; start < chunk.length;) {
      const end = chunk.indexOf(newline, start);
      if (end >= 0 && !this.#bucket.take()) {
        // With one line the rest of its chunk is refused: they came at the same moment.
        this.#lost += this.#splitter.skip(chunk.subarray(start));
        return;
      }
      const next = end < 0 ? chunk.length : end + 1;
      this.#splitter.push(chunk.subarray(start, next));
      start = next;
    }
  }

  /** The stream ended; answers how many lines were refused since the last that was let through. */
  end(): number {
    this.#splitter.end();
    const lost = this.#lost;
    this.#lost = 0;
    return lost;
  }
}
