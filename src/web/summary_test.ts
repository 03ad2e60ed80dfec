/** Tests of summary.ts. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { CloudEvent } from "../../bus/envelope.ts";
import { eventTypes } from "../../bus/events.ts";
import { gapWords, summarise, toneOf } from "./summary.ts";

const event = (type: string, data: unknown) => ({ type, data, source: "osym://x" }) as CloudEvent;

Deno.test("summarise() says what happened in plain words", () => {
  const cases: [string, unknown, string][] = [
    [
      "process.execed",
      { pid: 7, comm: "sleep", exe: "/bin/sleep", uid: 0 },
      "7 sleep /bin/sleep uid 0",
    ],
    [
      "process.exited",
      { pid: 7, comm: "sleep", code: null, signal: "SIGKILL" },
      "7 sleep by SIGKILL",
    ],
    ["process.exited", { pid: 7, comm: "sleep", code: null, signal: null }, "7 sleep unheard"],
    [
      "addr.added",
      { index: 2, link: "eth0", address: "10.0.2.15", prefix: 24 },
      "10.0.2.15/24 on eth0",
    ],
    ["kernel.logged", { level: 3, facility: 0, sequence: 1, text: "bad disk" }, "err: bad disk"],
    ["clock.stepped", { by_ms: -1_500 }, "by −1.50 s"],
    ["made.up", { a: 1 }, '{"a":1}'],
  ];
  for (const [type, data, words] of cases) assert.equal(summarise(event(type, data)), words);
});

Deno.test("summarise() and toneOf() never throw, whatever the data", () => {
  const data = fc.oneof(fc.anything({ withBigInt: false }), fc.jsonValue());
  fc.assert(fc.property(fc.constantFrom(...eventTypes), data, (type, value) => {
    // What comes over the wire is JSON.
    const sent = JSON.parse(JSON.stringify(value) ?? "null");
    const line = summarise(event(type, sent));
    assert.ok(line.length <= 6 * 402, "bounded");
    // deno-lint-ignore no-control-regex
    assert.ok(!/[\u0000-\u001f\u202e]/.test(line), "nothing that rearranges the line");
    assert.ok(["bad", "warn", "good", "plain"].includes(toneOf(event(type, sent))));
  }));
});

Deno.test("toneOf() tells the grave from the ordinary", () => {
  assert.equal(toneOf(event("kernel.logged", { level: 2 })), "bad");
  assert.equal(toneOf(event("kernel.logged", { level: 6 })), "plain");
  assert.equal(toneOf(event("action.finished", { ok: false })), "bad");
  assert.equal(toneOf(event("link.down", {})), "warn");
  assert.equal(toneOf(event("system.ready", {})), "good");
});

Deno.test("gapWords() says how many, which and why, or that it is not known", () => {
  assert.equal(
    gapWords({ from: 8, to: 9, count: 2, reason: "slow" }),
    "2 events lost (8–9): slow",
  );
  assert.equal(
    gapWords({ from: null, to: null, count: null, reason: "unknown boot" }),
    "an unknown number of events lost: unknown boot",
  );
});
