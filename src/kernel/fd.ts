/**
 * File descriptors: open, read, write, close, pipes and eventfds.
 *
 * Owns: the flag numbers, and the rule that every descriptor made here is close-on-exec (a leaked
 * netlink socket in an unprivileged child is a hole in the wall).
 * Must never: offer a blocking descriptor, or touch a path that can wait on a disk: these calls run
 * on PID 1's only thread. /proc, /sys, /dev nodes and sockets are what they are for.
 *
 * Hot paths get the kernel's own convention, a count or −errno, so that an EAGAIN costs no object.
 */

import { check, Errno, SysError } from "./errno.ts";
import { cstr, pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";

const aarch64 = Deno.build.arch === "aarch64";

/** open(2) flags, asm-generic/fcntl.h; aarch64 moves three of them (arch/arm64/…/fcntl.h). */
export const O = {
  RDONLY: 0,
  WRONLY: 0o1,
  RDWR: 0o2,
  CREAT: 0o100,
  EXCL: 0o200,
  NOCTTY: 0o400,
  TRUNC: 0o1000,
  APPEND: 0o2000,
  NONBLOCK: 0o4000,
  DIRECTORY: aarch64 ? 0o40000 : 0o200000,
  NOFOLLOW: aarch64 ? 0o100000 : 0o400000,
  CLOEXEC: 0o2000000,
  PATH: 0o10000000,
} as const;

const F_SETFD = 2;
const FD_CLOEXEC = 1n;
const SEEK_SET = 0;
const EFD_CLOEXEC = O.CLOEXEC;
const EFD_NONBLOCK = O.NONBLOCK;
const CLOSE_RANGE_CLOEXEC = 1 << 2;

/**
 * Opens a file close-on-exec and non-blocking.
 *
 * @param flags of `O`; CLOEXEC and NONBLOCK are always added
 * @throws SysError naming the path
 */
export function openFd(
  libc: Libc<"open">,
  path: string,
  flags: number = O.RDONLY,
  mode = 0o600,
): number {
  const name = cstr(path);
  return check(
    libc,
    libc.sym.open(name, flags | O.CLOEXEC | O.NONBLOCK, mode),
    "open",
    () => JSON.stringify(path),
  );
}

/**
 * Closes a descriptor. Linux frees it whatever close(2) answers, so it is never tried again; an
 * EBADF is a descriptor closed twice, a bug that would one day close someone else's.
 *
 * @throws SysError EBADF
 */
export function closeFd(libc: Libc<"close">, fd: number): void {
  if (libc.sym.close(fd) >= 0) return;
  const errno = libc.errno();
  if (errno === Errno.EBADF) throw new SysError("close", String(fd), errno);
}

/** Reads once. Answers the byte count, 0 at the end, or −errno (−EAGAIN: nothing yet). */
export function readFd(libc: Libc<"read">, fd: number, into: Uint8Array<ArrayBuffer>): number {
  for (;;) {
    const count = libc.sym.read(fd, into, BigInt(into.byteLength));
    if (count >= 0) return count;
    const errno = libc.errno();
    if (errno !== Errno.EINTR) return -errno;
  }
}

/** Writes once. Answers the byte count, which may be short, or −errno (−EAGAIN: no room). */
export function writeFd(libc: Libc<"write">, fd: number, from: Uint8Array<ArrayBuffer>): number {
  for (;;) {
    const count = libc.sym.write(fd, from, BigInt(from.byteLength));
    if (count >= 0) return count;
    const errno = libc.errno();
    if (errno !== Errno.EINTR) return -errno;
  }
}

/** What became of a `writeAll()`: every byte is either written or dropped. */
export interface Written {
  readonly written: number;
  readonly dropped: number;
  /** Why the rest was dropped: 0, or the positive errno (EAGAIN when there was no room). */
  readonly errno: number;
}

/** Writes as much as there is room for without waiting, and counts the rest as dropped. */
export function writeAll(
  libc: Libc<"write">,
  fd: number,
  bytes: Uint8Array<ArrayBuffer>,
): Written {
  let written = 0;
  while (written < bytes.byteLength) {
    const count = writeFd(libc, fd, bytes.subarray(written));
    if (count <= 0) return { written, dropped: bytes.byteLength - written, errno: 0 - count };
    written += count;
  }
  return { written, dropped: 0, errno: 0 };
}

/** Moves the file offset back to the start, to read a control file again. @throws SysError */
export function rewind(libc: Libc<"lseek">, fd: number): void {
  check(libc, libc.sym.lseek(fd, 0n, SEEK_SET), "lseek", () => String(fd));
}

/** A pipe, both ends close-on-exec and non-blocking. @throws SysError */
export function pipe(libc: Libc<"pipe2">): { read: number; write: number } {
  const pair = new Int32Array(pinned(8).buffer);
  check(libc, libc.sym.pipe2(new Uint8Array(pair.buffer), O.CLOEXEC | O.NONBLOCK), "pipe2");
  const [read = -1, write = -1] = pair;
  return { read, write };
}

/** An event counter, close-on-exec and non-blocking, eventfd(2). @throws SysError */
export function eventfd(libc: Libc<"eventfd">, initial = 0): number {
  return check(libc, libc.sym.eventfd(initial, EFD_CLOEXEC | EFD_NONBLOCK), "eventfd");
}

/**
 * Marks every descriptor from 3 up close-on-exec: what PID 1 inherited or a library opened.
 *
 * Where close_range(2) is missing (musl, Linux < 5.11) each open descriptor is marked by itself.
 *
 * @throws SysError
 */
export function closeRangeCloexec(libc: Libc<"close_range" | "fcntl">): void {
  const { close_range } = libc.sym;
  if (close_range !== null && close_range !== undefined) {
    if (close_range(3, 0xffff_ffff, CLOSE_RANGE_CLOEXEC) >= 0) return;
    const errno = libc.errno();
    if (errno !== Errno.ENOSYS && errno !== Errno.EINVAL) {
      throw new SysError("close_range", "3 and up, CLOEXEC", errno);
    }
  }
  for (const entry of Deno.readDirSync("/proc/self/fd")) {
    const fd = Number(entry.name);
    if (fd < 3) continue;
    if (libc.sym.fcntl(fd, F_SETFD, FD_CLOEXEC) >= 0) continue;
    const errno = libc.errno();
    // The descriptor the directory was listed through is closed by now.
    if (errno !== Errno.EBADF) throw new SysError("fcntl", `${fd} F_SETFD`, errno);
  }
}
