/**
 * The two kernels: `stripped`, built here from Debian's source with our configuration, and
 * `generic`, the distribution's own, taken out of its package.
 *
 * Owns the kernel cache (outside the tree, shared by checkouts). Installs no kernel on the host.
 */

import { basename, join } from "node:path";
import { cacheDir, OUT, TREE } from "./paths.ts";
import { exists, filesBelow, HostError, lockFile, logTo, run, sha256 } from "./host.ts";
import {
  candidateVersion,
  type DebianPackage,
  debianPackage,
  firstCandidate,
  needPackages,
  needTools,
  packagedFile,
} from "./packages.ts";
import { type Progress, withProgress } from "./progress.ts";
import { INITRAMFS_RECIPE, loadOrder, ROOT_FINDERS, writeInitramfs } from "./initramfs.ts";
import { OptionError } from "./options.ts";
import type { Arch } from "./qemu.ts";

/** A kernel ready to boot. */
export interface Kernel {
  kind: "stripped" | "generic" | "given";
  /** Its version or, for one given by path, the path. */
  version: string;
  /** What QEMU is given: vmlinux by PVH, or a bzImage. */
  path: string;
  initrd: string | null;
  /** Compressed image for disks and downloads; null for a kernel given by path. */
  bzImage: string | null;
  /** The folder lib/modules/<version>, the modules in load order, and where they are from. */
  modules: { folder: string; order: readonly string[]; origin: PackageVersion } | null;
}

/** A Debian package of one version. */
type PackageVersion = Pick<DebianPackage, "name" | "version">;

/** The source package of the stripped kernel. */
const SOURCE_PACKAGE = "linux-source-6.12";
/** Counted into the cache key: change it when the way of building changes the result. */
const RECIPE = 1;
/** Lines `make` prints for our configuration; only the progress bar depends on it. */
const TYPICAL_LINES = 2140;
/** What the build runs, beside what every Debian has. */
const BUILD_PACKAGES = [
  ...["build-essential", "bc", "bison", "flex", "libelf-dev", "libssl-dev", "lz4", "xz-utils"],
];
/** Ends of the names of folders that are being made, or were when somebody pressed Ctrl-C. */
const UNFINISHED = [".build", ".new"];
/** Fixed, so that two builds of the same source are the same bytes. */
const REPRODUCIBLE = {
  KBUILD_BUILD_TIMESTAMP: "2024-01-01 00:00:00 UTC",
  KBUILD_BUILD_USER: "osymbiote",
  KBUILD_BUILD_HOST: "osymbiote",
  SOURCE_DATE_EPOCH: "1704067200",
};

/** A configuration line did not survive Kconfig's dependencies. */
export class KernelConfigError extends Error {
  override name = "KernelConfigError";
  constructor(readonly lost: readonly string[]) {
    super(
      "configure the kernel: these lines of image/kernel do not survive their dependencies:\n" +
        lost.map((line) => `  ${line}`).join("\n"),
    );
  }
}

/** The stripped kernel of this checkout's configuration, if it is built; else null. */
export async function findStripped(arch: Arch): Promise<Kernel | null> {
  if (arch !== "x86_64") return null;
  const config = await configHash(arch);
  const store = join(cacheDir(), "kernel");
  if (!await exists(store)) return null;
  const versions: string[] = [];
  for await (const { name } of Deno.readDir(store)) {
    // The source's version is part of the name: any build of our configuration serves.
    if (!name.startsWith(`${config}-`) || UNFINISHED.some((end) => name.endsWith(end))) continue;
    versions.push(name.slice(config.length + 1));
  }
  versions.sort((a, b) => a.localeCompare(b, "en", { numeric: true }));
  const version = versions.at(-1);
  return version === undefined ? null : stripped(join(store, `${config}-${version}`), version);
}

/** Builds the stripped kernel from the newest source unless that is done. */
export async function buildStripped(arch: Arch): Promise<Kernel> {
  if (arch !== "x86_64") {
    throw new Error(`build the stripped kernel: there is no configuration for ${arch}`);
  }
  const version = await candidateVersion(SOURCE_PACKAGE);
  if (version === null) {
    const built = await findStripped(arch);
    if (built) return built;
    throw new HostError(
      `build the stripped kernel: apt knows no ${SOURCE_PACKAGE} here; run: sudo apt-get update ` +
        "(it is in Debian 12 and 13). --kernel generic needs no build",
    );
  }
  const folder = join(cacheDir(), "kernel", `${await configHash(arch)}-${version}`);
  using _lock = await lockCache();
  if (!await exists(folder)) {
    await needPackages(BUILD_PACKAGES, "building the stripped kernel");
    const source = await debianPackage(SOURCE_PACKAGE);
    logTo(join(OUT, "kernel.log"));
    await withProgress(
      `Building the stripped kernel ${version}`,
      (progress) => compile(arch, source.folder, folder, progress),
    );
  }
  return stripped(folder, version);
}

