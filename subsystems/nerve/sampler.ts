/**
 * The sampler: once a second, what no kernel event tells: memory, load, CPU,
 * disks, link rates, and whether the wall clock jumped.
 *
 * It judges nothing; a reading that fails is left out, never invented.
 */
import type { Source } from "../../bus/bus.ts";
import type { MachineSample } from "../../bus/shapes.ts";
import type { CpuTimes, NetDevice, Proc } from "../../src/kernel/proc.ts";
import type { BootTimers } from "../../src/kernel/timers.ts";
import type { ProcessTable } from "./process_table.ts";
import type { Sensor } from "./sensor.ts";

export interface DiskRoom {
  readonly total: number;
  readonly free: number;
  readonly inodes: number;
  readonly inodesFree: number;
}

export interface SamplerDeps {
  readonly proc: Proc;
  readonly table: ProcessTable;
  /** Wall and boot clocks, µs. */
  readonly clocks: { realtime(): number; boottime(): number };
  readonly timers: Pick<BootTimers, "set" | "clear">;
  /** Mount points to measure, and how; null when the file system does not answer. */
  readonly mounts: () => readonly string[];
  readonly room: (mount: string) => Promise<DiskRoom | null>;
  readonly report: (where: string, error: unknown) => void;
}

const periodMs = 1000;
/** Disks change slowly and may be slow themselves; a new mount is measured at once. */
const diskEvery = 5;
const stepThresholdUs = 500_000;

export class Sampler implements Sensor {
  readonly name = "sampler";
  readonly grants = ["system.sampled", "clock.stepped"];
  readonly #deps: SamplerDeps;
  #timer: number | undefined;
  #running = false;
  #busy = false;
  #ticks = 0;
  #mounts: readonly string[] = [];
  #cpu: CpuTimes | null = null;
  #devices = new Map<string, NetDevice>();
  #disks: MachineSample["disks"] = [];
  #at = 0;
  #clockOffset: number | null = null;
  #last: MachineSample | null = null;

  constructor(deps: SamplerDeps) {
    this.#deps = deps;
  }

  /** The newest sample; null before the first. */
  get last(): MachineSample | null {
    return this.#last;
  }

  get listening(): boolean {
    return this.#running;
  }

  start(source: Source): void {
    this.#running = true;
    const tick = () => {
      if (!this.#running) return;
      this.#timer = this.#deps.timers.set(tick, periodMs);
      if (this.#busy) return; // A slow machine samples less often instead of piling up.
      this.#busy = true;
      this.#sample(source)
        .catch((error) => this.#deps.report("sampler", error))
        .finally(() => this.#busy = false);
    };
    tick();
  }

  stop(): void {
    this.#running = false;
    this.#deps.timers.clear(this.#timer);
  }

  async #sample(source: Source): Promise<void> {
    const { proc, table } = this.#deps;
    this.#watchClock(source);
    await table.scan();
    const mounts = this.#deps.mounts();
    const changed = String(mounts) !== String(this.#mounts);
    this.#mounts = mounts;
    if (changed || this.#ticks % diskEvery === 0) this.#disks = await this.#readDisks(mounts);
    this.#ticks++;
    const memory = proc.meminfo();
    const stat = proc.stat();
    const load = proc.loadavg();
    const uptime = proc.uptime();
    if (memory === null || stat === null || load === null || uptime === null) return;
    const now = performance.now();
    const seconds = this.#at === 0 ? 0 : (now - this.#at) / 1000;
    this.#at = now;
    this.#last = {
      memory: {
        total: memory.totalBytes,
        available: memory.availableBytes,
        free: memory.freeBytes,
        cached: memory.cachedBytes,
        swap_total: memory.swapTotalBytes,
        swap_free: memory.swapFreeBytes,
      },
      load: [load.one, load.five, load.fifteen],
      cpu: { ...cpuShares(this.#cpu, stat.total), count: stat.cpus.size },
      processes: table.size,
      disks: this.#disks,
      links: this.#linkRates(seconds),
      uptime_s: uptime.seconds,
    };
    this.#cpu = stat.total;
    source.publish("system.sampled", this.#last);
  }

  /** CLOCK_REALTIME against CLOCK_BOOTTIME: a change of the difference is a step. */
  #watchClock(source: Source): void {
    const { clocks } = this.#deps;
    const before = clocks.boottime();
    const wall = clocks.realtime();
    const after = clocks.boottime();
    // The machine stood still between the readings: they say nothing of each other.
    if (after - before > stepThresholdUs / 2) return;
    const offset = wall - before;
    const by = this.#clockOffset === null ? 0 : offset - this.#clockOffset;
    this.#clockOffset = offset;
    if (Math.abs(by) > stepThresholdUs) {
      source.publish("clock.stepped", { by_ms: Math.round(by / 1000) });
    }
  }

  async #readDisks(mounts: readonly string[]): Promise<MachineSample["disks"]> {
    const disks: MachineSample["disks"] = [];
    for (const mount of mounts) {
      const room = await this.#deps.room(mount);
      if (room === null) continue;
      disks.push({
        mount,
        total: room.total,
        free: room.free,
        inodes: countable(room.inodes),
        inodes_free: countable(room.inodesFree),
      });
    }
    return disks;
  }

  #linkRates(seconds: number): MachineSample["links"] {
    const devices = this.#deps.proc.netDev();
    const links = devices.map((device) => {
      const before = this.#devices.get(device.name);
      const rate = (now: number, then: number | undefined) =>
        then === undefined || seconds === 0 ? 0 : Math.max(0, Math.round((now - then) / seconds));
      return {
        link: device.name,
        rx_bytes: device.rxBytes,
        tx_bytes: device.txBytes,
        rx_rate: rate(device.rxBytes, before?.rxBytes),
        tx_rate: rate(device.txBytes, before?.txBytes),
      };
    });
    this.#devices = new Map(devices.map((device) => [device.name, device]));
    return links;
  }
}

/** A file system without inodes to count (erofs) says 2⁶⁴−1: that is none to speak of. */
function countable(inodes: number): number {
  return Number.isSafeInteger(inodes) ? inodes : 0;
}

/** Shares of all CPUs' time between two readings of /proc/stat, 0…1. */
export function cpuShares(
  before: CpuTimes | null,
  now: CpuTimes,
): { busy: number; user: number; system: number; iowait: number } {
  const since = (key: keyof CpuTimes) => Math.max(0, now[key] - (before?.[key] ?? 0));
  const user = since("user") + since("nice");
  const system = since("system") + since("irq") + since("softirq") + since("steal");
  const iowait = since("iowait");
  const total = user + system + iowait + since("idle");
  if (total === 0) return { busy: 0, user: 0, system: 0, iowait: 0 };
  const share = (part: number) => Math.round(part / total * 1000) / 1000;
  return {
    busy: share(user + system),
    user: share(user),
    system: share(system),
    iowait: share(iowait),
  };
}
