/**
 * The distribution's own kernel: the same system through an initramfs and modules.
 */

import assert from "node:assert/strict";
import { Guest } from "./guest.ts";
import { eventSince, faults, head } from "./shared.ts";

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
  await t.step("a connection that asks nothing is cut", async () => {
    const since = await head(guest);
    using silent = await Deno.connect({
      hostname: "127.0.0.1",
      port: Number(new URL(guest.url).port),
    });
    const reaped = await eventSince(guest, since, "http.reaped");
    assert.ok(Number(reaped.data.count) >= 1);
    assert.equal(await silent.read(new Uint8Array(1)), null);
  });
  await t.step("nothing is missing, and no fault was reported", async () => {
    const status = await (await guest.api("/api/v1/status")).json();
    assert.deepEqual(status.degraded, []);
    assert.deepEqual(await faults(guest), []);
  });
  await t.step("the power button ends it in order", async () => {
    const outcome = await guest.powerOff(60_000);
    assert.equal(outcome.last.kind, "clean");
  });
});
