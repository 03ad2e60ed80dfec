import assert from "node:assert/strict";
import { mb, ms, table, times } from "./table.ts";

Deno.test("table() aligns names left and cells right", () => {
  assert.equal(
    table("boot", ["machine", "median"], [["q35", "7 ms"], ["microvm", "1300 ms"]]),
    [
      "boot",
      "----------------",
      "machine   median",
      "----------------",
      "q35         7 ms",
      "microvm  1300 ms",
      "",
    ].join("\n"),
  );
});

Deno.test("table() takes rows shorter than its head", () => {
  const lines = table("t", ["a", "b"], [["x"]]).split("\n");
  assert.equal(lines[4], "x");
});

Deno.test("units are written out", () => {
  assert.equal(ms(1234.5), "1235 ms");
  assert.equal(mb(5_250_000), "5.25 MB");
  assert.equal(times(1.5), "1.50 ×");
});
