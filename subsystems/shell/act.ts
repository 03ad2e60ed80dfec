/**
 * Act: what a kind of action is made of.
 *
 * Owns the shape only; each kind is written in the file of its field (exec, service, network,
 * power) and listed in acts.ts.
 */
import type { Principal } from "../../bus/gate.ts";
import type { ActKind } from "../../bus/machine.ts";
import type { Infer, SchemaFactory } from "../../bus/schema.ts";

/** How bad it is when it was wrong: undone by nothing but time, by another act, or never. */
export type Risk = "observe" | "reversible" | "disruptive" | "irreversible";

export interface ActContext {
  /** The action's id. */
  readonly action: string;
  readonly principal: Principal;
  /** `seq` of the event that allowed it: what the act causes names this. */
  readonly cause: number;
  readonly reason?: string | undefined;
  /** Whoever asked went away, or wants it stopped. */
  readonly signal?: AbortSignal | undefined;
}

/** How an act that was carried out ended; `summary` is its one line for people. */
export type ActResult =
  | { status: "done"; result: unknown; ok: boolean; summary: string }
  | { status: "not_found"; reason: string }
  | { status: "conflict"; reason: string }
  | { status: "failed"; reason: string };

export interface ActDefinition<S extends SchemaFactory> {
  readonly args: S;
  /** The scope these arguments need. */
  scope(args: Infer<S>): string;
  risk(args: Infer<S>): Risk;
  /**
   * Which queue it waits in: long-running work, control that must not wait behind it, or none, for
   * what has to work when everything else is stuck.
   */
  readonly lane: "work" | "control" | "none";
  /** Carries it out. A refusal is a value; a rejection is a bug and is answered as `failed`. */
  run(args: Infer<S>, context: ActContext): Promise<ActResult>;
}

/** An act whose arguments' type is known only to itself: they were parsed by its own schema. */
export type Act = ActDefinition<SchemaFactory>;

/** Checks one definition against its own schema's type, then forgets that type. */
export function defineAct<S extends SchemaFactory>(definition: ActDefinition<S>): Act {
  return definition as unknown as Act;
}

/** Every kind there is. */
export type ActTable = { readonly [K in ActKind]: Act };
