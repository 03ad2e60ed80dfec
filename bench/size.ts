/**
 * Sizes: what is distributed, what it is made of.
 *
 * Owns the grouping of the image's manifest and a cache of compressed sizes (compressing an image
 * as it would be distributed takes a minute; the same bytes give the same answer).
 */

import { dirname, join } from "node:path";
import type { Image } from "../image/build.ts";
import { exists, sha256 } from "../image/host.ts";
import type { Kernel } from "../image/kernel.ts";
import type { Manifest, ManifestEntry } from "../image/manifest.ts";
import { needTools } from "../image/packages.ts";
import { OUT } from "../image/paths.ts";

/** Something with a size. Bytes; `compressed` by zstd -19, null where that was not asked. */
export interface SizeRow {
  name: string;
  bytes: number;
  compressed: number | null;
}

const CACHE = join(OUT, "bench", "zstd19.json");

type File = Extract<ManifestEntry, { type: "file" }>;

/** Which part of the image a file belongs to. */
const GROUPS: readonly (readonly [string, (file: File) => boolean])[] = [
  ["  Deno", ({ origin }) => origin.kind === "deno"],
  ["  libraries, BusyBox, e2fsck", ({ origin }) => origin.kind === "debian"],
  ["  V8 code cache", ({ origin }) => origin.kind === "code-cache"],
  ["  the page", ({ path }) => path.startsWith("/osym/web/")],
  ["  our bundles", ({ path }) => path.startsWith("/osym/") && path.endsWith(".js")],
  ["  our other files", () => true],
];

/** Sizes of an image and its kernel. */
export async function measureSizes(
  image: Image,
  kernel: Kernel,
  step: (what: string) => void,
): Promise<SizeRow[]> {
  await needTools(["zstd"], "compressing the image as it is distributed");
  const manifest = JSON.parse(await Deno.readTextFile(image.manifest)) as Manifest;
  const files = manifest.files.filter((entry): entry is File => entry.type === "file");
  const groups = new Map(GROUPS.map(([name]) => [name, 0]));
  for (const file of files) {
    const group = GROUPS.find(([, holds]) => holds(file))![0];
    groups.set(group, groups.get(group)! + file.size);
  }
  const root = (await Deno.stat(image.root)).size;
  const rootZst = await compressedSize(image.root, step);
  const deno = files.find(({ origin }) => origin.kind === "deno");
  if (deno === undefined) throw new Error("measure sizes: the manifest lists no Deno");
  const denoZst = await compressedSize(await Deno.realPath(Deno.execPath()), step);
  const kernelFile = kernel.bzImage ?? kernel.path;
  const kernelSize = (await Deno.stat(kernelFile)).size;
  const rest = files.reduce((sum, { size }) => sum + size, 0) - deno.size;
  return [
    // A bzImage is compressed already.
    {
      name: `distributed: root + ${kernel.kind} kernel`,
      bytes: root + kernelSize,
      compressed: rootZst + kernelSize,
    },
    { name: `${kernel.kind} kernel, as it is distributed`, bytes: kernelSize, compressed: null },
    { name: "root image (erofs)", bytes: root, compressed: rootZst },
    ...[...groups].map(([name, bytes]) => ({
      name,
      bytes,
      compressed: name.trim() === "Deno" ? denoZst : null,
    })),
    { name: "root image without Deno", bytes: rest, compressed: rootZst - denoZst },
  ];
}

/** Bytes of a file after `zstd -19`. */
async function compressedSize(path: string, step: (what: string) => void): Promise<number> {
  const known = await readCache();
  const key = await sha256(await Deno.readFile(path));
  if (known[key] !== undefined) return known[key];
  step(`size: zstd -19 of ${path} (a minute; remembered)`);
  const child = new Deno.Command("zstd", {
    args: ["-19", "-T0", "--quiet", "--stdout", path],
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  let bytes = 0;
  for await (const chunk of child.stdout) bytes += chunk.length;
  const { success, code } = await child.status;
  if (!success) throw new Error(`run zstd -19 ${path}: exit status ${code}`);
  await Deno.mkdir(dirname(CACHE), { recursive: true });
  await Deno.writeTextFile(CACHE, JSON.stringify({ ...await readCache(), [key]: bytes }, null, 1));
  return bytes;
}

async function readCache(): Promise<Record<string, number>> {
  if (!await exists(CACHE)) return {};
  return JSON.parse(await Deno.readTextFile(CACHE)) as Record<string, number>;
}
