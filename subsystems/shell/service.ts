/**
 * Service: the acts on supervised services.
 *
 * Owns their arguments and scopes; supervision itself is Immune's, which is handed in.
 */
import type { Zod } from "../../bus/schema.ts";
import { serviceSpec } from "../../bus/shapes.ts";
import type { ServiceSpec, ServiceState } from "../../bus/shapes.ts";
import { type Act, type ActResult, defineAct } from "./act.ts";

/** How a service act ended. */
export type ServiceOutcome =
  | { status: "done"; state: ServiceState }
  | { status: "not_found"; reason: string }
  | { status: "conflict"; reason: string }
  | { status: "failed"; reason: string };

/** What the acts need of the supervisor. `cause` is the seq of the event that led to the call. */
export interface Services {
  declare(spec: ServiceSpec, cause?: number): Promise<ServiceOutcome>;
  remove(name: string, cause?: number): Promise<ServiceOutcome>;
  start(name: string, cause?: number): Promise<ServiceOutcome>;
  stop(name: string, cause?: number): Promise<ServiceOutcome>;
  restart(name: string, cause?: number): Promise<ServiceOutcome>;
}

const named = (z: Zod) => z.object({ name: z.string().min(1).max(63) }).strict();

/** The five acts on services. */
export function serviceActs(services: Services): Record<
  "service.declare" | "service.remove" | "service.start" | "service.stop" | "service.restart",
  Act
> {
  const on = (verb: "remove" | "start" | "stop" | "restart", risk: "reversible" | "disruptive") =>
    defineAct({
      args: named,
      scope: () => `immune:service:${verb}`,
      risk: () => risk,
      lane: "control",
      run: async ({ name }, { cause }) => toResult(await services[verb](name, cause)),
    });
  return {
    "service.declare": defineAct({
      args: serviceSpec,
      scope: () => "immune:service:declare",
      risk: () => "reversible",
      lane: "control",
      run: async (spec, { cause }) => toResult(await services.declare(spec, cause)),
    }),
    "service.remove": on("remove", "disruptive"),
    "service.start": on("start", "reversible"),
    "service.stop": on("stop", "disruptive"),
    "service.restart": on("restart", "disruptive"),
  };
}

function toResult(outcome: ServiceOutcome): ActResult {
  if (outcome.status !== "done") return outcome;
  const { state } = outcome;
  const why = state.reason === undefined ? "" : `: ${state.reason}`;
  return {
    status: "done",
    result: state,
    ok: state.state !== "failed",
    summary: `service ${state.name} is ${state.state}${why}`,
  };
}
