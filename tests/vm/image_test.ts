/**
 * The image itself: the same inputs give the same bytes, and the baked code cache is used.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { cacheNames, readCache } from "../../image/codecache.ts";
import type { Manifest } from "../../image/manifest.ts";
import { MANIFEST_PATH } from "../../image/manifest.ts";
import { TREE } from "../../image/paths.ts";
import { run, sha256 } from "../../image/host.ts";
import { buildTree, chooseLayout, CODE_CACHE, writeImage } from "../../image/rootfs.ts";
import { boot, mindRuns } from "./shared.ts";

Deno.test("buildTree() and writeImage() make the same root twice", async () => {
  const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
  const umaskBefore = Deno.umask();
  try {
    const builds = [];
    // The second from another place, by somebody who lets nobody else in.
    const elsewhere = join(folder, "some", "where else");
    await Deno.mkdir(elsewhere, { recursive: true });
    const inputs = ["src", "bus", "subsystems", "deno.json", "deno.lock"];
    await run(["cp", "-a", ...inputs.map((name) => join(TREE, name)), elsewhere]);
    for (
      const [name, source, umask] of [["one", TREE, 0o022], ["two", elsewhere, 0o077]] as const
    ) {
      Deno.umask(umask);
      const tree = join(folder, name);
      const layout = chooseLayout(undefined);
      const origins = await buildTree({ source, tree, layout });
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
    Deno.umask(umaskBefore);
    await Deno.remove(folder, { recursive: true });
  }
});

function outsideCache(manifest: Manifest): Manifest["files"] {
  return manifest.files.filter((file) => file.origin.kind !== "code-cache");
}

Deno.test("the guest uses the baked code cache for PID 1, and lists its own files", async (t) => {
  await using guest = await boot({ append: ["DENO_LOG=debug"], data: "none" });
  await mindRuns(guest);
  await t.step("every bundle that PID 1 loads is a cache hit", () => {
    const hits = new Set(lines(/V8 code cache hit for ES module: file:\/\/\/osym\/([^,]+),/g));
    assert.ok(hits.has("boot.js") && hits.has("main.js"), [...hits].join(" "));
    const misses = lines(/Updating V8 code cache for ES module: file:\/\/\/osym\/([^,]+),/g);
    assert.deepEqual(misses, []);
  });
  await t.step(
    "the manifest in the image lists every file, with its mode, size and hash",
    async () => {
      const manifest = JSON.parse(await guest.shell(`cat /${MANIFEST_PATH}`)) as Manifest;
      const files = manifest.files.filter((entry) => entry.type === "file");
      const paths = files.map(({ path }) => path);
      const found = (await guest.shell("find / -xdev -type f")).trim().split("\n");
      assert.deepEqual(found.sort(), [...paths, `/${MANIFEST_PATH}`].sort());
      const onEach = async (command: string, of: readonly string[]) => {
        const argv = ["/bin/sh", "-c", `xargs ${command}`];
        const { stdout } = await guest.exec(argv, { stdin: of.join("\n"), timeout_ms: 120_000 });
        return stdout.trim().split("\n");
      };
      assert.deepEqual(
        await onEach("stat -c '%a %s %n'", paths),
        files.map(({ mode, size, path }) => `${parseInt(mode, 8).toString(8)} ${size} ${path}`),
      );
      // All but the one that would take an emulated processor a minute.
      const hashed = files.filter(({ path }) => path !== "/bin/deno");
      assert.deepEqual(
        await onEach("sha256sum", hashed.map(({ path }) => path)),
        hashed.map(({ sha256, path }) => `${sha256}  ${path}`),
      );
      for (const { origin, path } of manifest.files) assert.ok(origin.kind, path);
    },
  );

  function lines(pattern: RegExp): string[] {
    return [...guest.console.text.matchAll(pattern)].map((match) => match[1] ?? "");
  }
});
