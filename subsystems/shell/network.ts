/**
 * Network: the act `network.renew`, a fresh lease for one link.
 *
 * Owns its arguments; the DHCP client is handed in.
 */
import type { Zod } from "../../bus/schema.ts";
import type { LeaseInfo } from "../../bus/shapes.ts";
import { type Act, defineAct } from "./act.ts";

export type RenewOutcome =
  | { status: "done"; leases: readonly LeaseInfo[] }
  /** No such link, or none that is leased by DHCP. */
  | { status: "not_found"; reason: string }
  /** Asked, and no usable answer came. */
  | { status: "failed"; reason: string };

/** What the act needs of the DHCP clients. */
export interface Leases {
  /** Asks for the lease of `link` (of the one with the best route when absent) anew and waits for the answer. */
  renew(link: string | undefined, cause: number): Promise<RenewOutcome>;
}

/** `link`: an interface name, IFNAMSIZ is 16 with its NUL. */
const renewArgs = (z: Zod) => z.object({ link: z.string().min(1).max(15).optional() }).strict();

/** The act `network.renew`. */
export function networkRenewAct(leases: Leases): Act {
  return defineAct({
    args: renewArgs,
    scope: () => "shell:network:renew",
    risk: () => "reversible",
    lane: "control",
    run: async ({ link }, { cause }) => {
      const outcome = await leases.renew(link, cause);
      if (outcome.status !== "done") return outcome;
      const held = outcome.leases.map((lease) => `${lease.link} ${lease.address}/${lease.prefix}`);
      return {
        status: "done",
        result: { leases: outcome.leases },
        ok: true,
        summary: `renewed ${held.join(", ") || "nothing"}`,
      };
    },
  });
}
