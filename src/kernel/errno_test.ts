/** Error numbers and SysError. */
import assert from "node:assert/strict";
import { check, denoErrno, Errno, errnoName, fromDeno, SysError } from "./errno.ts";

Deno.test("errnoName() knows numbers of either sign and names the unknown", () => {
  assert.equal(errnoName(16), "EBUSY");
  assert.equal(errnoName(-105), "ENOBUFS");
  assert.equal(errnoName(4095), "E4095");
});

Deno.test("Errno holds what the field codes against", () => {
  assert.deepEqual(
    [Errno.EAGAIN, Errno.ENOBUFS, Errno.ETIMEDOUT, Errno.ECANCELED, Errno.EHWPOISON],
    [11, 105, 110, 125, 133],
  );
});

Deno.test("SysError names operation, detail and cause", () => {
  const error = new SysError("mount", '"proc" on "/proc"', Errno.EBUSY);
  assert.equal(error.message, 'mount "proc" on "/proc": EBUSY');
  assert.equal(String(error), 'SysError: mount "proc" on "/proc": EBUSY');
  assert.equal(new SysError("uname", "", Errno.EFAULT).message, "uname: EFAULT");
  assert.deepEqual([error.code, error.errno, error instanceof Error], ["EBUSY", 16, true]);
});

Deno.test("check() reads errno before it builds the detail", () => {
  let errno = Errno.ENOENT as number;
  const detail = () => {
    errno = Errno.EIO;
    return "x";
  };
  assert.throws(() => check({ errno: () => errno }, -1, "open", detail), { code: "ENOENT" });
  assert.equal(check({ errno: () => 0 }, 7, "open", detail), 7);
});

Deno.test("fromDeno() keeps the kernel's code and passes the rest through", () => {
  try {
    Deno.readTextFileSync("/proc/none");
    assert.fail("read");
  } catch (error) {
    assert.equal(String(fromDeno(error, "read", "x")), "SysError: read x: ENOENT");
  }
  const unnamed = new Error("No such process (os error 3): writefile '/a (os error 5)'");
  assert.equal(denoErrno(unnamed), Errno.ESRCH, "an error that Deno gives no code");
  assert.equal(denoErrno(new Error("x (y) (os error 5)")), null);
  const bug = new TypeError("bug");
  assert.equal(fromDeno(bug, "read", "x"), bug);
  assert.equal(fromDeno(null, "read", "x"), null);
  assert.equal(fromDeno("text", "read", "x"), "text");
});