/** Every checkout of this user makes its kernels in the same place: one at a time. */
function lockCache(): Promise<Deno.FsFile> {
  return lockFile(join(cacheDir(), "kernel.lock"), "making a kernel");
}

function stripped(folder: string, version: string): Kernel {
  return {
    kind: "stripped",
    version,
    path: join(folder, "vmlinux"),
    initrd: null,
    bzImage: join(folder, "bzImage"),
    modules: null,
  };
}

/** Hash of the configuration and the recipe; 16 hex digits are plenty for a cache. */
export async function configHash(arch: Arch): Promise<string> {
  const fragment = await Deno.readTextFile(fragmentPath(arch));
  return (await sha256(`${RECIPE}\n${configLines(fragment).join("\n")}`)).slice(0, 16);
}

function fragmentPath(arch: Arch): string {
  return join(TREE, "image/kernel", `${arch}.config`);
}

/** A fragment without its comments, so that explaining more does not rebuild. */
export function configLines(fragment: string): string[] {
  return fragment.split("\n").map((line) => line.trim()).filter((line) => /^CONFIG_/.test(line));
}

/** The lines of a fragment that the resulting .config does not have. */
export function lostLines(fragment: string, config: string): string[] {
  const have = new Set(config.split("\n"));
  return configLines(fragment).filter((line) => {
    if (have.has(line)) return false;
    // "=n" comes out as a comment or not at all.
    const off = /^(CONFIG_\w+)=n$/.exec(line);
    return !(off && !config.includes(`\n${off[1]}=`));
  });
}

async function compile(
  arch: Arch,
  sourceFolder: string,
  folder: string,
  progress: Progress,
): Promise<void> {
  const work = `${folder}.build`;
  await removeTree(work);
  await Deno.mkdir(work, { recursive: true });
  const tarball = join(sourceFolder, "usr/src", `${SOURCE_PACKAGE}.tar.xz`);
  progress.step("unpacking");
  await run(["tar", "-xJf", tarball, "-C", work, "--strip-components=1"]);

  progress.step("configuring");
  const env = { ...REPRODUCIBLE, KCONFIG_ALLCONFIG: fragmentPath(arch) };
  await run(["make", "allnoconfig"], { cwd: work, env });
  const fragment = await Deno.readTextFile(fragmentPath(arch));
  const config = await Deno.readTextFile(join(work, ".config"));
  const lost = lostLines(fragment, config);
  if (lost.length > 0) throw new KernelConfigError(lost);

  let lines = 0;
  const jobs = `-j${navigator.hardwareConcurrency}`;
  await run(["nice", "make", jobs, "vmlinux", "bzImage"], {
    cwd: work,
    env: REPRODUCIBLE,
    onOutput(text) {
      lines += text.split("\n").length - 1;
      // The end is known only when it is there.
      progress.update(Math.min(0.99, lines / TYPICAL_LINES));
    },
  });

  const made = `${folder}.new`;
  await removeTree(made);
  await Deno.mkdir(made);
  await run(["strip", "-o", join(made, "vmlinux"), join(work, "vmlinux")]);
  await Deno.copyFile(join(work, "arch/x86/boot/bzImage"), join(made, "bzImage"));
  await Deno.copyFile(join(work, ".config"), join(made, "config"));
  await Deno.rename(made, folder);
  await removeTree(work);
}

async function removeTree(path: string): Promise<void> {
  await Deno.remove(path, { recursive: true }).catch((error) => {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  });
}

/** Meta packages that name the distribution's own kernel, most wanted first. */
const GENERIC_META: Readonly<Record<Arch, readonly string[]>> = {
  x86_64: ["linux-image-amd64", "linux-image-generic"],
  aarch64: ["linux-image-arm64", "linux-image-generic"],
};

/**
 * What PID 1 loads once it runs, in the order of need: the event port first. The rest of the
 * generic kernel's modules stays out of the image.
 */
const RUNTIME_MODULES = [
  ...["virtio_console", "qemu_fw_cfg", "virtio_net", "e1000", "evdev", "button"],
  ...["?crc32c_generic", "ext4", "virtio-rng", "i6300esb", "pvpanic-pci", "tcp_diag"],
];

