/**
 * A guest for tests: the real image under QEMU, driven through REST, console, QMP and event port.
 *
 * Owns one launcher in this process and a data disk of its own. Every wait has a deadline and
 * fails at once when the machine dies; a failure says what was seen. Use `await using`.
 */

import { join } from "node:path";
import { ensureDataDisk } from "../../image/disk.ts";
import { Launcher, type Outcome, type Ready } from "../../image/launcher.ts";
import { endedWithin, type GuestEvent, type Machine } from "../../image/machine.ts";
import { type BootOptions, defaultOptions } from "../../image/options.ts";
import { prepare } from "../../image/prepare.ts";
import type { Decision } from "../../image/relaunch.ts";

/** What a test says about its machine; the rest is as `./run.sh` has it, but `-smp 1`. */
export interface GuestOptions
  extends Partial<Pick<BootOptions, "kernel" | "machine" | "memoryMb" | "nic" | "net" | "append">> {
  cpus?: number;
  /** "fresh" (default): an empty disk of `dataMb`, gone with the guest; or one that stays. */
  data?: "fresh" | "none" | { path: string };
  dataMb?: number;
  /** A folder shown to the guest as its self-test disk. */
  selftest?: string;
  /** Another PID 1 than ours, with its arguments: a guest that fails as the test wants. */
  init?: readonly string[];
  /** Start again after a reboot or a death, as `./run.sh` does. Default: no. */
  relaunch?: boolean;
  /** Further arguments for QEMU. */
  qemu?: readonly string[];
  /** Host TCP port; 0 (default) takes any free one. */
  httpPort?: number;
  /** How long `boot()` waits for `system.ready` and the first HTTP answer, ms. */
  readyTimeoutMs?: number;
}

/** Why waiting for something in a guest ended without it. */
export class GuestError extends Error {
  override name = "GuestError";
  constructor(message: string, readonly serialTail: readonly string[]) {
    super(`${message}\nlast lines of its console:\n${serialTail.slice(-30).join("\n")}`);
  }
}

/** The machine ended while something was awaited. */
export class GuestDied extends GuestError {
  override name = "GuestDied";
  constructor(waitingFor: string, readonly decision: Decision, serialTail: readonly string[]) {
    const { kind, text } = decision.last;
    super(
      `wait for ${waitingFor}: the guest ended: ${kind}${text ? ` (${text})` : ""}`,
      serialTail,
    );
  }
}

/** The machine's kernel panicked while something was awaited. */
export class GuestPanicked extends GuestDied {
  override name = "GuestPanicked";
  /** The panic's first line; empty when the console did not show it. */
  get text(): string {
    return this.decision.last.text ?? "";
  }
}

/** A deadline passed; the machine still runs. */
export class GuestTimeout extends GuestError {
  override name = "GuestTimeout";
}

/** `system.ready` or the first HTTP answer did not come in time. */
export class GuestNeverReady extends GuestTimeout {
  override name = "GuestNeverReady";
}

/** The answer of `POST /api/v1/exec`. */
export interface ExecResult {
  stdout: string;
  stderr: string;
  code?: number | null;
  signal?: string | null;
  [more: string]: unknown;
}

/** A wait that ends with an event, a death or a deadline. */
interface Waiter {
  /** Looks again; true when it is over. */
  check(): boolean;
  fail(error: GuestError): void;
  waitingFor: string;
}

/** How much of the console is kept, characters. */
const CONSOLE_LIMIT = 1 << 20;

/** A running guest. */
export class Guest {
  /** `http://127.0.0.1:PORT`, without a trailing slash; empty without a network. */
  readonly url: string;
  readonly launcher: Launcher;
  readonly console: GuestConsole;
  /** Settles when the launcher is done with the machine. */
  readonly outcome: Promise<Outcome>;
  /** Every stop so far, and what was decided. */
  readonly stops: Decision[] = [];
  /** Every boot that was started so far. */
  readonly launches: { attempt: number; rescue: boolean }[] = [];
  /** Every boot that became ready so far. */
  readonly readies: Ready[] = [];
  readonly #events: GuestEvent[] = [];
  readonly #waiters = new Set<Waiter>();
  readonly #folder: string;
  readonly #relaunch: boolean;
  #serialTail: readonly string[] = [];
  #startError: Error | null = null;
  /** Where the events of the present boot begin. */
  #bootStart = 0;

