/**
 * The generic kernel's initramfs: BusyBox, a script, and the few modules that find the root.
 *
 * It mounts the root and becomes it; everything else is PID 1's. Also owns module order: what
 * must be loaded before what, from depmod's index.
 */

import { join } from "node:path";
import { needTools } from "./packages.ts";

/**
 * What finds the root: the buses, the disk, the file system. libcrc32c, below erofs, asks for an
 * algorithm by name and not by symbol, so the index does not know; some kernels have it built in.
 */
export const ROOT_FINDERS = [
  ...["virtio_pci", "virtio_mmio", "virtio_blk", "?crc32c_generic", "erofs"],
] as const;

/**
 * Modules with everything they need, in load order, as paths relative to the module folder.
 * Names are compared as the kernel does (- is _); what the kernel has built in is left out.
 * Throws for a name that this kernel does not have at all, unless it begins with "?".
 */
export async function loadOrder(folder: string, names: readonly string[]): Promise<string[]> {
  const index = parseModulesDep(await Deno.readTextFile(join(folder, "modules.dep")));
  const builtin = new Set(
    (await Deno.readTextFile(join(folder, "modules.builtin"))).split("\n").map(moduleName),
  );
  const order: string[] = [];
  for (const name of names) {
    const optional = name.startsWith("?");
    const wanted = moduleName(optional ? name.slice(1) : name);
    if (builtin.has(wanted)) continue;
    const entry = index.get(wanted);
    if (entry === undefined && optional) continue;
    if (entry === undefined) throw new Error(`order the modules: this kernel has no ${name}`);
    for (const path of [...entry.needs, entry.path]) if (!order.includes(path)) order.push(path);
  }
  return order;
}

/** A line of modules.dep: a module, and what it needs in load order. */
export interface ModuleEntry {
  path: string;
  needs: string[];
}

/** Parses depmod's modules.dep: `path: dependency dependency …`, the nearest first. */
export function parseModulesDep(text: string): Map<string, ModuleEntry> {
  const index = new Map<string, ModuleEntry>();
  for (const line of text.split("\n")) {
    const colon = line.indexOf(":");
    if (colon < 0) continue;
    const path = line.slice(0, colon);
    // depmod lists what is needed first last.
    const needs = line.slice(colon + 1).trim().split(/\s+/).filter(Boolean).reverse();
    index.set(moduleName(path), { path, needs });
  }
  return index;
}

/** `kernel/drivers/net/virtio-net.ko.xz` → `virtio_net`. */
export function moduleName(path: string): string {
  const file = path.slice(path.lastIndexOf("/") + 1);
  return file.replace(/\.ko(\.\w+)?$/, "").replaceAll("-", "_");
}

/** A module's bytes, decompressed (the kernel's own decompression is not in every kernel). */
export async function readModule(path: string): Promise<Uint8Array<ArrayBuffer>> {
  const tool = path.endsWith(".xz") ? "xz" : path.endsWith(".zst") ? "zstd" : null;
  if (tool === null) return await Deno.readFile(path);
  await needTools([tool], "the generic kernel's modules");
  const { success, stdout } = await new Deno.Command(tool, { args: ["-dc", path] }).output();
  if (!success) throw new Error(`decompress ${path}: ${tool} failed`);
  return stdout;
}

export interface InitramfsParts {
  busybox: string;
  /** Module files in load order. */
  modules: readonly string[];
}

/** Runs as /init; its arguments are PID 1's program and arguments. Its failure is a panic. */
const INIT = `#!/bin/busybox sh
set -e
bb=/bin/busybox
$bb mount -t devtmpfs devtmpfs /dev
for module in /modules/*.ko; do $bb insmod "$module"; done
tries=0
while ! test -b /dev/vda; do
  tries=$((tries + 1))
  test $tries -lt 500 || { echo "initramfs: no /dev/vda after 5 s"; exit 1; }
  $bb usleep 10000
done
$bb mount -t erofs -o ro /dev/vda /sysroot
$bb mount --move /dev /sysroot/dev
exec $bb switch_root /sysroot "$@"
`;

/** What decides the initramfs beside the kernel and BusyBox: the key of its cache. */
export const INITRAMFS_RECIPE = [INIT, ...ROOT_FINDERS].join("\n");

/** Writes the initramfs, uncompressed: it is small, and unpacking costs more than reading. */
export async function writeInitramfs(path: string, parts: InitramfsParts): Promise<void> {
  const archive = new CpioArchive();
  for (const folder of ["bin", "dev", "modules", "sysroot"]) archive.folder(folder);
  // The kernel opens /dev/console for init before anything is mounted.
  archive.device("dev/console", 5, 1);
  archive.file("init", 0o755, new TextEncoder().encode(INIT));
  archive.file("bin/busybox", 0o755, await Deno.readFile(parts.busybox));
  for (const [i, module] of parts.modules.entries()) {
    const name = `${String(i).padStart(2, "0")}-${moduleName(module)}.ko`;
    archive.file(`modules/${name}`, 0o644, await readModule(module));
  }
  await Deno.writeFile(path, archive.bytes());
}

const S_IFDIR = 0o040000;
const S_IFREG = 0o100000;
const S_IFCHR = 0o020000;

/** A cpio archive in the "newc" format (Documentation/driver-api/early-userspace/buffer-format). */
export class CpioArchive {
  readonly #parts: Uint8Array[] = [];
  #inode = 0;

  folder(path: string): void {
    this.#add(path, S_IFDIR | 0o755, new Uint8Array(0));
  }

  file(path: string, mode: number, content: Uint8Array): void {
    this.#add(path, S_IFREG | mode, content);
  }

  device(path: string, major: number, minor: number): void {
    this.#add(path, S_IFCHR | 0o600, new Uint8Array(0), major, minor);
  }

  /** The finished archive. */
  bytes(): Uint8Array {
    this.#add("TRAILER!!!", 0, new Uint8Array(0));
    const total = this.#parts.reduce((sum, part) => sum + part.length, 0);
    const out = new Uint8Array(total);
    let at = 0;
    for (const part of this.#parts) {
      out.set(part, at);
      at += part.length;
    }
    return out;
  }

  #add(path: string, mode: number, content: Uint8Array, major = 0, minor = 0): void {
    const name = new TextEncoder().encode(path + "\0");
    // ino mode uid gid nlink mtime filesize devmajor devminor rdevmajor rdevminor namesize check
    const fields = [++this.#inode, mode, 0, 0, 1, 0, content.length, 0, 0, major, minor];
    const header = "070701" +
      [...fields, name.length, 0].map((n) => n.toString(16).padStart(8, "0")).join("");
    this.#parts.push(...padded(concat(new TextEncoder().encode(header), name)));
    this.#parts.push(...padded(content));
  }
}

/** A part and the zeros that bring it to a multiple of four bytes. */
function padded(part: Uint8Array): Uint8Array[] {
  return [part, new Uint8Array((4 - part.length % 4) % 4)];
}

function concat(a: Uint8Array, b: Uint8Array): Uint8Array {
  const out = new Uint8Array(a.length + b.length);
  out.set(a);
  out.set(b, a.length);
  return out;
}
