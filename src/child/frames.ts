/**
 * Frames: NDJSON between the core and its children, one JSON object a line.
 *
 * Owns the codec and its bounds. What comes in is hostile until checked: a line too long, not
 * UTF-8, not JSON, of no known type, or too many a second is a fault, which is a value. Must never
 * throw on input, nor hold more of it than one line.
 */
import { lineEnds } from "./lines.ts";
import { TokenBucket } from "./rate.ts";

/** Longest line either side may send, in bytes, newline included. */
export const maxFrameBytes = 65_536;

export interface FrameFault {
  readonly kind: "too_long" | "not_utf8" | "not_json" | "refused" | "too_fast" | "unfinished";
  readonly detail: string;
}

export type Frame<T> = { ok: true; frame: T } | { ok: false; fault: FrameFault };

/** Turns a parsed value into a frame of the contract, or says what is wrong with it. Must not throw. */
export type FrameCheck<T> = (
  value: unknown,
) => { ok: true; frame: T } | { ok: false; fault: string };

export interface FrameDecoderOptions<T> {
  readonly check: FrameCheck<T>;
  readonly maxBytes?: number;
  /** Lines a second, and how many at once. */
  readonly perSecond: number;
  readonly burst: number;
  /** Milliseconds on a clock that never steps. */
  readonly now: () => number;
}

const newline = 10;

/** One side's reading end. */
export class FrameDecoder<T> {
  readonly #check: FrameCheck<T>;
  readonly #line: Uint8Array;
  readonly #bucket: TokenBucket;
  readonly #utf8 = new TextDecoder("utf-8", { fatal: true });
  #length = 0;
  #skipped = 0;

  constructor(options: FrameDecoderOptions<T>) {
    this.#check = options.check;
    this.#line = new Uint8Array((options.maxBytes ?? maxFrameBytes) - 1);
    this.#bucket = new TokenBucket(options.perSecond, options.burst, options.now);
  }

  /** Takes bytes as they come; answers the frames and faults they complete, in order. */
  push(chunk: Uint8Array): Frame<T>[] {
    const frames: Frame<T>[] = [];
    for (let start = 0;;) {
      const end = chunk.indexOf(newline, start);
      if (end >= 0 && !this.#bucket.take()) {
        frames.push(this.#refuse(chunk.subarray(start)));
        return frames;
      }
      this.#keep(chunk.subarray(start, end < 0 ? chunk.length : end));
      if (end < 0) return frames;
      frames.push(this.#finish());
      start = end + 1;
    }
  }

  /** One fault for all lines of a flood, none of which is looked at: faults would flood as well. */
  #refuse(lines: Uint8Array): Frame<T> {
    this.#reset();
    this.#keep(lines.subarray(lines.lastIndexOf(newline) + 1));
    return fault("too_fast", `${lineEnds(lines)} frames over ${this.#bucket.perSecond} a second`);
  }

  /** The stream ended: a line without its newline is a fault. */
  end(): Frame<T>[] {
    const left = this.#length + this.#skipped;
    this.#reset();
    return left === 0 ? [] : [fault("unfinished", `${left} bytes without a newline`)];
  }

  #keep(bytes: Uint8Array): void {
    if (this.#skipped > 0 || this.#length + bytes.length > this.#line.length) {
      this.#skipped += bytes.length;
      return;
    }
    this.#line.set(bytes, this.#length);
    this.#length += bytes.length;
  }

  #reset(): void {
    this.#length = 0;
    this.#skipped = 0;
  }

  #finish(): Frame<T> {
    const line = this.#line.subarray(0, this.#length);
    const total = this.#length + this.#skipped;
    const tooLong = this.#skipped > 0;
    this.#reset();
    if (tooLong) return fault("too_long", `${total} bytes, at most ${this.#line.length}`);
    let text: string;
    try {
      text = this.#utf8.decode(line);
    } catch {
      return fault("not_utf8", `${total} bytes`);
    }
    let value: unknown;
    try {
      value = JSON.parse(text);
    } catch {
      return fault("not_json", quote(text));
    }
    const checked = this.#check(value);
    return checked.ok ? checked : fault("refused", checked.fault.slice(0, 512));
  }
}

function fault(kind: FrameFault["kind"], detail: string): { ok: false; fault: FrameFault } {
  return { ok: false, fault: { kind, detail } };
}

function quote(text: string): string {
  return JSON.stringify(text.length > 80 ? `${text.slice(0, 80)}…` : text);
}

/** `too_long: 70000 bytes, at most 65535`. */
export function faultText({ kind, detail }: FrameFault): string {
  return `${kind}: ${detail}`;
}

const encoder = new TextEncoder();

/**
 * One frame as bytes with its newline. A frame over `maxBytes` is a fault: the caller sends less.
 *
 * @throws TypeError when the value is no JSON (cyclic, a BigInt): a bug of the caller
 */
export function encodeFrame(frame: object, maxBytes = maxFrameBytes): Uint8Array | FrameFault {
  const bytes = encoder.encode(`${JSON.stringify(frame)}\n`);
  if (bytes.length <= maxBytes) return bytes;
  return { kind: "too_long", detail: `${bytes.length} bytes, at most ${maxBytes}` };
}
