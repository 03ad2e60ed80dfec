/**
 * Power: the acts that end this boot.
 *
 * Owns their arguments. It must never stop anything by itself: it asks for the orderly stop, which
 * is handed in and outlives the answer.
 */
import type { Zod } from "../../bus/schema.ts";
import { type Act, defineAct } from "./act.ts";

/** What the acts need of whoever stops the system. */
export interface Power {
  /** Begins an orderly stop and returns; false when one is under way already. */
  stop(how: "poweroff" | "reboot", reason: string, cause: number): boolean;
}

const powerArgs = (z: Zod) => z.object({ reason: z.string().max(256).optional() }).strict();

/** `power.off` and `power.reboot`. */
export function powerActs(power: Power): Record<"power.off" | "power.reboot", Act> {
  const act = (how: "poweroff" | "reboot", verb: "off" | "reboot") =>
    defineAct({
      args: powerArgs,
      scope: () => `shell:power:${verb}`,
      risk: () => "disruptive",
      lane: "none",
      run: (args, { principal, cause, reason }) => {
        const why = args.reason ?? reason ?? `asked by ${principal.id}`;
        return Promise.resolve(
          power.stop(how, why, cause)
            ? { status: "done", result: { how }, ok: true, summary: `${how} begins: ${why}` }
            : { status: "conflict", reason: `${how}: an orderly stop is under way` },
        );
      },
    });
  return { "power.off": act("poweroff", "off"), "power.reboot": act("reboot", "reboot") };
}
