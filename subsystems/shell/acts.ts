/**
 * Acts: the table of every kind of act, and the hands that carry them out.
 *
 * Owns the one way to act on the machine: arguments are checked, a proposal is made and published,
 * the gate decides, and only an allowed proposal is run. Must never run anything without a verdict,
 * reject, or take on more at once than it said.
 */
import type { Bus, Source } from "../../bus/bus.ts";
import { decide, type Principal } from "../../bus/gate.ts";
import type { ActKind, ActOutcome } from "../../bus/machine.ts";
import { faults, schema } from "../../bus/schema.ts";
import { parseScope } from "../../bus/scopes.ts";
import type { Report, Timers } from "../../src/child/timers.ts";
import { Turns } from "../../src/child/turns.ts";
import type { ActContext, ActResult, ActTable } from "./act.ts";
import { execAct, type ExecDeps } from "./exec.ts";
import { type Leases, networkRenewAct } from "./network.ts";
import { type Power, powerActs } from "./power.ts";
import { serviceActs, type Services } from "./service.ts";

export interface ActDeps {
  readonly exec: ExecDeps;
  readonly services: Services;
  readonly leases: Leases;
  readonly power: Power;
}

/** Every kind of act, ready to run. */
export function actTable(deps: ActDeps): ActTable {
  return {
    "exec.run": execAct(deps.exec),
    ...serviceActs(deps.services),
    "network.renew": networkRenewAct(deps.leases),
    ...powerActs(deps.power),
  };
}

export interface HandsOptions {
  readonly bus: Pick<Bus, "source" | "boot">;
  readonly table: ActTable;
  readonly timers: Timers;
  readonly report: Report;
  /** Acts of one lane that run at once, and that wait for their turn. */
  readonly atOnce?: number;
  readonly waiting?: number;
}

/** What a caller may say about its wish. */
export interface About {
  readonly reason?: string;
  readonly cause?: number;
  readonly signal?: AbortSignal;
}

export class Hands {
  readonly #options: HandsOptions;
  readonly #source: Source;
  readonly #lanes: Readonly<Record<"work" | "control", Turns>>;
  #count = 0;

  constructor(options: HandsOptions) {
    this.#options = options;
    this.#source = options.bus.source("shell.hands", ["action.*"]);
    const atOnce = options.atOnce ?? 8;
    const waiting = options.waiting ?? 64;
    this.#lanes = { work: new Turns(atOnce, waiting), control: new Turns(atOnce, waiting) };
  }

  /** Proposes an act, has it decided, and carries it out when allowed. Never rejects. */
  async act(
    principal: Principal,
    kind: ActKind,
    args: unknown,
    about: About = {},
  ): Promise<ActOutcome> {
    if (!Object.hasOwn(this.#options.table, kind)) {
      return { status: "invalid", faults: [`kind: no act is called ${JSON.stringify(kind)}`] };
    }
    try {
      const parsed = (await schema(this.#options.table[kind].args)).safeParse(args ?? {});
      if (!parsed.success) return { status: "invalid", faults: faults(parsed.error) };
      return await this.#propose(principal, kind, parsed.data, about);
    } catch (error) {
      this.#options.report(`act ${kind}`, error);
      return { status: "failed", action: "none", reason: `${kind}: ${messageOf(error)}` };
    }
  }

  async #propose(
    principal: Principal,
    kind: ActKind,
    args: unknown,
    { reason, cause, signal }: About,
  ): Promise<ActOutcome> {
    const definition = this.#options.table[kind];
    const wanted = definition.scope(args);
    const scope = parseScope(wanted);
    if (typeof scope === "string") throw new Error(`${kind}: ${scope}`);
    const action = `${this.#options.bus.boot.slice(0, 6)}-${++this.#count}`;
    const about = { action, kind, principal: principal.id };
    const proposed = this.#source.publish("action.proposed", {
      ...about,
      ...(reason === undefined ? {} : { reason: reason.slice(0, 1024) }),
    }, { cause, subject: action });

    const verdict = decide({ id: action, principal, kind, scope, args, reason, cause });
    const decided = this.#source.publish(
      verdict.verdict === "allow" ? "action.allowed" : "action.denied",
      { ...about, reason: verdict.reason },
      { cause: proposed.seq, subject: action },
    );
    if (verdict.verdict !== "allow") {
      return { status: "denied", action, reason: verdict.reason };
    }
    return await this.#carryOut(kind, args, {
      action,
      principal,
      cause: decided.seq,
      reason,
      signal,
    });
  }

  async #carryOut(kind: ActKind, args: unknown, context: ActContext): Promise<ActOutcome> {
    const started = this.#options.timers.now();
    const result = await this.#inTurn(kind, args, context);
    const { action } = context;
    this.#source.publish("action.finished", {
      action,
      kind,
      ok: result.status === "done" && result.ok,
      summary: result.status === "done" ? result.summary : result.reason,
      ms: Math.round(this.#options.timers.now() - started),
    }, { cause: context.cause, subject: action });
    switch (result.status) {
      case "done":
        return { status: "done", action, result: result.result };
      case "failed":
        return { status: "failed", action, reason: result.reason };
      default:
        return result;
    }
  }

  async #inTurn(kind: ActKind, args: unknown, context: ActContext): Promise<ActResult> {
    const { lane, run } = this.#options.table[kind];
    const turns = lane === "none" ? null : this.#lanes[lane];
    const turn = await turns?.take(context.signal) ?? "mine";
    if (turn === "full") {
      return { status: "conflict", reason: `${kind}: ${turns!.waiting} acts wait already` };
    }
    if (turn === "aborted") {
      return { status: "conflict", reason: `${kind}: its caller went away while it waited` };
    }
    try {
      return await run(args, context);
    } catch (error) {
      this.#options.report(`act ${kind} ${context.action}`, error);
      return { status: "failed", reason: `${kind}: ${messageOf(error)}` };
    } finally {
      turns?.done();
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
