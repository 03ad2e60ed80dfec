import assert from "node:assert/strict";
import { allowedHosts } from "./launcher.ts";

Deno.test("allowedHosts() names this host and the address it listens on", () => {
  assert.deepEqual(allowedHosts("127.0.0.1", 8422), ["localhost:8422", "127.0.0.1:8422"]);
  assert.deepEqual(allowedHosts("192.168.1.5", 8422), [
    ...["localhost:8422", "127.0.0.1:8422", "192.168.1.5:8422"],
  ]);
});

Deno.test("allowedHosts() knows that browsers leave out port 80", () => {
  assert.deepEqual(allowedHosts("127.0.0.1", 80), [
    ...["localhost", "localhost:80", "127.0.0.1", "127.0.0.1:80"],
  ]);
});

Deno.test("allowedHosts() lists the host's own names when it listens everywhere", () => {
  const hosts = allowedHosts("0.0.0.0", 8422);
  assert.ok(hosts.includes(`${Deno.hostname()}:8422`));
  assert.ok(!hosts.includes("0.0.0.0:8422"));
});
