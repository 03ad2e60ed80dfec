/**
 * Deno's caches (V8 code, module analysis) in a form that is the same for the same content.
 *
 * Deno leaves SQLite files in WAL mode whose bytes depend on how often they were opened. Each is
 * written anew: schema, rows in key order, statistics, an empty log. The empty -wal and -shm must
 * stay beside it: without them SQLite can not open a WAL database on a read-only file system, and
 * Deno would compile everything again (https://sqlite.org/wal.html#readonly).
 */

import { join } from "node:path";
import { DatabaseSync, type SQLInputValue } from "node:sqlite";

/** Size of an -shm file with one (unused) page of index. */
const SHM_BYTES = 32768;

/** A table of a cache: its name and its rows, each row's values in column order. */
export interface CacheTable {
  name: string;
  sql: string;
  rows: SQLInputValue[][];
}

/** Rewrites every SQLite database in a folder. */
export async function canonicaliseCache(folder: string): Promise<void> {
  for (const name of await cacheNames(folder)) {
    const path = join(folder, name);
    const tables = readCache(path);
    for (const end of ["", "-wal", "-shm"]) await Deno.remove(path + end).catch(ignoreNotFound);
    writeCache(path, tables);
    await Deno.writeFile(`${path}-wal`, new Uint8Array(0));
    await Deno.writeFile(`${path}-shm`, new Uint8Array(SHM_BYTES));
  }
}

/** The databases of a Deno cache folder, sorted. */
export async function cacheNames(folder: string): Promise<string[]> {
  const names: string[] = [];
  for await (const { name, isFile } of Deno.readDir(folder)) {
    if (isFile && !/-(wal|shm)$/.test(name)) names.push(name);
  }
  return names.sort();
}

/** Schema and rows of a cache, tables and rows in a fixed order. */
export function readCache(path: string): CacheTable[] {
  const database = new DatabaseSync(path);
  try {
    const tables = database.prepare(
      "SELECT name, sql FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' " +
        "ORDER BY name",
    ).all() as { name: string; sql: string }[];
    return tables.map(({ name, sql }) => {
      const columns = database.prepare(`PRAGMA table_info("${name}")`).all().length;
      const order = Array.from({ length: columns }, (_, i) => i + 1).join(", ");
      const select = database.prepare(`SELECT * FROM "${name}" ORDER BY ${order}`);
      // Source hashes are 64 bits wide.
      select.setReadBigInts(true);
      return { name, sql, rows: select.all().map((row) => Object.values(row)) };
    });
  } finally {
    database.close();
  }
}

function writeCache(path: string, tables: readonly CacheTable[]): void {
  const database = new DatabaseSync(path);
  try {
    database.exec("PRAGMA page_size = 4096; BEGIN");
    for (const { name, sql, rows } of tables) {
      database.exec(sql);
      const marks = rows[0]?.map(() => "?").join(", ");
      if (marks === undefined) continue;
      const insert = database.prepare(`INSERT INTO "${name}" VALUES (${marks})`);
      for (const row of rows) insert.run(...row);
    }
    // With statistics there, the PRAGMA optimize in Deno's start finds nothing it would write.
    database.exec("ANALYZE; COMMIT; PRAGMA journal_mode = WAL");
  } finally {
    database.close();
  }
}

function ignoreNotFound(error: unknown): void {
  if (!(error instanceof Deno.errors.NotFound)) throw error;
}
