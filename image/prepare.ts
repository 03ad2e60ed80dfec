/**
 * From what was asked for to what is launched: kernel, image, disks, port, processor.
 *
 * The one road from `BootOptions` to `LauncherOptions`, for `./run.sh`, the tests and the bench.
 */

import { join } from "node:path";
import { OUT } from "./paths.ts";
import { ensureImage, type Image } from "./build.ts";
import { ensureDataDisk, makeFolderDisk } from "./disk.ts";
import { exists } from "./host.ts";
import { buildStripped, findStripped, genericKernel, givenKernel, type Kernel } from "./kernel.ts";
import type { LauncherOptions } from "./launcher.ts";
import { type BootOptions, machineFor, OptionError } from "./options.ts";
import { needTools } from "./packages.ts";
import { type Arch, chooseAccelerator, hasErst, hostFacts, qemuProgram } from "./qemu.ts";
import { hostTscKhz } from "./tsc.ts";

/** The guest's architecture. Throws OptionError for one that is not the host's. */
export function archOf(options: BootOptions): Arch {
  const host: Arch = Deno.build.arch;
  if (options.arch !== null && options.arch !== host) {
    throw new OptionError(`--arch ${options.arch}: images are made for this host's ${host} only`);
  }
  return host;
}

/** The kernel that was asked for, or the best there is. */
export async function chooseKernel(options: BootOptions): Promise<Kernel> {
  const arch = archOf(options);
  const wanted = options.kernel;
  if (typeof wanted === "object") return await givenKernel(wanted.path);
  if (wanted === "generic") return await genericKernel(arch);
  const built = await findStripped(arch);
  if (built) return built;
  if (wanted === "stripped") return await buildStripped(arch);
  if (arch === "x86_64") {
    console.error(
      "Using the distribution's kernel. A faster one is built once by: ./run.sh kernel",
    );
  }
  return await genericKernel(arch);
}

/**
 * Everything needed to start a machine, made if it is missing. `scratch` is where a self-test
 * disk is made.
 */
export async function prepare(
  options: BootOptions,
  scratch: string = OUT,
): Promise<{ launch: LauncherOptions; kernel: Kernel; image: Image }> {
  const arch = archOf(options);
  const machine = machineFor(arch, options.machine);
  if (machine === "microvm" && options.nic !== "virtio") {
    throw new OptionError(`--nic ${options.nic}: expected virtio, as microvm has no PCI bus`);
  }
  if (options.selftest !== null && !await isFolder(options.selftest)) {
    throw new OptionError(`--selftest ${options.selftest}: expected a folder`);
  }
  // All at once: whoever has to ask somebody for root asks only once.
  const tools = [qemuProgram(arch), "setpriv", "mkfs.ext4", "mkfs.erofs", "unshare", "depmod"];
  await needTools(tools, "building and booting the machine");
  const kernel = await chooseKernel(options);
  const image = await ensureImage(kernel);
  const accel = chooseAccelerator(options.accel, await hostFacts());

  let data: string | null = null;
  if (options.data !== "none") {
    data = options.data?.path ?? join(OUT, "data.img");
    if (await ensureDataDisk(data)) console.error(`Made the data disk ${data}`);
  }
  const disks = [];
  if (options.selftest !== null) {
    const path = join(scratch, "selftest.img");
    await makeFolderDisk(path, options.selftest);
    disks.push({ path, readonly: true });
  }
  const net = options.net === "user"
    ? { kind: "user", listen: options.listen, port: freePort(options) } as const
    : options.net === "silent"
    ? { kind: "silent" } as const
    : null;
  // Distribution kernels patch running code, which panics now and then under parallel TCG.
  const oneCpu = accel === "tcg" && kernel.kind === "generic";
  const launch: LauncherOptions = {
    machine: {
      ...{ arch, machine, accel, data, disks, net },
      memoryMb: options.memoryMb,
      cpus: options.cpus ?? (oneCpu ? 1 : Math.min(2, navigator.hardwareConcurrency)),
      singleThreadTcg: oneCpu,
      kernel: kernel.path,
      initrd: kernel.initrd,
      root: image.root,
      // Panic records belong to the machine's memory; without a disk there is neither.
      erstFile: hasErst(machine) && data !== null ? `${data}.erst` : null,
      nic: options.nic,
      extra: [],
    },
    parameters: [
      ...options.append,
      ...(options.selftest === null ? [] : ["osym.selftest=1"]),
    ],
    tscKhz: accel === "tcg" ? await hostTscKhz() : null,
    init: image.layout.init,
    relaunch: true,
  };
  return { launch, kernel, image };
}

async function isFolder(path: string): Promise<boolean> {
  return await exists(path) && (await Deno.stat(path)).isDirectory;
}

/** The port to forward. QEMU binds it later; a taken one is told now, in plain words. */
function freePort(options: BootOptions): number {
  const { listen: hostname, httpPort: port } = options;
  try {
    using listener = Deno.listen({ hostname, port });
    return (listener.addr as Deno.NetAddr).port;
  } catch (error) {
    if (error instanceof Deno.errors.AddrInUse) {
      throw new OptionError(
        `--http-port ${port}: another program listens on ${hostname}:${port}; ` +
          "give another port (0 takes any free one)",
      );
    }
    if (error instanceof Deno.errors.PermissionDenied) {
      throw new OptionError(
        `--http-port ${port}: this user may not listen there; expected 0 or a port from 1024`,
      );
    }
    if (error instanceof Deno.errors.AddrNotAvailable) {
      throw new OptionError(`--listen ${hostname}: expected an address of this host`);
    }
    throw error;
  }
}