/** The distribution's kernel, downloaded and unpacked into the cache (nothing is installed). */
export async function genericKernel(arch: Arch): Promise<Kernel> {
  await needTools(["depmod"], "the generic kernel");
  const names = await genericPackages(arch);
  const packages = await Promise.all(names.map(debianPackage));
  const busybox = await debianPackage("busybox-static");
  const image = packages[0];
  if (!image) throw new Error("get the generic kernel: no package");
  const version = names[0]?.replace(/^linux-image-(unsigned-)?/, "") ?? "";
  const recipe = await sha256([INITRAMFS_RECIPE, image.version, busybox.version].join("\n"));
  const store = join(cacheDir(), "kernel", `generic-${version}-${recipe.slice(0, 16)}`);
  const modules = join(store, "lib/modules", version);
  const initrd = join(store, "initramfs.cpio");
  using _lock = await lockCache();
  if (!await exists(store)) {
    const made = await assembleGeneric(packages.map((item) => item.folder), store, version);
    const folder = join(made, "lib/modules", version);
    await writeInitramfs(join(made, "initramfs.cpio"), {
      busybox: await packagedFile(busybox, "bin/busybox"),
      modules: (await loadOrder(folder, ROOT_FINDERS)).map((path) => join(folder, path)),
    });
    await Deno.rename(made, store);
  }
  const root = await loadOrder(modules, ROOT_FINDERS);
  const order = (await loadOrder(modules, RUNTIME_MODULES)).filter((path) => !root.includes(path));
  const path = join(store, "vmlinuz");
  return {
    kind: "generic",
    version,
    path,
    initrd,
    bzImage: path,
    // Ubuntu has the modules in a package of their own, Debian beside the image.
    modules: { folder: modules, order, origin: packages[1] ?? image },
  };
}

/** The real packages behind the meta package: the image first, then its modules. */
async function genericPackages(arch: Arch): Promise<string[]> {
  const meta = await firstCandidate(GENERIC_META[arch]);
  if (meta === null) {
    throw new HostError(
      `get the generic kernel: apt knows none of ${GENERIC_META[arch].join(", ")}; ` +
        "run: sudo apt-get update",
    );
  }
  const { stdout } = await run([
    ...["apt-cache", "depends", "--recurse", "--no-recommends", "--no-suggests"],
    ...["--no-conflicts", "--no-breaks", "--no-replaces", "--no-enhances", meta.name],
  ]);
  const names = new Set(
    stdout.match(/\blinux-(?:image|modules|modules-extra)-\d[\w.+-]*/g) ?? [],
  );
  const image = [...names].find((name) => /^linux-image-\d/.test(name));
  if (image === undefined) {
    throw new Error(`get the generic kernel: ${meta.name} ${meta.version} depends on no image`);
  }
  const version = image.replace("linux-image-", "");
  // Alternatives (unsigned, dbg) of other versions are listed too; only ours is wanted.
  const modules = [...names].filter((name) =>
    /^linux-modules-/.test(name) && name.endsWith(version)
  );
  return [image, ...modules.sort()];
}

/** Puts image and modules of several packages into a new folder and indexes the modules. */
async function assembleGeneric(
  folders: readonly string[],
  store: string,
  version: string,
): Promise<string> {
  const made = `${store}.new`;
  await removeTree(made);
  const modules = join(made, "lib/modules", version);
  await Deno.mkdir(modules, { recursive: true });
  for (const folder of folders) {
    const vmlinuz = join(folder, "boot", `vmlinuz-${version}`);
    if (await exists(vmlinuz)) await Deno.copyFile(vmlinuz, join(made, "vmlinuz"));
    for (const lib of ["lib", "usr/lib"]) {
      const from = join(folder, lib, "modules", version);
      if (await exists(from)) await run(["cp", "-a", `${from}/.`, modules]);
    }
  }
  if (!await exists(join(made, "vmlinuz"))) {
    throw new Error(`get the generic kernel: its package has no boot/vmlinuz-${version}`);
  }
  const env = { PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin` };
  await run(["depmod", "-b", made, version], { env });
  return made;
}

/** A kernel somebody else built: a file, taken to be monolithic with our drivers in it. */
export async function givenKernel(path: string): Promise<Kernel> {
  if (!await isFile(path)) throw new OptionError(`--kernel ${path}: expected a kernel's file`);
  return {
    kind: "given",
    version: basename(path),
    path,
    initrd: null,
    bzImage: null,
    modules: null,
  };
}

async function isFile(path: string): Promise<boolean> {
  return await exists(path) && (await Deno.stat(path)).isFile;
}

/** Hash of everything the cache key of the image needs to know about a kernel. */
export async function kernelIdentity(kernel: Kernel): Promise<string> {
  if (kernel.modules === null) return "monolithic";
  const { folder, order, origin } = kernel.modules;
  const index = await filesBelow(folder).then((names) => names.length);
  return await sha256([kernel.version, origin.version, index, ...order].join("\n"));
}
