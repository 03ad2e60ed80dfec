/** Meminfo: /proc/meminfo (proc_meminfo(5)), every value in bytes. */
import type { Zod } from "../../../bus/schema.ts";
import { route } from "../route.ts";

const shape = (z: Zod) => z.record(z.string(), z.number());

export const meminfo = route({
  method: "GET",
  path: "/api/v1/meminfo",
  scope: "nerve:system:read",
  summary: "/proc/meminfo with every value in bytes.",
  response: shape,
  handler: ({ edge }) => edge.machine.meminfo(),
});
