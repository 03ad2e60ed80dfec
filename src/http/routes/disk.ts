/** Disk: the mounted file systems of the newest sample. */
import type { Zod } from "../../../bus/schema.ts";
import { machineSample } from "../../../bus/shapes.ts";
import { route } from "../route.ts";

const shape = (z: Zod) => z.object({ items: machineSample(z).shape.disks });

export const disk = route({
  method: "GET",
  path: "/api/v1/disk",
  scope: "nerve:system:read",
  summary: "Mounted file systems: bytes and inodes, in all and free.",
  response: shape,
  handler: ({ edge }) => ({ items: edge.machine.sample()?.disks ?? [] }),
});
