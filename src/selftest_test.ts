import assert from "node:assert/strict";
import { parseTap } from "./selftest.ts";

Deno.test("parseTap() reads results and nothing else", () => {
  assert.deepEqual(parseTap("ok 1 - Reaper: 0 zombies"), {
    ok: true,
    name: "Reaper: 0 zombies",
    skipped: false,
  });
  assert.deepEqual(parseTap("not ok 2 - x # y"), { ok: false, name: "x # y", skipped: false });
  assert.deepEqual(parseTap("ok 3 - later # SKIP"), { ok: true, name: "later", skipped: true });
  for (const line of ["TAP version 14", "# running 1 test", "1..3", "", "okay 1 - x", "  ---"]) {
    assert.equal(parseTap(line), null);
  }
});
