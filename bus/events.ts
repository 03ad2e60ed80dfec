/**
 * The catalogue: every event type the system knows, what it means, which scope
 * may read it, how durable it is, and the shape of its data.
 *
 * Owns the vocabulary only: it must never publish, hold state, or build a
 * schema on import (see schema.ts for why).
 */
import type { Infer, SchemaFactory, Zod } from "./schema.ts";
import {
  actionResult,
  bootPhase,
  chatReply,
  exitStatus,
  lastStop,
  leaseInfo,
  machineSample,
  routeInfo,
  serviceState,
} from "./shapes.ts";

/** durable: never lost once acknowledged; telemetry: may lose the last group; ephemeral: ring only. */
export type Durability = "durable" | "telemetry" | "ephemeral";

interface Definition<S extends SchemaFactory> {
  readonly about: string;
  /** The scope a caller needs to read events of this type. */
  readonly scope: string;
  readonly durability: Durability;
  readonly schema: S;
}

function define<S extends SchemaFactory>(
  about: string,
  scope: string,
  durability: Durability,
  schema: S,
): Definition<S> {
  return { about, scope, durability, schema };
}

const process = "nerve:process:read";
const network = "nerve:network:read";
const system = "core:system:read";
const service = "immune:service:read";

const deviceData = (z: Zod) =>
  z.object({
    devpath: z.string(),
    subsystem: z.string(),
    properties: z.record(z.string(), z.string()),
  });
const linkData = (z: Zod) =>
  z.object({ index: z.number().int(), link: z.string(), mac: z.string().optional() });
const addressData = (z: Zod) =>
  z.object({
    index: z.number().int(),
    link: z.string(),
    address: z.string(),
    prefix: z.number().int(),
  });
const fileData = (z: Zod) => z.object({ path: z.string(), directory: z.boolean() });

