/** Tests of item.ts. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { readFrame } from "./item.ts";

const event = {
  specversion: "1.0",
  id: "00000000aaaaaaaa:7",
  source: "osym://nerve/kmsg",
  type: "kernel.logged",
  time: "2025-01-01T00:00:00.000Z",
  datacontenttype: "application/json",
  sequence: 7,
  boot: "00000000aaaaaaaa",
  mono: 1,
  data: {},
};

Deno.test("readFrame() reads a hello, events and gaps in order", () => {
  const { items, unreadable } = readFrame(JSON.stringify([
    { hello: { boot: "00000000aaaaaaaa", head: 9 } },
    event,
    { gap: { from: 8, to: 9, count: 2, reason: "slow" } },
    { gap: { reason: 4, count: "many" } },
  ]));
  assert.equal(unreadable, 0);
  assert.deepEqual(items, [
    { kind: "hello", boot: "00000000aaaaaaaa", head: 9 },
    { kind: "event", event },
    { kind: "gap", gap: { from: 8, to: 9, count: 2, reason: "slow" } },
    { kind: "gap", gap: { from: null, to: null, count: null, reason: "unknown" } },
  ]);
});

Deno.test("readFrame() counts what it can not read and keeps the rest", () => {
  const broken = [null, 4, "x", [], {}, { ...event, sequence: -1 }, { ...event, type: 3 }];
  const { items, unreadable } = readFrame(JSON.stringify([...broken, event]));
  assert.equal(unreadable, broken.length);
  assert.equal(items.length, 1);
});

Deno.test("readFrame() never throws", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => {
    const { items, unreadable } = readFrame(text);
    assert.ok(items.length + unreadable >= 0);
  }));
});
