import assert from "node:assert/strict";
import { parseConfig } from "./config.ts";

Deno.test("parseConfig() takes osym.* words before -- and leaves the rest", () => {
  const { config, faults } = parseConfig(
    "root=/dev/vda ro osym.hostname=box osym.rescue=1 osym.ip=10.0.2.9/24,gw=10.0.2.2 -- run osym.port=1",
  );
  assert.deepEqual(faults, []);
  assert.equal(config.hostname, "box");
  assert.equal(config.rescue, true);
  assert.equal(config.ip, "10.0.2.9/24,gw=10.0.2.2");
  assert.equal(config.port, 80);
});

Deno.test("parseConfig() keeps the default and names what it does not understand", () => {
  const { config, faults } = parseConfig(
    "osym.port=http osym.hostname=-x osym.nope=1 osym.rescue=yes",
  );
  assert.equal(config.port, 80);
  assert.equal(config.hostname, "osymbiote");
  assert.deepEqual(faults.map((fault) => fault.parameter), [
    "osym.port",
    "osym.hostname",
    "osym.nope",
    "osym.rescue",
  ]);
});
