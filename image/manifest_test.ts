import assert from "node:assert/strict";
import { join } from "node:path";
import { MANIFEST_PATH, Origins, writeManifest } from "./manifest.ts";

const ABOUT = { inputs: "abc", kernel: "6.12", layout: "bundle" };
const OURS = { kind: "osymbiote", source: "src/boot.js" } as const;

async function withTree(test: (origins: Origins) => Promise<void>): Promise<void> {
  const tree = await Deno.makeTempDir();
  try {
    await test(new Origins(tree));
  } finally {
    await Deno.remove(tree, { recursive: true });
  }
}

Deno.test("writeManifest() lists every file and link with origin, mode, size and hash", async () => {
  await withTree(async (origins) => {
    await origins.write("osym/boot.js", "abc", OURS);
    await origins.link("bin/sh", "/bin/busybox", {
      kind: "debian",
      package: "busybox-static",
      version: "1.35",
    });
    const { files } = await writeManifest(origins, ABOUT);
    assert.deepEqual(files, [
      {
        path: "/bin/sh",
        type: "link",
        target: "/bin/busybox",
        origin: { kind: "debian", package: "busybox-static", version: "1.35" },
      },
      {
        path: "/osym/boot.js",
        type: "file",
        mode: "0644",
        size: 3,
        sha256: "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
        origin: OURS,
      },
    ]);
    const written = JSON.parse(await Deno.readTextFile(join(origins.tree, MANIFEST_PATH)));
    assert.deepEqual(written, { ...ABOUT, files });
  });
});

Deno.test("writeManifest() refuses a file that nobody accounts for", async () => {
  await withTree(async (origins) => {
    await Deno.writeTextFile(join(origins.tree, "stray"), "");
    await assert.rejects(writeManifest(origins, ABOUT), /nobody said where stray is from/);
  });
});

Deno.test("writeManifest() is the same a second time", async () => {
  await withTree(async (origins) => {
    await origins.write("osym/boot.js", "abc", OURS);
    assert.deepEqual(await writeManifest(origins, ABOUT), await writeManifest(origins, ABOUT));
  });
});
