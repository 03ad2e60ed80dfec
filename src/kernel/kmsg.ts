/**
 * The kernel's log.
 *
 * Owns: the parser of /dev/kmsg records and its reader, with the count of records lost.
 * Must never: write: a record may wait for a slow serial console.
 *
 * Documentation/ABI/testing/dev-kmsg.
 */

import { check, Errno, SysError } from "./errno.ts";
import { closeFd, O, openFd, readFd } from "./fd.ts";
import { pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** Levels by number, linux/kern_levels.h. */
export const KMSG_LEVELS = [
  "emerg",
  "alert",
  "crit",
  "err",
  "warning",
  "notice",
  "info",
  "debug",
] as const;
/** Importance of a record. */
export type KmsgLevel = typeof KMSG_LEVELS[number];

/** One record. */
export interface KmsgRecord {
  readonly level: KmsgLevel;
  /** syslog(3) facility: 0 is the kernel, 1 a user process that wrote to /dev/kmsg. */
  readonly facility: number;
  readonly seq: number;
  /** CLOCK_MONOTONIC, µs. */
  readonly monotonicUs: number;
  /** `"-"` whole, `"c"` first fragment of a line, `"+"` a later one. */
  readonly flags: string;
  /** Escapes `\xNN` undone. */
  readonly text: string;
  /** `SUBSYSTEM`, `DEVICE`, … of a device's message. */
  readonly dictionary: ReadonlyMap<string, string>;
}

/** Undoes `\xNN`: the kernel escapes what is not printable ASCII and the backslash itself. */
function unescape(text: string): string {
  if (!text.includes("\\x")) return text;
  const parts = text.split(/((?:\\x[0-9a-f]{2})+)/);
  const decoder = new TextDecoder();
  // A run of escapes is decoded as a whole: together they may be one UTF-8 character.
  return parts.map((part, index) =>
    index % 2 === 0
      ? part
      : decoder.decode(Uint8Array.from(part.slice(2).split("\\x"), (hex) => parseInt(hex, 16)))
  ).join("");
}

/** Parses one record as read from /dev/kmsg; null if it is not one. */
export function parseKmsg(record: string): KmsgRecord | null {
  const [line = "", ...rest] = record.split("\n");
  const match = /^(\d{1,10}),(\d{1,20}),(\d{1,20}),([^;,]*)(?:,[^;]*)?;(.*)$/.exec(line);
  if (match === null) return null;
  const [, prio, seq, usec, flags = "", text = ""] = match;
  const dictionary = new Map<string, string>();
  for (const pair of rest) {
    const equals = pair.indexOf("=");
    if (pair.startsWith(" ") && equals > 1) {
      dictionary.set(unescape(pair.slice(1, equals)), unescape(pair.slice(equals + 1)));
    }
  }
  return {
    level: KMSG_LEVELS[Number(prio) & 7] ?? "debug",
    facility: Number(prio) >>> 3,
    seq: Number(seq),
    monotonicUs: Number(usec),
    flags,
    text: unescape(text),
    dictionary,
  };
}

/** CONSOLE_EXT_LOG_MAX: no record is longer, and a shorter buffer gets EINVAL for ever. */
const RECORD_BYTES = 8192;
/** Records taken in one turn of the loop. */
const DRAIN_LIMIT = 256;
const SEEK_SET = 0;
const SEEK_END = 2;

/** What a drain hands on. */
export interface KmsgHandlers {
  readonly onRecord: (record: KmsgRecord) => void;
  /** Records were overwritten before we read them, so many before the next `onRecord`. */
  readonly onLost: (count: number) => void;
}

/** The symbols the reader calls. */
export type KmsgLibc = Libc<"open" | "read" | "lseek" | "close">;

/** Reads /dev/kmsg. Add `fd` to the reactor with `drain()` as the handler. */
export class Kmsg {
  readonly fd: number;
  readonly #libc: KmsgLibc;
  readonly #buffer = pinned(RECORD_BYTES);
  readonly #decoder = new TextDecoder();
  #next: number | null;
  #malformed = 0;
  #open = true;

  /**
   * @param from `"start"` gives the whole buffer first, `"end"` only what comes
   * @throws SysError EPERM when kernel.dmesg_restrict forbids it
   */
  constructor(libc: KmsgLibc, from: "start" | "end" = "start", path = "/dev/kmsg") {
    this.#libc = libc;
    // The kernel counts from 0: what is missing before the first record was overwritten.
    this.#next = from === "start" ? 0 : null;
    this.fd = openFd(libc, path, O.RDONLY);
    try {
      const whence = from === "start" ? SEEK_SET : SEEK_END;
      check(libc, libc.sym.lseek(this.fd, 0n, whence), "lseek", path);
    } catch (error) {
      closeFd(libc, this.fd);
      throw error;
    }
  }

  /** Records that could not be parsed. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Takes what is there. @throws SysError; what a handler throws */
  drain(handlers: KmsgHandlers): "more" | void {
    for (let records = 0; records < DRAIN_LIMIT; records++) {
      if (!this.#open) return;
      const length = readFd(this.#libc, this.fd, this.#buffer);
      if (length === -Errno.EAGAIN || length === 0) return;
      // The next read answers the oldest record left; its sequence number tells the count.
      if (length === -Errno.EPIPE) continue;
      if (length < 0) throw new SysError("read", "/dev/kmsg", -length);
      const record = parseKmsg(this.#decoder.decode(this.#buffer.subarray(0, length)));
      if (record === null) {
        this.#malformed++;
        // One read is one sequence number, also when it cannot be read out of the record.
        if (this.#next !== null) this.#next++;
        continue;
      }
      const lost = this.#next === null ? 0 : record.seq - this.#next;
      this.#next = record.seq + 1;
      if (lost > 0) handlers.onLost(lost);
      handlers.onRecord(record);
    }
    return "more";
  }

  /** Closes the reader; remove it from the reactor first. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#libc, this.fd);
  }
}
