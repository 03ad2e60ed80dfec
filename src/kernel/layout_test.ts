/** The struct codec. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { holds, hostileBytes } from "../../tests/kernel/harness.ts";
import { align, cstr, Reader, textOf, Writer } from "./layout.ts";

Deno.test("cstr() ends with one NUL and refuses another", () => {
  assert.deepEqual(cstr("a/é"), new Uint8Array([0x61, 0x2f, 0xc3, 0xa9, 0]));
  assert.throws(() => cstr("/etc/pass\0wd"), { code: "EINVAL" });
});

Deno.test("textOf() stops at the first NUL and survives bad UTF-8", () => {
  assert.equal(textOf(new Uint8Array([0x61, 0, 0x62])), "a");
  assert.equal(textOf(new Uint8Array([0x61, 0xff])), "a\ufffd");
  assert.equal(textOf(new Uint8Array()), "");
});

Deno.test("align() rounds up", () => {
  assert.deepEqual([0, 1, 4, 5].map((length) => align(length)), [0, 4, 4, 8]);
  assert.equal(align(13, 16), 16);
});

Deno.test("Reader keeps the first error and answers zeros after it", () => {
  const reader = new Reader(new Uint8Array([1, 2, 3]));
  assert.equal(reader.u16(), 0x0201);
  assert.equal(reader.u32(), 0);
  assert.equal(reader.u8(), 0, "the byte that was left is out of reach too");
  assert.equal(reader.remaining, 0);
  assert.equal(reader.rest().byteLength, 0);
  assert.equal(reader.error, "need 4 bytes at 2 of 3");
});

Deno.test("Reader refuses lengths that are not", () => {
  for (const length of [-1, 1.5, NaN, Infinity, 2 ** 53]) {
    const reader = new Reader(new Uint8Array(8));
    assert.equal(reader.bytes(length).byteLength, 0);
    assert.notEqual(reader.error, null, String(length));
  }
});

Deno.test("Reader reads a view that starts inside its buffer", () => {
  const reader = new Reader(new Uint8Array([9, 9, 1, 2, 3, 4, 5, 6, 7, 8]).subarray(2));
  assert.equal(reader.u16be(), 0x0102);
  assert.equal(reader.u16(), 0x0403);
  assert.equal(reader.i32(), 0x08070605);
});

type Field = ["u8" | "u16" | "u16be" | "u32" | "i32" | "u64", number] | ["text", string];

const field: fc.Arbitrary<Field> = fc.oneof(
  fc.tuple(fc.constant("u8" as const), fc.nat(0xff)),
  fc.tuple(fc.constantFrom("u16" as const, "u16be" as const), fc.nat(0xffff)),
  fc.tuple(fc.constant("u32" as const), fc.integer({ min: 0, max: 0xffff_ffff })),
  fc.tuple(fc.constant("i32" as const), fc.integer()),
  fc.tuple(fc.constant("u64" as const), fc.maxSafeNat()),
  fc.tuple(fc.constant("text" as const), fc.stringMatching(/^[a-zé]{0,15}$/)),
);

Deno.test("Reader reads what Writer wrote", () => {
  holds(fc.property(fc.array(field), (fields) => {
    const writer = new Writer(1);
    for (const [kind, value] of fields) {
      if (kind === "text") writer.text(value, 64);
      else writer[kind](value);
    }
    const reader = new Reader(writer.finish());
    const read = fields.map(([kind]) => kind === "text" ? reader.text(64) : reader[kind]());
    assert.deepEqual(read, fields.map(([, value]) => value));
    assert.deepEqual([reader.error, reader.remaining], [null, 0]);
  }));
});

Deno.test("Writer.text() always leaves room for the NUL", () => {
  const bytes = new Writer().text("abcdefgh", 4).finish();
  assert.deepEqual(bytes, new Uint8Array([0x61, 0x62, 0x63, 0]));
});

Deno.test("Writer patches lengths and pads", () => {
  const bytes = new Writer().u16(0).u16(7).u8(1).patchU16(0, 5).align().finish();
  assert.deepEqual(bytes, new Uint8Array([5, 0, 7, 0, 1, 0, 0, 0]));
});

Deno.test("Reader never throws and never passes its end", () => {
  const step = fc.constantFrom("u8", "u16", "u16be", "u32", "i32", "u64", "u64big", "rest");
  const length = fc.tuple(fc.constantFrom("bytes", "skip", "text"), fc.double());
  holds(fc.property(hostileBytes(64), fc.array(fc.oneof(step, length)), (bytes, steps) => {
    const reader = new Reader(bytes);
    for (const each of steps) {
      if (typeof each === "string") reader[each as "u8"]();
      else reader[each[0] as "skip"](each[1]);
      assert.ok(reader.offset <= bytes.byteLength);
    }
  }));
});
