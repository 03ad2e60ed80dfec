/**
 * Principal: who Immune is before the gate.
 *
 * Owns the list of what it may ever do; a remedy that needs more is refused like anyone's.
 */
import type { Principal } from "../../bus/gate.ts";
import { parseScope, type Scope } from "../../bus/scopes.ts";

const scopes = [
  "shell:network:renew",
  "immune:service:start",
  "immune:service:restart",
];

/** Immune acts as part of the core: it descends from no credential. */
export const immune: Principal = {
  id: "immune",
  kind: "immune",
  lineage: "core",
  scopes: scopes.map((text): Scope => {
    const scope = parseScope(text);
    if (typeof scope === "string") throw new Error(scope);
    return scope;
  }),
};
