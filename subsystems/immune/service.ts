/**
 * Service: what a supervised service does next, as a state × event table (after s6-supervise).
 *
 * Owns the decision only: `next()` is pure, and the supervisor carries out what it answers. It must
 * never ask for a process while there is one, or leave a state from which no event leads on.
 */
import { backoffMs, failuresAfter } from "../../src/child/supervision.ts";
import type { ServiceSpec } from "../../bus/shapes.ts";

/** What follows when the process in the way has ended. */
export type Then = "stop" | "restart" | "remove";

export type Phase =
  | { readonly at: "stopped"; readonly reason?: string }
  /** A process was asked for; `then` is what became of the wish meanwhile. */
  | { readonly at: "starting"; readonly then: Then | null }
  | { readonly at: "running" }
  | { readonly at: "backoff"; readonly ms: number }
  | { readonly at: "stopping"; readonly then: Then }
  /** Given up: only a person starts it again. */
  | { readonly at: "failed"; readonly reason: string }
  | { readonly at: "removed" };

export interface Service {
  readonly phase: Phase;
  /** Failures in a row, for the backoff. */
  readonly failures: number;
  /** Times it was started again by itself. */
  readonly restarts: number;
}

export type ServiceEvent =
  | { readonly type: "start" | "stop" | "restart" | "remove" }
  | { readonly type: "spawned" }
  /** `permanent`: starting it again cannot help. `roll`: the dice of the backoff, 0…1. */
  | {
    readonly type: "spawn_failed";
    readonly permanent: boolean;
    readonly reason: string;
    readonly roll: number;
  }
  | {
    readonly type: "exited";
    readonly ok: boolean;
    readonly how: string;
    readonly ranMs: number;
    readonly roll: number;
  }
  /** The backoff is over. */
  | { readonly type: "timer" };

export type Effect =
  | { readonly do: "spawn" }
  /** SIGTERM, and SIGKILL for all of it when that is not enough. */
  | { readonly do: "terminate" }
  | { readonly do: "arm"; readonly ms: number }
  | { readonly do: "disarm" }
  | { readonly do: "forget" }
  | {
    readonly do: "publish";
    readonly type: "started" | "exited" | "restarting" | "stopped" | "failed";
  };

export interface Step {
  readonly service: Service;
  readonly effects: readonly Effect[];
}

export type RestartPolicy = ServiceSpec["restart"];

/** A service that was just declared: it waits to be started. */
export const declared: Service = { phase: { at: "stopped" }, failures: 0, restarts: 0 };

const spawn: Effect = { do: "spawn" };
const terminate: Effect = { do: "terminate" };
const disarm: Effect = { do: "disarm" };
const forget: Effect = { do: "forget" };
const publish = (type: (Effect & { do: "publish" })["type"]): Effect => ({ do: "publish", type });

/**
 * The table. Null marks a cell that cannot happen: an exit without a process, a process nobody
 * asked for. The supervisor treats it as the bug it would be.
 */
export function next(service: Service, event: ServiceEvent, policy: RestartPolicy): Step | null {
  switch (service.phase.at) {
    case "stopped":
      return resting(service, event, []);
    case "failed":
      // Stopping what is given up settles it: its reason has been read.
      return event.type === "stop"
        ? to(service, { at: "stopped" }, publish("stopped"))
        : resting(service, event, []);
    case "backoff":
      return whileWaiting(service, event);
    case "starting":
      return whileStarting(service, service.phase.then, event, policy);
    case "running":
      return whileRunning(service, event, policy);
    case "stopping":
      return whileStopping(service, service.phase.then, event);
    case "removed":
      return null;
  }
}

const starting: Phase = { at: "starting", then: null };

function to(service: Service, phase: Phase, ...effects: Effect[]): Step {
  return { service: { ...service, phase }, effects };
}

/** Nothing runs, nothing was asked for. */
function resting(service: Service, event: ServiceEvent, leave: readonly Effect[]): Step | null {
  switch (event.type) {
    case "start":
    case "restart":
      return to({ ...service, failures: 0 }, starting, ...leave, spawn);
    case "stop":
      return to(service, service.phase);
    case "remove":
      return to(service, { at: "removed" }, ...leave, forget);
    default:
      return null;
  }
}

function whileWaiting(service: Service, event: ServiceEvent): Step | null {
  switch (event.type) {
    case "timer":
      return to({ ...service, restarts: service.restarts + 1 }, starting, spawn);
    case "stop":
      return to(service, { at: "stopped" }, disarm, publish("stopped"));
    default:
      return resting(service, event, [disarm]);
  }
}

function whileRunning(service: Service, event: ServiceEvent, policy: RestartPolicy): Step | null {
  switch (event.type) {
    case "start":
      return to(service, service.phase);
    case "stop":
    case "restart":
    case "remove":
      return to(service, { at: "stopping", then: event.type }, terminate);
    case "exited":
      return afterExit(service, event, policy);
    default:
      return null;
  }
}

function whileStarting(
  service: Service,
  then: Then | null,
  event: ServiceEvent,
  policy: RestartPolicy,
): Step | null {
  switch (event.type) {
    case "start":
      return to(service, { at: "starting", then: then === "remove" ? then : null });
    case "stop":
    case "restart":
      return to(service, { at: "starting", then: then === "remove" ? then : event.type });
    case "remove":
      return to(service, { at: "starting", then: "remove" });
    case "spawned":
      return then === null
        ? to(service, { at: "running" }, publish("started"))
        : to(service, { at: "stopping", then }, publish("started"), terminate);
    case "spawn_failed":
      if (then !== null) return follow(service, then);
      if (event.permanent || policy === "never") {
        return to(service, { at: "failed", reason: event.reason }, publish("failed"));
      }
      return retry(service, service.failures, event.roll);
    default:
      return null;
  }
}

function whileStopping(service: Service, then: Then, event: ServiceEvent): Step | null {
  switch (event.type) {
    case "start":
      return to(service, { at: "stopping", then: then === "remove" ? then : "restart" });
    case "stop":
    case "restart":
      return to(service, { at: "stopping", then: then === "remove" ? then : event.type });
    case "remove":
      return to(service, { at: "stopping", then: "remove" });
    case "exited": {
      const step = follow(service, then);
      return { ...step, effects: [publish("exited"), ...step.effects] };
    }
    default:
      return null;
  }
}

/** The process is gone, as was wished. */
function follow(service: Service, then: Then): Step {
  switch (then) {
    case "stop":
      return to(service, { at: "stopped" }, publish("stopped"));
    case "restart":
      return to({ ...service, failures: 0 }, starting, spawn);
    case "remove":
      return to(service, { at: "removed" }, publish("stopped"), forget);
  }
}

function afterExit(
  service: Service,
  event: ServiceEvent & { type: "exited" },
  policy: RestartPolicy,
): Step {
  if (policy === "always" || (policy === "on-failure" && !event.ok)) {
    const step = retry(service, failuresAfter(service.failures, event.ranMs), event.roll);
    return { ...step, effects: [publish("exited"), ...step.effects] };
  }
  if (event.ok) return to(service, { at: "stopped", reason: event.how }, publish("exited"));
  const reason = `${event.how}, and its policy is never to restart`;
  return to(service, { at: "failed", reason }, publish("exited"), publish("failed"));
}

function retry(service: Service, failures: number, roll: number): Step {
  const ms = backoffMs(failures, roll);
  return to(
    { ...service, failures: failures + 1 },
    { at: "backoff", ms },
    { do: "arm", ms },
    publish("restarting"),
  );
}
