/**
 * The ring: the newest events as encoded bytes in one preallocated buffer, with
 * an index by sequence number. It is the history and every consumer's queue.
 *
 * Owns bytes and evictions; it must never grow after construction.
 */
import { type EventType, eventTypes } from "./events.ts";

/** A type's place in the catalogue, which is what the index holds of it. */
const indexOf = new Map(eventTypes.map((type, index) => [type, index]));

export class Ring {
  readonly #bytes: Uint8Array;
  readonly #offsets: Float64Array;
  readonly #lengths: Uint32Array;
  readonly #types: Uint16Array;
  readonly #encoder = new TextEncoder();
  readonly #decoder = new TextDecoder();
  #first = 1; // seq of the oldest event held
  #next = 1; // seq of the next event
  #write = 0; // byte offset of the next event

  /** Holds at most `capacity` events and `size` bytes, whichever is reached first. */
  constructor(size: number, capacity: number) {
    if (size < 16_384 || capacity < 1) {
      throw new RangeError(`ring of ${size} bytes, ${capacity} events: too small`);
    }
    this.#bytes = new Uint8Array(size);
    this.#offsets = new Float64Array(capacity);
    this.#lengths = new Uint32Array(capacity);
    this.#types = new Uint16Array(capacity);
  }

  /** Sequence number of the oldest event held; equals `next` when empty. */
  get first(): number {
    return this.#first;
  }

  /** Sequence number the next event will get. */
  get next(): number {
    return this.#next;
  }

  /** Bytes the buffer was built with. */
  get size(): number {
    return this.#bytes.length;
  }

  /**
   * Stores `json` as event `next`; `evicted` is told of every event that had to
   * make room. Answers the encoded length in bytes. Throws RangeError when one
   * event is larger than a quarter of the ring: callers cut it first.
   */
  push(type: EventType, json: string, evicted: (seq: number, type: EventType) => void): number {
    const room = json.length * 3; // UTF-8 needs at most three bytes a UTF-16 unit
    if (room > this.#bytes.length / 4) {
      throw new RangeError(`event of ${json.length} characters: larger than the ring takes`);
    }
    if (this.#next - this.#first === this.#lengths.length) this.#evict(evicted);
    if (this.#write + room > this.#bytes.length) {
      // What lies between here and the end is older than everything at the start.
      while (this.#first < this.#next && this.#offset(this.#first) >= this.#write) {
        this.#evict(evicted);
      }
      this.#write = 0;
    }
    const end = this.#write + room;
    while (this.#first < this.#next) {
      const offset = this.#offset(this.#first);
      if (offset < this.#write || offset >= end) break;
      this.#evict(evicted);
    }
    const { written } = this.#encoder.encodeInto(json, this.#bytes.subarray(this.#write, end));
    const slot = this.#next % this.#lengths.length;
    this.#offsets[slot] = this.#write;
    this.#lengths[slot] = written;
    this.#types[slot] = indexOf.get(type)!;
    this.#write += written;
    this.#next++;
    return written;
  }

  /** The type of event `seq`, or null when it is not held. */
  typeOf(seq: number): EventType | null {
    if (seq < this.#first || seq >= this.#next) return null;
    return this.#type(seq);
  }

  /** The encoded event `seq` as text, or null when it is not held. */
  read(seq: number): string | null {
    if (seq < this.#first || seq >= this.#next) return null;
    const slot = seq % this.#lengths.length;
    const offset = this.#offsets[slot]!;
    return this.#decoder.decode(this.#bytes.subarray(offset, offset + this.#lengths[slot]!));
  }

  #offset(seq: number): number {
    return this.#offsets[seq % this.#lengths.length]!;
  }

  #type(seq: number): EventType {
    return eventTypes[this.#types[seq % this.#lengths.length]!]!;
  }

  #evict(evicted: (seq: number, type: EventType) => void): void {
    const seq = this.#first++;
    evicted(seq, this.#type(seq));
  }
}
