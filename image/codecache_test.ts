import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { canonicaliseCache, readCache } from "./codecache.ts";
import { sha256 } from "./host.ts";

/** A cache as Deno leaves it: WAL mode, rows in the order they came. */
function makeCache(path: string, keys: readonly string[]): void {
  const database = new DatabaseSync(path);
  database.exec(
    "PRAGMA journal_mode = WAL; CREATE TABLE codecache (specifier TEXT NOT NULL, " +
      "source_hash INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (specifier))",
  );
  const insert = database.prepare("INSERT OR REPLACE INTO codecache VALUES (?, ?, ?)");
  for (const key of keys) insert.run(key, 4122680131165176813n, new TextEncoder().encode(key));
  database.close();
}

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir();
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("canonicaliseCache() gives the same bytes for the same rows", async () => {
  const digests: string[] = [];
  for (const keys of [["a", "b", "c"], ["c", "a", "b", "b", "c"]]) {
    await withFolder(async (folder) => {
      makeCache(join(folder, "v8_code_cache_v2"), keys);
      await canonicaliseCache(folder);
      digests.push(await sha256(await Deno.readFile(join(folder, "v8_code_cache_v2"))));
    });
  }
  assert.equal(digests[0], digests[1]);
});

Deno.test("canonicaliseCache() keeps every row, and the files a read-only WAL needs", async () => {
  await withFolder(async (folder) => {
    const path = join(folder, "v8_code_cache_v2");
    makeCache(path, ["b", "a"]);
    await canonicaliseCache(folder);
    assert.equal((await Deno.stat(`${path}-wal`)).size, 0);
    assert.ok((await Deno.stat(`${path}-shm`)).size > 0);
    const [table] = readCache(path);
    assert.deepEqual(table?.rows.map((row) => [row[0], row[1]]), [
      ["a", 4122680131165176813n],
      ["b", 4122680131165176813n],
    ]);
  });
});
