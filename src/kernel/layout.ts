/**
 * Reading and writing C structs in byte buffers.
 *
 * Owns: the cursor that distrusts every length and the cursor that lays bytes out, C strings, and
 * the alignment of netlink.
 * Must never: throw on hostile input. A reader past its end answers zeros and keeps the *first*
 * error: read straight through, then look at `error` once.
 *
 * Everything Deno runs Linux on is little-endian, so "host order" here is little-endian; fields that
 * are big-endian on the wire say so in the method's name.
 */

import { Errno, SysError } from "./errno.ts";

const encoder = new TextEncoder();
const decoder = new TextDecoder();

/**
 * A zeroed buffer outside the V8 heap. A small `new Uint8Array(n)` may live inside the heap and be
 * moved by a collection; memory that the kernel writes while JavaScript runs must not.
 */
export function pinned(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array(new ArrayBuffer(bytes));
}

/**
 * NUL-terminated UTF-8 for a `const char *`.
 *
 * @throws SysError EINVAL when the text holds a NUL: C would silently cut it there
 */
export function cstr(text: string): Uint8Array<ArrayBuffer> {
  if (text.includes("\0")) {
    throw new SysError("encode C string", JSON.stringify(text), Errno.EINVAL);
  }
  return encoder.encode(text + "\0");
}

/** The text up to the first NUL, or all of it. Malformed UTF-8 becomes U+FFFD. */
export function textOf(bytes: Uint8Array): string {
  const nul = bytes.indexOf(0);
  return decoder.decode(nul < 0 ? bytes : bytes.subarray(0, nul));
}

/** Rounds up to a multiple of `to`, which is a power of two: `NLMSG_ALIGN`, `NLA_ALIGN` with 4. */
export function align(length: number, to = 4): number {
  return (length + to - 1) & ~(to - 1);
}

/** Reads fields in order from a buffer it does not own. */
export class Reader {
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  #offset = 0;
  #error: string | null = null;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  /** The first thing that went wrong, or null. */
  get error(): string | null {
    return this.#error;
  }

  /** Bytes consumed. */
  get offset(): number {
    return this.#offset;
  }

  /** Bytes left; 0 after an error, so a loop `while (reader.remaining > 0)` ends. */
  get remaining(): number {
    return this.#error === null ? this.#bytes.byteLength - this.#offset : 0;
  }

  /** Records an error unless there is one already. */
  fail(what: string): void {
    this.#error ??= what;
  }

  u8(): number {
    return this.#take(1) ? this.#view.getUint8(this.#offset - 1) : 0;
  }

  u16(): number {
    return this.#take(2) ? this.#view.getUint16(this.#offset - 2, true) : 0;
  }

  u16be(): number {
    return this.#take(2) ? this.#view.getUint16(this.#offset - 2, false) : 0;
  }

  u32(): number {
    return this.#take(4) ? this.#view.getUint32(this.#offset - 4, true) : 0;
  }

  i32(): number {
    return this.#take(4) ? this.#view.getInt32(this.#offset - 4, true) : 0;
  }

  /** A 64-bit count as a number: exact up to 2^53, which no counter we read outlives. */
  u64(): number {
    return this.#take(8) ? Number(this.#view.getBigUint64(this.#offset - 8, true)) : 0;
  }

  u64big(): bigint {
    return this.#take(8) ? this.#view.getBigUint64(this.#offset - 8, true) : 0n;
  }

  /** The next `length` bytes, as a view of the buffer: copy it to keep it. Empty after an error. */
  bytes(length: number): Uint8Array {
    return this.#take(length)
      ? this.#bytes.subarray(this.#offset - length, this.#offset)
      : this.#bytes.subarray(0, 0);
  }

  /** A fixed-size `char[length]`, up to its first NUL. */
  text(length: number): string {
    return textOf(this.bytes(length));
  }

  skip(length: number): this {
    this.#take(length);
    return this;
  }

  /** All that is left. */
  rest(): Uint8Array {
    return this.bytes(this.remaining);
  }

  #take(length: number): boolean {
    if (this.#error !== null) return false;
    // A negative or fractional length can only come from arithmetic on a hostile field.
    if (!Number.isInteger(length) || length < 0 || length > this.remaining) {
      this.#error = `need ${length} bytes at ${this.#offset} of ${this.#bytes.byteLength}`;
      return false;
    }
    this.#offset += length;
    return true;
  }
}

/** Lays fields out in order, growing as needed. */
export class Writer {
  #bytes: Uint8Array<ArrayBuffer>;
  #view: DataView;
  #length = 0;

  constructor(capacity = 64) {
    this.#bytes = pinned(capacity);
    this.#view = new DataView(this.#bytes.buffer);
  }

  /** Bytes written. */
  get length(): number {
    return this.#length;
  }

  u8(value: number): this {
    const at = this.#room(1);
    this.#view.setUint8(at, value);
    return this;
  }

  u16(value: number): this {
    const at = this.#room(2);
    this.#view.setUint16(at, value, true);
    return this;
  }

  u16be(value: number): this {
    const at = this.#room(2);
    this.#view.setUint16(at, value, false);
    return this;
  }

  u32(value: number): this {
    const at = this.#room(4);
    this.#view.setUint32(at, value, true);
    return this;
  }

  i32(value: number): this {
    const at = this.#room(4);
    this.#view.setInt32(at, value, true);
    return this;
  }

  u64(value: number | bigint): this {
    const at = this.#room(8);
    this.#view.setBigUint64(at, BigInt(value), true);
    return this;
  }

  bytes(value: Uint8Array): this {
    const at = this.#room(value.byteLength);
    this.#bytes.set(value, at);
    return this;
  }

  /** A fixed-size `char[length]`: cut to `length − 1` bytes so that a NUL always ends it. */
  text(value: string, length: number): this {
    return this.bytes(encoder.encode(value).subarray(0, length - 1)).zero(
      length - Math.min(encoder.encode(value).byteLength, length - 1),
    );
  }

  zero(length: number): this {
    this.#room(length);
    return this;
  }

  /** Pads with zeros to a multiple of `to`. */
  align(to = 4): this {
    return this.zero(align(this.#length, to) - this.#length);
  }

  /** Overwrites a field written before, such as a length known only at the end. */
  patchU16(offset: number, value: number): this {
    this.#view.setUint16(offset, value, true);
    return this;
  }

  patchU32(offset: number, value: number): this {
    this.#view.setUint32(offset, value, true);
    return this;
  }

  /** The bytes written, as a copy that nothing else writes to. */
  finish(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.#length);
  }

  /** Makes room and answers where; it may replace the view, so it comes first, never as an argument. */
  #room(length: number): number {
    const at = this.#length;
    if (at + length > this.#bytes.byteLength) {
      const grown = pinned(Math.max(this.#bytes.byteLength * 2, at + length));
      grown.set(this.#bytes);
      this.#bytes = grown;
      this.#view = new DataView(grown.buffer);
    }
    this.#length = at + length;
    return at;
  }
}
