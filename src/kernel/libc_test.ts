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

Deno.test("OpenLibc.compile() changes how functions are called, not what they do", () => {
  const libc = openLibc();
  const clock = () => {
    const spec = new Uint8Array(16);
    assert.equal(libc.sym.clock_gettime(1, spec), 0);
    return Number(new DataView(spec.buffer).getBigInt64(0, true));
  };
  const before = clock();
  const { read } = libc.sym;
  libc.compile();
  assert.notEqual(libc.sym.read, read);
  assert.ok(clock() - before <= 1);
  assert.equal(libc.sym.read(-1, new Uint8Array(1), 1n), -1);
  assert.equal(libc.errno(), Errno.EBADF);
  // Who took a function before goes on with it.
  assert.equal(read(-1, new Uint8Array(1), 1n), -1);
  libc.close();
});

for (const compiled of [false, true]) {
  const how = compiled ? "compiled" : "by address";
  Deno.test(`Libc.errno() is right 100,000 times with collections in between, ${how}`, () => {
    checkErrno(compiled);
  });
}

function checkErrno(compiled: boolean): void {
  const libc = openLibc();
  if (compiled) libc.compile();
  let wrong = 0;
  const bytes = new Uint8Array(1);
  let litter: unknown[] = [];
  for (let round = 0; round < 100_000; round++) {
    if (libc.sym.read(-1, bytes, 1n) !== -1 || libc.errno() !== Errno.EBADF) wrong++;
    if (libc.sym.close(-1) !== -1 || libc.errno() !== Errno.EBADF) wrong++;
    if (libc.sym.fcntl(0, 0x7fff, 0n) !== -1 || libc.errno() !== Errno.EINVAL) wrong++;
    litter.push(new Array(20));
    if (litter.length > 5000) litter = [];
  }
  assert.equal(wrong, 0);
  libc.close();
}
