/**
 * Act: how the outcome of a proposed act becomes an answer.
 *
 * Owns the mapping of outcomes to statuses; it decides nothing.
 */
import type { ActKind, ActOutcome } from "../../bus/machine.ts";
import { json, problem, readFault } from "./problem.ts";
import type { Call } from "./route.ts";
import { invalid } from "./route.ts";

/** What `answerAct` refuses with, besides what any route may. */
export const actRefusals = [404, 409, 502] as const;

/** done → 200 with the result, denied → 403, invalid → 400, not found → 404, conflict → 409, failed → 502. */
export function answerAct(outcome: ActOutcome): Response {
  switch (outcome.status) {
    case "done":
      return json(outcome.result ?? { action: outcome.action });
    case "denied":
      return problem(403, outcome.reason, { more: { action: outcome.action } });
    case "invalid":
      return invalid("The act's arguments are not valid.", outcome.faults.map(readFault));
    case "not_found":
      return problem(404, outcome.reason);
    case "conflict":
      return problem(409, outcome.reason);
    case "failed":
      return problem(502, outcome.reason, { more: { action: outcome.action } });
  }
}

/** Proposes an act for the caller and answers how it ended. */
export async function act(call: Call, kind: ActKind, args: unknown): Promise<Response> {
  return answerAct(await call.edge.machine.act(call.principal, kind, args));
}
