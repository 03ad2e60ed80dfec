/** Kernel log records. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, Script } from "../../tests/kernel/harness.ts";
import type { ErrnoName } from "./errno.ts";
import { Kmsg, parseKmsg } from "./kmsg.ts";

Deno.test("parseKmsg() reads a record with its dictionary", () => {
  const record = parseKmsg(
    "3,339,5140900,-;NET: Registered protocol family 10\n SUBSYSTEM=net\n DEVICE=+net:eth0\n",
  );
  assert.deepEqual([record?.level, record?.facility, record?.seq, record?.monotonicUs], [
    "err",
    0,
    339,
    5140900,
  ]);
  assert.equal(record?.text, "NET: Registered protocol family 10");
  assert.deepEqual([...record?.dictionary ?? []], [["SUBSYSTEM", "net"], ["DEVICE", "+net:eth0"]]);
});

Deno.test("parseKmsg() splits the facility off and keeps continuation flags and later fields", () => {
  const record = parseKmsg("14,7,8,c,caller=T1;a;b,c");
  assert.deepEqual([record?.level, record?.facility, record?.flags, record?.text], [
    "info",
    1,
    "c",
    "a;b,c",
  ]);
});

Deno.test("parseKmsg() undoes escapes, UTF-8 over several included", () => {
  assert.equal(
    parseKmsg("6,1,2,-;caf\\xc3\\xa9 \\x1b[2J \\x5cx41 \\xzz")?.text,
    "café \x1b[2J \\x41 \\xzz",
  );
  assert.equal(parseKmsg("6,1,2,-;\\xff")?.text, "\ufffd");
});

Deno.test("parseKmsg() refuses what is not a record, and never throws", () => {
  for (const text of ["", "6,1,2;x", "x,1,2,-;y", "6,1,2,-", ",,,;", "-6,1,2,-;y"]) {
    assert.equal(parseKmsg(text), null, text);
  }
  const piece = fc.constantFrom("6", ",", ";", "-", "\n", " ", "=", "\\x", "0a", "é");
  holds(fc.property(fc.array(piece, { maxLength: 40 }), (pieces) => {
    parseKmsg(pieces.join(""));
  }));
});

function fakeKmsg(...reads: (string | ErrnoName)[]) {
  return fakeKmsgFrom("end", ...reads);
}

function fakeKmsgFrom(from: "start" | "end", ...reads: (string | ErrnoName)[]) {
  const script = new Script();
  const steps = reads.map((read) =>
    /^E[A-Z]+$/.test(read) ? read as ErrnoName : (...args: unknown[]) => {
      const bytes = new TextEncoder().encode(read);
      (args[1] as Uint8Array).set(bytes);
      return bytes.byteLength;
    }
  );
  const libc = fakeLibc({
    open: () => 9,
    lseek: () => 0,
    read: script.fn(...steps, "EAGAIN"),
    close: () => 0,
  }, script.errno);
  return new Kmsg(libc, from);
}

function drain(kmsg: Kmsg) {
  const seen: (string | number)[] = [];
  kmsg.drain({ onRecord: ({ text }) => seen.push(text), onLost: (count) => seen.push(count) });
  return seen;
}

Deno.test("Kmsg.drain() counts what an overrun overwrote", () => {
  assert.deepEqual(
    drain(fakeKmsg("6,10,1,-;a", "EPIPE", "6,15,2,-;b", "6,16,3,-;c")),
    ["a", 4, "b", "c"],
  );
});

Deno.test("Kmsg.drain() from the start counts what was overwritten before it was opened", () => {
  assert.deepEqual(drain(fakeKmsgFrom("start", "6,3,1,-;a", "6,4,1,-;b")), [3, "a", "b"]);
  assert.deepEqual(drain(fakeKmsgFrom("start", "6,0,1,-;a")), ["a"]);
  assert.deepEqual(drain(fakeKmsgFrom("end", "6,3,1,-;a")), ["a"]);
});

Deno.test("Kmsg.drain() counts a record it cannot parse as malformed, and not as lost too", () => {
  const kmsg = fakeKmsg("6,1,1,-;a", "garbage", "6,3,1,-;b", "garbage", "EPIPE", "6,9,1,-;c");
  assert.deepEqual(drain(kmsg), ["a", "b", 4, "c"]);
  assert.equal(kmsg.malformed, 2);
  assert.deepEqual(drain(fakeKmsg("garbage", "6,3,1,-;a")), ["a"]);
});

Deno.test("Kmsg.drain() ends when the kernel overruns us for ever", () => {
  const kmsg = fakeKmsg(...new Array<ErrnoName>(1000).fill("EPIPE"));
  assert.deepEqual(drain(kmsg), []);
});

Deno.test("Kmsg.drain() throws what it cannot explain", () => {
  assert.throws(() => drain(fakeKmsg("EIO")), { message: "read /dev/kmsg: EIO" });
});
