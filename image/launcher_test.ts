import assert from "node:assert/strict";
import { allowedHosts, Launcher } from "./launcher.ts";

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

Deno.test("Launcher.url is where the port is bound", () => {
  const urlOn = (listen: string) =>
    new Launcher({
      ...{ parameters: [], tscKhz: null, init: [], relaunch: false },
      machine: {
        ...{ arch: "x86_64", machine: "q35", accel: "tcg", memoryMb: 512, cpus: 1 },
        ...{ singleThreadTcg: false, kernel: "", initrd: null, root: "", data: null, disks: [] },
        ...{ nic: "virtio", erstFile: null, extra: [] },
        net: { kind: "user", listen, port: 8422 },
      },
    }).url;
  assert.equal(urlOn("127.0.0.1"), "http://localhost:8422");
  assert.equal(urlOn("0.0.0.0"), "http://localhost:8422");
  assert.equal(urlOn("192.168.1.5"), "http://192.168.1.5:8422");
});
