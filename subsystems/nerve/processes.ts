/**
 * The process sensor: forks, execs and exits from the process connector.
 *
 * Threads are left out. Above `eventsPerSecond` it counts instead of
 * publishing each one (`process.storm`), so that a fork bomb costs one event a
 * second and not the machine. What the kernel had no room to tell is a gap, and
 * the exits among it are published when /proc shows them.
 */
import type { Source } from "../../bus/bus.ts";
import { ProcessConnector, type ProcessEvent } from "../../src/kernel/connector.ts";
import type { NetlinkLibc } from "../../src/kernel/netlink.ts";
import type { Proc } from "../../src/kernel/proc.ts";
import type { Reactor, Registration } from "../../src/kernel/reactor.ts";
import type { BootTimers } from "../../src/kernel/timers.ts";
import { publishGap, type Sensor, tellingMalformed } from "./sensor.ts";

/** Above this many a second they are counted. */
const eventsPerSecond = 2000;
const windowMs = 1000;
/** By then what was queued at an overflow has been read, and who ended before it is reaped. */
const resyncMs = 1000;

export interface ProcessSensorDeps {
  readonly libc: NetlinkLibc;
  readonly reactor: Pick<Reactor, "add">;
  readonly proc: Pick<Proc, "read" | "processStatus" | "pids">;
  /** The event that led to the processes of a control group, if an act of ours did. */
  readonly causeOf: (cgroup: string) => number | undefined;
  /** After an overflow: look at /proc again. */
  readonly rescan: () => Promise<void>;
  readonly timers: Pick<BootTimers, "set" | "clear">;
  readonly report: (where: string, error: unknown) => void;
}

interface Known {
  readonly comm: string | undefined;
  readonly cause: number | undefined;
}

export class ProcessSensor implements Sensor {
  readonly name = "processes";
  readonly grants = ["process.*"];
  readonly #deps: ProcessSensorDeps;
  /** Living processes as their last exec showed them, so that an exit can say who it was and why. */
  readonly #known = new Map<number, Known>();
  #connector: ProcessConnector | null = null;
  #registration: Registration | null = null;
  #windowStarted = 0;
  #inWindow = 0;
  #storm = { forks: 0, execs: 0, exits: 0 };
  #stormTimer: number | undefined;
  #resyncTimer: number | undefined;

  constructor(deps: ProcessSensorDeps) {
    this.#deps = deps;
  }

  get listening(): boolean {
    return this.#registration?.active ?? false;
  }

  start(source: Source): void {
    const connector = new ProcessConnector(this.#deps.libc);
    this.#connector = connector;
    // What a torn message told is in its CPU's sequence too: that gap follows, with the resync.
    const drain = tellingMalformed(source, "process event", connector, () =>
      connector.drain({
        onEvent: (event) => this.#event(source, event),
        onLost: (count, cpu) => {
          publishGap(source, count, `process connector, CPU ${cpu}`);
          this.#resyncSoon(source, drain);
        },
        onOverflow: () => {
          publishGap(source, null, "ENOBUFS");
          this.#deps.rescan().catch((error) => this.#deps.report("process rescan", error));
          this.#resyncSoon(source, drain);
        },
      }));
    this.#registration = this.#deps.reactor.add(connector.fd, ["read"], drain, "process connector");
  }

  stop(): void {
    this.#deps.timers.clear(this.#stormTimer);
    this.#deps.timers.clear(this.#resyncTimer);
    this.#stormTimer = this.#resyncTimer = undefined;
    this.#registration?.remove();
    this.#connector?.close();
    this.#connector = null;
  }

  #event(source: Source, event: ProcessEvent): void {
    if (event.kind !== "fork" && event.kind !== "exec" && event.kind !== "exit") return;
    if (event.pid !== event.tgid) return;
    const known = this.#known.get(event.pid);
    // Whoever had this number before, or this image, is gone: also when its end was lost.
    this.#known.delete(event.pid);
    if (this.#overRate(source, event.kind)) return;
    const subject = String(event.pid);
    switch (event.kind) {
      case "fork":
        source.publish("process.forked", { pid: event.pid, ppid: event.parentPid }, { subject });
        break;
      case "exec": {
        const data = this.#describe(event.pid);
        const cause = data.cgroup === undefined ? undefined : this.#deps.causeOf(data.cgroup);
        this.#known.set(event.pid, { comm: data.comm, cause });
        source.publish("process.execed", data, { subject, cause });
        break;
      }
      case "exit":
        source.publish("process.exited", {
          pid: event.pid,
          ppid: event.parentPid,
          ...(known?.comm === undefined ? {} : { comm: known.comm }),
          code: "code" in event.status ? event.status.code : null,
          signal: "signal" in event.status ? event.status.signal : null,
        }, { subject, cause: known?.cause });
    }
  }

  #resyncSoon(source: Source, drain: () => "more" | void): void {
    this.#resyncTimer ??= this.#deps.timers.set(() => {
      this.#resyncTimer = undefined;
      this.#resync(source, drain);
    }, resyncMs);
  }

  /**
   * Publishes the exits that were lost. An exit is queued before its process leaves /proc: so first
   * who is there, then the queue to its end, and who is still known but was not there ended unheard.
   */
  #resync(source: Source, drain: () => "more" | void): void {
    const living = new Set(this.#deps.proc.pids());
    const before = [...this.#known];
    if (drain() === "more") return this.#resyncSoon(source, drain);
    for (const [pid, known] of before) {
      if (living.has(pid) || this.#known.get(pid) !== known) continue;
      this.#known.delete(pid);
      if (this.#overRate(source, "exit")) continue;
      source.publish("process.exited", {
        pid,
        ...(known.comm === undefined ? {} : { comm: known.comm }),
        code: null,
        signal: null,
      }, { subject: String(pid), cause: known.cause });
    }
  }

  /** Reads who a process is at once: a moment later it may be gone. */
  #describe(pid: number) {
    const { proc } = this.#deps;
    const comm = proc.read(`${pid}/comm`)?.trimEnd();
    const status = proc.processStatus(pid);
    const cgroup = proc.read(`${pid}/cgroup`)?.match(/^0::(.*)$/m)?.[1];
    let exe: string | undefined;
    try {
      exe = Deno.readLinkSync(`/proc/${pid}/exe`);
    } catch (error) {
      // Gone already, or a kernel thread: the event is still true without its path.
      if (!(error instanceof Error)) throw error;
    }
    return {
      pid,
      ...(comm === undefined ? {} : { comm }),
      ...(exe === undefined ? {} : { exe }),
      ...(status === null ? {} : { uid: status.uid }),
      ...(cgroup === undefined ? {} : { cgroup }),
    };
  }

  /** Counts the event; true when it belongs to a storm and must not be published by itself. */
  #overRate(source: Source, kind: "fork" | "exec" | "exit"): boolean {
    const now = performance.now();
    if (now - this.#windowStarted > windowMs) {
      this.#windowStarted = now;
      this.#inWindow = 0;
    }
    if (++this.#inWindow <= eventsPerSecond) return false;
    this.#storm[`${kind}s`]++;
    this.#stormTimer ??= this.#deps.timers.set(() => {
      this.#stormTimer = undefined;
      source.publish("process.storm", { ...this.#storm, window_ms: windowMs });
      this.#storm = { forks: 0, execs: 0, exits: 0 };
    }, windowMs);
    return true;
  }
}
