/** Specs on a real disk. */
import assert from "node:assert/strict";
import type { ServiceSpec } from "../../bus/shapes.ts";
import { FolderStore, type Leash } from "./store.ts";

const leash: Leash = {
  run: async (call) => ({ state: "done", value: await call() }),
};

const web: ServiceSpec = { name: "web", argv: ["httpd", "-f"], restart: "always" };

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(`${folder}/services`);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("FolderStore.load() answers what save() wrote, and nothing where nothing is", async () => {
  await withFolder(async (folder) => {
    const store = new FolderStore(folder, leash);
    assert.deepEqual(await store.load(), { specs: [], faults: [] });
    await store.save(web);
    await store.save({ ...web, argv: ["httpd"] });
    await store.save({ ...web, name: "dns" });
    const { specs, faults } = await store.load();
    assert.deepEqual(specs, [
      { file: "dns.json", value: { ...web, name: "dns" } },
      { file: "web.json", value: { ...web, argv: ["httpd"] } },
    ]);
    assert.deepEqual(faults, []);
    assert.deepEqual(
      [...Deno.readDirSync(folder)].map(({ name }) => name).sort(),
      ["dns.json", "web.json"],
    );
    assert.equal((Deno.statSync(`${folder}/web.json`).mode ?? 0) & 0o777, 0o600);
  });
});

Deno.test("FolderStore.remove() forgets, and forgives what never was", async () => {
  await withFolder(async (folder) => {
    const store = new FolderStore(folder, leash);
    await store.remove("web");
    await store.save(web);
    await store.remove("web");
    assert.deepEqual((await store.load()).specs, []);
  });
});

Deno.test("FolderStore.load() makes each damaged file one fault", async () => {
  await withFolder(async (folder) => {
    const store = new FolderStore(folder, leash);
    await store.save(web);
    await Deno.writeTextFile(`${folder}/torn.json`, '{"name":"to');
    await Deno.writeTextFile(`${folder}/empty.json`, "");
    await Deno.writeTextFile(`${folder}/large.json`, " ".repeat(70_000));
    await Deno.writeTextFile(`${folder}/half.json.new`, "{");
    await Deno.mkdir(`${folder}/folder.json`);
    await Deno.symlink("/dev/zero", `${folder}/link.json`);
    const { specs, faults } = await store.load();
    assert.deepEqual(specs.map(({ file }) => file), ["web.json"]);
    assert.deepEqual(faults.map((fault) => fault.split(":")[0]), [
      "empty.json",
      "folder.json",
      "large.json",
      "link.json",
      "torn.json",
    ]);
    assert.match(faults[2]!, /70000 bytes, at most 65536/);
    assert.match(faults[3]!, /not a regular file/);
  });
});

Deno.test("FolderStore.load() answers an unreadable folder as a fault", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(folder, "");
    const { specs, faults } = await new FolderStore(folder, leash).load();
    assert.deepEqual(specs, []);
    assert.match(faults.join(), /^read ".*services": ENOTDIR$/);
  });
});

Deno.test("FolderStore.save() rejects when the disk refuses or hangs", async () => {
  await withFolder(async (folder) => {
    await Deno.writeTextFile(folder, "");
    await assert.rejects(new FolderStore(folder, leash).save(web), /^Error: write ".*": E/);
    for (const state of ["timeout", "busy"] as const) {
      const hung = new FolderStore(folder, { run: () => Promise.resolve({ state }) });
      await assert.rejects(hung.save(web), state === "busy" ? /too many calls/ : /ETIMEDOUT/);
      await assert.rejects(hung.remove("web"), /remove/);
      assert.equal((await hung.load()).faults.length, 1);
    }
  });
});
