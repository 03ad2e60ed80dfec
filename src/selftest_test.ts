import assert from "node:assert/strict";
import { parseTap, TapReader } from "./selftest.ts";

Deno.test("parseTap() reads results and nothing else", () => {
  assert.deepEqual(parseTap("ok 1 - Reaper: 0 zombies"), {
    ok: true,
    name: "Reaper: 0 zombies",
    skipped: false,
  });
  assert.deepEqual(parseTap("not ok 2 - x \\# y"), { ok: false, name: "x # y", skipped: false });
  assert.deepEqual(parseTap("ok 3 - later # SKIP"), { ok: true, name: "later", skipped: true });
  for (const line of ["TAP version 14", "# running 1 test", "1..3", "", "okay 1 - x", "  ---"]) {
    assert.equal(parseTap(line), null);
  }
});

Deno.test("TapReader hands a failed test what is said below it, and no other", () => {
  const results: [string, boolean, string][] = [];
  const tap = new TapReader(({ name, ok }, detail) => results.push([name, ok, detail]));
  const block = ["  ---", '  {"message":"Error: on purpose"}', "  ..."];
  for (
    const line of ["TAP version 14", "ok 1 - a", "not ok 2 - b", ...block, "# x.js", "ok 3 - c"]
  ) {
    tap.line(line);
  }
  for (const line of ["not ok 4 - d", "why", "1..4"]) tap.line(line);
  assert.equal(tap.end(), "why\n1..4");
  assert.deepEqual(results, [
    ["a", true, ""],
    ["b", false, '---\n  {"message":"Error: on purpose"}\n  ...'],
    ["c", true, ""],
    ["d", false, "why\n1..4"],
  ]);
});
