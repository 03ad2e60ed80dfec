/**
 * A terminal line: the serial console.
 *
 * Owns: one tty opened by itself, so that O_NONBLOCK is this descriptor's and not that of fds 0–2.
 * Must never: block on a slow or unplugged line, or change the line's settings unasked: in the
 * kernel's cooked mode, the default, it edits lines for us.
 *
 * tty_ioctl(4), setsid(2), termios(3).
 */

import { check, Errno, SysError } from "./errno.ts";
import { closeFd, O, openFd, readFd } from "./fd.ts";
import { pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";
import type { Reactor, Registration, Report } from "./reactor.ts";
import { BoundedWriter, type WriterStats } from "./writer.ts";

/** asm-generic/ioctls.h */
const TIOCSCTTY = 0x540en;
/** Take the terminal even from another session. Needs CAP_SYS_ADMIN. */
const STEAL = 1n;

/**
 * Bytes read in one turn of the loop. Each may be a line that is echoed and answered, a write to a
 * slow device each: 64 KiB at once kept an emulated machine deaf for seven seconds.
 */
const READ_BYTES = 256;
/** Default bound of the output queue. At 115,200 baud it is 22 s of text. */
const QUEUE_BYTES = 256 * 1024;

/** What a tty tells. */
export interface TtyHandlers {
  /** Bytes typed; a copy the handler may keep. */
  readonly onInput: (bytes: Uint8Array<ArrayBuffer>) => void;
  /** The line is gone (hangup, end of file or an error): the tty is closed; open a new one later. */
  readonly onClose: (reason: string) => void;
}

/** The symbols a tty calls. */
export type TtyLibc = Libc<
  "open" | "read" | "write" | "close" | "ioctl" | "ioctlValue" | "setsid"
>;

/** asm-generic/ioctls.h and termbits.h. */
const TCGETS = 0x5401n;
const TCSETS = 0x5402n;
const SIZEOF_TERMIOS = 36;
const OFFSETOF_IFLAG = 0;
const OFFSETOF_LFLAG = 12;
const OFFSETOF_OFLAG = 4;
const IXON = 0x0400;
const OPOST = 0x0001;
const ISIG = 0x0001;
const ICANON = 0x0002;
const ECHO = 0x0008;
const IEXTEN = 0x8000;

/**
 * The device behind /dev/console: the last the kernel names in /sys/class/tty/console/active.
 * Null when it cannot be read.
 */
export function activeConsole(path = "/sys/class/tty/console/active"): string | null {
  let text: string;
  try {
    text = Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
  const name = text.trim().split(/\s+/).at(-1);
  return name === undefined || !/^[A-Za-z0-9]+$/.test(name) ? null : `/dev/${name}`;
}

/** A terminal. */
export class Tty {
  readonly fd: number;
  readonly path: string;
  readonly #libc: TtyLibc;
  readonly #handlers: TtyHandlers;
  readonly #buffer = pinned(READ_BYTES);
  readonly #registration: Registration;
  readonly #writer: BoundedWriter;
  readonly #writeFd: number;
  #open = true;

  /** @throws SysError: ENXIO or EIO for a line without hardware, EPERM for a file */
  constructor(
    libc: TtyLibc,
    reactor: Pick<Reactor, "add">,
    report: Report,
    handlers: TtyHandlers,
    options: { readonly path: string; readonly queueBytes?: number },
  ) {
    this.#libc = libc;
    this.#handlers = handlers;
    this.path = options.path;
    this.fd = openFd(libc, options.path, O.RDWR | O.NOCTTY);
    try {
      // Of its own, so that reading and writing are two registrations of the reactor.
      this.#writeFd = openFd(libc, options.path, O.WRONLY | O.NOCTTY);
    } catch (error) {
      closeFd(libc, this.fd);
      throw error;
    }
    this.#writer = new BoundedWriter(libc, reactor, report, {
      fd: this.#writeFd,
      limitBytes: options.queueBytes ?? QUEUE_BYTES,
      name: options.path,
    });
    try {
      this.#registration = reactor.add(
        this.fd,
        ["read"],
        (ready) => this.#read(ready.hangup || ready.error),
        options.path,
      );
    } catch (error) {
      closeFd(libc, this.fd);
      closeFd(libc, this.#writeFd);
      throw error;
    }
  }

  /** Counters of the output queue. */
  get output(): WriterStats {
    return this.#writer.stats;
  }

  /**
   * Hands over every key as it is typed, and what is written as it is: no echo, no editing, no
   * signals, no flow control, no carriage return of its own. termios(3).
   *
   * @throws SysError ENOTTY for what is no terminal
   */
  setRaw(): void {
    const termios = pinned(SIZEOF_TERMIOS);
    const view = new DataView(termios.buffer);
    check(this.#libc, this.#libc.sym.ioctl(this.fd, TCGETS, termios), "ioctl", "TCGETS");
    const clear = (offset: number, bits: number) =>
      view.setUint32(offset, view.getUint32(offset, true) & ~bits, true);
    clear(OFFSETOF_IFLAG, IXON);
    clear(OFFSETOF_OFLAG, OPOST);
    clear(OFFSETOF_LFLAG, ISIG | ICANON | ECHO | IEXTEN);
    check(this.#libc, this.#libc.sym.ioctl(this.fd, TCSETS, termios), "ioctl", "TCSETS");
  }

  /**
   * Makes it the controlling terminal of this process, so that a shell on it has job control. From
   * then on Ctrl-C sends SIGINT to the foreground group and a hangup sends SIGHUP to this process:
   * it must listen to both.
   *
   * @throws SysError
   */
  takeControl(): void {
    if (this.#libc.sym.setsid() < 0) {
      const errno = this.#libc.errno();
      // EPERM: we lead our group, and most likely our session, already; TIOCSCTTY will tell.
      if (errno !== Errno.EPERM) throw new SysError("setsid", "", errno);
    }
    check(
      this.#libc,
      this.#libc.sym.ioctlValue(this.fd, TIOCSCTTY, STEAL),
      "ioctl",
      () => `TIOCSCTTY on ${this.path}`,
    );
  }

  /** Queues text. Never blocks, never throws; what does not fit is dropped and counted. */
  write(text: string | Uint8Array<ArrayBuffer>): void {
    this.#writer.write(typeof text === "string" ? new TextEncoder().encode(text) : text);
  }

  /** Waits until the queue is written, at most `deadlineMs`. */
  async drained(deadlineMs: number): Promise<boolean> {
    return await this.#writer.drained(deadlineMs);
  }

  /** Closes the line; queued output is dropped. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    this.#registration.remove();
    this.#writer.close();
    closeFd(this.#libc, this.fd);
    closeFd(this.#libc, this.#writeFd);
  }

  #read(hangup: boolean): "more" | void {
    if (!this.#open) return;
    const count = readFd(this.#libc, this.fd, this.#buffer);
    if (count > 0) {
      this.#handlers.onInput(this.#buffer.slice(0, count));
      return "more";
    }
    // A cooked line answers 0 to a typed Ctrl-D: no reason to hang up, unless the line did.
    if (count === 0 && !hangup) return;
    if (count === -Errno.EAGAIN && !hangup) return;
    this.close();
    this.#handlers.onClose(count < 0 ? new SysError("read", this.path, -count).message : "hangup");
  }
}
