/**
 * Output that never waits for its reader.
 *
 * Owns: a queue in front of a descriptor, bounded in bytes.
 * Must never: block, grow past its bound, or lose anything uncounted: when the reader is slow (a
 * serial console, a stuck virtio port) the oldest writes are dropped whole and counted.
 */

import { Errno, SysError } from "./errno.ts";
import { writeFd } from "./fd.ts";
import type { Libc } from "./libc.ts";
import type { Reactor, Registration, Report } from "./reactor.ts";
import { runtimeAlarms } from "./timers.ts";

/** Counters of a writer: accepted = written + dropped + queued. */
export interface WriterStats {
  readonly acceptedBytes: number;
  readonly writtenBytes: number;
  readonly droppedBytes: number;
  /** Pieces dropped, at least in part; small writes that waited together are one piece. */
  readonly droppedWrites: number;
  readonly queuedBytes: number;
}

/** Writes in one turn of the loop. */
const FLUSH_WRITES = 32;
/** Small pieces are joined up to so many bytes; of a small queue, up to a small part. */
const JOINED_BYTES = 1024;
const JOINED_SHARE = 64;

/** A bounded, drop-oldest writer on a non-blocking descriptor it does not own. */
export class BoundedWriter {
  readonly #libc: Libc<"write">;
  readonly #reactor: Pick<Reactor, "add">;
  readonly #report: Report;
  readonly #fd: number;
  readonly #limit: number;
  readonly #joined: number;
  readonly #name: string;
  readonly #queue: Uint8Array<ArrayBuffer>[] = [];
  /** The first of the queue is written in part: it is not dropped, so that lines stay whole. */
  #begun = false;
  #queued = 0;
  #registration: Registration | null = null;
  #failed = false;
  #waiting: (() => void)[] = [];
  #stats = { acceptedBytes: 0, writtenBytes: 0, droppedBytes: 0, droppedWrites: 0 };

  /** @param limitBytes most bytes queued */
  constructor(
    libc: Libc<"write">,
    reactor: Pick<Reactor, "add">,
    report: Report,
    options: { readonly fd: number; readonly limitBytes: number; readonly name: string },
  ) {
    this.#libc = libc;
    this.#reactor = reactor;
    this.#report = report;
    this.#fd = options.fd;
    this.#limit = options.limitBytes;
    this.#joined = Math.min(JOINED_BYTES, Math.floor(options.limitBytes / JOINED_SHARE));
    this.#name = options.name;
  }

  get stats(): WriterStats {
    return { ...this.#stats, queuedBytes: this.#queued };
  }

  /** True after an error of the descriptor other than "no room": everything is dropped since. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Queues bytes, which must not change after, and writes what there is room for. Never throws. */
  write(bytes: Uint8Array<ArrayBuffer>): void {
    if (bytes.byteLength === 0) return;
    this.#stats.acceptedBytes += bytes.byteLength;
    if (this.#failed || bytes.byteLength > this.#limit) {
      this.#drop(bytes.byteLength);
      return;
    }
    this.#enqueue(bytes);
    this.#queued += bytes.byteLength;
    if (this.#registration === null) this.#flush();
    this.#shed();
  }

  /**
   * Waits until everything is written, at most `deadlineMs`: the last lines before a power off.
   *
   * @returns whether the queue is empty
   */
  async drained(deadlineMs: number): Promise<boolean> {
    if (this.#queued === 0) return true;
    const { promise, resolve } = Promise.withResolvers<void>();
    const alarm = runtimeAlarms.set(resolve, deadlineMs);
    this.#waiting.push(resolve);
    await promise;
    runtimeAlarms.clear(alarm);
    return this.#queued === 0 && !this.#failed;
  }

  /** Drops what is queued and lets go of the descriptor, which stays its owner's to close. */
  close(): void {
    this.#fail();
  }

  /** Small pieces that wait are joined: one write to a device costs far more than a copy. */
  #enqueue(bytes: Uint8Array<ArrayBuffer>): void {
    const at = this.#queue.length - 1;
    const last = this.#queue[at];
    if (
      last === undefined || (at === 0 && this.#begun) ||
      last.byteLength + bytes.byteLength > this.#joined
    ) {
      this.#queue.push(bytes);
      return;
    }
    const joined = new Uint8Array(last.byteLength + bytes.byteLength);
    joined.set(last);
    joined.set(bytes, last.byteLength);
    this.#queue[at] = joined;
  }

  #flush(): void {
    for (let writes = 0; this.#queue.length > 0; writes++) {
      const first = this.#queue[0]!;
      // A device that takes all at once must not keep the loop: the rest waits for the next turn.
      if (writes === FLUSH_WRITES) return this.#await();
      const count = writeFd(this.#libc, this.#fd, first);
      if (count === -Errno.EAGAIN || count === 0) {
        this.#await();
        return;
      }
      if (count < 0) {
        this.#fail();
        this.#report(this.#name, new SysError("write", this.#name, -count));
        return;
      }
      this.#stats.writtenBytes += count;
      this.#queued -= count;
      this.#begun = count < first.byteLength;
      if (this.#begun) this.#queue[0] = first.subarray(count);
      else this.#queue.shift();
    }
    this.#registration?.remove();
    this.#registration = null;
    this.#wakeWaiting();
  }

  #await(): void {
    if (this.#registration !== null) return;
    try {
      this.#registration = this.#reactor.add(
        this.#fd,
        ["write"],
        () => this.#flush(),
        `${this.#name} writer`,
      );
    } catch (error) {
      this.#fail();
      this.#report(this.#name, error);
    }
  }

  /** Drops the oldest whole writes until the queue is within its bound. */
  #shed(): void {
    while (this.#queued > this.#limit) {
      const [oldest] = this.#queue.splice(this.#begun ? 1 : 0, 1);
      if (oldest === undefined) return;
      this.#queued -= oldest.byteLength;
      this.#drop(oldest.byteLength);
    }
  }

  #drop(bytes: number): void {
    this.#stats.droppedBytes += bytes;
    this.#stats.droppedWrites++;
  }

  #fail(): void {
    this.#failed = true;
    this.#registration?.remove();
    this.#registration = null;
    for (const bytes of this.#queue.splice(0)) this.#drop(bytes.byteLength);
    this.#queued = 0;
    this.#wakeWaiting();
  }

  #wakeWaiting(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}
