/** Descriptors, with a faked and with the real library. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import { Errno, type ErrnoName } from "./errno.ts";
import {
  closeFd,
  closeRangeCloexec,
  eventfd,
  O,
  openFd,
  pipe,
  readFd,
  rewind,
  writeAll,
  writeFd,
} from "./fd.ts";
import { openLibc } from "./libc.ts";

/** A library whose every call plays `results`. */
function faked(...results: (number | ErrnoName)[]) {
  const script = new Script();
  const fn = script.fn(...results);
  return { script, libc: fakeLibc({ read: fn, write: fn, close: fn }, script.errno) };
}

Deno.test("readFd() asks again after EINTR and answers −errno", () => {
  const { script, libc } = faked("EINTR", "EINTR", 3);
  assert.equal(readFd(libc, 9, new Uint8Array(4)), 3);
  assert.equal(script.calls.length, 3);
  assert.equal(readFd(faked("EAGAIN").libc, 9, new Uint8Array(4)), -Errno.EAGAIN);
});

Deno.test("writeFd() answers a short count as it is", () => {
  assert.equal(writeFd(faked("EINTR", 1).libc, 9, new Uint8Array(4)), 1);
});

Deno.test("writeAll() counts what it drops", () => {
  const bytes = new Uint8Array(10);
  assert.deepEqual(writeAll(faked(4, 6).libc, 9, bytes), {
    written: 10,
    dropped: 0,
    errno: 0,
  });
  assert.deepEqual(writeAll(faked(4, "EAGAIN").libc, 9, bytes), {
    written: 4,
    dropped: 6,
    errno: Errno.EAGAIN,
  });
  assert.deepEqual(writeAll(faked(0).libc, 9, bytes), {
    written: 0,
    dropped: 10,
    errno: 0,
  });
});

Deno.test("closeFd() throws for a descriptor that is not open, and only then", () => {
  assert.throws(() => closeFd(faked("EBADF").libc, 9), { message: "close 9: EBADF" });
  closeFd(faked("EIO").libc, 9);
});

Deno.test("openFd() names the path it could not open", () => {
  assert.throws(() => openFd(openLibc(), "/proc/none"), { message: 'open "/proc/none": ENOENT' });
  assert.throws(() => openFd(openLibc(), "/proc\0"), { code: "EINVAL" });
});

/** /proc/self/fdinfo flags, octal. */
function flagsOf(fd: number): number {
  const text = Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`);
  return parseInt(/^flags:\s*([0-7]+)$/m.exec(text)?.[1] ?? "0", 8);
}

Deno.test("every descriptor is close-on-exec and non-blocking", () => {
  const libc = openLibc();
  const ends = pipe(libc);
  const file = openFd(libc, "/proc/self/stat");
  const counter = eventfd(libc, 3);
  for (const fd of [ends.read, ends.write, file, counter]) {
    assert.equal(flagsOf(fd) & (O.CLOEXEC | O.NONBLOCK), O.CLOEXEC | O.NONBLOCK, String(fd));
  }
  const into = new Uint8Array(8);
  assert.equal(readFd(libc, ends.read, into), -Errno.EAGAIN);
  assert.equal(writeFd(libc, ends.write, new Uint8Array([1, 2])), 2);
  assert.equal(readFd(libc, ends.read, into), 2);
  assert.deepEqual([readFd(libc, counter, into), into[0]], [8, 3]);
  assert.ok(readFd(libc, file, into) === 8);
  rewind(libc, file);
  assert.equal(readFd(libc, file, into), 8);
  for (const fd of [ends.read, ends.write, file, counter]) closeFd(libc, fd);
  assert.throws(() => closeFd(libc, file), { code: "EBADF" });
});

Deno.test("O has the numbers of this architecture", () => {
  // The kernel shows O_DIRECTORY and O_NOFOLLOW of an open descriptor.
  const libc = openLibc();
  const directory = openFd(libc, "/proc", O.DIRECTORY | O.NOFOLLOW);
  assert.equal(flagsOf(directory) & O.DIRECTORY, O.DIRECTORY);
  closeFd(libc, directory);
  assert.throws(() => openFd(libc, "/proc/self/stat", O.DIRECTORY), { code: "ENOTDIR" });
  assert.throws(() => openFd(libc, "/proc/self", O.NOFOLLOW), { code: "ELOOP" });
});

Deno.test("closeRangeCloexec() leaves a child fds 0–2 only", () => {
  const libc = openLibc();
  // A descriptor as a careless library leaves it: F_DUPFD is 0 and keeps no CLOEXEC.
  const ends = pipe(libc);
  const leaked = libc.sym.fcntl(ends.read, 0, 3n);
  assert.equal(flagsOf(leaked) & O.CLOEXEC, 0);
  closeRangeCloexec(libc);
  const child = new Deno.Command("ls", { args: ["/proc/self/fd"] }).outputSync();
  // The fourth is ls's own, on the directory.
  assert.equal(new TextDecoder().decode(child.stdout).trim().split("\n").length, 4);
  for (const fd of [ends.read, ends.write, leaked]) closeFd(libc, fd);
});

Deno.test("closeRangeCloexec() marks one by one where the kernel lacks close_range", () => {
  const script = new Script();
  const marked = new Script();
  const libc = fakeLibc(
    { close_range: script.fn("ENOSYS"), fcntl: marked.fn(0, "EBADF", 0) },
    () => script.errno() === Errno.ENOSYS && marked.calls.length === 0 ? Errno.ENOSYS : Errno.EBADF,
  );
  closeRangeCloexec(libc);
  assert.ok(marked.calls.length >= 2, "each descriptor from 3 up");
  assert.ok(marked.calls.every(([fd, command]) => Number(fd) >= 3 && command === 2));
});

Deno.test("closeRangeCloexec() works where the C library lacks close_range", () => {
  const marked = new Script();
  closeRangeCloexec(fakeLibc({ close_range: null as never, fcntl: marked.fn(0) }));
  assert.ok(marked.calls.length > 0);
});
