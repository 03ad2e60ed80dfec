import assert from "node:assert/strict";
import fc from "fast-check";
import { LineSplitter, Tail } from "./lines.ts";

function split(limit: number, chunks: readonly Uint8Array[]) {
  const lines: string[] = [];
  const splitter = new LineSplitter(limit, (line) => lines.push(line));
  for (const chunk of chunks) splitter.push(chunk);
  splitter.flush();
  return { lines, cut: splitter.cut };
}

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

Deno.test("LineSplitter.push() joins what was cut apart and takes off carriage returns", () => {
  assert.deepEqual(split(100, [bytes("one\r\ntw"), bytes("o\nthr"), bytes("ee")]).lines, [
    ...["one", "two", "three"],
  ]);
});

Deno.test("LineSplitter.push() bounds a line and counts what it cut", () => {
  const { lines, cut } = split(4, [bytes("123456"), bytes("78\nabc\n")]);
  assert.deepEqual(lines, ["1234", "abc"]);
  assert.equal(cut, 1);
});

Deno.test("LineSplitter.push() gives the same lines however the bytes come", () => {
  fc.assert(fc.property(
    fc.array(fc.stringMatching(/^[a-z ]{1,20}$/)),
    fc.array(fc.integer({ min: 1, max: 7 }), { minLength: 1 }),
    (lines, sizes) => {
      const all = bytes(lines.map((line) => `${line}\n`).join(""));
      const chunks = [];
      for (let at = 0, i = 0; at < all.length; i++) {
        const size = sizes[i % sizes.length] ?? 1;
        chunks.push(all.subarray(at, at + size));
        at += size;
      }
      assert.deepEqual(split(100, chunks).lines, lines);
    },
  ));
});

Deno.test("Tail.push() keeps the last lines only", () => {
  const tail = new Tail(2);
  for (const line of ["a", "b", "c"]) tail.push(line);
  assert.deepEqual(tail.lines(), ["b", "c"]);
});
