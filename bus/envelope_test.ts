import assert from "node:assert/strict";
import fc from "fast-check";
import { eventId, type EventOf, isoTime, parsePosition, toCloudEvent } from "./envelope.ts";

const event: EventOf = {
  seq: 7,
  boot: "0123456789abcdef",
  type: "link.removed",
  source: "nerve.rtnetlink",
  time: Date.UTC(2025, 0, 2, 3, 4, 5, 6),
  mono: 123_456,
  data: { index: 2, link: "eth0" },
};

Deno.test("toCloudEvent() makes a CloudEvents 1.0 object", () => {
  assert.deepEqual(toCloudEvent(event), {
    specversion: "1.0",
    id: "0123456789abcdef:7",
    source: "osym://nerve/rtnetlink",
    type: "link.removed",
    time: "2025-01-02T03:04:05.006Z",
    datacontenttype: "application/json",
    sequence: 7,
    boot: "0123456789abcdef",
    mono: 123_456,
    data: { index: 2, link: "eth0" },
  });
  const full = toCloudEvent({ ...event, subject: "eth0", cause: 3 });
  assert.deepEqual([full.subject, full.cause], ["eth0", 3]);
  // CloudEvents 1.0: attribute names are lower-case letters and digits.
  for (const name of Object.keys(full)) assert.match(name, /^[a-z0-9]+$/);
});

Deno.test("isoTime() is RFC 3339 for any order of times", () => {
  const time = fc.integer({ min: 0, max: 4_102_444_800_000 });
  fc.assert(fc.property(fc.array(time), (times) => {
    for (const ms of [...times, ...times]) assert.equal(isoTime(ms), new Date(ms).toISOString());
  }));
});

Deno.test("parsePosition() undoes eventId()", () => {
  const boot = fc.string({
    unit: fc.constantFrom(..."0123456789abcdef"),
    minLength: 8,
    maxLength: 64,
  });
  fc.assert(fc.property(boot, fc.integer({ min: 0, max: 999_999_999_999_999 }), (id, seq) => {
    assert.deepEqual(parsePosition(eventId(id, seq)), { boot: id, seq });
  }));
});

Deno.test("parsePosition() answers null for everything else", () => {
  for (
    const text of [
      "",
      "7",
      ":7",
      "0123456789abcdef",
      "0123456789abcdef:",
      "0123456789abcdef:-1",
      "0123456789abcdef:1.5",
      "0123456789abcdef:1e3",
      "0123456789abcdef:7 ",
      "0123456789abcdef:7\n",
      "0123456789ABCDEF:7",
      "xyz45678:7",
      "0123456:7",
      `${"a".repeat(65)}:7`,
      `0123456789abcdef:${"9".repeat(16)}`,
    ]
  ) assert.equal(parsePosition(text), null, JSON.stringify(text));
  fc.assert(fc.property(fc.string(), (text) => void parsePosition(text)));
});
