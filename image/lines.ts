/**
 * Cutting a byte stream into lines of bounded length, and keeping the last ones.
 *
 * What arrives from a guest is untrusted: a line never grows beyond its limit, the rest of an
 * overlong line is dropped and counted.
 */

const NEWLINE = 0x0a;

/** Feeds bytes in, calls back with each complete line (UTF-8, without its line ending). */
export class LineSplitter {
  readonly #onLine: (line: string) => void;
  readonly #limit: number;
  readonly #buffer: Uint8Array;
  #length = 0;
  #overlong = false;
  /** Lines that were longer than the limit and were cut there. */
  cut = 0;

  /** `limit`: the longest line in bytes. `onLine` must not throw. */
  constructor(limit: number, onLine: (line: string) => void) {
    this.#limit = limit;
    this.#onLine = onLine;
    this.#buffer = new Uint8Array(limit);
  }

  push(chunk: Uint8Array): void {
    let start = 0;
    while (start < chunk.length) {
      const newline = chunk.indexOf(NEWLINE, start);
      const end = newline < 0 ? chunk.length : newline;
      this.#append(chunk.subarray(start, end));
      if (newline < 0) return;
      this.flush();
      start = newline + 1;
    }
  }

  /** Hands over what is there as a line, as at the end of the stream. */
  flush(): void {
    if (this.#length === 0 && !this.#overlong) return;
    const line = new TextDecoder().decode(this.#buffer.subarray(0, this.#length));
    this.#length = 0;
    if (this.#overlong) this.cut++;
    this.#overlong = false;
    this.#onLine(line.endsWith("\r") ? line.slice(0, -1) : line);
  }

  #append(bytes: Uint8Array): void {
    const room = this.#limit - this.#length;
    if (bytes.length > room) this.#overlong = true;
    const taken = bytes.subarray(0, room);
    this.#buffer.set(taken, this.#length);
    this.#length += taken.length;
  }
}

/** The last `capacity` lines of something that prints for ever. */
export class Tail {
  readonly #lines: string[] = [];
  readonly #capacity: number;

  constructor(capacity: number) {
    this.#capacity = capacity;
  }

  push(line: string): void {
    this.#lines.push(line);
    if (this.#lines.length > this.#capacity) this.#lines.shift();
  }

  lines(): readonly string[] {
    return this.#lines;
  }
}
