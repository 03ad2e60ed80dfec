/**
 * What the machine goes on without: it becomes ready all the same, and says what is missing and why.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ensureDataDisk } from "../../image/disk.ts";
import { assertCleanData, debugfs, fillDisk } from "./disks.ts";
import { Guest, type GuestOptions } from "./guest.ts";
import { boot, bootEnd, eventually } from "./shared.ts";

const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

interface Degraded {
  degraded: { part: string; reason: string }[];
}

async function reasonOf(guest: Guest, part: string): Promise<string> {
  return await eventually(`${part} to be degraded`, async () => {
    const { degraded } = await guest.json<Degraded>("/api/v1/status");
    return degraded.find((item) => item.part === part)?.reason;
  }, 30_000);
}

/** The reason a part is degraded, from the event port: for guests without a network. */
async function toldReason(options: GuestOptions, part: string): Promise<string> {
  await using guest = await Guest.start(options);
  await guest.waitEvent("system.ready", undefined, 60_000);
  const event = await guest.waitEvent(
    "system.degraded",
    ({ data }) => data.part === part,
    60_000,
  );
  await bootEnd(guest);
  // The console says it too: it is how a person reaches a machine without a network.
  await guest.console.ask("status", new RegExp(`degraded\\s+${part}`), 30_000);
  return String(event.data.reason);
}

async function disk(name: string, damage: (path: string) => Promise<unknown>, mb = 32) {
  const path = join(folder, name);
  await ensureDataDisk(path, mb);
  await damage(path);
  return { path };
}

Deno.test("without a data disk it is ready, says so, and keeps services until the next boot", async () => {
  await using guest = await boot({ data: "none" });
  assert.match(await reasonOf(guest, "data"), /no disk .*osym-data/);
  const state = await guest.post<{ state: string }>("/api/v1/services", {
    name: "napper",
    argv: ["sleep", "1000"],
  });
  assert.equal(state.state, "running");
});

Deno.test("a data disk whose superblock is gone is left alone and named", async () => {
  const data = await disk("wiped.img", async (path) => {
    using file = await Deno.open(path, { write: true });
    await file.write(new Uint8Array(65_536));
  });
  await using guest = await boot({ data });
  assert.match(await reasonOf(guest, "data"), /osym-data.*\/dev\/vdb/);
  assert.equal((await guest.exec(["sh", "-c", "grep -c ' /data ' /proc/mounts"])).stdout, "0\n");
});

Deno.test("a data disk that needs a person is not mounted, and e2fsck's words are told", async () => {
  // The root directory's inode is cleared: more than `e2fsck -p` mends by itself. A file system
  // that says it is clean is not looked at, so it must not say so.
  const data = await disk("broken.img", async (path) => {
    await debugfs(path, "clri <2>");
    await debugfs(path, "set_super_value state 2");
  });
  await using guest = await boot({ data });
  assert.match(await reasonOf(guest, "data"), /e2fsck -p .*exit \d+/);
});

Deno.test("a damaged data disk that can be mended safely is mended and mounted", async () => {
  const data = await disk("mended.img", async (path) => {
    await debugfs(path, "set_super_value free_blocks_count 7");
    await debugfs(path, "set_super_value state 2");
  });
  await using guest = await boot({ data });
  // A lease that comes late is missing for a while, too.
  await eventually("nothing to be degraded", async () => {
    const { degraded } = await guest.json<Degraded>("/api/v1/status");
    assert.deepEqual(degraded, []);
    return true;
  });
  assert.match(await guest.shell("cat /proc/mounts"), /^\/dev\/vdb \/data ext4 rw/m);
  await guest.powerOff(40_000);
  await assertCleanData(data.path);
});

Deno.test("with a data disk that is full from the start it is ready and says so", async () => {
  const data = await disk("full.img", fillDisk);
  await using guest = await boot({ data });
  assert.match(await reasonOf(guest, "disk./data"), /\/data is full/);
  assert.match(await guest.shell("cat /proc/mounts"), /^\/dev\/vdb \/data ext4 rw/m);
  assert.match(await guest.shell("echo alive"), /alive/);
  await guest.powerOff(40_000);
  await assertCleanData(data.path);
});

Deno.test("a full data disk is mounted and said to be full; it recovers when there is room", async () => {
  await using guest = await boot({ dataMb: 32 });
  await guest.exec(["sh", "-c", "dd if=/dev/zero of=/data/fill bs=64k"]);
  assert.match(await reasonOf(guest, "disk./data"), /\/data is full/);
  // What it does for us goes on: a command still runs, and its refusals are values.
  assert.match(await guest.shell("echo alive"), /alive/);
  await guest.shell("rm /data/fill");
  await eventually("room again", async () => {
    const { degraded } = await guest.json<Degraded>("/api/v1/status");
    return degraded.every(({ part }) => part !== "disk./data");
  }, 30_000);
});

Deno.test("without a network interface it is ready and says so", async () => {
  const reason = await toldReason({ net: "none", data: "none" }, "network");
  assert.match(reason, /no network interface/);
});

Deno.test("with a DHCP server that never answers it is ready and says so", async () => {
  const reason = await toldReason({ net: "silent", data: "none" }, "network");
  assert.match(reason, /no lease/);
});
