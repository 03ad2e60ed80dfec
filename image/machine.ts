/**
 * One QEMU process from start to end: its sockets, what it said, and the evidence it left.
 *
 * Owns the process, the private socket directory, QMP, the event port and the serial console.
 * Decides nothing: what an end means is `relaunch.ts`, starting again is `launcher.ts`. What the
 * guest sends is untrusted: lines are bounded, anything that is no event is only counted.
 */

import { join } from "node:path";
import { LineSplitter, Tail } from "./lines.ts";
import { isRecord, parseObject, Qmp, type QmpEvent } from "./qmp.ts";
import { ERST_BYTES, qemuArgv, type QemuOptions, qemuProgram } from "./qemu.ts";
import type { StopEvidence } from "./relaunch.ts";

/** An event as the guest reports it: the CloudEvents object of bus/envelope.ts, unchecked. */
export interface GuestEvent {
  type: string;
  data: Record<string, unknown>;
  boot?: string;
  sequence?: number;
  subject?: string;
  [more: string]: unknown;
}

/** Callbacks of a machine; none may throw. */
export interface MachineObserver {
  /** `atMs`: ms since QEMU was started. */
  onEvent?(event: GuestEvent, atMs: number): void;
  onSerial?(bytes: Uint8Array): void;
  onQmp?(event: QmpEvent): void;
}

/** What a machine is started from: QEMU's options without the sockets, which are made here. */
export type MachineOptions = Omit<QemuOptions, "sockets" | "launchFile"> & {
  /** The launch record, written to a 0600 file for fw_cfg. */
  launch: Record<string, unknown>;
  /** A private directory (0700) for the sockets and the launch file. */
  directory: string;
};

/** QEMU could not be started at all. */
export class QemuStartError extends Error {
  override name = "QemuStartError";
  constructor(readonly stderr: string, readonly code: number | null) {
    super(`start QEMU: it exited with ${code}: ${stderr.trim() || "(no message)"}`);
  }
}

/** Longest line on the event port and on the console, bytes (an event is at most 8 KiB). */
const EVENT_LINE_LIMIT = 16 * 1024;
const SERIAL_LINE_LIMIT = 4096;
/** Between two presses of the power button, ms. */
const PRESS_AGAIN_MS = 1000;
/** What is kept of the console and of QEMU's stderr. */
const SERIAL_TAIL_LINES = 100;
const STDERR_LIMIT = 16 * 1024;

/** One life of a QEMU process. */
export class Machine {
  readonly #observer: MachineObserver;
  readonly #tail = new Tail(SERIAL_TAIL_LINES);
  readonly #startedAt = performance.now();
  #child!: Deno.ChildProcess;
  #qmp!: Qmp;
  #serial!: Deno.Conn;
  #serialBacklog = 0;
  #stderr = "";
  #readyAt: number | null = null;
  #quitByLauncher = false;
  #seen: Pick<
    StopEvidence,
    "shutdownReason" | "panicked" | "watchdog" | "stopping" | "stopped" | "panicLine" | "boot"
  > = {
    shutdownReason: null,
    panicked: false,
    watchdog: false,
    stopping: null,
    stopped: false,
    panicLine: null,
    boot: null,
  };
  /** Lines on the event port that were no events. */
  strayLines = 0;
  /** The evidence, once QEMU is gone and everything it sent has been read. Never rejects. */
  ended!: Promise<StopEvidence>;

  private constructor(observer: MachineObserver) {
    this.#observer = observer;
  }

  /** Starts QEMU and waits until its sockets are connected. Throws QemuStartError. */
  static async start(options: MachineOptions, observer: MachineObserver = {}): Promise<Machine> {
    const machine = new Machine(observer);
    await machine.#start(options);
    return machine;
  }

  /** QEMU's process id. */
  get pid(): number {
    return this.#child.pid;
  }

  /** The last lines of the serial console. */
  get serialTail(): readonly string[] {
    return this.#tail.lines();
  }

  /** ms since QEMU was started. */
  get ageMs(): number {
    return performance.now() - this.#startedAt;
  }

  /** Runs a QMP command. Throws QmpError when QEMU refuses it or is gone. */
  qmp(command: string, args?: Record<string, unknown>): Promise<unknown> {
    return this.#qmp.execute(command, args);
  }

