import assert from "node:assert/strict";
import fc from "fast-check";
import { type ActDeps, actTable } from "../subsystems/shell/acts.ts";
import { decide, type Principal, type Proposal } from "./gate.ts";
import { allows, parseScope, type Role, roleScopes, type Scope } from "./scopes.ts";

function principal(scopes: readonly Scope[], kind: Principal["kind"] = "human"): Principal {
  return { id: "somebody", kind, lineage: "somebody", scopes };
}

function proposal(who: Principal, wanted: string): Proposal {
  const scope = parseScope(wanted);
  if (typeof scope === "string") throw new Error(scope);
  return { id: "a1", principal: who, kind: "exec.run", scope, args: {} };
}

Deno.test("decide() allows what a scope covers and denies the rest, saying why", () => {
  const viewer = principal(roleScopes("viewer"));
  assert.deepEqual(decide(proposal(viewer, "nerve:process:read")), {
    verdict: "allow",
    reason: "somebody holds nerve:process:read",
  });
  assert.deepEqual(decide(proposal(viewer, "shell:exec:exec")), {
    verdict: "deny",
    reason: "exec.run needs shell:exec:exec, which somebody does not hold",
  });
  assert.equal(decide(proposal(principal([]), "nerve:process:read")).verdict, "deny");
});

Deno.test("decide() looks at scopes alone: not at reason, arguments or who says so", () => {
  const roles = fc.constantFrom<Role>("viewer", "operator", "admin");
  const kinds = fc.constantFrom<Principal["kind"]>("human", "mind", "immune", "core");
  const wanted = fc.constantFrom("nerve:process:read", "immune:service:restart", "shell:exec:exec");
  fc.assert(
    fc.property(
      roles,
      kinds,
      wanted,
      fc.string(),
      fc.anything(),
      (role, kind, text, reason, args) => {
        const who = principal(roleScopes(role), kind);
        const verdict = decide({ ...proposal(who, text), reason, args });
        assert.equal(verdict.verdict, allows(who.scopes, text) ? "allow" : "deny");
        assert.ok(
          !verdict.reason.includes(reason) || reason.length < 60,
          "reasons are not repeated",
        );
      },
    ),
  );
});

Deno.test("decide() lets the admin do every kind of act there is, and the viewer none", () => {
  // Only the declarations are read: nothing is run, so nothing is needed to run it.
  const table = actTable({} as ActDeps);
  const admin = principal(roleScopes("admin"));
  const viewer = principal(roleScopes("viewer"));
  const kinds = Object.entries(table);
  assert.ok(kinds.length >= 9);
  for (const [kind, act] of kinds) {
    const wanted = act.scope({ name: "dns", argv: ["true"] });
    assert.equal(typeof parseScope(wanted), "object", `${kind}: ${wanted}`);
    assert.equal(decide(proposal(admin, wanted)).verdict, "allow", `${kind}: ${wanted}`);
    assert.equal(decide(proposal(viewer, wanted)).verdict, "deny", `${kind}: ${wanted}`);
  }
});
