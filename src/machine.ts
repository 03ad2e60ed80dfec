/**
 * The machine as its edges see it, answered from the running core.
 *
 * Owns no state: every answer is read from the room that owns it.
 */
import type { Principal } from "../bus/gate.ts";
import type {
  ActKind,
  ActOutcome,
  BootInfo,
  ChatOutcome,
  Degradation,
  HardwareInfo,
  Machine,
  SensorInfo,
} from "../bus/machine.ts";
import type { MachineSample, NetworkState, ProcessInfo, ServiceState } from "../bus/shapes.ts";
import { version } from "./version.ts";
import type { Core } from "./wiring.ts";

/** Sysfs trees whose entries are the devices a person would name. */
const deviceTrees = [
  "/sys/bus/pci/devices",
  "/sys/bus/virtio/devices",
  "/sys/class/block",
  "/sys/class/input",
];

export class LiveMachine implements Machine {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  boot(): BootInfo {
    const { bus, uname, config, launch, phases, readyMs, startedMs, kernelMs } = this.#core;
    // Between the kernel's hand-over and our first statement lies the runtime's own start.
    const runtimeMs = kernelMs === 0 ? 0 : Math.round(startedMs - kernelMs);
    const runtime = { name: "runtime", at: -runtimeMs, ms: runtimeMs, ok: true };
    return {
      id: bus.boot,
      kernel: uname.release,
      version,
      hostname: config.hostname,
      architecture: uname.machine,
      attempt: launch?.attempt ?? 1,
      rescue: config.rescue,
      lastStop: launch?.lastStop ?? { kind: "unknown" },
      phases: runtimeMs > 0 ? [runtime, ...phases] : phases,
      readyMs,
      kernelMs: kernelMs > 0 ? kernelMs : Math.round(startedMs),
    };
  }

  degraded(): readonly Degradation[] {
    return this.#core.degraded();
  }

  sample(): MachineSample | null {
    return this.#core.sampler?.last ?? null;
  }

  meminfo(): Readonly<Record<string, number>> {
    return Object.fromEntries(this.#core.proc.meminfo()?.fields ?? []);
  }

  processes(): readonly ProcessInfo[] {
    return this.#core.table.list();
  }

  network(): NetworkState {
    const { config, links, network } = this.#core;
    return {
      hostname: config.hostname,
      links: links?.links() ?? [],
      routes: links?.routes() ?? [],
      leases: network?.leases() ?? [],
      dns: network?.dns() ?? [],
    };
  }

  hardware(): HardwareInfo {
    const { proc, watchdogPath } = this.#core;
    const text = proc.read("cpuinfo") ?? "";
    const cpus = text.split("\n\n").filter((block) => /^processor/m.test(block)).map((block) => ({
      model: block.match(/^model name\s*:\s*(.*)$/m)?.[1] ?? "unknown",
      mhz: Number(block.match(/^cpu MHz\s*:\s*([\d.]+)$/m)?.[1] ?? NaN) || null,
    }));
    return {
      cpus,
      memory_bytes: proc.meminfo()?.totalBytes ?? 0,
      devices: deviceTrees.flatMap((tree) => devicesIn(tree)),
      watchdog: watchdogPath,
    };
  }

  sensors(): readonly SensorInfo[] {
    return this.#core.sensors.info();
  }

  services(): readonly ServiceState[] {
    return this.#core.supervisor?.list() ?? [];
  }

  async act(
    principal: Principal,
    kind: ActKind,
    args: unknown,
    about?: { reason?: string; cause?: number; signal?: AbortSignal },
  ): Promise<ActOutcome> {
    return await this.#core.hands.act(principal, kind, args, about);
  }

  async chat(principal: Principal, message: string): Promise<ChatOutcome> {
    const { mind } = this.#core;
    if (mind === null) return { status: "unavailable", reason: this.#core.mindMissing };
    return await mind.chat(principal, message);
  }
}

/** Sysfs is memory: reading it waits for nothing. */
function devicesIn(tree: string): { name: string; subsystem: string; driver?: string }[] {
  const subsystem = tree.split("/")[3] ?? tree;
  const devices: { name: string; subsystem: string; driver?: string }[] = [];
  let names: string[];
  try {
    names = [...Deno.readDirSync(tree)].map((entry) => entry.name).sort();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
  for (const name of names) {
    const driver = driverOf(`${tree}/${name}/driver`);
    devices.push({ name, subsystem, ...(driver === null ? {} : { driver }) });
  }
  return devices;
}

function driverOf(link: string): string | null {
  try {
    return Deno.readLinkSync(link).split("/").pop() ?? null;
  } catch (error) {
    // No driver is bound, or the kind has none: both are ordinary.
    if (error instanceof Error) return null;
    throw error;
  }
}
