/**
 * Names of a bundle's chunks that tell their content and nothing else.
 *
 * esbuild hashes the paths of its inputs into the names, so the same sources in another folder, or
 * with another user's package cache, come out under other names, and with them every file that
 * imports one. Here a chunk is named by its content, in which the names of chunks do not count.
 */

import { sha256 } from "./host.ts";

/** What esbuild puts behind a chunk's name: `chunk-5W3W7KHZ.js`. */
const HASH = /-[A-Z0-9]{8}\.js$/;

/** The files of a bundle, by name, under names that are the same wherever it was made. */
export async function canonicalChunks(
  files: ReadonlyMap<string, string>,
): Promise<Map<string, string>> {
  const chunks = [...files.keys()].filter((name) => HASH.test(name));
  const nameless = new Map(chunks.map((name) => [name, name.replace(HASH, ".js")]));
  const names = new Map<string, string>();
  for (const name of chunks) {
    const digest = await sha256(renamed(files.get(name) ?? "", nameless));
    names.set(name, name.replace(HASH, `-${digest.slice(0, 8)}.js`));
  }
  if (new Set(names.values()).size < chunks.length) {
    throw new Error(`name the chunks of a bundle: two are the same: ${chunks.join(" ")}`);
  }
  return new Map(
    [...files].map(([name, text]) => [names.get(name) ?? name, renamed(text, names)]),
  );
}

function renamed(text: string, names: ReadonlyMap<string, string>): string {
  for (const [from, to] of names) text = text.replaceAll(from, to);
  return text;
}
