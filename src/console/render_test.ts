import assert from "node:assert/strict";
import fc from "fast-check";
import {
  cut,
  escapeLine,
  escapeText,
  formatBytes,
  formatDuration,
  formatShare,
  nearest,
  table,
} from "./render.ts";

Deno.test("escapeText() shows what could move a cursor or reorder text, and keeps the rest", () => {
  for (
    const [text, shown] of [
      ["plain, größer, 日本, 😀", "plain, größer, 日本, 😀"],
      ["a\tb\nc", "a\tb\nc"],
      ["\x1b[2J\x07\x00\x7f", "\\x1b[2J\\x07\\x00\\x7f"],
      ["\x9b31m", "\\x9b31m"],
      ["a\rb", "a\\x0db"],
      ["dos\r\nline", "dos\nline"],
      ["\u202egnp.exe\u2066", "\\u{202e}gnp.exe\\u{2066}"],
      ["\u200b\ufeff\u2028\u{e0041}", "\\u{200b}\\u{feff}\\u{2028}\\u{e0041}"],
      ["\ud800", "\\u{d800}"],
    ] as const
  ) assert.equal(escapeText(text), shown);
  assert.equal(escapeLine("a\tb\nc"), "a\\tb\\nc");
});

Deno.test("escapeText() leaves nothing a terminal obeys, whatever comes", () => {
  const any = fc.array(fc.integer({ min: 0, max: 0xffff }));
  const likely = fc.array(
    fc.constantFrom(0x1b, 0x5b, 0x9b, 0x0d, 0x0a, 0x202e, 0xd83d, 0xde00, 0x41),
  );
  const hostile = fc.oneof(any, likely).map((codes) => String.fromCharCode(...codes));
  fc.assert(fc.property(hostile, (text) => {
    const shown = escapeText(text);
    for (const character of shown) {
      const code = character.codePointAt(0)!;
      assert.ok(code >= 0x20 || code === 9 || code === 10, `U+${code.toString(16)}`);
      assert.ok(code < 0x7f || code > 0x9f, `U+${code.toString(16)}`);
    }
    assert.equal(escapeText(shown), shown, "twice is once");
    assert.ok(!/[\n\t]/.test(escapeLine(text)));
  }));
});

Deno.test("table() aligns columns and escapes cells", () => {
  assert.equal(
    table(["name", "size"], [["a", "1"], ["größer", "1000"], ["x\ny", ""]], ["size"]),
    "name    size\na          1\ngrößer  1000\nx\\ny",
  );
  assert.equal(table(["only"], []), "only");
});

Deno.test("formatBytes() uses binary units", () => {
  assert.deepEqual(
    [0, 1, 1023, 1024, 1536, 1024 * 1023.99, 512 * 2 ** 20, 2 ** 40 * 1.5].map(formatBytes),
    ["0 B", "1 B", "1023 B", "1.0 KiB", "1.5 KiB", "1.0 MiB", "512 MiB", "1.5 TiB"],
  );
});

Deno.test("formatDuration() names the two largest units", () => {
  assert.deepEqual(
    [0, 0.35, 1.94, 9.96, 59.4, 60, 192, 3600, 7530, 86_400, 187_200, 90_000].map(formatDuration),
    [
      "0 ms",
      "350 ms",
      "1.9 s",
      "10 s",
      "59 s",
      "1 min",
      "3 min 12 s",
      "1 h",
      "2 h 5 min",
      "1 d",
      "2 d 4 h",
      "1 d 1 h",
    ],
  );
});

Deno.test("formatShare() is a percentage", () => {
  assert.deepEqual([0, 0.124, 1].map(formatShare), ["0 %", "12 %", "100 %"]);
});

Deno.test("cut() never splits a character", () => {
  assert.equal(cut("abc", 3), "abc");
  assert.equal(cut("abcd", 3), "ab…");
  assert.equal(cut("😀😀😀", 3), "😀😀😀");
  assert.equal(cut("😀😀😀😀", 3), "😀😀…");
});

Deno.test("nearest() suggests for slips and prefixes, and for nothing else", () => {
  const known = ["status", "events", "run", "services", "poweroff", "reboot", "help", "ps"];
  for (
    const [word, suggestion] of [
      ["stauts", "status"],
      ["status", "status"],
      ["stat", "status"],
      ["pwoeroff", "poweroff"],
      ["hlep", "help"],
      ["service", "services"],
      ["re", "reboot"],
      ["xyzzy", null],
      ["ls", null],
      ["", null],
    ] as const
  ) assert.equal(nearest(word, known), suggestion, word);
});
