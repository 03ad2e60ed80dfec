/** Tests of filter.ts. */
import assert from "node:assert/strict";
import type { CloudEvent } from "../../bus/envelope.ts";
import { parseSearch, select } from "./filter.ts";
import { bootEntry, eventEntry, gapEntry } from "./log.ts";

const event = (type: string, data: unknown, subject?: string) =>
  eventEntry({ type, data, source: "osym://x", sequence: 12, subject } as CloudEvent);

const entries = [
  event("process.execed", { pid: 7, comm: "sleep" }),
  event("link.down", { index: 2, link: "eth0" }, "eth0"),
  event("system.sampled", {}),
  gapEntry({ from: null, to: null, count: null, reason: "slow" }, 0),
  bootEntry("b", 0, 0),
];
const shown = (families: string[], search: string) =>
  select(entries, { families: new Set(families), terms: parseSearch(search) })
    .map((entry) => entry.kind === "event" ? entry.event.type : entry.kind);

Deno.test("select() shows every family but the readings unless some are chosen", () => {
  assert.deepEqual(shown([], ""), ["process.execed", "link.down", "gap", "boot"]);
  assert.deepEqual(shown(["link"], ""), ["link.down", "gap", "boot"]);
  assert.deepEqual(shown(["sample", "process"], ""), [
    "process.execed",
    "system.sampled",
    "gap",
    "boot",
  ]);
});

Deno.test("select() needs every word, refuses every -word, and ignores case", () => {
  assert.deepEqual(shown([], "SLEEP exec"), ["process.execed", "gap", "boot"]);
  assert.deepEqual(shown([], "-sleep"), ["link.down", "gap", "boot"]);
  assert.deepEqual(shown([], "sleep eth0"), ["gap", "boot"]);
  assert.deepEqual(shown([], "- #12"), ["process.execed", "link.down", "gap", "boot"]);
});
