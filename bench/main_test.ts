import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
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

Deno.test("bench says what the host lacks, and shows no stack", async () => {
  const deno = (args: string[], env: Record<string, string> = {}, clearEnv = false) =>
    new Deno.Command(Deno.execPath(), { args, env, clearEnv }).output();
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);
  // Without HOME there is no place for kernels; the runtime's own is told to it.
  const { denoDir } = JSON.parse(text((await deno(["info", "--json"])).stdout));
  const main = fileURLToPath(import.meta.resolve("./main.ts"));
  const env = { PATH: Deno.env.get("PATH") ?? "", DENO_DIR: denoDir, NO_COLOR: "1" };
  const { code, stderr } = await deno(["run", "-A", "--quiet", main, "--only", "size"], env, true);
  assert.equal(
    text(stderr),
    "find the cache directory: neither HOME nor XDG_CACHE_HOME is set\n",
  );
  assert.equal(code, 1);
});