  /** Types into the serial console. Bytes for a machine that is gone are dropped. */
  async writeSerial(bytes: Uint8Array): Promise<void> {
    // A guest that does not read its console must not make the launcher's memory grow.
    if (this.#serialBacklog + bytes.length > SERIAL_TAIL_LINES * SERIAL_LINE_LIMIT) return;
    this.#serialBacklog += bytes.length;
    try {
      for (let done = 0; done < bytes.length;) {
        done += await this.#serial.write(bytes.subarray(done));
      }
    } catch (error) {
      if (!isDisconnect(error)) throw error;
    } finally {
      this.#serialBacklog -= bytes.length;
    }
  }

  /** Presses the power button and waits; after `timeoutMs` quits QEMU. True: the guest obeyed. */
  async powerOff(timeoutMs: number): Promise<boolean> {
    const deadline = performance.now() + timeoutMs;
    // More than once: in a guest that still boots nobody looks at the button yet.
    do {
      const pressed = this.#qmp.execute("system_powerdown").catch(() => undefined);
      await Promise.race([pressed, this.ended]);
      const left = Math.max(0, deadline - performance.now());
      if (await endedWithin(this.ended, Math.min(PRESS_AGAIN_MS, left))) return true;
    } while (performance.now() < deadline);
    await this.quit();
    return false;
  }

  /** Ends QEMU now, the guest unasked. */
  async quit(): Promise<void> {
    this.#quitByLauncher = true;
    // Either answer is an end: QEMU often closes the socket before it says OK.
    this.#qmp.execute("quit").catch(() => undefined);
    if (await endedWithin(this.ended, 2000)) return;
    this.kill();
    await this.ended;
  }

  /** SIGKILL: the power cut. */
  kill(): void {
    try {
      this.#child.kill("SIGKILL");
    } catch (error) {
      // Already gone is what was wanted.
      if (!(error instanceof Deno.errors.NotFound) && !(error instanceof TypeError)) throw error;
    }
  }

  async #start(options: MachineOptions): Promise<void> {
    const path = (name: string): string => join(options.directory, name);
    const sockets = { events: path("events"), serial: path("serial"), qmp: path("qmp") };
    const launchFile = path("launch.json");
    await writePrivate(launchFile, JSON.stringify(options.launch));
    if (options.erstFile) await ensureErst(options.erstFile);

    const listeners = await Promise.all(
      [sockets.qmp, sockets.serial, sockets.events].map((name) => listenAfresh(name)),
    );
    try {
      const argv = qemuArgv({ ...options, sockets, launchFile });
      // setpriv: QEMU must not outlive its launcher, however that one dies.
      this.#child = new Deno.Command("setpriv", {
        args: ["--pdeathsig", "KILL", qemuProgram(options.arch), ...argv],
        // Ctrl-C in a terminal goes to the whole process group; QEMU would take it as its own end.
        detached: true,
        stdin: "null",
        stdout: "null",
        stderr: "piped",
      }).spawn();
      const stderr = this.#readStderr(this.#child.stderr);
      const status = this.#child.status;
      const accepted = listeners.map((listener) => listener.accept());
      const allAccepted = Promise.all(accepted);
      // The losing side of the race rejects when the listeners close below.
      allAccepted.catch(() => undefined);
      const connections = await Promise.race([allAccepted, status]);
      if (!Array.isArray(connections)) {
        await stderr;
        // It may have taken some of them before it gave up.
        for (const one of accepted) one.then((taken) => taken.close(), () => undefined);
        throw new QemuStartError(this.#stderr, connections.code);
      }
      const [qmp, serial, events] = connections as [Deno.Conn, Deno.Conn, Deno.Conn];
      this.#serial = serial;
      const readers = [
        stderr,
        readAll(serial, (bytes) => this.#receiveSerial(bytes)),
        readAll(events, this.#eventSink()),
      ];
      // QEMU's stderr says what was wrong when it dies between connecting and its greeting.
      this.#qmp = await Qmp.open(qmp, (event) => this.#receiveQmp(event)).catch(async (error) => {
        this.kill();
        await Promise.all([status, ...readers]);
        throw this.#stderr ? new QemuStartError(this.#stderr, (await status).code) : error;
      });
      this.ended = Promise.all([status, this.#qmp.ended, ...readers]).then(([exit]) =>
        this.#evidence(exit)
      );
    } finally {
      for (const listener of listeners) listener.close();
    }
  }

