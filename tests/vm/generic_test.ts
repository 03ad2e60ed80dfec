/**
 * The distribution's own kernel: the same system through an initramfs and modules.
 */

import assert from "node:assert/strict";
import { Guest } from "./guest.ts";

Deno.test("the generic kernel boots the same system", async (t) => {
  await using guest = await Guest.boot({ kernel: "generic", nic: "both", readyTimeoutMs: 120_000 });
  await t.step("it answers over HTTP with its own kernel's name", async () => {
    const release = (await guest.shell("uname -r")).trim();
    assert.doesNotMatch(release, /-osym$/);
    assert.equal((await guest.api("/api/v1/status")).status, 200);
  });
  await t.step("PID 1 loaded the drivers of both network cards", async () => {
    const drivers = await guest.shell(
      "for link in /sys/class/net/eth*; do basename $(readlink $link/device/driver); done",
    );
    assert.deepEqual(drivers.trim().split("\n").sort(), ["e1000", "virtio_net"]);
  });
  await t.step("the data disk is mounted", async () => {
    await guest.waitEvent("boot.phase", (event) => event.data.name === "data", 60_000);
    assert.match(await guest.shell("cat /proc/mounts"), /^\/dev\/vdb \/data ext4 rw/m);
  });
  await t.step("the power button ends it in order", async () => {
    const outcome = await guest.powerOff(60_000);
    assert.equal(outcome.last.kind, "clean");
  });
});
