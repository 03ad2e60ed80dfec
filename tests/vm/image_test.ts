/**
 * The image itself: the same inputs give the same bytes, and the baked code cache is used.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { cacheNames, readCache } from "../../image/codecache.ts";
import type { Manifest } from "../../image/manifest.ts";
import { MANIFEST_PATH } from "../../image/manifest.ts";
import { TREE } from "../../image/paths.ts";
import { sha256 } from "../../image/host.ts";
import { buildTree, chooseLayout, CODE_CACHE, writeImage } from "../../image/rootfs.ts";
import { Guest } from "./guest.ts";

Deno.test("buildTree() and writeImage() make the same root twice", async () => {
  const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
  try {
    const builds = [];
    for (const name of ["one", "two"]) {
      const tree = join(folder, name);
      const layout = chooseLayout(undefined);
      const origins = await buildTree({ source: TREE, tree, layout });
      const image = `${tree}.erofs`;
      const about = { inputs: "test", kernel: "test", layout: layout.why };
      const manifest = await writeImage(origins, image, about);
      builds.push({ tree, manifest, digest: await sha256(await Deno.readFile(image)) });
    }
    const [one, two] = builds;
    assert.ok(one && two);
    // Outside the cache: file by file, byte for byte.
    assert.deepEqual(outsideCache(one.manifest), outsideCache(two.manifest));
    // Inside: row by row.
    const names = await cacheNames(join(one.tree, CODE_CACHE));
    assert.ok(names.length > 0);
    for (const name of names) {
      const rows = (tree: string) => readCache(join(tree, CODE_CACHE, name));
      assert.deepEqual(rows(one.tree), rows(two.tree), name);
    }
    assert.equal(one.digest, two.digest);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

function outsideCache(manifest: Manifest): Manifest["files"] {
  return manifest.files.filter((file) => file.origin.kind !== "code-cache");
}

Deno.test("the guest uses the baked code cache for PID 1, and lists its own files", async (t) => {
  await using guest = await Guest.boot({ append: ["DENO_LOG=debug"], data: "none" });
  await t.step("every bundle that PID 1 loads is a cache hit", () => {
    const hits = new Set(lines(/V8 code cache hit for ES module: file:\/\/\/osym\/([^,]+),/g));
    assert.ok(hits.has("boot.js") && hits.has("main.js"), [...hits].join(" "));
    const misses = lines(/Updating V8 code cache for ES module: file:\/\/\/osym\/([^,]+),/g);
    assert.deepEqual(misses, []);
  });
  await t.step("the manifest is in the image and its hashes are those of the files", async () => {
    const text = await guest.shell(`cat /${MANIFEST_PATH}`);
    const manifest = JSON.parse(text) as Manifest;
    const file = manifest.files.find((entry) => entry.path === "/osym/boot.js");
    assert.ok(file?.type === "file");
    const [digest] = (await guest.shell("sha256sum /osym/boot.js")).split(" ");
    assert.equal(digest, file.sha256);
  });

  function lines(pattern: RegExp): string[] {
    return [...guest.console.text.matchAll(pattern)].map((match) => match[1] ?? "");
  }
});
