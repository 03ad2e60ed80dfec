/**
 * Changes of files and directories.
 *
 * Owns: the decoder of struct inotify_event and one inotify instance.
 * Must never: look a path up on the main thread when it may lie on a disk: `add()` is for memory
 * file systems, `addOnDisk()` for the rest.
 *
 * inotify(7), sys/inotify.h.
 */

import type { BlockingCalls, Outcome } from "./blocking.ts";
import { check, Errno, SysError } from "./errno.ts";
import { closeFd, O, readFd } from "./fd.ts";
import { cstr, pinned, Reader } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** IN_* bits: what to watch for, and what happened. */
export const IN = {
  ACCESS: 0x1,
  MODIFY: 0x2,
  ATTRIB: 0x4,
  CLOSE_WRITE: 0x8,
  CLOSE_NOWRITE: 0x10,
  OPEN: 0x20,
  MOVED_FROM: 0x40,
  MOVED_TO: 0x80,
  CREATE: 0x100,
  DELETE: 0x200,
  DELETE_SELF: 0x400,
  MOVE_SELF: 0x800,
  /** Only told: the file system was unmounted. */
  UNMOUNT: 0x2000,
  /** Only told: events were lost. */
  Q_OVERFLOW: 0x4000,
  /** Only told: the watch is gone. */
  IGNORED: 0x8000,
  /** Only asked: fail unless it is a directory. */
  ONLYDIR: 0x0100_0000,
  /** Only asked: do not follow a symbolic link. */
  DONT_FOLLOW: 0x0200_0000,
  /** Only asked: no events of children that were unlinked. */
  EXCL_UNLINK: 0x0400_0000,
  /** Only told: the subject is a directory. */
  ISDIR: 0x4000_0000,
} as const;

/** One change. */
export interface InotifyEvent {
  /** The watch, as `add()` answered it; −1 for an overflow. */
  readonly watch: number;
  /** IN_* bits. */
  readonly mask: number;
  /** Joins a MOVED_FROM with its MOVED_TO; 0 otherwise. */
  readonly cookie: number;
  /** The entry of a watched directory; empty when the watched thing itself changed. */
  readonly name: string;
}

/** Decodes what one read(2) answered. Events before a malformed one are answered. */
export function decodeInotify(
  bytes: Uint8Array,
): { events: InotifyEvent[]; error: string | null } {
  const events: InotifyEvent[] = [];
  const reader = new Reader(bytes);
  while (reader.remaining > 0) {
    const watch = reader.i32();
    const mask = reader.u32();
    const cookie = reader.u32();
    const name = reader.text(reader.u32());
    if (reader.error !== null) return { events, error: reader.error };
    events.push({ watch, mask, cookie, name });
  }
  return { events, error: null };
}

/** About 2,000 events a read. */
const BUFFER_BYTES = 64 * 1024;
/** Reads taken in one turn of the loop. */
const DRAIN_LIMIT = 4;

/** The symbols inotify calls. */
export type InotifyLibc = Libc<
  | "inotify_init1"
  | "inotify_add_watch"
  | "inotify_add_watchAsync"
  | "inotify_rm_watch"
  | "read"
  | "close"
>;

/** What a drain hands on. */
export interface InotifyHandlers {
  readonly onEvent: (event: InotifyEvent) => void;
  /** The kernel's queue overflowed (fs.inotify.max_queued_events): look at everything again. */
  readonly onOverflow: () => void;
}

/** One inotify instance. Add `fd` to the reactor with `drain()` as the handler. */
export class Inotify {
  readonly fd: number;
  readonly #libc: InotifyLibc;
  readonly #buffer = pinned(BUFFER_BYTES);
  #open = true;

  /** @throws SysError EMFILE past fs.inotify.max_user_instances */
  constructor(libc: InotifyLibc) {
    this.#libc = libc;
    // IN_CLOEXEC and IN_NONBLOCK are O_CLOEXEC and O_NONBLOCK.
    this.fd = check(libc, libc.sym.inotify_init1(O.CLOEXEC | O.NONBLOCK), "inotify_init1");
  }

  /**
   * Watches a path on a memory file system; watching it again changes its mask.
   *
   * @returns the watch number
   * @throws SysError: ENOENT, EACCES, ENOSPC past fs.inotify.max_user_watches
   */
  add(path: string, mask: number): number {
    const name = cstr(path);
    return check(
      this.#libc,
      this.#libc.sym.inotify_add_watch(this.fd, name, mask),
      "inotify_add_watch",
      () => JSON.stringify(path),
    );
  }

  /** Watches a path that may lie on a disk. Null when refused: why cannot be known. */
  async addOnDisk(
    calls: BlockingCalls,
    path: string,
    mask: number,
    deadlineMs = 2000,
  ): Promise<Outcome<number | null>> {
    const name = cstr(path);
    return await calls.run(
      async () => {
        const watch = await this.#libc.sym.inotify_add_watchAsync(this.fd, name, mask);
        return watch < 0 ? null : watch;
      },
      deadlineMs,
      [name],
    );
  }

  /** Stops watching. False when it was gone already (its file was deleted). @throws SysError */
  remove(watch: number): boolean {
    if (this.#libc.sym.inotify_rm_watch(this.fd, watch) >= 0) return true;
    const errno = this.#libc.errno();
    if (errno === Errno.EINVAL) return false;
    throw new SysError("inotify_rm_watch", String(watch), errno);
  }

  /** Takes what is there. @throws SysError; the first of what a handler throws in one read */
  drain(handlers: InotifyHandlers): "more" | void {
    for (let reads = 0; reads < DRAIN_LIMIT; reads++) {
      if (!this.#open) return;
      const length = readFd(this.#libc, this.fd, this.#buffer);
      if (length === -Errno.EAGAIN || length === 0) return;
      if (length < 0) throw new SysError("read", "inotify", -length);
      const { events, error } = decodeInotify(this.#buffer.subarray(0, length));
      const faults: unknown[] = [];
      for (const event of events) {
        try {
          if ((event.mask & IN.Q_OVERFLOW) !== 0) handlers.onOverflow();
          else handlers.onEvent(event);
        } catch (fault) {
          // The rest of this read is told nowhere else.
          faults.push(fault);
        }
      }
      if (error !== null) faults.push(new Error(`inotify: malformed event: ${error}`));
      if (faults.length > 0) throw faults[0];
    }
    return "more";
  }

  /** Closes the instance; remove it from the reactor first. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#libc, this.fd);
  }
}
