/**
 * Keeping one machine alive: start, watch, start again, and tell the next boot why.
 *
 * Owns the launch token, the launch record and the loop around `Machine`; `relaunch.ts` decides.
 * The token itself stays in this process and on the terminal: the guest is given its SHA-256, by
 * file, never by an argument.
 */

import {
  endedWithin,
  type GuestEvent,
  Machine,
  type MachineObserver,
  type MachineOptions,
  privateDirectory,
} from "./machine.ts";
import { type CommandLineOptions, kernelCommandLine } from "./qemu.ts";
import {
  decide,
  type Decision,
  INITIAL_STATE,
  type LastStop,
  type RelaunchState,
  type StopEvidence,
} from "./relaunch.ts";
import { sha256 } from "./host.ts";

/** What to launch: the machine, and what its kernel is told besides the usual. */
export interface LauncherOptions {
  machine: Omit<MachineOptions, "append" | "launch" | "directory">;
  /** Further kernel parameters, `osym.*=` and the like. */
  parameters: readonly string[];
  tscKhz: CommandLineOptions["tscKhz"];
  /** PID 1's program in the root, and its arguments. */
  init: readonly string[];
  /** False: the first end is the end, whatever it was. */
  relaunch: boolean;
}

/** A boot became ready. Times in ms since this QEMU was started. */
export interface Ready {
  readyMs: number;
  /** First answer over HTTP through the forwarded port; null: none, or no network. */
  httpMs: number | null;
  /** Boot phases in order: name and duration as PID 1 measured it, ms. */
  phases: Phase[];
  /** `system.ready`'s data. */
  data: Record<string, unknown>;
}

export interface Phase {
  name: string;
  /** ms since PID 1's first statement. */
  at: number;
  ms: number;
  ok: boolean;
  error?: string;
}

/** Callbacks; none may throw. */
export interface LauncherObserver extends MachineObserver {
  /** A QEMU process was started. `attempt` counts from 1 and falls back when a boot held. */
  onLaunch?(machine: Machine, attempt: number, rescue: boolean): void;
  onReady?(ready: Ready): void;
  /** A boot ended; what happens next is in the decision. */
  onStop?(decision: Decision, serialTail: readonly string[]): void;
}

/** How it all ended. */
export type Outcome =
  | { kind: "ended"; last: LastStop }
  | { kind: "gave_up"; last: LastStop; early: number; serialTail: readonly string[] };

/**
 * How long an orderly power-off may take before QEMU is told to quit, ms. Longer than the guest's
 * own last resort (40 s, stopDeadlineMs in src/wiring.ts): until then it may still unmount /data.
 */
export const POWER_OFF_MS = 45_000;
/** How long after `system.ready` a first answer through the forwarded port is waited for, ms. */
const HTTP_PATIENCE_MS = 30_000;
/** How long a try may take, ms; the next one then goes over a new connection. */
const HTTP_TRY_MS = 4000;
/** Phases kept of one boot: there are some twenty, and a guest may claim any number. */
const MAX_PHASES = 100;
/** How long after `system.ready` the guest may take to have an address before it is tried, ms. */
const ADDRESS_PATIENCE_MS = 3000;

/** One machine over all its boots. */
export class Launcher {
  /** The admin credential of this launch: 32 random bytes, base64url. */
  readonly token: string = crypto.getRandomValues(new Uint8Array(32)).toBase64({
    alphabet: "base64url",
    omitPadding: true,
  });
  readonly #options: LauncherOptions;
  readonly #observer: LauncherObserver;
  readonly #stopping = new AbortController();
  #machine: Machine | null = null;
  #phases: Phase[] = [];
  /** The present boot has said that it is ready. */
  #ready = false;
  /** Settles when the present boot has an IPv4 address. */
  #addressed = Promise.withResolvers<void>();

  constructor(options: LauncherOptions, observer: LauncherObserver = {}) {
    this.#options = options;
    this.#observer = observer;
  }

  /** Where the host reaches the guest, without a trailing slash; null without a network. */
  get url(): string | null {
    const { net } = this.#options.machine;
    return net?.kind === "user" ? `http://${hostName(net.listen)}:${net.port}` : null;
  }

  /** The address of the page, the token in its fragment (browsers do not send fragments). */
  get pageUrl(): string | null {
    return this.url === null ? null : `${this.url}/#token=${this.token}`;
  }

  /** The boot that runs now; null before the first, between two and after the last. */
  get machine(): Machine | null {
    return this.#machine;
  }

  /** Boots until it is over. Throws QemuStartError when QEMU does not even start. */
  async run(): Promise<Outcome> {
    const directory = await privateDirectory();
    try {
      return await this.#loop(directory);
    } finally {
      await Deno.remove(directory, { recursive: true });
    }
  }

  /** Presses the power button, ends QEMU after `timeoutMs`, and starts nothing again. */
  async stop(timeoutMs = POWER_OFF_MS): Promise<void> {
    this.#stopping.abort();
    await this.#machine?.powerOff(timeoutMs);
  }

  /** Ends QEMU now, the guest unasked, and starts nothing again. */
  async quit(): Promise<void> {
    this.#stopping.abort();
    await this.#machine?.quit();
  }

  async #loop(directory: string): Promise<Outcome> {
    let state = INITIAL_STATE;
    let rescue = false;
    for (;;) {
      const machine = await this.#launch(directory, state.last, state.early + 1, rescue);
      const evidence = await machine.ended;
      this.#machine = null;
      const decision = this.#decide(state, evidence);
      this.#observer.onStop?.(decision, machine.serialTail);
      const { last } = decision;
      if (decision.action === "give_up") {
        return { kind: "gave_up", last, early: decision.early, serialTail: machine.serialTail };
      }
      if (decision.action === "end") return { kind: "ended", last };
      await this.#pause(decision.delayMs);
      if (this.#stopping.signal.aborted) return { kind: "ended", last };
      state = { early: decision.early, last };
      rescue = decision.rescue;
    }
  }

