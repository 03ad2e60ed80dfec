/**
 * Memory of a machine that has been ready for a while, and of its PID 1.
 *
 * Owns when it looks: after the late phases and a pause, so that what boot needed once is given
 * back; nobody is connected but the reader.
 */

import { ringSize } from "../bus/bus.ts";
import { type OurGuest, withOurGuest } from "./guest.ts";
import type { LauncherOptions } from "../image/launcher.ts";

/** Bytes. */
export interface MemoryRow {
  name: string;
  bytes: number;
}

/** From the first answer to the reading, ms. */
const IDLE_MS = 10_000;

/** Parses /proc/<pid>/smaps_rollup (proc_pid_smaps(5)): name → bytes. */
export function parseSmapsRollup(text: string): Map<string, number> {
  const found = new Map<string, number>();
  for (const [, name, kb] of text.matchAll(/^(\w+):\s+(\d+) kB$/gm)) {
    if (name !== undefined) found.set(name, Number(kb) * 1024);
  }
  return found;
}

/** Boots once and reads. */
export async function measureMemory(
  launch: LauncherOptions,
  step: (what: string) => void,
): Promise<MemoryRow[]> {
  step(`memory: booting with ${launch.machine.memoryMb} MiB`);
  return await withOurGuest(launch, async (guest) => {
    step(`memory: waiting ${IDLE_MS / 1000} s`);
    await new Promise((resolve) => setTimeout(resolve, IDLE_MS));
    return await read(guest);
  });
}

async function read({ api }: OurGuest): Promise<MemoryRow[]> {
  const meminfo = await api<Record<string, number>>("/api/v1/meminfo");
  const argv = ["/bin/cat", "/proc/1/smaps_rollup"];
  const { stdout } = await api<{ stdout: string }>("/api/v1/exec", { argv });
  const rollup = parseSmapsRollup(stdout);
  const { items } = await api<{ items: { comm: string; rss: number; kernel: boolean }[] }>(
    "/api/v1/processes",
  );
  const of = (name: string): number => rollup.get(name) ?? 0;
  const total = meminfo.MemTotal ?? 0;
  return [
    { name: "MemTotal of the guest", bytes: total },
    { name: "MemAvailable", bytes: meminfo.MemAvailable ?? 0 },
    { name: "PID 1: resident", bytes: of("Rss") },
    { name: "PID 1: private", bytes: of("Private_Clean") + of("Private_Dirty") },
    { name: "PID 1: private, dirty", bytes: of("Private_Dirty") },
    { name: "history ring, when full", bytes: ringSize(total) },
    ...items.filter((row) => !row.kernel).slice(1).map((row) => ({
      name: `child ${row.comm}: resident`,
      bytes: row.rss,
    })),
  ];
}
