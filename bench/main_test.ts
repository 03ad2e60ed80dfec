import assert from "node:assert/strict";
import { OptionError } from "../image/options.ts";
import { parseBenchOptions } from "./main.ts";

Deno.test("parseBenchOptions() measures everything five times unless told otherwise", () => {
  const { parts, runs, memoryMb, json } = parseBenchOptions([]);
  assert.deepEqual([...parts], ["boot", "size", "memory", "bus"]);
  assert.deepEqual([runs, memoryMb, json], [5, 512, false]);
});

Deno.test("parseBenchOptions() takes several parts", () => {
  const options = parseBenchOptions(["--json", "--runs", "1", "--only", "bus,boot"]);
  assert.deepEqual([...options.parts], ["boot", "bus"]);
  assert.deepEqual([options.runs, options.json], [1, true]);
});

Deno.test("parseBenchOptions() refuses what it does not know, naming it", () => {
  for (const argv of [["--only", "boots"], ["--only"], ["--runs", "0"], ["--runs", "x"], ["-x"]]) {
    assert.throws(
      () => parseBenchOptions(argv),
      (error) => error instanceof OptionError && error.message.includes(argv[0]!),
    );
  }
});
