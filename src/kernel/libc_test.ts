/** The library itself. */
import assert from "node:assert/strict";
import { Errno } from "./errno.ts";
import { openLibc } from "./libc.ts";

Deno.test("openLibc() opens the host's library", () => {
  const libc = openLibc();
  assert.equal(libc.sym.getpid(), Deno.pid);
  libc.close();
});

Deno.test("openLibc() names what it tried", () => {
  assert.throws(() => openLibc("/nowhere/libc.so"), /open libc: \/nowhere\/libc\.so: /);
});

Deno.test("Libc.errno() is right 100,000 times with collections in between", () => {
  const libc = openLibc();
  let wrong = 0;
  let litter: unknown[] = [];
  for (let round = 0; round < 100_000; round++) {
    if (libc.sym.close(-1) !== -1 || libc.errno() !== Errno.EBADF) wrong++;
    if (libc.sym.fcntl(0, 0x7fff, 0n) !== -1 || libc.errno() !== Errno.EINVAL) wrong++;
    litter.push(new Array(20));
    if (litter.length > 5000) litter = [];
  }
  assert.equal(wrong, 0);
  libc.close();
});
