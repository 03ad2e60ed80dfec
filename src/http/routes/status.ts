/** Status: one look at the machine, and whether it is alive and ready. */
import { eventId } from "../../../bus/envelope.ts";
import type { BootInfo } from "../../../bus/machine.ts";
import type { Zod } from "../../../bus/schema.ts";
import { bootPhase, lastStop, machineSample } from "../../../bus/shapes.ts";
import { problem } from "../problem.ts";
import { route } from "../route.ts";
import { sensorInfo } from "./sensors.ts";

const statusShape = (z: Zod) =>
  z.object({
    boot: z.object({
      id: z.string(),
      kernel: z.string(),
      version: z.string(),
      hostname: z.string(),
      architecture: z.string(),
      attempt: z.number().int(),
      rescue: z.boolean(),
      last_stop: lastStop(z),
      phases: z.array(bootPhase(z)),
      ready_ms: z.number().nullable(),
      kernel_ms: z.number(),
    }),
    degraded: z.array(z.object({ part: z.string(), reason: z.string(), since: z.number() })),
    sample: machineSample(z).nullable(),
    userland: z.number().int(),
    sensors: z.array(sensorInfo(z)),
    clients: z.object({ streams: z.number().int() }),
    head: z.string(),
  });

function bootBody(boot: BootInfo) {
  const { lastStop, readyMs, kernelMs, ...same } = boot;
  return { ...same, last_stop: lastStop, ready_ms: readyMs, kernel_ms: kernelMs };
}

export const status = route({
  method: "GET",
  path: "/api/v1/status",
  scope: "core:system:read",
  summary: "One look at the machine: boot, what is degraded, the newest sample, sensors, clients.",
  response: statusShape,
  handler: ({ edge: { machine, bus, streams } }) => ({
    boot: bootBody(machine.boot()),
    degraded: machine.degraded(),
    sample: machine.sample(),
    userland: machine.processes().filter(({ kernel }) => !kernel).length,
    sensors: machine.sensors(),
    clients: { streams: streams.count },
    head: eventId(bus.boot, bus.head),
  }),
});

const aliveShape = (z: Zod) => z.object({ status: z.literal("alive") });

export const healthz = route({
  method: "GET",
  path: "/healthz",
  scope: null,
  summary: "Whether PID 1 answers.",
  response: aliveShape,
  handler: () => ({ status: "alive" }),
});

const readyShape = (z: Zod) => z.object({ status: z.literal("ready"), ready_ms: z.number() });

export const readyz = route({
  method: "GET",
  path: "/readyz",
  scope: null,
  summary: "Whether the machine is ready; 503 says what is missing.",
  response: readyShape,
  handler({ edge: { machine } }) {
    const { readyMs, phases } = machine.boot();
    if (readyMs !== null) return { status: "ready", ready_ms: readyMs };
    const missing = phases.filter(({ ok }) => !ok).map(({ name }) => name);
    const last = phases.at(-1)?.name ?? "none";
    return problem(503, `The machine is still booting; the last phase that ended: ${last}.`, {
      headers: { "retry-after": "1" },
      more: { missing: [...missing, "ready"] },
    });
  },
});
