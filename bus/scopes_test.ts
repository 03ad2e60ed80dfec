import assert from "node:assert/strict";
import fc from "fast-check";
import { allows, covers, parseScope, type Role, roles, roleScopes, type Scope } from "./scopes.ts";

function scope(text: string): Scope {
  const parsed = parseScope(text);
  if (typeof parsed === "string") throw new Error(parsed);
  return parsed;
}

const token = fc.constantFrom("*", "nerve", "shell", "core", "process", "exec", "action", "read");
const verb = fc.constantFrom("*", "read", "run", "restart", "approve", "grant", "exec");
const selector = fc.option(fc.constantFrom("/var/log/**", "dns", "*"), { nil: undefined });
const scopes: fc.Arbitrary<Scope> = fc.tuple(token, token, verb, selector).map(
  ([subsystem, resource, verb, selector]) => ({
    subsystem,
    resource,
    verb,
    ...(selector === undefined ? {} : { selector }),
  }),
);

/** Any UTF-16, halves of pairs included. */
const anyText = fc.array(fc.integer({ min: 0, max: 0xffff }))
  .map((codes) => String.fromCharCode(...codes));

function textOf(one: Scope): string {
  const head = `${one.subsystem}:${one.resource}:${one.verb}`;
  return one.selector === undefined ? head : `${head}@${one.selector}`;
}

Deno.test("parseScope() reads what DESIGN §4 writes", () => {
  assert.deepEqual(parseScope("nerve:process.argv:read"), {
    subsystem: "nerve",
    resource: "process.argv",
    verb: "read",
  });
  assert.deepEqual(parseScope("nerve:file:read@/var/log/a@b:c/**"), {
    subsystem: "nerve",
    resource: "file",
    verb: "read",
    selector: "/var/log/a@b:c/**",
  });
});

Deno.test("parseScope() refuses what is not a scope, as text", () => {
  for (
    const text of [
      "",
      "nerve",
      "nerve:process",
      "nerve:process:read:more",
      "nerve::read",
      ":process:read",
      "Nerve:process:read",
      "nerve:process:re ad",
      "nerve:pro*:read",
      "nerve:**:read",
      "nerve:process:read@",
      `nerve:process:read@${"x".repeat(513)}`,
      `${"x".repeat(65)}:process:read`,
      "nerve:process:read\n",
      "nerve:process:ｒead",
    ]
  ) assert.equal(typeof parseScope(text), "string", JSON.stringify(text));
});

Deno.test("parseScope() undoes writing a scope, and never throws", () => {
  fc.assert(fc.property(scopes, (one) => assert.deepEqual(parseScope(textOf(one)), one)));
  fc.assert(fc.property(anyText, (text) => {
    const parsed = parseScope(text);
    if (typeof parsed !== "string") assert.equal(textOf(parsed), text);
    else assert.ok(parsed.length < 256, "the fault does not repeat all of a long text");
  }));
});

Deno.test("covers() lets no verb wildcard stand for approve, grant or exec", () => {
  for (const verb of ["approve", "grant", "exec"]) {
    const wanted = scope(`core:thing:${verb}`);
    for (const granted of ["*:*:*", "core:*:*", "*:thing:*", "core:thing:*"]) {
      assert.equal(covers(scope(granted), wanted), false, `${granted} → ${verb}`);
    }
    assert.equal(covers(wanted, wanted), true);
  }
  fc.assert(fc.property(scopes, scopes, (granted, wanted) => {
    if (granted.verb === "*" && ["approve", "grant", "exec"].includes(wanted.verb)) {
      assert.equal(covers(granted, wanted), false);
    }
  }));
});

Deno.test("covers() is an order: of itself, and through another", () => {
  fc.assert(fc.property(scopes, (one) => covers(one, one)));
  fc.assert(
    fc.property(scopes, scopes, scopes, (a, b, c) => {
      if (covers(a, b) && covers(b, c)) assert.ok(covers(a, c), [a, b, c].map(textOf).join(" → "));
    }),
    { numRuns: 20_000 },
  );
});

Deno.test("covers() holds a selector against everything wider", () => {
  const granted = scope("immune:service:restart@dns");
  assert.equal(covers(granted, scope("immune:service:restart@dns")), true);
  assert.equal(covers(granted, scope("immune:service:restart@ntp")), false);
  assert.equal(covers(granted, scope("immune:service:restart")), false);
  assert.equal(covers(scope("immune:service:restart"), granted), true);
});

Deno.test("covers() never lets a narrow scope cover a wildcard", () => {
  for (const wanted of ["*:process:read", "nerve:*:read", "nerve:process:*"]) {
    assert.equal(covers(scope("nerve:process:read"), scope(wanted)), false, wanted);
  }
});

Deno.test("allows() is denied what is not listed, and more grants never allow less", () => {
  assert.equal(allows([], "nerve:process:read"), false);
  assert.throws(() => allows([], "nonsense"));
  fc.assert(fc.property(fc.array(scopes), scopes, scopes, (granted, more, wanted) => {
    if (allows(granted, wanted)) assert.ok(allows([...granted, more], wanted));
    assert.equal(allows(granted, wanted), granted.some((one) => covers(one, wanted)));
  }));
});

Deno.test("roleScopes() gives each role what it is for, and no more", () => {
  const may = (role: Role, wanted: string) => allows(roleScopes(role), wanted);
  for (const role of Object.keys(roles) as Role[]) assert.ok(may(role, "nerve:process:read"), role);
  assert.ok(!may("viewer", "immune:service:restart"));
  assert.ok(!may("viewer", "cortex:chat:ask"));
  assert.ok(may("operator", "immune:service:restart") && may("operator", "shell:network:renew"));
  for (
    const wanted of [
      "shell:exec:exec",
      "shell:power:off",
      "cortex:action:approve",
      "core:token:grant",
    ]
  ) {
    assert.ok(!may("operator", wanted) && may("admin", wanted), wanted);
  }
  assert.ok(!may("admin", "core:other:grant"), "what may grant is written out");
});
