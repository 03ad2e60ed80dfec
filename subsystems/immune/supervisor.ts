/**
 * Supervisor: keeps declared services as they were wished to be.
 *
 * Owns their processes, control groups, timers and files; what to do next is decided by the table
 * in service.ts. Must never start a service twice, keep one from being stopped, or take its output
 * faster than it can be looked at. It starts nothing again once `shutdown()` was called.
 */
import type { Bus, Source } from "../../bus/bus.ts";
import { faults, schema } from "../../bus/schema.ts";
import { type ServiceSpec, serviceSpec, type ServiceState } from "../../bus/shapes.ts";
import { MeteredLines } from "../../src/child/lines.ts";
import { floodPause, Output } from "../../src/child/output.ts";
import { codeOf, isPermanent, type SpawnFault, spawnFault } from "../../src/child/program.ts";
import {
  type Child,
  type Exit,
  exitText,
  type Spawner,
  type TaskGroup,
  type TaskGroups,
  type TaskLimits,
} from "../../src/child/spawn.ts";
import { type Report, type TimerId, type Timers, within } from "../../src/child/timers.ts";
import type { Incidents } from "./incidents.ts";
import { declared, type Effect, next, type Service, type ServiceEvent } from "./service.ts";
import type { ServiceStore } from "./store.ts";

export type ControlOutcome =
  | { status: "done"; state: ServiceState }
  | { status: "not_found"; reason: string }
  | { status: "conflict"; reason: string }
  | { status: "failed"; reason: string };

export interface SupervisorOptions {
  readonly bus: Pick<Bus, "source">;
  readonly spawner: Pick<Spawner, "spawn">;
  /** Null on a machine without cgroup2. */
  readonly groups: TaskGroups | null;
  /** Null without a data disk: what is declared then lasts until the next boot. */
  readonly store: ServiceStore | null;
  readonly incidents: Incidents;
  readonly timers: Timers;
  readonly report: Report;
  readonly limits?: TaskLimits;
  /** Dice of the backoff, 0…1. */
  readonly random?: () => number;
}

/** From SIGTERM to SIGKILL: long enough to write a file out, short enough to be waited for. */
const termMs = 5000;
/** How long an act waits for a service to come to rest before it answers with what is. */
const settleMs = 10_000;
const maxServices = 256;
const maxLine = 1024;
const linesPerSecond = 20;
const lineBurst = 100;

/** One declared service. */
interface Managed {
  spec: ServiceSpec;
  service: Service;
  child: Child | null;
  startedAt: number;
  dueAt: number;
  timer: TimerId | undefined;
  killTimer: TimerId | undefined;
  lastExit: Exit | null;
  /** seq of the event that led to where it is. */
  cause: number | undefined;
  readonly waiting: Set<() => void>;
  /** Events that came while one was being handled: subscribers may act on what they are told. */
  readonly events: ServiceEvent[];
  handling: boolean;
}

export class Supervisor {
  readonly #options: SupervisorOptions;
  readonly #source: Source;
  readonly #services = new Map<string, Managed>();
  #lives = 0;
  #closing = false;
  /** What is declared and what is on the disk change together, one change at a time. */
  #changes: Promise<unknown> = Promise.resolve();

  constructor(options: SupervisorOptions) {
    this.#options = options;
    this.#source = options.bus.source("immune.supervisor", ["service.*", "bus.gap"]);
  }

