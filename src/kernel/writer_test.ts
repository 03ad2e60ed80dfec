/** The bounded writer, on a descriptor that takes what the test says. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds } from "../../tests/kernel/harness.ts";
import { Errno } from "./errno.ts";
import type { Handler } from "./reactor.ts";
import { BoundedWriter } from "./writer.ts";

/** A reader that takes `room` bytes, then none until more room is made. */
class SlowReader {
  room = 0;
  /** How often write(2) was called. */
  calls = 0;
  text = "";
  errno: number = Errno.EAGAIN;
  #handler: Handler | null = null;
  refuseAdd = false;
  readonly reports: string[] = [];

  readonly libc = fakeLibc({
    write: (_fd, bytes) => {
      this.calls++;
      const taken = (bytes as Uint8Array<ArrayBuffer>).subarray(0, this.room);
      if (taken.byteLength === 0) return -1;
      this.room -= taken.byteLength;
      this.text += new TextDecoder().decode(taken);
      return taken.byteLength;
    },
  }, () => this.errno);

  readonly reactor = {
    add: (fd: number, _interest: unknown, handler: Handler) => {
      if (this.refuseAdd) throw new Error("refused");
      this.#handler = handler;
      return { fd, active: true, modify: () => {}, remove: () => this.#handler = null };
    },
  };

  take(bytes: number): void {
    this.room += bytes;
    this.#handler?.({ read: false, write: true, priority: false, hangup: false, error: false });
  }

  get waitedFor(): boolean {
    return this.#handler !== null;
  }

  writer(limitBytes: number): BoundedWriter {
    const report = (where: string, error: unknown) => this.reports.push(`${where}: ${error}`);
    return new BoundedWriter(this.libc, this.reactor, report, { fd: 9, limitBytes, name: "out" });
  }
}

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("BoundedWriter.write() writes at once while there is room", () => {
  const reader = new SlowReader();
  reader.room = 100;
  const writer = reader.writer(10);
  writer.write(encode("one\n"));
  assert.deepEqual([reader.text, reader.waitedFor], ["one\n", false]);
});

Deno.test("BoundedWriter drops the oldest whole writes, never the one begun", () => {
  const reader = new SlowReader();
  reader.room = 2;
  const writer = reader.writer(12);
  for (const line of ["one\n", "two\n", "three\n", "four\n"]) writer.write(encode(line));
  reader.take(100);
  assert.equal(reader.text, "one\nfour\n");
  assert.deepEqual(writer.stats, {
    acceptedBytes: 19,
    writtenBytes: 9,
    droppedBytes: 10,
    droppedWrites: 2,
    queuedBytes: 0,
  });
  assert.equal(reader.waitedFor, false, "no waiting for room without need of it");
});

Deno.test("BoundedWriter joins small writes that wait, in order", () => {
  const reader = new SlowReader();
  const writer = reader.writer(256 * 1024);
  const lines = Array.from({ length: 1000 }, (_, index) => `line ${index}\n`);
  for (const line of lines) writer.write(encode(line));
  assert.equal(reader.calls, 1, "while there is no room it is not asked again");
  reader.take(1 << 20);
  assert.equal(reader.text, lines.join(""));
  assert.ok(reader.calls < 15, `${reader.calls} writes`);
});

Deno.test("BoundedWriter writes a bounded number of pieces in one turn", () => {
  const reader = new SlowReader();
  const writer = reader.writer(1 << 20);
  for (let piece = 0; piece < 100; piece++) writer.write(new Uint8Array(1024));
  const before = reader.calls;
  reader.take(1 << 20);
  assert.ok(reader.calls - before <= 32, `${reader.calls - before} writes`);
  assert.ok(writer.stats.queuedBytes > 0 && reader.waitedFor);
  for (let turn = 0; turn < 4; turn++) reader.take(0);
  assert.deepEqual([writer.stats.queuedBytes, reader.waitedFor], [0, false]);
});

Deno.test("BoundedWriter: accepted = written + dropped + queued, and lines stay whole", () => {
  const step = fc.oneof(
    fc.integer({ min: 1, max: 30 }).map((length) => ({ write: length })),
    fc.nat(20).map((bytes) => ({ take: bytes })),
  );
  holds(fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
    const reader = new SlowReader();
    const writer = reader.writer(40);
    for (const each of steps) {
      if ("write" in each) writer.write(encode(`${"x".repeat(each.write - 1)}\n`));
      else reader.take(each.take);
      const { acceptedBytes, writtenBytes, droppedBytes, queuedBytes } = writer.stats;
      assert.equal(acceptedBytes, writtenBytes + droppedBytes + queuedBytes);
      assert.ok(queuedBytes <= 40 + 30, "the bound, and at most one write begun");
      assert.equal(writtenBytes, reader.text.length);
    }
    reader.take(1000);
    const lengths = steps.flatMap((each) => "write" in each ? [each.write] : []);
    const written = reader.text.split("\n").slice(0, -1).map((line) => line.length + 1);
    let at = 0;
    for (const length of written) {
      at = lengths.indexOf(length, at) + 1;
      assert.notEqual(at, 0, "every line read is one that was written, in order");
    }
  }));
});

Deno.test("BoundedWriter.write() drops what could never fit", () => {
  const writer = new SlowReader().writer(4);
  writer.write(encode("too long"));
  assert.deepEqual([writer.stats.droppedBytes, writer.stats.queuedBytes], [8, 0]);
});

Deno.test("BoundedWriter fails once, says so, and drops from then on", () => {
  const reader = new SlowReader();
  reader.errno = Errno.EIO;
  const writer = reader.writer(100);
  writer.write(encode("a"));
  writer.write(encode("b"));
  assert.deepEqual(reader.reports, ["out: SysError: write out: EIO"]);
  assert.deepEqual([writer.failed, writer.stats.droppedWrites], [true, 2]);
});

Deno.test("BoundedWriter survives a reactor that refuses it", () => {
  const reader = new SlowReader();
  reader.refuseAdd = true;
  const writer = reader.writer(100);
  writer.write(encode("a"));
  assert.deepEqual([writer.failed, reader.reports], [true, ["out: Error: refused"]]);
});

Deno.test("BoundedWriter.drained() waits for the reader, but not for ever", async () => {
  const reader = new SlowReader();
  const writer = reader.writer(100);
  assert.equal(await writer.drained(1), true, "nothing to wait for");
  writer.write(encode("last words"));
  assert.equal(await writer.drained(5), false);
  const done = writer.drained(1000);
  reader.take(100);
  assert.equal(await done, true);
  reader.room = 0;
  writer.write(encode("more"));
  const closed = writer.drained(1000);
  writer.close();
  assert.equal(await closed, false);
  assert.equal(writer.stats.queuedBytes, 0);
});
