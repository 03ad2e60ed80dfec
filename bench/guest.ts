/**
 * One boot of our machine or of the floor, measured from QEMU's start to its first answer.
 *
 * Owns the machines it starts: each ends with its measurement. The machine itself, its devices and
 * its launcher are those of `./run.sh`.
 */

import { join } from "node:path";
import { ensureDataDisk } from "../image/disk.ts";
import { Launcher, type LauncherOptions } from "../image/launcher.ts";
import { endedWithin, type GuestEvent, Machine, privateDirectory } from "../image/machine.ts";
import { kernelCommandLine } from "../image/qemu.ts";
import { FLOOR_CREDENTIAL, FLOOR_INIT, FLOOR_PATH, FLOOR_READY } from "./floor.ts";
import { firstAnswer } from "./probe.ts";

/** Room for services; a bench writes nothing to it. MiB. */
const DATA_MB = 64;
/** A boot that takes longer has failed, ms. */
const PATIENCE_MS = 90_000;
/** How long the late phases may take after ready, until the kernel's own log has been read, ms. */
const SETTLE_MS = 30_000;

/** One boot's time, each part in ms; the parts add up to `total`. */
export interface Boot {
  total: number;
  /** QEMU's own start, its firmware, and the kernel's way to its first clock. */
  firmware: number;
  /** Until the kernel handed over to PID 1, by its own log. */
  kernel: number;
  /** exec of the runtime → the first statement of our code. */
  runtime: number;
  /** First statement → the first phase: reading and compiling our bundle. */
  load: number;
  /** The phases up to ready, in order; each lasts until the next begins. */
  phases: Record<string, number>;
  /** How much later than `system.ready` the lease came. */
  lease: number;
  /** Ready and reachable → the answer is here. */
  answer: number;
}

/** `GET /api/v1/status`, as far as it is read here. */
export interface Status {
  boot: {
    phases: { name: string; at: number; ms: number; ok: boolean; error?: string }[];
    ready_ms: number | null;
    kernel_ms: number;
  };
}

/** An event, with ms since QEMU's start. */
export interface Moment {
  atMs: number;
  data: Record<string, unknown>;
}

/** A running machine of ours that has answered once. */
export interface OurGuest {
  boot: Boot;
  /** A request that must be answered with 200 JSON. */
  api<T>(path: string, body?: unknown): Promise<T>;
}

/**
 * Boots our machine with a fresh data disk, measures its first authenticated answer, hands it to
 * `use`, and ends it. Throws when it does not get there.
 */
