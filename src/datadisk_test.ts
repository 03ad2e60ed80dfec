import assert from "node:assert/strict";
import { type BlockDevice, type DataDeps, openDataDisk } from "./datadisk.ts";
import { BlockingCalls } from "./kernel/blocking.ts";

const data: BlockDevice = { device: "/dev/vdb", fs: "ext4", label: "osym-data" };
const root: BlockDevice = { device: "/dev/vda", fs: "erofs", label: "osym-root" };
const blank: BlockDevice = { device: "/dev/vdc", fs: null, label: null };

/** Opens the data disk of a machine with these devices; `code` is what e2fsck answers. */
async function open(devices: BlockDevice[], code: number | null, deps: Partial<DataDeps> = {}) {
  const acts: string[] = [];
  const disk = await openDataDisk({
    calls: new BlockingCalls(),
    mount: (device) => {
      acts.push(`mount ${device}`);
      return Promise.resolve(null);
    },
    run: (argv) => {
      acts.push(argv.join(" "));
      return Promise.resolve({ code, output: "one\ntwo\n" });
    },
    ...deps,
  }, () => Promise.resolve(devices));
  return { disk, acts };
}

Deno.test("openDataDisk() checks the disk and mounts what e2fsck left whole", async () => {
  for (const [code, checked] of [[0, "clean"], [1, "corrected"], [2, "corrected"]] as const) {
    const { disk, acts } = await open([root, blank, data], code);
    assert.deepEqual(disk, { ok: true, device: "/dev/vdb", checked });
    assert.deepEqual(acts, ["/sbin/e2fsck -p /dev/vdb", "mount /dev/vdb"]);
  }
});

Deno.test("openDataDisk() mounts nothing that needs a person, and says why", async () => {
  for (const code of [4, 8, 12, null]) {
    const { disk, acts } = await open([data], code);
    assert.ok(!disk.ok);
    assert.match(disk.reason, /e2fsck -p \/dev\/vdb: exit .*one \/ two/);
    assert.deepEqual(acts, ["/sbin/e2fsck -p /dev/vdb"]);
  }
  const none = await open([root], 0);
  assert.match(none.disk.ok ? "" : none.disk.reason, /^no disk/);
  const damaged = await open([root, blank], 0);
  assert.match(damaged.disk.ok ? "" : damaged.disk.reason, /unreadable or damaged: \/dev\/vdc/);
  assert.deepEqual([...none.acts, ...damaged.acts], []);
});

Deno.test("openDataDisk() answers a refusal whatever its steps throw", async () => {
  const throws = () => Promise.reject(new Error("create cgroup /tasks/boot-1: ENOENT"));
  for (const deps of [{ run: throws }, { mount: throws }]) {
    const { disk } = await open([data], 0, deps);
    assert.deepEqual(disk, { ok: false, reason: "create cgroup /tasks/boot-1: ENOENT" });
  }
});
