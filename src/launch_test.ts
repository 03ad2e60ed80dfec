import assert from "node:assert/strict";
import { parseLaunch } from "./launch.ts";

const good = {
  token_sha256: "a".repeat(64),
  hosts: ["localhost:8422"],
  origins: ["http://localhost:8422"],
  attempt: 2,
  last_stop: { kind: "panic", text: "Attempted to kill init!" },
};

Deno.test("parseLaunch() takes the launcher's facts", () => {
  const facts = parseLaunch(JSON.stringify(good));
  assert.ok(!("fault" in facts));
  assert.equal(facts.attempt, 2);
  assert.deepEqual(facts.lastStop, good.last_stop);
});

Deno.test("parseLaunch() names the field that is wrong", () => {
  const broken: [Record<string, unknown>, RegExp][] = [
    [{ token_sha256: "nope" }, /token_sha256/],
    [{ hosts: "localhost" }, /hosts/],
    [{ origins: [1] }, /origins/],
    [{ attempt: 0 }, /attempt/],
  ];
  for (const [change, pattern] of broken) {
    const facts = parseLaunch(JSON.stringify({ ...good, ...change }));
    assert.ok("fault" in facts);
    assert.match(facts.fault, pattern);
  }
  for (const text of ["", "[]", "null", "{", '"x"']) assert.ok("fault" in parseLaunch(text));
});

Deno.test("parseLaunch() calls a stop it does not know unknown", () => {
  const facts = parseLaunch(JSON.stringify({ ...good, last_stop: { kind: "alien" } }));
  assert.ok(!("fault" in facts));
  assert.equal(facts.lastStop.kind, "unknown");
});
