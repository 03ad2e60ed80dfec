/** The last calls: never on the real library. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import { BlockingCalls } from "./blocking.ts";
import { reboot, sync } from "./reboot.ts";

Deno.test("reboot() passes the kernel's command words as int", () => {
  const script = new Script();
  const libc = fakeLibc({ reboot: script.fn(0, 0, 0, 0, "EPERM") }, script.errno);
  reboot(libc, "power-off");
  reboot(libc, "restart");
  reboot(libc, "halt");
  reboot(libc, "cad-off");
  assert.deepEqual(script.calls, [[0x4321fedc], [0x01234567], [-0x3210fedd], [0]]);
  assert.throws(() => reboot(libc, "cad-on"), { message: "reboot cad-on: EPERM" });
});

Deno.test("sync() gives up on a disk that hangs", async () => {
  const hung = Promise.withResolvers<void>();
  const libc = fakeLibc({ syncAsync: () => hung.promise });
  assert.deepEqual(await sync(libc, new BlockingCalls(), 5), { state: "timeout" });
  hung.resolve();
});