  /** The policy's decision, unless nothing is to be started again in any case. */
  #decide(state: RelaunchState, evidence: StopEvidence): Decision {
    const decision = decide(state, evidence);
    const over = !this.#options.relaunch || this.#stopping.signal.aborted;
    return over ? { action: "end", last: decision.last } : decision;
  }

  async #launch(
    directory: string,
    last: LastStop,
    attempt: number,
    rescue: boolean,
  ): Promise<Machine> {
    this.#phases = [];
    this.#ready = false;
    this.#addressed = Promise.withResolvers<void>();
    const options = this.#options;
    const append = kernelCommandLine({
      arch: options.machine.arch,
      machine: options.machine.machine,
      accel: options.machine.accel,
      initramfs: options.machine.initrd !== null,
      tscKhz: options.tscKhz,
      init: options.init,
      parameters: [...options.parameters, ...(rescue ? ["osym.rescue=1"] : [])],
    });
    const started = Machine.start({
      ...options.machine,
      append,
      directory,
      launch: await this.#launchRecord(last, attempt, rescue),
    }, {
      ...this.#observer,
      onEvent: (event, atMs) => this.#receive(started, event, atMs),
    });
    const machine = await started;
    this.#machine = machine;
    // Asked to stop while QEMU was being started: nobody else will stop this one.
    if (this.#stopping.signal.aborted) machine.quit();
    this.#observer.onLaunch?.(machine, attempt, rescue);
    return machine;
  }

  /** What the guest is told through fw_cfg. */
  async #launchRecord(last: LastStop, attempt: number, rescue: boolean) {
    const { net } = this.#options.machine;
    const hosts = net?.kind === "user" ? allowedHosts(net.listen, net.port) : [];
    return {
      token_sha256: await sha256(this.token),
      hosts,
      origins: hosts.map((host) => `http://${host}`),
      last_stop: last,
      attempt,
      rescue,
      boot_epoch_ms: Date.now(),
    };
  }

  #receive(started: Promise<Machine>, event: GuestEvent, atMs: number): void {
    this.#observer.onEvent?.(event, atMs);
    if (event.type === "boot.phase" && this.#phases.length < MAX_PHASES) {
      this.#phases.push(phaseOf(event.data));
    }
    if (event.type === "addr.added" && isReachable(event.data.address)) this.#addressed.resolve();
    if (event.type === "system.ready" && !this.#ready) {
      this.#ready = true;
      this.#announce(started, event.data, atMs);
    }
  }

  async #announce(
    started: Promise<Machine>,
    data: Record<string, unknown>,
    readyMs: number,
  ): Promise<void> {
    const machine = await started;
    const httpMs = this.url === null ? null : await this.#firstAnswer(this.url, machine);
    // Gone while it was asked: the next boot announces itself.
    if (machine !== this.#machine) return;
    this.#observer.onReady?.({ readyMs, httpMs, phases: [...this.#phases], data });
  }

  /**
   * ms from QEMU's start to the first HTTP answer, or null. A connection made before the guest has
   * its address would wait seconds for QEMU's retransmission, so none is made before.
   */
  async #firstAnswer(url: string, machine: Machine): Promise<number | null> {
    const deadline = performance.now() + HTTP_PATIENCE_MS;
    let gone = false;
    const ended = machine.ended.then(() => {
      gone = true;
    });
    await endedWithin(Promise.race([this.#addressed.promise, ended]), ADDRESS_PATIENCE_MS);
    while (!gone && performance.now() < deadline) {
      try {
        const response = await fetch(`${url.replace("localhost", "127.0.0.1")}/healthz`, {
          signal: AbortSignal.timeout(HTTP_TRY_MS),
          headers: { connection: "close" },
        });
        await response.body?.cancel();
        return machine.ageMs;
      } catch {
        // Not reachable yet; the deadline above ends this.
        await endedWithin(ended, 50);
      }
    }
    return null;
  }

  async #pause(ms: number): Promise<void> {
    if (ms === 0 || this.#stopping.signal.aborted) return;
    const aborted = new Promise<void>((resolve) => {
      this.#stopping.signal.addEventListener("abort", () => resolve(), { once: true });
    });
    await endedWithin(aborted, ms);
  }
}

/** The name of this host in the address of a port that is bound to `listen`. */
function hostName(listen: string): string {
  return listen === "127.0.0.1" || listen === "0.0.0.0" ? "localhost" : listen;
}

/** The Host headers under which the guest is reached from the host. */
export function allowedHosts(listen: string, port: number): string[] {
  const names = new Set(["localhost", "127.0.0.1"]);
  if (listen === "0.0.0.0") {
    names.add(Deno.hostname());
    for (const face of Deno.networkInterfaces()) {
      if (face.family === "IPv4") names.add(face.address);
    }
  } else {
    names.add(listen);
  }
  // Browsers leave the default port out of the Host header.
  return [...names].flatMap((name) => port === 80 ? [name, `${name}:80`] : [`${name}:${port}`]);
}

function phaseOf(data: Record<string, unknown>): Phase {
  return {
    name: String(data.name ?? "?"),
    at: Number(data.at ?? 0),
    ms: Number(data.ms ?? 0),
    ok: data.ok !== false,
    ...(typeof data.error === "string" ? { error: data.error } : {}),
  };
}

/** An address that QEMU's forwarding reaches: IPv4, not the loopback. */
function isReachable(address: unknown): boolean {
  return typeof address === "string" && /^\d+\./.test(address) && !address.startsWith("127.");
}
