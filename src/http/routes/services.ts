/** Services: what Immune keeps running. */
import type { ActKind } from "../../../bus/machine.ts";
import { serviceSpec, serviceState } from "../../../bus/shapes.ts";
import { act, actRefusals } from "../act.ts";
import { problem } from "../problem.ts";
import { route } from "../route.ts";
import { listOf } from "./list.ts";

export const services = route({
  method: "GET",
  path: "/api/v1/services",
  scope: "immune:service:read",
  summary: "Every declared service.",
  response: listOf(serviceState),
  handler: ({ edge }) => ({ items: edge.machine.services() }),
});

export const service = route({
  method: "GET",
  path: "/api/v1/services/:name",
  scope: "immune:service:read",
  summary: "One service.",
  refusals: [404],
  response: serviceState,
  handler: ({ edge, params }) =>
    edge.machine.services().find(({ name }) => name === params.name) ??
      problem(404, "There is no service of that name."),
});

export const declareService = route({
  method: "POST",
  path: "/api/v1/services",
  scope: "immune:service:declare",
  summary: "Declares a service and starts it.",
  body: serviceSpec,
  refusals: actRefusals,
  response: serviceState,
  handler: (call) => act(call, "service.declare", call.body),
});

export const removeService = route({
  method: "DELETE",
  path: "/api/v1/services/:name",
  scope: "immune:service:remove",
  summary: "Stops a service and forgets it.",
  refusals: actRefusals,
  handler: (call) => act(call, "service.remove", { name: call.params.name }),
});

function verb(name: "start" | "stop" | "restart", summary: string) {
  const kind: ActKind = `service.${name}`;
  return route({
    method: "POST",
    path: `/api/v1/services/:name/${name}`,
    scope: `immune:service:${name}`,
    summary,
    refusals: actRefusals,
    response: serviceState,
    handler: (call) => act(call, kind, { name: call.params.name }),
  });
}

export const startService = verb("start", "Starts a service that is stopped or given up.");
export const stopService = verb("stop", "Stops a service; it stays declared.");
export const restartService = verb("restart", "Stops a service and starts it again.");
