/** Tests of history.ts. */
import assert from "node:assert/strict";
import type { MachineSample } from "../../bus/shapes.ts";
import { emptyHistory, remember, span } from "./history.ts";

const sample = {
  memory: { total: 100, available: 60, free: 0, cached: 0, swap_total: 0, swap_free: 0 },
  load: [0.5, 0, 0],
  cpu: { busy: 0.25, user: 0, system: 0, iowait: 0, count: 1 },
  processes: 1,
  disks: [],
  links: [
    { link: "lo", rx_bytes: 0, tx_bytes: 0, rx_rate: 900, tx_rate: 900 },
    { link: "eth0", rx_bytes: 0, tx_bytes: 0, rx_rate: 10, tx_rate: 20 },
  ],
  uptime_s: 1,
} as MachineSample;

const at = (second: number, sequence: number, boot = "a") => ({
  boot,
  sequence,
  time: second * 1_000,
});

Deno.test("remember() turns a sample into a row, loopback left out", () => {
  const history = remember(remember(emptyHistory, sample, at(1, 10)), sample, at(2, 40));
  assert.deepEqual(history.time, [1, 2]);
  assert.deepEqual(history.columns, {
    cpu: [0.25, 0.25],
    memory: [0.4, 0.4],
    load: [0.5, 0.5],
    rx: [10, 10],
    tx: [20, 20],
    events: [null, 30],
  });
});

Deno.test("remember() keeps a bounded time and refuses to go back in it", () => {
  let history = emptyHistory;
  for (let s = 1; s <= span + 50; s++) history = remember(history, sample, at(s, s));
  assert.equal(history.time.length, span);
  assert.equal(history.time[0], 51);
  assert.equal(remember(history, sample, at(span + 49, 1)), history);
});

Deno.test("remember() breaks the line over a silence and reckons no rate across a reboot", () => {
  const before = remember(emptyHistory, sample, at(1, 900));
  const after = remember(before, sample, at(9, 5, "b"));
  assert.deepEqual(after.time, [1, 8, 9]);
  assert.deepEqual(after.columns.cpu, [0.25, null, 0.25]);
  assert.equal(after.columns.events.at(-1), null);
});

Deno.test("remember() begins anew when the machine's clock is set back", () => {
  const before = remember(emptyHistory, sample, at(1_000, 1));
  assert.deepEqual(remember(before, sample, at(10, 2)).time, [10]);
});
