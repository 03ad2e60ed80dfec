/** Lines out of hostile bytes. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { LineSplitter, MeteredLines } from "./lines.ts";

const encode = (text: string) => new TextEncoder().encode(text);

Deno.test("LineSplitter.push() answers the same lines however the bytes are cut up", () => {
  const line = fc.string({ unit: "grapheme", maxLength: 20 }).map((text) =>
    text.replace(/[\r\n\ufeff]/g, "x")
  );
  fc.assert(
    fc.property(fc.array(line, { maxLength: 8 }), fc.integer({ min: 1, max: 7 }), (lines, step) => {
      const seen: string[] = [];
      const splitter = new LineSplitter(4096, (text, cut) => {
        assert.equal(cut, 0);
        seen.push(text);
      });
      const bytes = encode(lines.map((text) => `${text}\n`).join(""));
      for (let at = 0; at < bytes.length; at += step) splitter.push(bytes.subarray(at, at + step));
      splitter.end();
      assert.deepEqual(seen, lines.map((text) => new TextDecoder().decode(encode(text))));
    }),
  );
});

Deno.test("LineSplitter.push() cuts a long line, counts the rest and starts clean", () => {
  const seen: [string, number][] = [];
  const splitter = new LineSplitter(4, (line, cut) => seen.push([line, cut]));
  splitter.push(encode("abcdef"));
  splitter.push(encode("gh\r\nxy\r\n\nrest"));
  splitter.end();
  splitter.end();
  assert.deepEqual(seen, [["abcd", 5], ["xy", 0], ["", 0], ["rest", 0]]);
});

Deno.test("MeteredLines.push() lets the burst through and counts what it refuses", () => {
  let now = 0;
  const seen: string[] = [];
  const lines = new MeteredLines(
    { maxBytes: 64, perSecond: 1, burst: 2, now: () => now },
    ({ line, cut, lost }) => seen.push(`${line} ${cut} ${lost}`),
  );
  lines.push(encode("a\nb\nc\nd\n"));
  now = 1000;
  lines.push(encode("e\nf\n"));
  assert.deepEqual(seen, ["a 0 0", "b 0 0", "e 0 2"]);
  assert.equal(lines.end(), 1);
  assert.equal(lines.end(), 0);
});

Deno.test("MeteredLines.push() counts a flood of short lines without looking at each", () => {
  let looks = 0;
  const seen: string[] = [];
  let lost = 0;
  const lines = new MeteredLines(
    { maxBytes: 64, perSecond: 1, burst: 2, now: () => looks++ },
    (line) => {
      seen.push(line.line);
      lost += line.lost;
    },
  );
  looks = 0;
  lines.push(encode("be"));
  lines.push(encode(`gun\n${"\n".repeat(60_000)}la`));
  lines.push(encode("st"));
  assert.ok(looks <= 4, `the clock was read ${looks} times`);
  assert.equal(lines.end(), 0);
  assert.deepEqual(seen, ["begun", "", "last"]);
  assert.equal(lost, 59_999);
});
