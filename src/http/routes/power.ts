/** Power: the orderly end of this boot. */
import { act, actRefusals } from "../act.ts";
import { route } from "../route.ts";

export const poweroff = route({
  method: "POST",
  path: "/api/v1/power/poweroff",
  scope: "shell:power:off",
  summary: "Stops everything in order and switches the machine off.",
  refusals: actRefusals,
  handler: (call) => act(call, "power.off", {}),
});

export const reboot = route({
  method: "POST",
  path: "/api/v1/power/reboot",
  scope: "shell:power:reboot",
  summary: "Stops everything in order and starts the machine again.",
  refusals: actRefusals,
  handler: (call) => act(call, "power.reboot", {}),
});
