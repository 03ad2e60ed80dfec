/** Files handed over by QEMU. */
import assert from "node:assert/strict";
import { readFwCfg } from "./fwcfg.ts";

Deno.test("readFwCfg() reads the raw file, null without it, never outside, never too much", () => {
  const root = Deno.makeTempDirSync();
  Deno.mkdirSync(`${root}/opt/org.osymbiote/token`, { recursive: true });
  Deno.writeTextFileSync(`${root}/opt/org.osymbiote/token/raw`, "abc");
  Deno.writeTextFileSync(`${root}/opt/org.osymbiote/token/size`, "3\n");
  assert.deepEqual(readFwCfg("opt/org.osymbiote/token", root), new TextEncoder().encode("abc"));
  assert.equal(readFwCfg("opt/none", root), null);
  for (const name of ["", "..", "opt/../x", "/x", "a b"]) {
    assert.throws(() => readFwCfg(name, root), TypeError, name);
  }
  Deno.writeTextFileSync(`${root}/opt/org.osymbiote/token/size`, "1048577\n");
  assert.throws(() => readFwCfg("opt/org.osymbiote/token", root), RangeError);
  Deno.removeSync(root, { recursive: true });
});