export const catalogue = {
  // --- kernel and devices ---------------------------------------------------
  "kernel.logged": define(
    "A kernel log record.",
    "nerve:kernel:read",
    "telemetry",
    (z) =>
      z.object({
        level: z.number().int().min(0).max(7),
        facility: z.number().int(),
        sequence: z.number().int(),
        text: z.string(),
      }),
  ),
  "device.added": define(
    "A device appeared.",
    "nerve:device:read",
    "telemetry",
    deviceData,
  ),
  "device.removed": define(
    "A device went away.",
    "nerve:device:read",
    "telemetry",
    deviceData,
  ),
  "device.changed": define(
    "A device changed (change, move, bind, …).",
    "nerve:device:read",
    "telemetry",
    (z) =>
      z.object({
        action: z.string(),
        devpath: z.string(),
        subsystem: z.string(),
        properties: z.record(z.string(), z.string()),
      }),
  ),

  // --- network ----------------------------------------------------------------
  "link.added": define(
    "A network interface appeared.",
    network,
    "telemetry",
    linkData,
  ),
  "link.removed": define(
    "A network interface went away.",
    network,
    "telemetry",
    (z) => z.object({ index: z.number().int(), link: z.string() }),
  ),
  "link.up": define(
    "An interface got its carrier.",
    network,
    "telemetry",
    linkData,
  ),
  "link.down": define(
    "An interface lost its carrier or was taken down.",
    network,
    "telemetry",
    linkData,
  ),
  "addr.added": define(
    "An address was put on an interface.",
    network,
    "telemetry",
    addressData,
  ),
  "addr.removed": define(
    "An address was taken off an interface.",
    network,
    "telemetry",
    addressData,
  ),
  "route.added": define(
    "A route was added.",
    network,
    "telemetry",
    routeInfo,
  ),
  "route.removed": define(
    "A route was removed.",
    network,
    "telemetry",
    routeInfo,
  ),
  "addr.leased": define("A DHCP lease was obtained.", network, "telemetry", leaseInfo),
  "addr.renewed": define("A DHCP lease was renewed or rebound.", network, "telemetry", leaseInfo),
  "addr.lease_lost": define(
    "A DHCP lease ended without a successor.",
    network,
    "telemetry",
    (z) => z.object({ link: z.string(), address: z.string().optional(), reason: z.string() }),
  ),
  "addr.lease_failed": define(
    "A DHCP attempt got no usable answer.",
    network,
    "telemetry",
    (z) => z.object({ link: z.string(), reason: z.string(), attempt: z.number().int() }),
  ),
  "addr.lease_requested": define(
    "The DHCP client began to ask for a lease.",
    network,
    "ephemeral",
    (z) => z.object({ link: z.string(), mode: z.enum(["discover", "request", "renew", "rebind"]) }),
  ),

  // --- processes and files ----------------------------------------------------
  "process.forked": define(
    "A process was forked.",
    process,
    "telemetry",
    (z) => z.object({ pid: z.number().int(), ppid: z.number().int() }),
  ),
  "process.execed": define("A process replaced its image.", process, "telemetry", (z) =>
    z.object({
      pid: z.number().int(),
      comm: z.string().optional(),
      exe: z.string().optional(),
      uid: z.number().int().optional(),
      cgroup: z.string().optional(),
    })),
  "process.exited": define(
    "A process ended; nobody knows how when its exit was lost.",
    process,
    "telemetry",
    (z) =>
      z.object({
        pid: z.number().int(),
        ppid: z.number().int().optional(),
        comm: z.string().optional(),
        code: z.number().int().nullable(),
        signal: z.string().nullable(),
      }),
  ),
  "process.reaped": define("PID 1 reaped an orphan.", process, "ephemeral", exitStatus),
  "process.storm": define(
    "So many process events that they were counted instead.",
    process,
    "telemetry",
    (z) =>
      z.object({
        forks: z.number().int(),
        execs: z.number().int(),
        exits: z.number().int(),
        window_ms: z.number(),
      }),
  ),
  "file.created": define(
    "A file appeared in a watched tree.",
    "nerve:file:read",
    "telemetry",
    fileData,
  ),
  "file.modified": define(
    "A file in a watched tree was written and closed.",
    "nerve:file:read",
    "telemetry",
    fileData,
  ),
  "file.deleted": define(
    "A file in a watched tree was deleted.",
    "nerve:file:read",
    "telemetry",
    fileData,
  ),
  "file.moved": define(
    "A file was moved within, into or out of a watched tree.",
    "nerve:file:read",
    "telemetry",
    (z) =>
      z.object({ from: z.string().optional(), to: z.string().optional(), directory: z.boolean() }),
  ),

  // --- the sampler and the sensors ----------------------------------------------
  "system.sampled": define(
    "One reading of memory, load, CPU, disk and network.",
    "nerve:system:read",
    "telemetry",
    machineSample,
  ),
  "sensor.started": define(
    "A sensor began to listen.",
    "nerve:sensor:read",
    "telemetry",
    (z) => z.object({ sensor: z.string() }),
  ),
  "sensor.failed": define(
    "A sensor could not start or had to stop.",
    "nerve:sensor:read",
    "telemetry",
    (z) => z.object({ sensor: z.string(), error: z.string() }),
  ),
  "clock.stepped": define(
    "The wall clock jumped.",
    system,
    "telemetry",
    (z) => z.object({ by_ms: z.number() }),
  ),

  // --- boot and system ------------------------------------------------------------
  "boot.started": define("PID 1 began.", system, "durable", (z) =>
    z.object({
      kernel: z.string(),
      version: z.string(),
      machine: z.string(),
      attempt: z.number().int(),
      rescue: z.boolean(),
      last_stop: lastStop(z),
    })),
  "boot.phase": define("A boot phase ended.", system, "durable", bootPhase),
  "system.ready": define(
    "HTTP is bound, bus and Nerve run.",
    system,
    "durable",
    (z) =>
      z.object({
        ms: z.number(),
        kernel_ms: z.number(),
        port: z.number().int(),
        degraded: z.array(z.string()),
      }),
  ),
  "system.degraded": define(
    "Something the system wants is missing; it goes on without.",
    system,
    "durable",
    (z) => z.object({ part: z.string(), reason: z.string() }),
  ),
  "system.recovered": define(
    "A degraded part works again.",
    system,
    "durable",
    (z) => z.object({ part: z.string() }),
  ),
  "system.fault": define(
    "An error reached a guard instead of PID 1's end.",
    system,
    "durable",
    (z) =>
      z.object({
        where: z.string(),
        message: z.string(),
        stack: z.string().optional(),
        count: z.number().int(),
      }),
  ),
  "system.signalled": define(
    "A signal reached PID 1.",
    system,
    "telemetry",
    (z) => z.object({ signal: z.string() }),
  ),
  "system.stopping": define(
    "An orderly stop began.",
    system,
    "durable",
    (z) => z.object({ how: z.enum(["poweroff", "reboot"]), reason: z.string() }),
  ),
  "system.stopped": define(
    "Everything is stopped and unmounted; power goes next.",
    system,
    "durable",
    (z) =>
      z.object({
        how: z.enum(["poweroff", "reboot"]),
        killed: z.number().int(),
        clean: z.boolean(),
      }),
  ),

  // --- services and incidents -------------------------------------------------------
  "service.declared": define("A service was declared.", service, "durable", serviceState),
  "service.started": define("A service's process started.", service, "durable", serviceState),
  "service.exited": define("A service's process ended.", service, "durable", serviceState),
  "service.restarting": define(
    "A service will be started again after its backoff.",
    service,
    "durable",
    serviceState,
  ),
  "service.stopped": define("A service was stopped on request.", service, "durable", serviceState),
  "service.failed": define("A service is given up.", service, "durable", serviceState),
  "service.output": define(
    "A line a service printed.",
    service,
    "telemetry",
    (z) =>
      z.object({ service: z.string(), stream: z.enum(["stdout", "stderr"]), line: z.string() }),
  ),
  "incident.opened": define(
    "Immune found something wrong.",
    "immune:incident:read",
    "durable",
    (z) => z.object({ incident: z.string(), kind: z.string(), evidence: z.string() }),
  ),
  "incident.remedied": define(
    "A remedy was tried.",
    "immune:incident:read",
    "durable",
    (z) =>
      z.object({ incident: z.string(), kind: z.string(), remedy: z.string(), result: z.string() }),
  ),
  "incident.resolved": define(
    "The incident is over.",
    "immune:incident:read",
    "durable",
    (z) => z.object({ incident: z.string(), kind: z.string(), ms: z.number() }),
  ),

  // --- acts ---------------------------------------------------------------------------
  "action.proposed": define(
    "Somebody wants the machine changed.",
    "shell:action:read",
    "durable",
    (z) =>
      z.object({
        action: z.string(),
        kind: z.string(),
        principal: z.string(),
        reason: z.string().optional(),
      }),
  ),
  "action.allowed": define(
    "The gate allowed it.",
    "shell:action:read",
    "durable",
    (z) =>
      z.object({ action: z.string(), kind: z.string(), principal: z.string(), reason: z.string() }),
  ),
  "action.denied": define(
    "The gate refused it.",
    "shell:action:read",
    "durable",
    (z) =>
      z.object({ action: z.string(), kind: z.string(), principal: z.string(), reason: z.string() }),
  ),
  "action.finished": define("The act ended.", "shell:action:read", "durable", actionResult),

  // --- minds ----------------------------------------------------------------------------
  "mind.started": define(
    "A mind's process started.",
    "cortex:mind:read",
    "telemetry",
    (z) => z.object({ mind: z.string(), pid: z.number().int() }),
  ),
  "mind.caged": define(
    "How a mind is confined, as the kernel shows it.",
    "cortex:mind:read",
    "durable",
    (z) =>
      z.object({
        mind: z.string(),
        uid: z.number().int(),
        netns: z.boolean(),
        no_new_privs: z.boolean(),
        seccomp: z.number().int(),
        cgroup: z.string(),
      }),
  ),
  "mind.exited": define(
    "A mind's process ended.",
    "cortex:mind:read",
    "telemetry",
    (z) => z.object({ mind: z.string(), reason: z.string() }),
  ),
  "mind.asked": define(
    "Somebody asked in plain words.",
    "cortex:mind:read",
    "telemetry",
    (z) => z.object({ mind: z.string(), message: z.string(), principal: z.string() }),
  ),
  "mind.answered": define("A mind answered.", "cortex:mind:read", "telemetry", chatReply),
  "mind.misbehaved": define(
    "A mind sent something outside its contract.",
    "cortex:mind:read",
    "durable",
    (z) => z.object({ mind: z.string(), fault: z.string() }),
  ),

  // --- the edge -----------------------------------------------------------------------------
  "auth.refused": define(
    "A request was refused for its credential, host or origin.",
    "core:auth:read",
    "durable",
    (z) =>
      z.object({
        status: z.number().int(),
        reason: z.string(),
        path: z.string(),
        count: z.number().int(),
      }),
  ),
  "http.reaped": define(
    "Connections that never sent a request were closed.",
    "core:http:read",
    "telemetry",
    (z) => z.object({ count: z.number().int(), older_than_ms: z.number() }),
  ),
  "http.client_dropped": define(
    "A stream client that did not read was cut off.",
    "core:http:read",
    "telemetry",
    (z) => z.object({ client: z.string(), reason: z.string(), lost: z.number().int() }),
  ),
  "http.failed": define(
    "A request handler threw.",
    "core:http:read",
    "telemetry",
    (z) => z.object({ path: z.string(), error: z.string() }),
  ),
  "bus.gap": define(
    "Events were lost here; how many, when known.",
    "core:bus:read",
    "telemetry",
    (z) =>
      z.object({
        source: z.string(),
        from: z.number().int().nullable(),
        to: z.number().int().nullable(),
        count: z.number().int().nullable(),
        reason: z.string(),
      }),
  ),
  "bus.truncated": define(
    "An event was too long; fields were cut.",
    "core:bus:read",
    "telemetry",
    (z) => z.object({ type: z.string(), bytes: z.number().int() }),
  ),

  // --- the in-guest self-test ------------------------------------------------------------------
  "selftest.started": define(
    "The self-test disk was found and runs.",
    system,
    "ephemeral",
    (z) => z.object({ files: z.number().int() }),
  ),
  "selftest.reported": define(
    "One test's result.",
    system,
    "ephemeral",
    (z) => z.object({ name: z.string(), ok: z.boolean(), detail: z.string().optional() }),
  ),
  "selftest.finished": define(
    "The self-test ended.",
    system,
    "ephemeral",
    (z) =>
      z.object({
        passed: z.number().int(),
        failed: z.number().int(),
        ignored: z.number().int(),
        code: z.number().int(),
      }),
  ),
} as const;

export type EventType = keyof typeof catalogue;
export type EventData<T extends EventType> = Infer<(typeof catalogue)[T]["schema"]>;
export const eventTypes: readonly EventType[] = Object.keys(catalogue) as EventType[];

/** Whether a string names a type of the catalogue. */
export function isEventType(type: string): type is EventType {
  return Object.hasOwn(catalogue, type);
}
