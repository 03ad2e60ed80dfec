/** Signals. */
import assert from "node:assert/strict";
import { fakeLibc } from "../../tests/kernel/harness.ts";
import { Errno } from "./errno.ts";
import { ignoreSigusr1, keepHandlersApart, Signal, signalName } from "./signals.ts";

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

Deno.test("keepHandlersApart() has handlers block each other, and nothing that has none", () => {
  const handlers = new Map([[1, 0x7fff_1000n], [13, 1n], [15, 0x7fff_2000n]]);
  const set: [number, Uint8Array][] = [];
  keepHandlersApart(fakeLibc({
    sigaction: (number, act, old) => {
      if (number === 32) return -1;
      if (old !== null) {
        const bytes = old as Uint8Array<ArrayBuffer>;
        bytes.fill(0);
        new DataView(bytes.buffer).setBigUint64(0, handlers.get(number) ?? 0n, true);
        bytes[136] = 0x04; // SA_SIGINFO
      }
      if (act !== null) set.push([number, (act as Uint8Array<ArrayBuffer>).slice()]);
      return 0;
    },
  }, () => Errno.EINVAL));
  assert.deepEqual(set.map(([number]) => number), [1, 15]);
  for (const [number, bytes] of set) {
    assert.equal(new DataView(bytes.buffer).getBigUint64(0, true), handlers.get(number));
    // SIGHUP is bit 0, SIGTERM bit 14; SIGPIPE is ignored, and the rest would be fatal.
    assert.deepEqual([...bytes.subarray(8, 136)], [1, 0x40, ...new Array(126).fill(0)]);
    assert.equal(bytes[136], 0x04);
    assert.ok(bytes.subarray(137).every((byte) => byte === 0));
  }
});

Deno.test("keepHandlersApart() throws for what the kernel refuses, naming the signal", () => {
  const refusing = fakeLibc({ sigaction: () => -1 }, () => Errno.EFAULT);
  assert.throws(() => keepHandlersApart(refusing), { message: "sigaction SIGHUP: EFAULT" });
});
