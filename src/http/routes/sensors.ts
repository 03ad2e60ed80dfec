/** Sensors: what Nerve listens to and how that goes. */
import type { Zod } from "../../../bus/schema.ts";
import { route } from "../route.ts";
import { listOf } from "./list.ts";

export const sensorInfo = (z: Zod) =>
  z.object({
    name: z.string(),
    state: z.enum(["running", "failed", "stopped"]),
    events: z.number().int(),
    gaps: z.number().int(),
    error: z.string().optional(),
  });

export const sensors = route({
  method: "GET",
  path: "/api/v1/sensors",
  scope: "nerve:sensor:read",
  summary: "The sensors, with how many events each gave and how often it lost some.",
  response: listOf(sensorInfo),
  handler: ({ edge }) => ({ items: edge.machine.sensors() }),
});
