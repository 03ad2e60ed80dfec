/**
 * MindHost: the core's side of the first mind.
 *
 * Owns its process, its cage, its restarts, and the questions put to it. Must never believe a mind:
 * every frame is checked, every proposal is denied (minds are granted nothing yet), and one that is
 * mute, babbles or spins is killed and started again after a backoff. Must never run a mind whose
 * cage the kernel does not show to be closed.
 *
 * The mind starts with the first question, or when `start()` is called. A second runtime takes 14 MB
 * and, under emulation, two seconds of the only CPU, just when the machine boots; one that nobody
 * asks does not need it, and a machine of 96 MB may never have it to spare. Whoever asks first
 * waits for the start.
 */
import type { Bus, Source } from "../../bus/bus.ts";
import type { Principal } from "../../bus/gate.ts";
import type { ChatOutcome } from "../../bus/machine.ts";
import { faults, schema } from "../../bus/schema.ts";
import { cagedArgv, type CageTools, defaultCageTools } from "../../src/child/cage.ts";
import type { FrameCheck } from "../../src/child/frames.ts";
import { maxFrameBytes } from "../../src/child/frames.ts";
import {
  ChildLink,
  defaultLinkLimits,
  type LinkEvent,
  type LinkLimits,
} from "../../src/child/link.ts";
import { codeOf, isPermanent, spawnFault } from "../../src/child/program.ts";
import type { Spawner, TaskGroup, TaskGroups, TaskLimits } from "../../src/child/spawn.ts";
import { Backoff } from "../../src/child/supervision.ts";
import { late, type Report, type TimerId, type Timers, within } from "../../src/child/timers.ts";
import { type Confinement, confinementOf, missing, type ProcView } from "./confinement.ts";
import { type FromMind, fromMind, maxMessage, type ToMind } from "./frames.ts";
import { type MindView, RecentEvents, stateOf } from "./state.ts";

/** How the mind's process is made. */
export interface MindLaunch {
  /** The program, as the mind's own user runs it. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** The mind's user, by name for su and by number for the kernel's word on it. */
  readonly user: string;
  readonly uid: number;
  readonly tools?: CageTools;
}

/**
 * The mind's program in the image: Deno without a single permission, unable to ask for one or to
 * load anything but the bundle and its code cache.
 */
export const imageLaunch: MindLaunch = {
  argv: [
    "/bin/deno",
    "run",
    "--no-prompt",
    "--no-remote",
    "--no-npm",
    "--no-config",
    "--no-lock",
    "--cached-only",
    // Eager as PID 1 is (image/rootfs.ts): code cached otherwise would be refused. The bound in MB:
    // idle it uses a fifth of that; a runaway hits this before its cgroup's bound.
    "--v8-flags=--no-lazy,--max-heap-size=32",
    "/osym/mind.js",
  ],
  env: { DENO_DIR: "/var/deno", DENO_NO_UPDATE_CHECK: "1", NO_COLOR: "1", HOME: "/" },
  user: "mind",
  uid: 990,
};

export interface MindHostOptions {
  readonly bus: Pick<Bus, "source" | "subscribe" | "boot">;
  readonly view: MindView;
  readonly spawner: Pick<Spawner, "spawn">;
  /** Null on a machine without cgroup2. */
  readonly groups: TaskGroups | null;
  readonly proc: ProcView;
  readonly timers: Timers;
  readonly report: Report;
  /** Wall time in ms. */
  readonly wall: () => number;
  readonly launch?: MindLaunch;
  readonly limits?: TaskLimits;
  readonly link?: Partial<LinkLimits>;
  /** How long an answer may take; a mind that takes longer is killed. */
  readonly askMs?: number;
  /** Dice of the backoff, 0…1. */
  readonly random?: () => number;
}

/** Its name on the bus and in its own frames. */
const name = "cortex";
const stopping = "the system is stopping";
/** Added to the link's own deadline, which comes first and says more. */
const graceMs = 2000;
/** From the kernel's having nothing left of a process to our own notice of its end. */
const goneMs = 1000;
/** A killed mind the kernel does not let go of is waited for no longer on a stop. */
const stopMs = 2000;

type Started = { ok: true; link: Link } | { ok: false; reason: string };
type Link = ChildLink<FromMind, ToMind>;

export class MindHost {
  readonly #options: MindHostOptions;
  readonly #source: Source;
  readonly #recent: RecentEvents;
  readonly #backoff: Backoff;
  readonly #waiting = new Set<(started: Started) => void>();
  /** A life is under way, from the wish to start it until everything of it is gone. */
  #alive = false;
  /** The mind of this life was admitted; what asks meanwhile waits for the next life. */
  #admitted = false;
  /** Set while the mind answers. */
  #link: Link | null = null;
  /** The child of this life, admitted or not. */
  #child: Link | null = null;
  /** Set during the backoff. */
  #timer: TimerId | undefined;
  #lives = 0;
  #stopped = false;

