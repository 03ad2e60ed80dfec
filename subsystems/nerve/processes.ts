/**
 * The process sensor: forks, execs and exits from the process connector.
 *
 * Threads are left out. Above `eventsPerSecond` it counts instead of
 * publishing each one (`process.storm`), so that a fork bomb costs one event a
 * second and not the machine.
 */
import type { Source } from "../../bus/bus.ts";
import { ProcessConnector, type ProcessEvent } from "../../src/kernel/connector.ts";
import type { NetlinkLibc } from "../../src/kernel/netlink.ts";
import type { Proc } from "../../src/kernel/proc.ts";
import type { Reactor, Registration } from "../../src/kernel/reactor.ts";
import type { BootTimers } from "../../src/kernel/timers.ts";
import type { Sensor } from "./sensor.ts";

/** Above this many a second they are counted. */
const eventsPerSecond = 2000;
const windowMs = 1000;

export interface ProcessSensorDeps {
  readonly libc: NetlinkLibc;
  readonly reactor: Pick<Reactor, "add">;
  readonly proc: Pick<Proc, "read" | "processStatus">;
  /** The event that led to the processes of a control group, if an act of ours did. */
  readonly causeOf: (cgroup: string) => number | undefined;
  /** After an overflow: look at /proc again. */
  readonly rescan: () => Promise<void>;
  readonly timers: Pick<BootTimers, "set" | "clear">;
  readonly report: (where: string, error: unknown) => void;
}

export class ProcessSensor implements Sensor {
  readonly name = "processes";
  readonly grants = ["process.*"];
  readonly #deps: ProcessSensorDeps;
  /** Living processes as their last exec showed them, so that an exit can say who it was and why. */
  readonly #known = new Map<number, { comm: string | undefined; cause: number | undefined }>();
  #connector: ProcessConnector | null = null;
  #registration: Registration | null = null;
  #windowStarted = 0;
  #inWindow = 0;
  #storm = { forks: 0, execs: 0, exits: 0 };
  #stormTimer: number | undefined;

  constructor(deps: ProcessSensorDeps) {
    this.#deps = deps;
  }

  start(source: Source): void {
    const connector = new ProcessConnector(this.#deps.libc);
    this.#connector = connector;
    const lost = (count: number | null, reason: string) =>
      source.publish("bus.gap", { source: source.name, from: null, to: null, count, reason });
    const drain = () =>
      connector.drain({
        onEvent: (event) => this.#event(source, event),
        onLost: (count, cpu) => lost(count, `process connector, CPU ${cpu}`),
        onOverflow: () => {
          lost(null, "ENOBUFS");
          this.#deps.rescan().catch((error) => this.#deps.report("process rescan", error));
        },
      });
    this.#registration = this.#deps.reactor.add(connector.fd, ["read"], drain, "process connector");
  }

  stop(): void {
    this.#deps.timers.clear(this.#stormTimer);
    this.#stormTimer = undefined;
    this.#registration?.remove();
    this.#connector?.close();
    this.#connector = null;
  }

  #event(source: Source, event: ProcessEvent): void {
    if (event.kind !== "fork" && event.kind !== "exec" && event.kind !== "exit") return;
    if (event.pid !== event.tgid) return;
    if (this.#overRate(source, event.kind)) {
      if (event.kind === "exit") this.#known.delete(event.pid);
      return;
    }
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
      case "exit": {
        const known = this.#known.get(event.pid);
        this.#known.delete(event.pid);
        source.publish("process.exited", {
          pid: event.pid,
          ppid: event.parentPid,
          ...(known?.comm === undefined ? {} : { comm: known.comm }),
          code: "code" in event.status ? event.status.code : null,
          signal: "signal" in event.status ? event.status.signal : null,
        }, { subject, cause: known?.cause });
      }
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
