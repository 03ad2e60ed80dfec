/** Tests of log.ts. */
import assert from "node:assert/strict";
import fc from "fast-check";
import type { CloudEvent } from "../../bus/envelope.ts";
import {
  append,
  bootEntry,
  capacity,
  emptyLog,
  eventEntry,
  familyFloor,
  findEffects,
  findEvent,
  gapEntry,
} from "./log.ts";

const boot = "00000000aaaaaaaa";
const event = (sequence: number, type: string, cause?: number): CloudEvent => ({
  specversion: "1.0",
  id: `${boot}:${sequence}`,
  source: "osym://nerve",
  type,
  time: "2025-01-01T00:00:00.000Z",
  datacontenttype: "application/json",
  sequence,
  boot,
  mono: sequence,
  data: {},
  ...(cause === undefined ? {} : { cause }),
});

Deno.test("append() stays within capacity and counts everything", () => {
  let log = append(emptyLog, [eventEntry(event(1, "link.down"))]);
  log = append(
    log,
    Array.from({ length: 10_000 }, (_, i) => eventEntry(event(i + 2, "process.forked"))),
  );
  assert.equal(log.entries.length, capacity);
  assert.equal(log.received, 10_001);
  assert.equal(log.counts.get("process"), 10_000);
});

Deno.test("append() keeps the last of each family through a storm of another", () => {
  let log = append(
    emptyLog,
    Array.from({ length: 200 }, (_, i) => eventEntry(event(i, "link.down"))),
  );
  log = append(log, [bootEntry(boot, 0, 0), gapEntry({ from: 1, to: 2, count: 2, reason: "" }, 0)]);
  for (let round = 0; round < 10; round++) {
    log = append(
      log,
      Array.from(
        { length: 1_000 },
        (_, i) => eventEntry(event(1_000 * round + i, "process.execed")),
      ),
    );
  }
  const held = (family: string) => log.entries.filter((entry) => entry.family === family);
  assert.equal(held("link").length, familyFloor);
  assert.equal(held("boot").length, 1);
  assert.equal(held("bus").length, 1);
  const link = held("link").at(-1);
  assert.ok(link?.kind === "event" && link.event.sequence === 199, "the newest are kept");
});

Deno.test("append() keeps order and bounds for any families", () => {
  fc.assert(
    fc.property(
      fc.array(fc.array(fc.integer({ min: 0, max: 200 }), { minLength: 500, maxLength: 900 }), {
        maxLength: 8,
      }),
      (batches) => {
        let log = emptyLog;
        let sequence = 0;
        for (const batch of batches) {
          log = append(
            log,
            batch.map((family) => eventEntry(event(sequence++, `family${family}.happened`))),
          );
        }
        assert.equal(log.entries.length, Math.min(capacity, sequence));
        assert.equal(log.received, sequence);
        assert.ok(log.entries.every((entry, i) => i === 0 || log.entries[i - 1]!.key < entry.key));
      },
    ),
    { numRuns: 30 },
  );
});

Deno.test("findEvent() and findEffects() follow causes within a boot", () => {
  const log = append(emptyLog, [
    eventEntry(event(1, "link.up")),
    eventEntry(event(2, "addr.leased", 1)),
    eventEntry({ ...event(3, "addr.added", 1), boot: "bbbbbbbb00000000" }),
  ]);
  assert.equal(findEvent(log, boot, 1)?.event.type, "link.up");
  assert.equal(findEvent(log, "bbbbbbbb00000000", 1), null);
  assert.deepEqual(
    findEffects(log, event(1, "link.up"), 9).map(({ event }) => event.sequence),
    [2],
  );
});
