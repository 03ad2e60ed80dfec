/**
 * The gate: the one place that answers whether an act may happen, whoever
 * proposes it. Pure code over the proposal and what its principal holds.
 *
 * It must never act, look anything up, or be reached around: Shell takes its
 * work only with a verdict from here.
 */
import { allows, type Scope } from "./scopes.ts";

/** Who proposes. `lineage` is the root credential it descends from. */
export interface Principal {
  readonly id: string;
  readonly kind: "human" | "mind" | "immune" | "core";
  readonly lineage: string;
  readonly scopes: readonly Scope[];
}

export interface Proposal {
  readonly id: string;
  readonly principal: Principal;
  readonly kind: string;
  /** The scope the kind declares for these arguments. */
  readonly scope: Scope;
  readonly args: unknown;
  readonly reason?: string | undefined;
  readonly cause?: number | undefined;
}

export type Verdict =
  | { verdict: "allow"; reason: string }
  | { verdict: "deny"; reason: string }
  | { verdict: "ask"; reason: string };

/**
 * Decides one proposal. The only rule today: a principal may do what its
 * scopes cover; the admin's cover everything, and what is not listed is denied.
 */
export function decide(proposal: Proposal): Verdict {
  const { principal, scope, kind } = proposal;
  const name = `${scope.subsystem}:${scope.resource}:${scope.verb}`;
  if (allows(principal.scopes, scope)) {
    return { verdict: "allow", reason: `${principal.id} holds ${name}` };
  }
  return { verdict: "deny", reason: `${kind} needs ${name}, which ${principal.id} does not hold` };
}
