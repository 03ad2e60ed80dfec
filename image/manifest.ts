/**
 * What is in the image and where each file came from.
 *
 * Every file enters the tree through `Origins`, so a file without an origin is an error and not
 * an oversight. Times and owners are not listed: they are fixed for all (0, root).
 */

import { dirname, join } from "node:path";
import { sha256 } from "./host.ts";

/** Where a file came from. `osymbiote` names the source file that it is made from. */
export type Origin =
  | { kind: "deno"; version: string }
  | { kind: "debian"; package: string; version: string }
  | { kind: "osymbiote"; source: string }
  | { kind: "code-cache" };

/** A file or link of the image. */
export type ManifestEntry =
  | { path: string; type: "file"; mode: string; size: number; sha256: string; origin: Origin }
  | { path: string; type: "link"; target: string; origin: Origin };

export interface Manifest {
  /** SHA-256 over everything the image was made from. */
  inputs: string;
  /** The kernel this variant is for. */
  kernel: string;
  /** How PID 1 is packed, and why. */
  layout: string;
  files: ManifestEntry[];
}

/** Where the manifest is in the image; it lists every file but itself. */
export const MANIFEST_PATH = "osym/manifest.json";

/** A tree of files under construction. Paths are relative to it. */
export class Origins {
  readonly #origins = new Map<string, Origin>();

  constructor(readonly tree: string) {}

  /** Writes a file. */
  async write(path: string, text: string, origin: Origin): Promise<void> {
    await this.writeBytes(path, new TextEncoder().encode(text), origin);
  }

  /** Writes a file of bytes. */
  async writeBytes(path: string, bytes: Uint8Array, origin: Origin): Promise<void> {
    await this.#makeParent(path);
    await Deno.writeFile(join(this.tree, path), bytes);
    await this.note(path, 0o644, origin);
  }

  /** Copies a file of the host. */
  async copy(from: string, path: string, mode: number, origin: Origin): Promise<void> {
    await this.#makeParent(path);
    await Deno.copyFile(from, join(this.tree, path));
    await this.note(path, mode, origin);
  }

  /** Makes a symbolic link. */
  async link(path: string, target: string, origin: Origin): Promise<void> {
    await this.#makeParent(path);
    await Deno.symlink(target, join(this.tree, path));
    this.#origins.set(path, origin);
  }

  /** Records a file that is there already, and sets its mode. */
  async note(path: string, mode: number, origin: Origin): Promise<void> {
    await Deno.chmod(join(this.tree, path), mode);
    this.#origins.set(path, origin);
  }

  /** The origin of a path; throws for one that nobody recorded. */
  origin(path: string): Origin {
    if (path.startsWith("var/deno/")) return { kind: "code-cache" };
    const origin = this.#origins.get(path);
    if (origin === undefined) throw new Error(`list the image: nobody said where ${path} is from`);
    return origin;
  }

  async #makeParent(path: string): Promise<void> {
    await Deno.mkdir(dirname(join(this.tree, path)), { recursive: true });
  }
}

/** Lists the tree, puts the list into it at `MANIFEST_PATH`, and returns it. */
export async function writeManifest(
  origins: Origins,
  about: Omit<Manifest, "files">,
): Promise<Manifest> {
  const path = join(origins.tree, MANIFEST_PATH);
  await Deno.remove(path).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
  const manifest = { ...about, files: await list(origins, "") };
  await Deno.writeTextFile(path, JSON.stringify(manifest, null, 1) + "\n");
  await Deno.chmod(path, 0o644);
  return manifest;
}

async function list(origins: Origins, folder: string): Promise<ManifestEntry[]> {
  const entries: ManifestEntry[] = [];
  for await (const { name, isDirectory, isSymlink } of Deno.readDir(join(origins.tree, folder))) {
    const path = folder ? `${folder}/${name}` : name;
    const full = join(origins.tree, path);
    if (isDirectory) {
      entries.push(...await list(origins, path));
    } else if (isSymlink) {
      const target = await Deno.readLink(full);
      entries.push({ path: `/${path}`, type: "link", target, origin: origins.origin(path) });
    } else {
      const { mode, size } = await Deno.lstat(full);
      entries.push({
        path: `/${path}`,
        type: "file",
        mode: ((mode ?? 0) & 0o7777).toString(8).padStart(4, "0"),
        size,
        sha256: await sha256(await Deno.readFile(full)),
        origin: origins.origin(path),
      });
    }
  }
  return entries.sort((a, b) => a.path < b.path ? -1 : 1);
}