  /**
   * Starts what the store holds; a file that is no service is an incident. What was declared before
   * there was a disk to keep it on wins over its file, and is kept now. Never rejects.
   */
  async load(cause?: number): Promise<void> {
    const early = [...this.#services.keys()];
    try {
      const loaded = await this.#options.store?.load();
      for (const fault of loaded?.faults ?? []) this.#badFile(fault, cause);
      for (const { file, value } of loaded?.specs ?? []) {
        const parsed = (await schema(serviceSpec)).safeParse(value);
        if (!parsed.success) this.#badFile(`${file}: ${faults(parsed.error).join("; ")}`, cause);
        else if (`${parsed.data.name}.json` !== file) {
          this.#badFile(`${file}: names the service ${parsed.data.name}`, cause);
        } else if (!this.#services.has(parsed.data.name)) this.#add(parsed.data, cause);
      }
      for (const name of early) await this.#change(() => this.#keep(name, cause));
    } catch (error) {
      this.#options.report("load services", error);
    }
  }

  async #keep(name: string, cause?: number): Promise<void> {
    const managed = this.#services.get(name);
    if (managed === undefined || leaving(managed)) return;
    try {
      await this.#options.store?.save(managed.spec);
    } catch (error) {
      this.#badFile(`${name}.json: ${(error as Error).message}`, cause);
    }
  }

  list(): readonly ServiceState[] {
    return [...this.#services.values()].map((managed) => this.#stateOf(managed));
  }

  get(name: string): ServiceState | null {
    const managed = this.#services.get(name);
    return managed === undefined ? null : this.#stateOf(managed);
  }

  /**
   * Makes `spec` the service of its name and starts it. Declaring the same again only starts it if
   * it rests; declaring it differently restarts it as it is declared now.
   */
  async declare(spec: ServiceSpec, cause?: number): Promise<ControlOutcome> {
    const managed = await this.#change(async (): Promise<Managed | ControlOutcome> => {
      if (this.#closing) return conflict(`declare ${spec.name}: the system is stopping`);
      const present = this.#services.get(spec.name);
      if (present === undefined && this.#services.size >= maxServices) {
        return conflict(`declare ${spec.name}: ${maxServices} services are declared already`);
      }
      if (present !== undefined && leaving(present)) return removing(spec.name);
      if (present !== undefined && sameSpec(present.spec, spec)) {
        present.cause = cause;
        this.#dispatch(present, { type: "start" });
        return present;
      }
      try {
        await this.#options.store?.save(spec);
      } catch (error) {
        return { status: "failed", reason: (error as Error).message };
      }
      if (present === undefined) return this.#add(spec, cause);
      present.spec = spec;
      present.cause = this.#publish(present, "service.declared", cause);
      this.#dispatch(present, { type: "restart" });
      return present;
    });
    return "status" in managed ? managed : await this.#settled(managed);
  }

  /** Stops a service and forgets it, on disk too. */
  async remove(name: string, cause?: number): Promise<ControlOutcome> {
    const managed = await this.#change(async (): Promise<Managed | ControlOutcome> => {
      const present = this.#services.get(name);
      if (present === undefined) return unknown(name);
      if (leaving(present)) return present;
      try {
        await this.#options.store?.remove(name);
      } catch (error) {
        return { status: "failed", reason: (error as Error).message };
      }
      present.cause = cause;
      this.#dispatch(present, { type: "remove" });
      return present;
    });
    return "status" in managed ? managed : await this.#settled(managed);
  }

  start(name: string, cause?: number): Promise<ControlOutcome> {
    return this.#wish(name, "start", cause);
  }

  stop(name: string, cause?: number): Promise<ControlOutcome> {
    return this.#wish(name, "stop", cause);
  }

  restart(name: string, cause?: number): Promise<ControlOutcome> {
    return this.#wish(name, "restart", cause);
  }

  /** Stops every service, at once, and starts none again. Waits at most `deadlineMs`. Never rejects. */
  async shutdown(deadlineMs: number, cause?: number): Promise<void> {
    this.#closing = true;
    const stopped = [...this.#services.values()].map((managed) => {
      managed.cause = cause;
      this.#dispatch(managed, { type: "stop" });
      return this.#atRest(managed);
    });
    await within(this.#options.timers, deadlineMs, Promise.all(stopped));
  }

  async #wish(
    name: string,
    type: "start" | "stop" | "restart",
    cause?: number,
  ): Promise<ControlOutcome> {
    const managed = this.#services.get(name);
    if (managed === undefined) return unknown(name);
    if (this.#closing) return conflict(`${type} ${name}: the system is stopping`);
    if (leaving(managed)) return removing(name);
    managed.cause = cause;
    this.#dispatch(managed, { type });
    return await this.#settled(managed);
  }

  #change<T>(make: () => Promise<T>): Promise<T> {
    const made = this.#changes.then(make);
    this.#changes = made.catch(() => undefined); // its caller has the rejection
    return made;
  }

  #add(spec: ServiceSpec, cause: number | undefined): Managed {
    const managed: Managed = {
      spec,
      service: declared,
      child: null,
      startedAt: 0,
      dueAt: 0,
      timer: undefined,
      killTimer: undefined,
      lastExit: null,
      cause: undefined,
      waiting: new Set(),
      events: [],
      handling: false,
    };
    this.#services.set(spec.name, managed);
    managed.cause = this.#publish(managed, "service.declared", cause);
    this.#dispatch(managed, { type: "start" });
    return managed;
  }

  #badFile(evidence: string, cause?: number): void {
    this.#options.incidents.open("service.spec", evidence, cause);
  }

  /** Handles an event, or has it handled after the one under way. */
  #dispatch(managed: Managed, latest: ServiceEvent): void {
    // A wish that waited for the disk may come after the stop of everything.
    if (this.#closing && (latest.type === "start" || latest.type === "restart")) return;
    managed.events.push(latest);
    if (managed.handling) return;
    managed.handling = true;
    try {
      for (
        let event = managed.events.shift();
        event !== undefined;
        event = managed.events.shift()
      ) {
        // What was wished of a service that is gone meanwhile is settled.
        if (managed.service.phase.at !== "removed") this.#handle(managed, event);
      }
    } finally {
      managed.handling = false;
    }
    const { at } = managed.service.phase;
    if (at === "starting" || at === "stopping") return;
    for (const wake of managed.waiting) wake();
    managed.waiting.clear();
  }

  #handle(managed: Managed, event: ServiceEvent): void {
    const step = next(managed.service, event, managed.spec.restart);
    if (step === null) {
      throw new Error(
        `service ${managed.spec.name}: ${event.type} while ${managed.service.phase.at}`,
      );
    }
    managed.service = step.service;
    for (const effect of step.effects) this.#apply(managed, effect);
  }

  #apply(managed: Managed, effect: Effect): void {
    const { timers } = this.#options;
    switch (effect.do) {
      case "spawn":
        void this.#spawn(managed);
        return;
      case "terminate":
        managed.child?.signal("SIGTERM");
        timers.clear(managed.killTimer);
        managed.killTimer = timers.set(() => void managed.child?.kill(), termMs);
        return;
      case "arm":
        managed.dueAt = timers.now() + effect.ms;
        managed.timer = timers.set(() => this.#dispatch(managed, { type: "timer" }), effect.ms);
        return;
      case "disarm":
        timers.clear(managed.timer);
        return;
      case "forget":
        this.#services.delete(managed.spec.name);
        return;
      case "publish":
        managed.cause = this.#publish(managed, `service.${effect.type}`, managed.cause);
        return;
    }
  }

  /** One life of one service, from its group to its exit. Never rejects. */
  async #spawn(managed: Managed): Promise<void> {
    try {
      const made = await this.#make(managed.spec);
      if (!("child" in made)) {
        this.#dispatch(managed, {
          type: "spawn_failed",
          permanent: isPermanent(made),
          reason: made.message,
          roll: this.#roll(),
        });
        return;
      }
      const { child, group } = made;
      managed.child = child;
      managed.startedAt = this.#options.timers.now();
      this.#dispatch(managed, { type: "spawned" });
      const outputs = [
        this.#listen(managed, "stdout", child.stdout),
        this.#listen(managed, "stderr", child.stderr),
      ];
      const exit = await child.exit;
      managed.lastExit = exit;
      managed.child = null;
      await this.#cleanUp(child, group, outputs);
      // Only now: a stop may have come while this life was cleaned up, and armed it again.
      this.#options.timers.clear(managed.killTimer);
      this.#dispatch(managed, {
        type: "exited",
        ok: exit.code === 0,
        how: exitText(exit),
        ranMs: this.#options.timers.now() - managed.startedAt,
        roll: this.#roll(),
      });
    } catch (error) {
      this.#options.report(`service ${managed.spec.name}`, error);
    }
  }

  /** A group for one life: the next must not be met by the kill of what this one left behind. */
  async #make(
    spec: ServiceSpec,
  ): Promise<{ child: Child; group: TaskGroup | null } | SpawnFault> {
    const name = `svc-${spec.name}-${++this.#lives}`;
    let group: TaskGroup | null;
    try {
      group = await this.#options.groups?.create(name, this.#options.limits) ?? null;
    } catch (error) {
      return spawnFault("cgroup", name, codeOf(error));
    }
    const spawned = await this.#options.spawner.spawn({
      argv: spec.argv,
      env: spec.env,
      cwd: spec.cwd,
      ...(spec.uid === undefined ? {} : { uid: spec.uid, gid: spec.uid }),
      ...(group === null ? {} : { group }),
    });
    if (spawned.ok) return { child: spawned.child, group };
    await this.#removeGroup(group);
    return spawned.fault;
  }

  /** Nothing of a life may outlast it: its children hold its ports, its pipes and its memory. */
  async #cleanUp(child: Child, group: TaskGroup | null, outputs: Output[]): Promise<void> {
    await child.kill();
    // What it printed last is read; what another process holds open is not waited for.
    await within(
      this.#options.timers,
      100,
      Promise.all(outputs.map((output) => output.done)),
    );
    for (const output of outputs) output.cancel();
    await this.#removeGroup(group);
  }

  async #removeGroup(group: TaskGroup | null): Promise<void> {
    try {
      await group?.remove();
    } catch (error) {
      this.#options.report(`remove ${group?.path}`, error);
    }
  }

  #listen(
    managed: Managed,
    stream: "stdout" | "stderr",
    bytes: ReadableStream<Uint8Array>,
  ): Output {
    const { timers, report } = this.#options;
    const service = managed.spec.name;
    const gap = (count: number) => {
      if (count === 0) return;
      this.#source.publish("bus.gap", {
        source: `service.${service}`,
        from: null,
        to: null,
        count,
        reason: `${stream} over ${linesPerSecond} lines a second`,
      }, { subject: service });
    };
    const lines = new MeteredLines(
      {
        maxBytes: maxLine,
        perSecond: linesPerSecond,
        burst: lineBurst,
        now: () => timers.now(),
      },
      ({ line, cut, lost }) => {
        gap(lost);
        this.#source.publish("service.output", {
          service,
          stream,
          line: cut === 0 ? line : `${line}… (+${cut} bytes)`,
        }, { subject: service });
      },
    );
    return new Output(bytes, {
      timers,
      report,
      onChunk: (chunk) => {
        lines.push(chunk);
        return floodPause(chunk);
      },
      onEnd: () => gap(lines.end()),
    });
  }

  #publish(
    managed: Managed,
    type: `service.${"declared" | "started" | "exited" | "restarting" | "stopped" | "failed"}`,
    cause: number | undefined,
  ): number {
    const { seq } = this.#source.publish(type, this.#stateOf(managed), {
      cause,
      subject: managed.spec.name,
    });
    return seq;
  }

  #stateOf(managed: Managed): ServiceState {
    const { phase, restarts } = managed.service;
    const { lastExit, spec } = managed;
    return {
      name: spec.name,
      argv: [...spec.argv],
      state: phase.at === "removed" ? "stopped" : phase.at,
      pid: managed.child?.pid ?? null,
      restarts,
      backoff_ms: phase.at === "backoff"
        ? Math.max(0, Math.round(managed.dueAt - this.#options.timers.now()))
        : null,
      last_exit: lastExit === null ? null : { code: lastExit.code, signal: lastExit.signal },
      ...("reason" in phase && phase.reason !== undefined ? { reason: phase.reason } : {}),
    };
  }

  #roll(): number {
    return (this.#options.random ?? Math.random)();
  }

  async #settled(managed: Managed): Promise<ControlOutcome> {
    await within(this.#options.timers, settleMs, this.#atRest(managed));
    return { status: "done", state: this.#stateOf(managed) };
  }

  /** Resolves when nothing is under way: neither a start nor a stop. */
  #atRest(managed: Managed): Promise<void> {
    const { at } = managed.service.phase;
    if (at !== "starting" && at !== "stopping") return Promise.resolve();
    return new Promise((resolve) => managed.waiting.add(resolve));
  }
}

function leaving({ service: { phase } }: Managed): boolean {
  return phase.at === "removed" ||
    ((phase.at === "starting" || phase.at === "stopping") && phase.then === "remove");
}

function sameSpec(a: ServiceSpec, b: ServiceSpec): boolean {
  return JSON.stringify(canonical(a)) === JSON.stringify(canonical(b));
}

function canonical(spec: ServiceSpec): unknown {
  const env = Object.entries(spec.env ?? {}).sort(([a], [b]) => a < b ? -1 : 1);
  return [spec.name, spec.argv, env, spec.cwd ?? "/", spec.uid ?? 0, spec.restart];
}

function unknown(name: string): ControlOutcome {
  return { status: "not_found", reason: `service ${JSON.stringify(name)}: never declared` };
}

function removing(name: string): ControlOutcome {
  return conflict(`service ${JSON.stringify(name)}: is being removed`);
}

function conflict(reason: string): ControlOutcome {
  return { status: "conflict", reason };
}
