/** Network: links, addresses, routes, leases, and asking for a lease anew. */
import type { Zod } from "../../../bus/schema.ts";
import { leaseInfo, networkState } from "../../../bus/shapes.ts";
import { act, actRefusals } from "../act.ts";
import { route } from "../route.ts";

export const network = route({
  method: "GET",
  path: "/api/v1/network",
  scope: "nerve:network:read",
  summary: "Links, addresses, routes, leases and name servers.",
  response: networkState,
  handler: ({ edge }) => edge.machine.network(),
});

const renewBody = (z: Zod) => z.object({ link: z.string().min(1).max(15).optional() }).strict();

const renewed = (z: Zod) => z.object({ leases: z.array(leaseInfo(z)) });

export const renew = route({
  method: "POST",
  path: "/api/v1/network/renew",
  scope: "shell:network:renew",
  summary:
    "Asks the DHCP server anew for the lease of one link, or of the one with the best route.",
  body: renewBody,
  bodyOptional: true,
  refusals: actRefusals,
  response: renewed,
  handler: (call) => act(call, "network.renew", call.body ?? {}),
});