  #evidence(exit: Deno.CommandStatus): StopEvidence {
    return {
      ...this.#seen,
      exit: { code: exit.signal ? null : exit.code, signal: exit.signal },
      stderr: this.#stderr,
      quitByLauncher: this.#quitByLauncher,
      heldMs: this.#readyAt === null ? null : performance.now() - this.#readyAt,
    };
  }

  async #readStderr(stream: ReadableStream<Uint8Array>): Promise<void> {
    const decoder = new TextDecoder();
    for await (const chunk of stream) {
      const text = decoder.decode(chunk, { stream: true });
      this.#stderr = (this.#stderr + text).slice(-STDERR_LIMIT);
    }
  }

  #receiveQmp(event: QmpEvent): void {
    if (event.event === "SHUTDOWN") this.#seen.shutdownReason = String(event.data.reason ?? "");
    if (event.event === "GUEST_PANICKED") this.#seen.panicked = true;
    if (event.event === "WATCHDOG") this.#seen.watchdog = true;
    this.#observer.onQmp?.(event);
  }

  #serialLines = new LineSplitter(SERIAL_LINE_LIMIT, (line) => {
    this.#tail.push(line);
    // The first one is the cause; what follows in the same life is its echo.
    // Not from the start: a prompt may stand before it on the same line.
    const panic = /\[\s*\d+\.\d+\]\s*(Kernel panic - not syncing: .*)$/.exec(line);
    if (panic?.[1]) this.#seen.panicLine ??= panic[1];
  });

  #receiveSerial(bytes: Uint8Array): void {
    this.#serialLines.push(bytes);
    this.#observer.onSerial?.(bytes);
  }

  #eventSink(): (bytes: Uint8Array) => void {
    const lines = new LineSplitter(EVENT_LINE_LIMIT, (line) => this.#receiveEvent(line));
    return (bytes) => lines.push(bytes);
  }

  #receiveEvent(line: string): void {
    const event = parseObject(line);
    if (event === null || typeof event.type !== "string") {
      this.strayLines++;
      return;
    }
    const data = isRecord(event.data) ? event.data : {};
    const guestEvent = { ...event, data } as GuestEvent;
    this.#note(guestEvent);
    this.#observer.onEvent?.(guestEvent, this.ageMs);
  }

  #note(event: GuestEvent): void {
    if (typeof event.boot === "string") this.#seen.boot = event.boot;
    if (event.type === "system.ready") this.#readyAt ??= performance.now();
    if (event.type === "system.stopped") this.#seen.stopped = true;
    if (event.type === "system.stopping") {
      const { how, reason } = event.data;
      this.#seen.stopping = { how: String(how ?? ""), reason: String(reason ?? "") };
    }
  }
}

/** A fresh random directory only this user can enter, short enough for socket paths. */
export function privateDirectory(): Promise<string> {
  return Deno.makeTempDir({ prefix: "osymbiote-" });
}

async function writePrivate(path: string, text: string): Promise<void> {
  await Deno.remove(path).catch(ignoreNotFound);
  await Deno.writeTextFile(path, text, { mode: 0o600, createNew: true });
}

/** Makes the store of the error record device; what is in it stays. */
async function ensureErst(path: string): Promise<void> {
  const file = await Deno.open(path, { create: true, write: true, mode: 0o600 });
  try {
    await file.truncate(ERST_BYTES);
  } finally {
    file.close();
  }
}

async function listenAfresh(path: string): Promise<Deno.UnixListener> {
  await Deno.remove(path).catch(ignoreNotFound);
  return Deno.listen({ transport: "unix", path });
}

async function readAll(connection: Deno.Conn, sink: (bytes: Uint8Array) => void): Promise<void> {
  const buffer = new Uint8Array(16384);
  try {
    for (let n; (n = await connection.read(buffer)) !== null;) sink(buffer.subarray(0, n));
  } catch (error) {
    if (!isDisconnect(error)) throw error;
  } finally {
    connection.close();
  }
}

function isDisconnect(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset || error instanceof Deno.errors.BrokenPipe ||
    error instanceof Deno.errors.BadResource || error instanceof Deno.errors.NotConnected ||
    error instanceof Deno.errors.Interrupted;
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}

/** Whether `end` settles within `timeoutMs`. */
export async function endedWithin(end: Promise<unknown>, timeoutMs: number): Promise<boolean> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  const timeout = new Promise<false>((resolve) => {
    timer = setTimeout(() => resolve(false), timeoutMs);
  });
  try {
    return await Promise.race([end.then(() => true), timeout]);
  } finally {
    clearTimeout(timer);
  }
}