  constructor(options: MindHostOptions) {
    this.#options = options;
    this.#source = options.bus.source("cortex.host", ["mind.*"]);
    this.#recent = new RecentEvents(options.bus);
    this.#backoff = new Backoff(options.random);
  }

  /** Starts the mind unless it runs, or will after its backoff; returns at once. */
  start(): void {
    if (this.#alive || this.#timer !== undefined || this.#stopped) return;
    this.#alive = true;
    this.#admitted = false;
    void this.#life();
  }

  /** Kills the mind and starts it no more. Never rejects. */
  async stop(): Promise<void> {
    const { timers } = this.#options;
    this.#stopped = true;
    timers.clear(this.#timer);
    this.#recent.stop();
    this.#settle({ ok: false, reason: stopping });
    const child = this.#child;
    if (child === null) return;
    await child.kill(stopping);
    await within(timers, stopMs, child.ended);
  }

  /** The mind's pid while it answers, else null. */
  get pid(): number | null {
    return this.#link?.pid ?? null;
  }

  /** Puts a question in plain words. Never rejects. */
  async chat(principal: Principal, message: string): Promise<ChatOutcome> {
    if (typeof message !== "string" || message.trim() === "" || message.length > maxMessage) {
      return { status: "invalid", faults: [`message: expected 1–${maxMessage} characters`] };
    }
    try {
      return await this.#chat(principal, message);
    } catch (error) {
      this.#options.report("chat", error);
      return { status: "unavailable", reason: `the mind's host failed: ${messageOf(error)}` };
    }
  }

  async #chat(principal: Principal, message: string): Promise<ChatOutcome> {
    const { timers, askMs = 5000 } = this.#options;
    const asked = timers.now();
    const { seq } = this.#source.publish("mind.asked", {
      mind: name,
      message: message.slice(0, 1024),
      principal: principal.id,
    });
    const started = await this.#ready();
    if (!started.ok) return unavailable(started.reason);
    const { link } = started;
    // Before it is told of the machine: what waits for it to be read is bounded.
    if (link.busy) return unavailable("the mind has as many questions open as it may");
    // Told anew with every question, so that no answer is older than the question.
    const state = stateOf(
      this.#options.view,
      this.#recent.list(),
      this.#options.wall(),
      maxFrameBytes - 1024,
    );
    if (!link.send({ type: "state", state })) return unavailable("the mind does not listen");
    const reply = await link.request((id) => ({ type: "ask", id, message }), askMs);
    if (!reply.ok) {
      if (reply.why === "late") {
        this.#misbehaved(reply.detail, seq);
        this.#link = null;
        await link.kill(reply.detail);
      }
      return unavailable(reply.detail);
    }
    if (reply.frame.type !== "answer") return unavailable(`answered with ${reply.frame.type}`);
    const data = {
      reply: reply.frame.reply,
      mode: "survival" as const,
      mind: name,
      intent: reply.frame.intent,
      ms: Math.round(timers.now() - asked),
    };
    this.#source.publish("mind.answered", data, { cause: seq });
    return { status: "answered", reply: data };
  }

  /**
   * The link of a mind that answers. When there is none, waits for it to start, or to start again
   * after its backoff; a start that fails is answered as it failed.
   */
  async #ready(): Promise<Started> {
    if (this.#link !== null) return { ok: true, link: this.#link };
    if (this.#stopped) return { ok: false, reason: stopping };
    const { timers, link } = this.#options;
    const patience = (link?.readyMs ?? defaultLinkLimits.readyMs) + graceMs;
    let resolve: (started: Started) => void = () => {};
    const started = new Promise<Started>((settle) => resolve = settle);
    this.#waiting.add(resolve);
    this.start();
    try {
      const outcome = await within(timers, patience, started);
      return outcome === late ? { ok: false, reason: "the mind does not start" } : outcome;
    } finally {
      this.#waiting.delete(resolve);
    }
  }

  #settle(started: Started): void {
    for (const resolve of this.#waiting) resolve(started);
    this.#waiting.clear();
  }

  /** One life, from its group to its exit, and the alarm for the next. Never rejects. */
  async #life(): Promise<void> {
    const began = this.#options.timers.now();
    let ended: { reason: string; again: boolean };
    try {
      ended = await this.#liveOnce();
    } catch (error) {
      this.#options.report("mind", error);
      ended = { reason: messageOf(error), again: true };
    }
    this.#alive = false;
    this.#link = null;
    this.#child = null;
    const again = ended.again && !this.#stopped;
    if (!again || !this.#admitted) {
      this.#settle({ ok: false, reason: `the mind is not there: ${ended.reason}` });
    }
    if (!again) return;
    const wait = this.#backoff.next(this.#options.timers.now() - began);
    this.#timer = this.#options.timers.set(() => {
      this.#timer = undefined;
      this.start();
    }, wait);
  }

  /** `again`: whether another life may go better without anyone's help. */
  async #liveOnce(): Promise<{ reason: string; again: boolean }> {
    const check = await this.#check();
    const groupName = `mind-${name}-${++this.#lives}`;
    let group: TaskGroup | null;
    try {
      group = await this.#options.groups?.create(groupName, this.#options.limits) ?? null;
    } catch (error) {
      return { reason: spawnFault("cgroup", groupName, codeOf(error)).message, again: true };
    }
    try {
      return await this.#liveIn(group, check);
    } finally {
      await group?.remove().catch((error) => this.#options.report(`remove ${groupName}`, error));
    }
  }

  async #liveIn(
    group: TaskGroup | null,
    check: FrameCheck<FromMind>,
  ): Promise<{ reason: string; again: boolean }> {
    const { bus, timers, report, spawner } = this.#options;
    const launch = this.#options.launch ?? imageLaunch;
    const spawned = await spawner.spawn({
      argv: cagedArgv(launch.user, launch.argv, launch.tools ?? defaultCageTools),
      env: launch.env,
      ...(group === null ? {} : { group }),
      stdin: "piped",
    });
    if (!spawned.ok) {
      const { fault } = spawned;
      return { reason: fault.message, again: !isPermanent(fault) };
    }
    const { child } = spawned;
    this.#source.publish("mind.started", { mind: name, pid: child.pid });
    let reason = "ended";
    let admission: Promise<string | null> = Promise.resolve(null);
    const on = (event: LinkEvent<FromMind>): void => {
      switch (event.kind) {
        case "ready":
          admission = this.#admit(link, group);
          return;
        case "frame":
          this.#refuse(link, event.frame);
          return;
        case "misbehaved":
          this.#link = null;
          this.#misbehaved(event.fault);
          return;
        case "stderr": {
          const rest = event.lost === 0 ? "" : ` (${event.lost} lines before it not shown)`;
          report(`mind ${name} stderr`, `${event.line}${rest}`);
          return;
        }
        case "exited":
          reason = event.reason;
          this.#link = null;
          this.#source.publish("mind.exited", { mind: name, reason });
          return;
      }
    };
    const link: Link = new ChildLink<FromMind, ToMind>({
      child,
      timers,
      report,
      check,
      hello: { type: "hello", mind: name, boot: bus.boot },
      ping: (n) => ({ type: "ping", n }),
      on,
      // Each of the open questions brings a state with it.
      limits: { queueBytes: 2 * defaultLinkLimits.open * maxFrameBytes, ...this.#options.link },
    });
    this.#child = link;
    if (this.#stopped) await link.kill(stopping);
    await link.ended;
    const open = await admission;
    return { reason: open ?? reason, again: open === null };
  }

  /**
   * Looks at a mind that says it is ready: answers null, or why its cage is not closed, in which
   * case it is killed. Never rejects.
   */
  async #admit(link: Link, group: TaskGroup | null): Promise<string | null> {
    const { uid } = this.#options.launch ?? imageLaunch;
    const fault = await this.#cageFault(link, uid, group?.path ?? null);
    if (fault === null) {
      if (!link.ready) return null; // it ended meanwhile
      this.#admitted = true;
      this.#link = link;
      this.#settle({ ok: true, link });
      return null;
    }
    this.#misbehaved(fault);
    await link.kill(fault);
    return fault;
  }

  async #cageFault(link: Link, uid: number, cgroup: string | null): Promise<string | null> {
    const { proc, timers } = this.#options;
    let found: Confinement;
    try {
      found = await confinementOf(link.pid, proc);
    } catch (error) {
      // Most likely it is gone: then its exit follows and says why.
      const ended = await within(timers, goneMs, link.ended) !== late;
      return ended ? null : `its cage can not be seen: ${messageOf(error)}`;
    }
    this.#source.publish("mind.caged", {
      mind: name,
      uid: found.uids[1] ?? -1,
      netns: found.netns,
      no_new_privs: found.no_new_privs,
      seccomp: found.seccomp,
      cgroup: found.cgroup,
    });
    const faults = missing(found, uid, cgroup);
    return faults.length === 0 ? null : `its cage is open: ${faults.join("; ")}`;
  }

  #refuse(link: Link, frame: FromMind): void {
    if (frame.type !== "proposal") return this.#misbehaved(`sent ${frame.type} unasked`);
    link.send({
      type: "verdict",
      proposal: frame.proposal,
      verdict: "deny",
      reason: "minds are not granted any act yet",
    });
  }

  #misbehaved(fault: string, cause?: number): void {
    this.#source.publish("mind.misbehaved", { mind: name, fault: fault.slice(0, 1024) }, { cause });
  }

  async #check(): Promise<FrameCheck<FromMind>> {
    const frames = await schema(fromMind);
    return (value) => {
      const parsed = frames.safeParse(value);
      return parsed.success
        ? { ok: true, frame: parsed.data }
        : { ok: false, fault: faults(parsed.error).join("; ") };
    };
  }
}

function unavailable(reason: string): ChatOutcome {
  return { status: "unavailable", reason };
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
