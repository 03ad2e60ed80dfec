import assert from "node:assert/strict";
import { canonicalChunks } from "./chunks.ts";

/** A bundle whose chunks esbuild has given these names. */
function bundle(one: string, two: string): Map<string, string> {
  return new Map([
    ["main.js", `import{a}from"./${one}";const b=()=>import("./${two}");`],
    [one, `var a=1;export{a};`],
    [two, `import{a}from"./${one}";console.log(a);`],
  ]);
}

Deno.test("canonicalChunks() gives the same bundle whatever its chunks were called", async () => {
  const here = await canonicalChunks(bundle("chunk-AAAAAAAA.js", "4.6-BBBBBBBB.js"));
  const there = await canonicalChunks(bundle("chunk-5W3W7KHZ.js", "4.6-GPONPDK7.js"));
  assert.deepEqual([...here], [...there]);
});

Deno.test("canonicalChunks() renames where a chunk is imported, and leaves entries alone", async () => {
  const files = await canonicalChunks(bundle("chunk-AAAAAAAA.js", "4.6-BBBBBBBB.js"));
  const [main, one, two] = [...files.keys()];
  assert.equal(main, "main.js");
  assert.match(one ?? "", /^chunk-[0-9a-f]{8}\.js$/);
  assert.match(two ?? "", /^4\.6-[0-9a-f]{8}\.js$/);
  assert.equal(files.get("main.js"), `import{a}from"./${one}";const b=()=>import("./${two}");`);
  assert.equal(files.get(two ?? ""), `import{a}from"./${one}";console.log(a);`);
});

Deno.test("canonicalChunks() refuses two chunks that are the same", async () => {
  const twice = new Map([["chunk-AAAAAAAA.js", "1"], ["chunk-BBBBBBBB.js", "1"]]);
  await assert.rejects(canonicalChunks(twice), /two are the same: chunk-AAAAAAAA\.js/);
});