export async function withOurGuest<T>(
  options: LauncherOptions,
  use: (guest: OurGuest) => Promise<T> | T,
): Promise<T> {
  const folder = await Deno.makeTempDir({ prefix: "osymbiote-bench-" });
  const data = join(folder, "data.img");
  await ensureDataDisk(data, DATA_MB);
  const machine = {
    ...options.machine,
    data,
    erstFile: options.machine.erstFile && `${data}.erst`,
  };
  let ready: Moment | null = null;
  let leasedMs: number | null = null;
  const reachable = Promise.withResolvers<void>();
  const launcher = new Launcher({ ...options, machine, relaunch: false }, {
    onEvent(event: GuestEvent, atMs: number) {
      if (event.type === "system.ready") ready = { atMs, data: event.data };
      if (event.type === "addr.leased") leasedMs ??= atMs;
      if (ready !== null && leasedMs !== null) reachable.resolve();
    },
  });
  let over = false;
  const outcome = launcher.run().finally(() => over = true);
  // Looked at below; until then its failure must not count as unhandled.
  outcome.catch(() => undefined);
  try {
    await waitFor("the machine", reachable.promise, outcome, () => tailOf(launcher.machine));
    const port = portOf(machine);
    const authorization = `Bearer ${launcher.token}`;
    const status = `${port}/api/v1/status`;
    await firstAnswer(status, authorization, PATIENCE_MS, () => over);
    const total = launcher.machine?.ageMs ?? 0;
    const api = async <A>(path: string, body?: unknown): Promise<A> => {
      const response = await fetch(port + path, {
        headers: { authorization, "content-type": "application/json" },
        ...(body === undefined ? {} : { method: "POST", body: JSON.stringify(body) }),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      const text = await response.text();
      if (!response.ok) throw new Error(`${path}: ${response.status} ${text.slice(0, 500)}`);
      return JSON.parse(text) as A;
    };
    const settled = await settledStatus(api);
    return await use({ boot: split(total, ready!, leasedMs!, settled), api });
  } finally {
    await launcher.quit();
    await outcome.catch(() => undefined);
    await Deno.remove(folder, { recursive: true });
  }
}

/** Boots the floor on the same machine and answers its time to the first answer, ms. */
export async function bootFloor(options: LauncherOptions, initramfs: string): Promise<number> {
  const directory = await privateDirectory();
  const data = join(directory, "data.img");
  await ensureDataDisk(data, DATA_MB);
  const reachable = Promise.withResolvers<void>();
  const decoder = new TextDecoder();
  let console = "";
  const { machine, tscKhz } = options;
  const started = await Machine.start({
    ...machine,
    data,
    erstFile: machine.erstFile && `${data}.erst`,
    initrd: initramfs,
    append: kernelCommandLine({
      arch: machine.arch,
      machine: machine.machine,
      accel: machine.accel,
      initramfs: false,
      init: FLOOR_INIT,
      tscKhz,
      parameters: [...options.parameters, `rdinit=${FLOOR_INIT[0]}`],
    }),
    directory,
    launch: {},
  }, {
    onSerial(bytes) {
      console += decoder.decode(bytes, { stream: true });
      if (console.includes(FLOOR_READY)) reachable.resolve();
    },
  });
  let over = false;
  started.ended.then(() => over = true);
  try {
    await waitFor("the floor", reachable.promise, started.ended, () => tailOf(started));
    const authorization = `Basic ${btoa(FLOOR_CREDENTIAL)}`;
    await firstAnswer(portOf(machine) + FLOOR_PATH, authorization, PATIENCE_MS, () => over);
    return started.ageMs;
  } finally {
    await started.quit();
    await Deno.remove(directory, { recursive: true });
  }
}

function portOf(machine: LauncherOptions["machine"]): string {
  if (machine.net?.kind !== "user") throw new Error("measure a boot: the machine has no network");
  return `http://127.0.0.1:${machine.net.port}`;
}

function tailOf(machine: Machine | null): string {
  return machine?.serialTail.slice(-15).join("\n") ?? "";
}

/** Waits for `goal`; an earlier end of the machine, or none within the patience, is an error. */
async function waitFor(
  what: string,
  goal: Promise<void>,
  end: Promise<unknown>,
  tail: () => string,
): Promise<void> {
  let fault = "it ended before it was reachable";
  const reached = goal.then(() => true);
  const ended = end.then(() => false, (error) => {
    fault = error instanceof Error ? error.message : String(error);
    return false;
  });
  const first = Promise.race([reached, ended]);
  if (!await endedWithin(first, PATIENCE_MS)) fault = `not reachable within ${PATIENCE_MS} ms`;
  else if (await first) return;
  throw new Error(`boot ${what}: ${fault}; last lines of its console:\n${tail()}`);
}

/**
 * The status once the kernel's log has been read: only that tells when the kernel handed over. It
 * is read after ready, so that nobody waits for it.
 */
async function settledStatus(api: OurGuest["api"]): Promise<Status> {
  const deadline = performance.now() + SETTLE_MS;
  for (;;) {
    const status = await api<Status>("/api/v1/status");
    if (status.boot.phases.some((phase) => phase.name === "runtime")) return status;
    if (performance.now() > deadline) {
      throw new Error(`split the boot: no phase "runtime" within ${SETTLE_MS} ms of ready`);
    }
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
}

/**
 * Where the time went, from the host's clock at both ends and the guest's own in between. Throws
 * when a phase on the way to ready failed: such a boot is no measurement.
 */
export function split(
  total: number,
  ready: Moment,
  leasedMs: number,
  { boot }: Status,
): Boot {
  const ours = boot.phases.filter((phase) => phase.name !== "runtime");
  const upToReady = ours.slice(0, ours.findIndex((phase) => phase.name === "ready") + 1);
  const failed = upToReady.filter((phase) => !phase.ok);
  if (failed.length > 0) {
    const said = failed.map((phase) => `${phase.name}: ${phase.error ?? "failed"}`).join("; ");
    throw new Error(`measure a boot: it was degraded: ${said}`);
  }
  // Of the event: `kernel_ms` is the machine's clock at our first statement, `ms` the rest.
  const started = Number(ready.data.kernel_ms);
  const readyMs = Number(ready.data.ms);
  const lasting = upToReady.map(({ name, at }, index) =>
    [name, (upToReady[index + 1]?.at ?? readyMs) - at] as const
  );
  return {
    total,
    firmware: ready.atMs - started - readyMs,
    kernel: boot.kernel_ms,
    runtime: started - boot.kernel_ms,
    load: upToReady[0]?.at ?? 0,
    phases: Object.fromEntries(lasting),
    lease: Math.max(0, leasedMs - ready.atMs),
    answer: total - Math.max(leasedMs, ready.atMs),
  };
}
