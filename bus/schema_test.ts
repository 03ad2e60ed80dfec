import assert from "node:assert/strict";
import { faults, loadZod, schema, schemaNow, type Zod } from "./schema.ts";

const person = (z: Zod) => z.object({ name: z.string(), age: z.number().int() });

Deno.test("schemaNow() answers null until zod is loaded, then the same schema each time", async () => {
  assert.equal(schemaNow(person), null);
  const built = await schema(person);
  assert.equal(schemaNow(person), built);
  assert.equal(await schema(person), built);
  assert.equal(await loadZod(), await loadZod());
});

Deno.test("faults() names the field and what was expected of it", async () => {
  const parsed = (await schema(person)).safeParse({ name: 7, age: 1.5 });
  assert.ok(!parsed.success);
  const [name, age] = faults(parsed.error);
  assert.match(name!, /^name: .*string/);
  assert.match(age!, /^age: .*int/);
  const whole = (await schema(person)).safeParse(null);
  assert.match(whole.success ? "" : faults(whole.error)[0]!, /^\(body\): /);
});
