import assert from "node:assert/strict";
import { hostTscKhz } from "./tsc.ts";

Deno.test("hostTscKhz() is a plausible frequency, or null where there is no such counter", async () => {
  const khz = await hostTscKhz();
  if (khz === null) assert.notEqual(Deno.build.arch, "x86_64");
  else assert.ok(khz > 500_000 && khz < 10_000_000, `${khz} kHz`);
});