  private constructor(folder: string, launch: ConstructorParameters<typeof Launcher>[0]) {
    this.#folder = folder;
    this.#relaunch = launch.relaunch;
    this.console = new GuestConsole(this);
    const { net } = launch.machine;
    this.url = net?.kind === "user" ? `http://127.0.0.1:${net.port}` : "";
    this.launcher = new Launcher(launch, {
      onEvent: (event) => {
        this.#events.push(event);
        this.#look();
      },
      onSerial: (bytes) => {
        this.console.receive(bytes);
        this.#look();
      },
      onReady: (ready) => {
        this.readies.push(ready);
        this.#look();
      },
      onLaunch: (_machine, attempt, rescue) => {
        this.launches.push({ attempt, rescue });
        this.#bootStart = this.#events.length;
        this.#look();
      },
      onStop: (decision, tail) => this.#stopped(decision, tail),
    });
    this.outcome = this.launcher.run();
    this.outcome.catch((error) => {
      this.#startError = error;
      for (const waiter of [...this.#waiters]) this.#failIfOver(waiter);
    });
  }

  /** Starts a machine and waits until it is ready and answers over HTTP. Throws GuestError. */
  static async boot(options: GuestOptions = {}): Promise<Guest> {
    const guest = await Guest.start(options);
    try {
      await guest.nextReady(options.readyTimeoutMs);
    } catch (error) {
      await guest[Symbol.asyncDispose]();
      throw error;
    }
    return guest;
  }

  /** Starts a machine and waits only until QEMU runs. */
  static async start(options: GuestOptions = {}): Promise<Guest> {
    const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
    try {
      return await Guest.#startIn(folder, options);
    } catch (error) {
      await Deno.remove(folder, { recursive: true });
      throw error;
    }
  }

  static async #startIn(folder: string, options: GuestOptions): Promise<Guest> {
    const { data = "fresh", dataMb = 64, qemu, relaunch, init, ...rest } = options;
    const fresh = { path: join(folder, "data.img") };
    if (data === "fresh") await ensureDataDisk(fresh.path, dataMb);
    const { readyTimeoutMs: _, ...boot } = rest;
    const { launch } = await prepare({
      ...defaultOptions(),
      httpPort: 0,
      cpus: 1,
      ...boot,
      selftest: boot.selftest ?? null,
      data: data === "fresh" ? fresh : data,
      headless: true,
    }, folder);
    const guest = new Guest(folder, {
      ...launch,
      machine: { ...launch.machine, extra: qemu ?? [] },
      relaunch: relaunch ?? false,
      init: init ?? launch.init,
    });
    try {
      await guest.waitUntil("QEMU", () => guest.launcher.machine ?? undefined, 30_000);
      return guest;
    } catch (error) {
      await guest.launcher.quit();
      await guest.outcome.catch(() => undefined);
      throw error;
    }
  }

  /** The admin credential. */
  get token(): string {
    return this.launcher.token;
  }

  /** The QEMU process of the present boot. Throws when none runs. */
  get machine(): Machine {
    const { machine } = this.launcher;
    if (machine === null) throw new Error("use the guest: no machine runs now");
    return machine;
  }

  /**
   * A request with the launch token; `path` begins with a slash. What ended the machine meanwhile is
   * the cause of the error.
   */
  async api(path: string, init: RequestInit = {}): Promise<Response> {
    const headers = new Headers(init.headers);
    if (!headers.has("authorization")) headers.set("authorization", `Bearer ${this.token}`);
    try {
      return await fetch(this.url + path, {
        signal: AbortSignal.timeout(30_000),
        ...init,
        headers,
      });
    } catch (error) {
      // QEMU's end is told a moment after its sockets are gone.
      await new Promise((resolve) => setTimeout(resolve, 500));
      const last = this.stops.at(-1);
      if (last === undefined || !(error instanceof Error)) throw error;
      throw new Error(error.message, { cause: new GuestDied(path, last, this.#serialTail) });
    }
  }

  /** A request whose answer must be 2xx JSON. Throws with the body otherwise. */
  async json<T = Record<string, unknown>>(path: string, init: RequestInit = {}): Promise<T> {
    const response = await this.api(path, init);
    const text = await response.text();
    if (!response.ok) {
      throw new Error(`${init.method ?? "GET"} ${path}: ${response.status} ${text.slice(0, 1000)}`);
    }
    return JSON.parse(text) as T;
  }

  /** POST with a JSON body and a JSON answer. */
  post<T = Record<string, unknown>>(
    path: string,
    body: unknown,
    init: RequestInit = {},
  ): Promise<T> {
    const headers = { "content-type": "application/json" };
    return this.json<T>(path, { method: "POST", headers, body: JSON.stringify(body), ...init });
  }

  /** Runs a program in the guest through the API. */
  exec(argv: readonly string[], more: Record<string, unknown> = {}): Promise<ExecResult> {
    // The guest's own limit comes first, on its own and possibly slower clock.
    const limitMs = Number(more.timeout_ms ?? 30_000) * 2 + 30_000;
    const signal = AbortSignal.timeout(limitMs);
    return this.post<ExecResult>("/api/v1/exec", { argv, ...more }, { signal });
  }

  /** Runs a shell command in the guest. Throws when it does not exit with 0. */
  async shell(command: string): Promise<string> {
    const result = await this.exec(["/bin/sh", "-c", command]);
    if (result.code !== 0) {
      throw new Error(`run "${command}" in the guest: ${JSON.stringify(result)}`);
    }
    return result.stdout;
  }

  /** Events that came through the event port so far, of a type (exact, or a prefix with `.`). */
  events(type = ""): readonly GuestEvent[] {
    return this.#events.filter((event) => matches(type, event));
  }

  /** A point in the stream of events, for `waitEvent()`. */
  mark(): number {
    return this.#events.length;
  }

  /** The first event of a type of the present boot, or after `since`; it may have come already. */
  waitEvent(
    type: string,
    predicate: (event: GuestEvent) => boolean = () => true,
    timeoutMs = 10_000,
    since?: number,
  ): Promise<GuestEvent> {
    return this.waitUntil(`event ${type}`, () => {
      const from = since ?? this.#bootStart;
      return this.#events.slice(from).find((event) => matches(type, event) && predicate(event));
    }, timeoutMs);
  }

  /** The next boot that becomes ready (with `boot()`, the first). Throws GuestError. */
  async nextReady(timeoutMs = 60_000): Promise<Ready> {
    const known = this.readies.length;
    try {
      return await this.waitUntil("readiness", () => this.readies[known], timeoutMs);
    } catch (error) {
      if (!(error instanceof GuestTimeout)) throw error;
      const seen = this.#events.slice(this.#bootStart).map((event) => event.type);
      throw new GuestNeverReady(
        `wait for readiness: not within ${timeoutMs} ms; events seen: ${seen.join(" ") || "none"}`,
        this.#tail(),
      );
    }
  }

  /**
   * Waits until `look` returns something, which it is asked whenever the guest says anything.
   * Throws GuestDied when the machine ends for good, GuestTimeout at the deadline.
   */
  waitUntil<T>(waitingFor: string, look: () => T | undefined, timeoutMs: number): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const settle = () => {
        clearTimeout(timer);
        this.#waiters.delete(waiter);
      };
      const waiter: Waiter = {
        waitingFor,
        check() {
          const found = look();
          if (found === undefined) return false;
          settle();
          resolve(found);
          return true;
        },
        fail(error) {
          settle();
          reject(error);
        },
      };
      const timer = setTimeout(() => {
        waiter.fail(
          new GuestTimeout(`wait for ${waitingFor}: not within ${timeoutMs} ms`, this.#tail()),
        );
      }, timeoutMs);
      this.#waiters.add(waiter);
      if (!waiter.check()) this.#failIfOver(waiter);
    });
  }

  /** How it ended, once the launcher is done with it. Throws GuestTimeout when it goes on. */
  async ends(timeoutMs = 180_000): Promise<Outcome> {
    if (await endedWithin(this.outcome, timeoutMs)) return await this.outcome;
    throw new GuestTimeout(`wait for the end: not within ${timeoutMs} ms`, this.#tail());
  }

  /** Runs a QMP command. */
  qmp(command: string, args?: Record<string, unknown>): Promise<unknown> {
    return this.machine.qmp(command, args);
  }

  /** Presses the power button and waits for the end. Throws unless the guest obeyed in time. */
  async powerOff(timeoutMs = 20_000): Promise<Outcome> {
    const tail = this.#tail();
    await this.launcher.stop(timeoutMs);
    const outcome = await this.outcome;
    if (outcome.last.kind !== "clean") {
      const { kind, text } = outcome.last;
      throw new GuestError(`power off: it ended otherwise: ${kind} (${text})`, tail);
    }
    return outcome;
  }

  /** SIGKILL to QEMU, the power cut, and waits for its end. */
  async kill(): Promise<void> {
    const { machine } = this;
    machine.kill();
    await machine.ended;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.launcher.quit();
    // A machine that never started was reported to whoever waited for it.
    await this.outcome.catch(() => undefined);
    for (const waiter of [...this.#waiters]) {
      waiter.fail(new GuestError(`wait for ${waiter.waitingFor}: the guest was disposed`, []));
    }
    await Deno.remove(this.#folder, { recursive: true });
  }

  #tail(): readonly string[] {
    return this.launcher.machine?.serialTail ?? this.#serialTail;
  }

  #look(): void {
    for (const waiter of [...this.#waiters]) waiter.check();
  }

  #stopped(decision: Decision, tail: readonly string[]): void {
    this.stops.push(decision);
    this.#serialTail = tail;
    this.#look();
    for (const waiter of [...this.#waiters]) this.#failIfOver(waiter);
  }

  /** Fails a waiter when the machine has ended and is not started again. */
  #failIfOver(waiter: Waiter): void {
    if (this.#startError !== null) {
      const { message } = this.#startError;
      waiter.fail(new GuestError(`wait for ${waiter.waitingFor}: ${message}`, []));
      return;
    }
    const last = this.stops.at(-1);
    if (last === undefined || this.launcher.machine !== null) return;
    if (this.#relaunch && last.action === "relaunch") return;
    const Death = last.last.kind === "panic" ? GuestPanicked : GuestDied;
    waiter.fail(new Death(waiter.waitingFor, last, this.#serialTail));
  }
}

function matches(type: string, event: GuestEvent): boolean {
  return type === "" || (type.endsWith(".") ? event.type.startsWith(type) : event.type === type);
}

/** The guest's serial console as a conversation. */
export class GuestConsole {
  readonly #guest: Guest;
  readonly #decoder = new TextDecoder();
  #text = "";
  /** What `read()` has not looked at yet begins here. */
  #cursor = 0;

  constructor(guest: Guest) {
    this.#guest = guest;
  }

  /** Everything the console said that is still kept. */
  get text(): string {
    return this.#text;
  }

  /** Types a line. */
  write(line: string): Promise<void> {
    return this.#guest.machine.writeSerial(new TextEncoder().encode(`${line}\n`));
  }

  /** Waits for a pattern in what has not been read yet, and returns the match. */
  read(pattern: RegExp | string, timeoutMs = 10_000): Promise<RegExpExecArray> {
    const regexp = typeof pattern === "string"
      ? new RegExp(pattern.replace(/[.*+?^${}()|[\]\\]/g, "\\$&"))
      : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ""));
    return this.#guest.waitUntil(`${regexp} on the console`, () => {
      const match = regexp.exec(this.#text.slice(this.#cursor));
      if (match === null) return undefined;
      this.#cursor += match.index + match[0].length;
      return match;
    }, timeoutMs);
  }

  /** Types a line and waits for an answer. */
  async ask(line: string, pattern: RegExp | string, timeoutMs = 10_000): Promise<RegExpExecArray> {
    this.#cursor = this.#text.length;
    await this.write(line);
    return await this.read(pattern, timeoutMs);
  }

  /** Called by the guest with what came. */
  receive(bytes: Uint8Array): void {
    this.#text += this.#decoder.decode(bytes, { stream: true });
    const excess = this.#text.length - CONSOLE_LIMIT;
    if (excess <= 0) return;
    this.#text = this.#text.slice(excess);
    this.#cursor = Math.max(0, this.#cursor - excess);
  }
}
