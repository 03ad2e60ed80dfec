import assert from "node:assert/strict";
import fc from "fast-check";
import { eventTypes } from "./events.ts";
import { compileTopics, matches } from "./topics.ts";

const token = fc.constantFrom("a", "b", "kernel", "process", "exited");
const subject = fc.array(token, { minLength: 1, maxLength: 5 });

Deno.test("matches() follows NATS's subject rules", () => {
  for (
    const [pattern, text, answer] of [
      ["process.exited", "process.exited", true],
      ["process.exited", "process", false],
      ["process", "process.exited", false],
      ["process.*", "process.exited", true],
      ["process.*", "process", false],
      ["process.*", "process.exited.now", false],
      ["*.exited", "process.exited", true],
      ["*", "process", true],
      ["*", "process.exited", false],
      [">", "process", true],
      [">", "process.exited", true],
      ["process.>", "process.exited", true],
      ["process.>", "process.exited.now", true],
      ["process.>", "process", false],
      [">.exited", "process.exited", false],
      ["process.>.now", "process.exited.now", false],
      ["", "process", false],
      ["p*", "process", false],
    ] as const
  ) assert.equal(matches(pattern, text), answer, `${pattern} ~ ${text}`);
});

Deno.test("matches() agrees with a regular expression for well-formed patterns", () => {
  const pattern = fc.tuple(
    fc.array(fc.oneof(token, fc.constant("*")), { maxLength: 4 }),
    fc.boolean(),
  )
    .map(([tokens, rest]) => rest || tokens.length === 0 ? [...tokens, ">"] : tokens);
  fc.assert(fc.property(pattern, subject, (tokens, have) => {
    const expression = tokens.map((one) => one === "*" ? "[^.]+" : one === ">" ? ".+" : one);
    const model = new RegExp(`^${expression.join("\\.")}$`);
    assert.equal(matches(tokens.join("."), have.join(".")), model.test(have.join(".")));
  }));
});

Deno.test("compileTopics() answers the union of what its patterns match", () => {
  const one = compileTopics(["link.*", "process.exited", "link.up"]);
  assert.ok(one.ok);
  assert.deepEqual(
    [...one.types].sort(),
    eventTypes.filter((type) => type.startsWith("link.") || type === "process.exited").sort(),
  );
  const all = compileTopics([">"]);
  assert.ok(all.ok);
  assert.equal(all.types.size, eventTypes.length);
  const repeated = compileTopics(["link.up", "link.up"]);
  assert.ok(repeated.ok && repeated.types.size === 1, "a repeated pattern is no fault");
  const none = compileTopics([]);
  assert.ok(none.ok && none.types.size === 0);
});

Deno.test("compileTopics() refuses what is malformed or matches nothing, naming it", () => {
  for (
    const pattern of [
      "",
      ".",
      "a.",
      ".a",
      "a..b",
      "A.b",
      "link.>.up",
      ">.a",
      "link up",
      "link.up\n",
      "a-b",
      "x".repeat(129),
    ]
  ) {
    const topics = compileTopics(["link.up", pattern]);
    assert.equal(topics.ok, false, pattern);
    assert.match(
      topics.ok ? "" : topics.reason,
      /: expected dotted lower-case tokens|matches no event type/,
    );
  }
  for (const pattern of ["nonsense.*", "link.nonsense", "li*.up", "link.up.more"]) {
    const topics = compileTopics([pattern]);
    assert.equal(
      topics.ok ? "" : topics.reason,
      `type "${pattern}": matches no event type of the catalogue`,
    );
  }
});

Deno.test("compileTopics() never throws, and is quick on hostile patterns", () => {
  const hostile = fc.oneof(
    fc.string(),
    fc.constantFrom("*.", "a.", "*", ".", "a*").chain((unit) =>
      fc.integer({ min: 1, max: 20_000 }).map((times) => unit.repeat(times))
    ),
  );
  const began = performance.now();
  fc.assert(
    fc.property(fc.array(hostile, { maxLength: 3 }), (patterns) => void compileTopics(patterns)),
  );
  assert.ok(performance.now() - began < 5000);
});
