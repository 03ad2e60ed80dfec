/** File events. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, hostileBytes, Script } from "../../tests/kernel/harness.ts";
import { decodeInotify, IN, Inotify, type InotifyEvent } from "./inotify.ts";
import { Writer } from "./layout.ts";

/** What fs/notify/inotify/inotify_user.c does: names are padded to 16. */
function encode(events: readonly InotifyEvent[]): Uint8Array<ArrayBuffer> {
  const writer = new Writer();
  for (const { watch, mask, cookie, name } of events) {
    const length = name === ""
      ? 0
      : Math.ceil((new TextEncoder().encode(name).length + 1) / 16) * 16;
    writer.i32(watch).u32(mask).u32(cookie).u32(length);
    if (length > 0) writer.text(name, length);
  }
  return writer.finish();
}

Deno.test("decodeInotify() reads the kernel's bytes", () => {
  const bytes = Uint8Array.fromHex(
    "01000000 00010000 00000000 10000000 612e747874000000 0000000000000000".replaceAll(" ", ""),
  );
  assert.deepEqual(decodeInotify(bytes), {
    events: [{ watch: 1, mask: IN.CREATE, cookie: 0, name: "a.txt" }],
    error: null,
  });
});

Deno.test("decodeInotify() undoes the kernel's encoding", () => {
  const event = fc.record({
    watch: fc.integer(),
    mask: fc.integer({ min: 0, max: 0xffff_ffff }),
    cookie: fc.integer({ min: 0, max: 0xffff_ffff }),
    name: fc.stringMatching(/^[a-zA-Z0-9. é]{0,40}$/),
  }, { noNullPrototype: true });
  holds(fc.property(fc.array(event, { maxLength: 8 }), (events) => {
    assert.deepEqual(decodeInotify(encode(events)), { events, error: null });
  }));
});

Deno.test("decodeInotify() decode → encode → decode is stable on hostile bytes", () => {
  holds(
    fc.property(hostileBytes(), (bytes) => {
      const { events } = decodeInotify(bytes);
      assert.ok(events.length <= bytes.byteLength / 16);
      assert.deepEqual(decodeInotify(encode(events)), { events, error: null });
    }),
    2000,
  );
});

Deno.test("Inotify.drain() tells overflows apart, and throws for a torn event after the good ones", () => {
  const good = encode([
    { watch: 1, mask: IN.DELETE, cookie: 0, name: "x" },
    { watch: -1, mask: IN.Q_OVERFLOW, cookie: 0, name: "" },
  ]);
  const torn = new Uint8Array([...good, 1, 2, 3]);
  const script = new Script();
  const libc = fakeLibc({
    inotify_init1: () => 9,
    inotify_add_watch: () => 1,
    inotify_add_watchAsync: () => Promise.resolve(1),
    inotify_rm_watch: () => 0,
    read: script.fn((...args) => {
      (args[1] as Uint8Array).set(torn);
      return torn.byteLength;
    }, "EAGAIN"),
    close: () => 0,
  }, script.errno);
  const inotify = new Inotify(libc);
  const seen: string[] = [];
  const handlers = {
    onEvent: (event: InotifyEvent) => seen.push(event.name),
    onOverflow: () => seen.push("overflow"),
  };
  assert.throws(() => inotify.drain(handlers), /malformed event: need 4 bytes/);
  assert.equal(inotify.drain(handlers), undefined);
  assert.deepEqual(seen, ["x", "overflow"]);
});

Deno.test("Inotify.drain() hands on the rest of a read though a handler throws", () => {
  const event = (watch: number) => new Writer().i32(watch).u32(IN.CREATE).u32(0).u32(0).finish();
  const script = new Script();
  const libc = fakeLibc({
    inotify_init1: () => 9,
    inotify_add_watch: () => 1,
    inotify_add_watchAsync: () => Promise.resolve(1),
    inotify_rm_watch: () => 0,
    read: script.fn((...args: unknown[]) => {
      for (const watch of [1, 2, 3]) (args[1] as Uint8Array).set(event(watch), (watch - 1) * 16);
      return 48;
    }, "EAGAIN"),
    close: () => 0,
  }, script.errno);
  const seen: number[] = [];
  const drain = () =>
    new Inotify(libc).drain({
      onEvent: ({ watch }) => {
        seen.push(watch);
        if (watch < 3) throw new Error(`handler of ${watch}`);
      },
      onOverflow: () => {},
    });
  assert.throws(drain, { message: "handler of 1" });
  assert.deepEqual(seen, [1, 2, 3]);
});
