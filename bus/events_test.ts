import assert from "node:assert/strict";
import { toJSONSchema, type z } from "zod";
import { catalogue, type EventType, eventTypes, isEventType } from "./events.ts";
import { schema, type SchemaFactory } from "./schema.ts";
import { allows, parseScope, roleScopes } from "./scopes.ts";

/** DESIGN §3, and the family of the in-guest self-test. */
const families = new Set(
  ("kernel device link addr route process file pressure memory disk sensor clock boot system " +
    "subsystem service incident action mind goal llm auth audit journal http bus selftest")
    .split(" "),
);

function definitionOf(type: EventType): {
  about: string;
  scope: string;
  durability: string;
  schema: SchemaFactory;
} {
  return catalogue[type];
}

Deno.test("catalogue: every type is two dotted lower-case words of a known family", () => {
  for (const type of eventTypes) {
    assert.match(type, /^[a-z]+\.[a-z]+(?:_[a-z]+)*$/);
    assert.ok(families.has(type.split(".")[0]!), type);
  }
});

Deno.test("catalogue: every type says what it means and how durable it is", () => {
  for (const type of eventTypes) {
    const { about, durability } = definitionOf(type);
    assert.match(about, /^[A-Z][^]*\.$/, `${type}: "${about}"`);
    assert.ok(["durable", "telemetry", "ephemeral"].includes(durability), type);
  }
});

Deno.test("catalogue: every scope parses, is for reading, and is held by the viewer", () => {
  for (const type of eventTypes) {
    const { scope } = definitionOf(type);
    const parsed = parseScope(scope);
    if (typeof parsed === "string") assert.fail(`${type}: ${parsed}`);
    assert.equal(parsed.verb, "read", type);
    assert.ok(!`${parsed.subsystem}${parsed.resource}`.includes("*"), type);
    assert.ok(allows(roleScopes("viewer"), parsed), type);
  }
});

Deno.test("catalogue: every schema builds, takes objects only, and can be documented", async () => {
  for (const type of eventTypes) {
    const built: z.ZodType = await schema(definitionOf(type).schema);
    for (const wrong of [null, 7, "text", [], undefined]) {
      assert.equal(built.safeParse(wrong).success, false, `${type} takes ${JSON.stringify(wrong)}`);
    }
    const document = toJSONSchema(built, { io: "input" });
    assert.equal(document.type, "object", type);
    assert.ok(Object.keys(document.properties ?? {}).length > 0, type);
  }
});

Deno.test("isEventType() knows the catalogue and nothing of Object's prototype", () => {
  for (const type of eventTypes) assert.ok(isEventType(type));
  for (const type of ["", "link", "link.nonsense", "toString", "__proto__", "constructor"]) {
    assert.equal(isEventType(type), false, type);
  }
});
