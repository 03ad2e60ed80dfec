/**
 * Deciding what is stale and making it: the root image for a kernel, the data disk.
 *
 * A hash over this checkout's inputs decides, and which deno is there. What the distribution
 * updates meanwhile (BusyBox, e2fsck, libraries) makes nothing stale. One build at a time.
 */

import { join } from "node:path";
import { OUT, TREE } from "./paths.ts";
import { exists, filesBelow, lockFile, logTo, sha256 } from "./host.ts";
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
const BUILD_LOG = join(OUT, "build.log");

/** Sources that end up in the image, or decide what does. */
const SOURCE_FOLDERS = ["src", "bus", "subsystems"];
const SOURCE_FILES = [
  ...["deno.json", "deno.lock", "image/build.ts", "image/rootfs.ts", "image/manifest.ts"],
  ...["image/chunks.ts", "image/codecache.ts"],
];

/** Where a module of the generic kernel goes, and the list PID 1 loads from. */
const MODULES_FOLDER = "lib/modules";
const MODULES_LIST = "osym/modules.list";

/** The root image for a kernel, made if it is missing or stale. */
export async function ensureImage(kernel: Kernel): Promise<Image> {
  const variant = kernel.modules === null ? "monolithic" : "generic";
  const folder = join(OUT, variant);
  await Deno.mkdir(folder, { recursive: true });
  using _lock = await lockBuild();

  const image: Image = {
    root: join(folder, "root.erofs"),
    manifest: join(folder, "manifest.json"),
    layout: chooseLayout(Deno.env.get("DENORT_BIN")),
    rebuilt: false,
  };
  const stamp = join(folder, "inputs");
  const inputs = await inputsHash(kernel, image.layout);
  const fresh = `${inputs} ${await programs(image.layout)}`;
  if (await exists(image.root) && await readIfThere(stamp) === fresh) return image;

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
    const about = {
      inputs,
      kernel: kernel.modules === null ? "any monolithic" : kernel.version,
      layout: image.layout.why,
    };
    const manifest = await writeImage(origins, image.root, about);
    await Deno.writeTextFile(image.manifest, JSON.stringify(manifest, null, 1) + "\n");
    await Deno.writeTextFile(stamp, fresh);
  }, () => image.root);
  return { ...image, rebuilt: true };
}

/** One build at a time in this checkout, and none while it is cleaned. */
export function lockBuild(): Promise<Deno.FsFile> {
  return lockFile(join(OUT, "lock"), "building here");
}

/**
 * The programs an image is made with, as this host has them. Hashing 95 MB on every boot would cost
 * more than it tells; their hashes are in the manifest, where times and paths would only make the
 * same image differ from host to host.
 */
async function programs(layout: Layout): Promise<string> {
  const paths = [Deno.execPath(), ...(layout.denort === null ? [] : [layout.denort])];
  const seen = paths.map(async (path) => {
    const { size, mtime } = await Deno.stat(path);
    return `${await Deno.realPath(path)} ${size} ${mtime?.getTime()}`;
  });
  return (await Promise.all(seen)).join(" ");
}

/** SHA-256 over all of this checkout that the image is made from: the same on every host. */
export async function inputsHash(kernel: Kernel, layout: Layout): Promise<string> {
  const parts = [
    `deno ${DENO_VERSION}`,
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
  const { name, version: packaged } = modules.origin;
  const origin = { kind: "debian", package: name, version: packaged } as const;
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
