/** Tests of format.ts. */
import assert from "node:assert/strict";
import {
  formatBytes,
  formatClock,
  formatMs,
  formatShare,
  formatShort,
  formatSpan,
  visible,
} from "./format.ts";

Deno.test("formatBytes() keeps three figures", () => {
  assert.deepEqual([0, 999, 1_000, 1_536, 101 * 1_048_576, NaN].map(formatBytes), [
    "0 B",
    "999 B",
    "0.98 KiB",
    "1.50 KiB",
    "101 MiB",
    "–",
  ]);
});

Deno.test("formatShare(), formatShort(), formatMs() and formatSpan() pick a fitting size", () => {
  assert.deepEqual([0.034, 0.97, NaN].map(formatShare), ["3.4 %", "97 %", "–"]);
  assert.deepEqual([7, 1_234, 34_400, 5_600_000].map(formatShort), ["7", "1.2k", "34k", "5.6M"]);
  assert.deepEqual([3.21, 345, 1_234, 12_340, 61_000].map(formatMs), [
    "3.2 ms",
    "345 ms",
    "1.23 s",
    "12.3 s",
    "1 m 01 s",
  ]);
  assert.deepEqual([42.9, 187, 7_260, 183_600].map(formatSpan), [
    "42 s",
    "3 m 07 s",
    "2 h 01 m",
    "2 d 03 h",
  ]);
});

Deno.test("formatClock() survives a time that is none", () => {
  assert.match(formatClock(Date.now()), /^\d\d:\d\d:\d\d\.\d{3}$/);
  assert.equal(formatClock("not a time"), "--:--:--");
});

Deno.test("visible() spells out what would rearrange or hide text", () => {
  assert.equal(visible("a\u001b[31mb\u202ec\u0000\n"), "a\\x1b[31mb\\u202ec\\x00\\x0a");
  assert.equal(visible("a\n\tb\r", true), "a\n\tb\\x0d");
  assert.equal(visible("ba\u00adsh\u{e0041}\ufff9\ud800"), "ba\\xadsh\\u{e0041}\\ufff9\\ud800");
  assert.equal(visible("grüße <b>日本"), "grüße <b>日本");
});
