/** Hardware: processors, memory, devices and the watchdog. */
import type { Zod } from "../../../bus/schema.ts";
import { route } from "../route.ts";

const shape = (z: Zod) =>
  z.object({
    cpus: z.array(z.object({ model: z.string(), mhz: z.number().nullable() })),
    memory_bytes: z.number(),
    devices: z.array(
      z.object({ name: z.string(), subsystem: z.string(), driver: z.string().optional() }),
    ),
    watchdog: z.string().nullable(),
  });

export const hardware = route({
  method: "GET",
  path: "/api/v1/hardware",
  scope: "nerve:device:read",
  summary: "Processors, memory, devices with their drivers, and the watchdog.",
  response: shape,
  handler: ({ edge }) => edge.machine.hardware(),
});
