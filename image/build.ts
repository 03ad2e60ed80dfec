/**
 * Deciding what is stale and making it: the root image for a kernel, the data disk.
 *
 * A hash over every input decides; times do not. One build at a time per checkout.
 */

import { join } from "node:path";
import { OUT, TREE } from "./paths.ts";
import { exists, filesBelow, logTo, sha256 } from "./host.ts";
import { type Kernel, kernelIdentity } from "./kernel.ts";
import { moduleName, readModule } from "./initramfs.ts";
import { needTools } from "./packages.ts";
import { withProgress } from "./progress.ts";
import { buildTree, chooseLayout, DENO_VERSION, type Layout, writeImage } from "./rootfs.ts";
import type { Origins } from "./manifest.ts";

/** A root image and what is in it. */
export interface Image {
  /** The erofs file. */
  root: string;
  /** The manifest's copy beside it. */
  manifest: string;
  layout: Layout;
  /** Whether it was made just now. */
  rebuilt: boolean;
}

/** The log of the last build: every program's command line and output. */
export const BUILD_LOG = join(OUT, "build.log");

/** Sources that end up in the image, or decide what does. */
const SOURCE_FOLDERS = ["src", "bus", "subsystems"];
const SOURCE_FILES = [
  ...["deno.json", "deno.lock", "image/rootfs.ts", "image/manifest.ts", "image/codecache.ts"],
  "image/build.ts",
];

/** Where a module of the generic kernel goes, and the list PID 1 loads from. */
const MODULES_FOLDER = "lib/modules";
const MODULES_LIST = "osym/modules.list";

/** The root image for a kernel, made if it is missing or stale. */
export async function ensureImage(kernel: Kernel): Promise<Image> {
  const variant = kernel.modules === null ? "monolithic" : "generic";
  const folder = join(OUT, variant);
  await Deno.mkdir(folder, { recursive: true });
  using lock = await Deno.open(join(OUT, "lock"), { create: true, write: true });
  await lock.lock(true);

  const image: Image = {
    root: join(folder, "root.erofs"),
    manifest: join(folder, "manifest.json"),
    layout: chooseLayout(Deno.env.get("DENORT_BIN")),
    rebuilt: false,
  };
  const stamp = join(folder, "inputs");
  const inputs = await inputsHash(kernel, image.layout);
  if (await exists(image.root) && await readIfThere(stamp) === inputs) return image;

  await needTools(["mkfs.erofs", "unshare"], "building the image");
  logTo(BUILD_LOG);
  await withProgress(`Building the image (${variant})`, async (progress) => {
    // Until the new image is whole, the old one counts as stale.
    await Deno.remove(stamp).catch((error) => {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    });
    const tree = join(folder, "tree");
    const origins = await buildTree({
      source: TREE,
      tree,
      layout: image.layout,
      step: (what) => progress.step(what),
    });
    if (kernel.modules) await addModules(origins, kernel);
    progress.step("erofs");
    const about = { inputs, kernel: kernel.version, layout: image.layout.why };
    const manifest = await writeImage(origins, image.root, about);
    await Deno.writeTextFile(image.manifest, JSON.stringify(manifest, null, 1) + "\n");
    await Deno.writeTextFile(stamp, inputs);
  }, () => image.root);
  return { ...image, rebuilt: true };
}

/** SHA-256 over all that the image is made from. */
export async function inputsHash(kernel: Kernel, layout: Layout): Promise<string> {
  const deno = await Deno.realPath(Deno.execPath());
  const { size, mtime } = await Deno.stat(deno);
  const parts = [
    // Hashing 95 MB on every boot would cost more than it tells.
    `deno ${DENO_VERSION} ${deno} ${size} ${mtime?.getTime()}`,
    `kernel ${await kernelIdentity(kernel)}`,
    `layout ${layout.why}`,
  ];
  const files = [...SOURCE_FILES];
  for (const folder of SOURCE_FOLDERS) {
    if (!await exists(join(TREE, folder))) continue;
    const names = await filesBelow(join(TREE, folder));
    files.push(...names.map((name) => `${folder}/${name}`).filter((name) => !isTest(name)));
  }
  for (const name of files.sort()) {
    parts.push(`${name} ${await sha256(await Deno.readFile(join(TREE, name)))}`);
  }
  return await sha256(parts.join("\n"));
}

function isTest(name: string): boolean {
  return /_test\.tsx?$/.test(name);
}

/** Puts the modules PID 1 loads into the tree, decompressed, with the list it loads from. */
async function addModules(origins: Origins, kernel: Kernel): Promise<void> {
  const { modules, version } = kernel;
  if (modules === null) return;
  const origin = { kind: "debian", package: `linux-image-${version}`, version } as const;
  const list: string[] = [];
  for (const path of modules.order) {
    const to = `${MODULES_FOLDER}/${version}/${moduleName(path)}.ko`;
    await origins.writeBytes(to, await readModule(join(modules.folder, path)), origin);
    list.push(`/${to}`);
  }
  await origins.write(MODULES_LIST, list.join("\n") + "\n", {
    kind: "osymbiote",
    source: "image/kernel.ts",
  });
}

async function readIfThere(path: string): Promise<string | null> {
  try {
    return await Deno.readTextFile(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw error;
  }
}
