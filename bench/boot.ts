/**
 * Boot time: ours against the floor, on each kernel and machine type.
 *
 * Owns which machines are compared and the order of the runs: ours and the floor alternate, and
 * machine types alternate, so that a busy minute of the host falls on all of them. The first round
 * only fills the host's page cache and does not count.
 */

import { join } from "node:path";
import type { Image } from "../image/build.ts";
import { findStripped, type Kernel } from "../image/kernel.ts";
import type { LauncherOptions } from "../image/launcher.ts";
import { defaultOptions } from "../image/options.ts";
import { prepare } from "../image/prepare.ts";
import type { MachineType } from "../image/qemu.ts";
import { writeFloor } from "./floor.ts";
import { type Boot, bootFloor, withOurGuest } from "./guest.ts";
import { median, type Spread, spread } from "./stats.ts";

/** A kernel and a machine type to boot on. */
export interface Platform {
  kernel: "stripped" | "generic";
  machine: MachineType;
}

/** One platform, prepared: everything is built, nothing is started. */
export interface Prepared extends Platform {
  launch: LauncherOptions;
  built: Kernel;
  image: Image;
}

/** The boots of one platform. Times in ms. */
export interface BootRow extends Platform {
  ours: Spread;
  floor: Spread;
  /** Median of ours over the median of the floor. */
  ratio: number;
  /** Median of each part of ours, in order. */
  parts: Record<string, number>;
}

/** What there is to compare on this host. `missing` says what is left out, and why. */
export async function platforms(): Promise<{ list: Platform[]; missing: string | null }> {
  const { arch } = Deno.build;
  if (arch === "aarch64") return { list: [{ kernel: "generic", machine: "virt" }], missing: null };
  const generic: Platform = { kernel: "generic", machine: "q35" };
  if (await findStripped(arch) === null) {
    return { list: [generic], missing: "the stripped kernel is not built: ./run.sh kernel" };
  }
  return {
    list: [
      { kernel: "stripped", machine: "q35" },
      { kernel: "stripped", machine: "microvm" },
      generic,
    ],
    missing: null,
  };
}

/** Builds what is stale of a platform. `scratch` is for files that go with the measurement. */
export async function preparePlatform(
  platform: Platform,
  memoryMb: number,
  scratch: string,
): Promise<Prepared> {
  const { launch, kernel, image } = await prepare({
    ...defaultOptions(),
    ...platform,
    memoryMb,
    httpPort: 0,
    cpus: 1,
    // Only so that the devices are those of ./run.sh; each boot gets a disk of its own.
    data: { path: join(scratch, "data.img") },
    headless: true,
  }, scratch);
  return { ...platform, launch, built: kernel, image };
}

/** Boots every platform and its floor `runs` times after a warm-up. Throws when a boot fails. */
export async function measureBoots(
  all: readonly Prepared[],
  runs: number,
  scratch: string,
  step: (what: string) => void,
): Promise<BootRow[]> {
  const ours = all.map((): Boot[] => []);
  const floors = all.map((): number[] => []);
  for (const { kernel, built } of all) await writeFloor(floorPath(scratch, kernel), built);
  for (let run = 0; run <= runs; run++) {
    const round = run === 0 ? "warm-up" : `run ${run} of ${runs}`;
    for (const [index, { kernel, machine, launch }] of all.entries()) {
      step(`boot: ${round}: ${kernel} ${machine}`);
      const boot = await withOurGuest(launch, (guest) => guest.boot);
      step(`boot: ${round}: the floor of ${kernel} ${machine}`);
      const floor = await bootFloor(launch, floorPath(scratch, kernel));
      if (run === 0) continue;
      ours[index]!.push(boot);
      floors[index]!.push(floor);
    }
  }
  return all.map(({ kernel, machine }, index) => {
    const boots = ours[index]!;
    const own = spread(boots.map((boot) => boot.total));
    const floor = spread(floors[index]!);
    return {
      kernel,
      machine,
      ours: own,
      floor,
      ratio: own.median / floor.median,
      parts: parts(boots),
    };
  });
}

function floorPath(scratch: string, kernel: Platform["kernel"]): string {
  return join(scratch, `floor-${kernel}.cpio`);
}

/** The median of each part, so that their sum is near the median total but not it. */
function parts(boots: readonly Boot[]): Record<string, number> {
  const flat = boots.map(({ firmware, kernel, runtime, load, phases, lease, answer }) => ({
    firmware,
    kernel,
    runtime,
    load,
    ...phases,
    lease,
    answer,
  }));
  const names = [...new Set(flat.flatMap((boot) => Object.keys(boot)))];
  return Object.fromEntries(
    names.map((name) => [
      name,
      median(flat.map((boot) => (boot as Record<string, number>)[name] ?? 0)),
    ]),
  );
}
