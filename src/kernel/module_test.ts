/** Kernel modules. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import { loadModule, parseModules } from "./module.ts";

Deno.test("loadModule() hands the file over and tells loaded from present", async () => {
  const path = Deno.makeTempFileSync();
  Deno.writeTextFileSync(path, "ELF");
  const script = new Script();
  const libc = fakeLibc({ init_module: script.fn(0, "EEXIST", "ENOENT") }, script.errno);
  assert.equal(await loadModule(libc, path, "debug=1"), "loaded");
  assert.deepEqual(script.calls[0]?.[1], 3n);
  assert.deepEqual(script.calls[0]?.[2], new TextEncoder().encode("debug=1\0"));
  assert.equal(await loadModule(libc, path), "present");
  await assert.rejects(loadModule(libc, path), { message: `init_module "${path}": ENOENT` });
  Deno.removeSync(path);
  await assert.rejects(loadModule(libc, path), { message: `read module "${path}": ENOENT` });
});

Deno.test("parseModules() reads /proc/modules", () => {
  assert.deepEqual(
    parseModules(
      "virtio_net 61440 0 - Live 0x0000000000000000\nnet_failover 20480 1 virtio_net, Live 0x0\n" +
        "x 1 0 - Loading 0x0\nbroken\ny z 0 - Live 0x0\n",
    ),
    [
      { name: "virtio_net", bytes: 61440, users: [], live: true },
      { name: "net_failover", bytes: 20480, users: ["virtio_net"], live: true },
      { name: "x", bytes: 1, users: [], live: false },
    ],
  );
});
