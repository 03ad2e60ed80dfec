/**
 * The machine as its edges see it: what HTTP, the console and a mind's host may
 * ask of the core. The composition root implements it; the edges import only
 * this.
 *
 * Owns types, no behaviour.
 */
import type { Principal } from "./gate.ts";
import type {
  BootPhase,
  ChatReply,
  LastStop,
  MachineSample,
  NetworkState,
  ProcessInfo,
  ServiceState,
} from "./shapes.ts";

export interface BootInfo {
  readonly id: string;
  readonly kernel: string;
  readonly version: string;
  readonly hostname: string;
  readonly architecture: string;
  readonly attempt: number;
  readonly rescue: boolean;
  readonly lastStop: LastStop;
  readonly phases: readonly BootPhase[];
  /** Milliseconds from PID 1's first statement to ready; null until then. */
  readonly readyMs: number | null;
  /** Milliseconds the kernel had run when PID 1 began. */
  readonly kernelMs: number;
}

export interface Degradation {
  readonly part: string;
  readonly reason: string;
  /** Wall time in ms. */
  readonly since: number;
}

export interface SensorInfo {
  readonly name: string;
  readonly state: "running" | "failed" | "stopped";
  readonly events: number;
  readonly gaps: number;
  readonly error?: string | undefined;
}

export interface HardwareInfo {
  readonly cpus: readonly { model: string; mhz: number | null }[];
  readonly memory_bytes: number;
  readonly devices: readonly { name: string; subsystem: string; driver?: string | undefined }[];
  readonly watchdog: string | null;
}

/** The kinds of act this system knows, with what each takes and gives. */
export type ActKind =
  | "exec.run"
  | "service.declare"
  | "service.remove"
  | "service.start"
  | "service.stop"
  | "service.restart"
  | "network.renew"
  | "power.off"
  | "power.reboot";

/** How a proposed act ended. Everything but a bug is a value here. */
export type ActOutcome =
  | { status: "done"; action: string; result: unknown }
  | { status: "denied"; action: string; reason: string }
  | { status: "invalid"; faults: readonly string[] }
  | { status: "not_found"; reason: string }
  | { status: "conflict"; reason: string }
  | { status: "failed"; action: string; reason: string };

export type ChatOutcome =
  | { status: "answered"; reply: ChatReply }
  | { status: "invalid"; faults: readonly string[] }
  | { status: "unavailable"; reason: string };

export interface Machine {
  boot(): BootInfo;
  degraded(): readonly Degradation[];
  /** The newest sample; null before the first. */
  sample(): MachineSample | null;
  /** /proc/meminfo, key → bytes. */
  meminfo(): Readonly<Record<string, number>>;
  processes(): readonly ProcessInfo[];
  network(): NetworkState;
  hardware(): HardwareInfo;
  sensors(): readonly SensorInfo[];
  services(): readonly ServiceState[];
  /** Proposes an act, has it decided by the gate and, if allowed, carries it out. Never rejects. */
  act(
    principal: Principal,
    kind: ActKind,
    args: unknown,
    about?: { reason?: string; cause?: number; signal?: AbortSignal },
  ): Promise<ActOutcome>;
  /** Asks the mind in plain words. Never rejects. */
  chat(principal: Principal, message: string): Promise<ChatOutcome>;
}
