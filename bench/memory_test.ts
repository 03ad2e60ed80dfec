import assert from "node:assert/strict";
import { parseSmapsRollup } from "./memory.ts";

Deno.test("parseSmapsRollup() reads sizes in bytes and skips the head line", () => {
  const text = `55f0c0a00000-7ffd4d5fe000 ---p 00000000 00:00 0                    [rollup]
Rss:               42000 kB
Private_Clean:       100 kB
Private_Dirty:     11000 kB
`;
  assert.deepEqual(
    [...parseSmapsRollup(text)],
    [["Rss", 42000 * 1024], ["Private_Clean", 100 * 1024], ["Private_Dirty", 11000 * 1024]],
  );
});
