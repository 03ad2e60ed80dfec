/** Signals. */
import assert from "node:assert/strict";
import { fakeLibc } from "../../tests/kernel/harness.ts";
import { Errno } from "./errno.ts";
import { ignoreSigusr1, Signal, signalName } from "./signals.ts";

Deno.test("signalName() knows names and numbers real-time signals", () => {
  assert.deepEqual([signalName(9), signalName(17), signalName(34)], [
    "SIGKILL",
    "SIGCHLD",
    "SIG34",
  ]);
  assert.equal(Object.keys(Signal).length, 31);
});

Deno.test("ignoreSigusr1() installs a handler, never SIG_IGN, which children would inherit", () => {
  const calls: unknown[][] = [];
  ignoreSigusr1(fakeLibc({
    dlsym: () => 0x7fff_1234_0000n,
    signal: (...call: unknown[]) => (calls.push(call), 0n),
  }));
  assert.deepEqual(calls, [[10, 0x7fff_1234_0000n]]);
});

Deno.test("ignoreSigusr1() throws for SIG_ERR in either sign and without a handler, and only then", () => {
  const libc = (before: bigint, handler = 0x7fff_0000n) =>
    fakeLibc({ dlsym: () => handler, signal: () => before }, () => Errno.EINVAL);
  ignoreSigusr1(libc(0n));
  ignoreSigusr1(libc(0x7fff_1234_5678n));
  for (const error of [-1n, 0xffff_ffff_ffff_ffffn]) {
    assert.throws(() => ignoreSigusr1(libc(error)), { message: "signal SIGUSR1, abs: EINVAL" });
  }
  assert.throws(() => ignoreSigusr1(libc(0n, 0n)), { message: "dlsym abs: ENOENT" });
});
