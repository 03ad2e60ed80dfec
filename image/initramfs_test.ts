import assert from "node:assert/strict";
import { join } from "node:path";
import { CpioArchive, loadOrder, moduleName, parseModulesDep } from "./initramfs.ts";

Deno.test("moduleName() compares as the kernel does", () => {
  assert.equal(moduleName("kernel/drivers/char/hw_random/virtio-rng.ko.xz"), "virtio_rng");
  assert.equal(moduleName("ext4"), "ext4");
});

Deno.test("parseModulesDep() turns depmod's order into load order", () => {
  const index = parseModulesDep("a/ext4.ko: a/jbd2.ko a/mbcache.ko\na/jbd2.ko:\n\n");
  assert.deepEqual(index.get("ext4"), {
    path: "a/ext4.ko",
    needs: ["a/mbcache.ko", "a/jbd2.ko"],
  });
  assert.deepEqual(index.get("jbd2"), { path: "a/jbd2.ko", needs: [] });
});

async function withModules(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    const dep = "k/virtio_net.ko: k/net_failover.ko k/failover.ko\n" +
      "k/failover.ko:\nk/net_failover.ko: k/failover.ko\nk/virtio-rng.ko:\n";
    await Deno.writeTextFile(join(folder, "modules.dep"), dep);
    await Deno.writeTextFile(join(folder, "modules.builtin"), "k/virtio_pci.ko\n");
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("loadOrder() puts what is needed first, once, and leaves out what is built in", async () => {
  await withModules(async (folder) => {
    const names = ["virtio_pci", "net_failover", "virtio_net", "virtio-rng", "?absent"];
    assert.deepEqual(await loadOrder(folder, names), [
      ...["k/failover.ko", "k/net_failover.ko", "k/virtio_net.ko", "k/virtio-rng.ko"],
    ]);
  });
});

Deno.test("loadOrder() names a module the kernel does not have", async () => {
  await withModules(async (folder) => {
    await assert.rejects(loadOrder(folder, ["e1000"]), /this kernel has no e1000/);
  });
});

Deno.test("CpioArchive.bytes() is the newc format, every part padded to four bytes", () => {
  const archive = new CpioArchive();
  archive.folder("dev");
  archive.device("dev/console", 5, 1);
  archive.file("init", 0o755, new TextEncoder().encode("#!/bin/sh\n"));
  archive.file("empty", 0o644, new Uint8Array(0));
  const bytes = archive.bytes();
  assert.equal(bytes.length % 4, 0);
  const names: unknown[] = [];
  const decoder = new TextDecoder();
  for (let at = 0; at < bytes.length;) {
    const header = decoder.decode(bytes.subarray(at, at + 110));
    assert.equal(header.slice(0, 6), "070701");
    const field = (i: number): number => parseInt(header.slice(6 + i * 8, 14 + i * 8), 16);
    const [mode, size, major, minor, length] = [1, 6, 9, 10, 11].map(field);
    const name = decoder.decode(bytes.subarray(at + 110, at + 109 + (length ?? 0)));
    names.push([name, (mode ?? 0).toString(8), size, major, minor]);
    at += Math.ceil((110 + (length ?? 0)) / 4) * 4 + Math.ceil((size ?? 0) / 4) * 4;
  }
  assert.deepEqual(names, [
    ["dev", "40755", 0, 0, 0],
    ["dev/console", "20600", 0, 5, 1],
    ["init", "100755", 10, 0, 0],
    ["empty", "100644", 0, 0, 0],
    ["TRAILER!!!", "0", 0, 0, 0],
  ]);
});
