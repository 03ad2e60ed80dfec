/**
 * The page's files as the image carries them, read once into memory.
 *
 * Owns the list of types. It must never serve from the file system: what is
 * not read here does not exist.
 */
import type { Asset } from "./http/assets.ts";

const types: Readonly<Record<string, string>> = {
  html: "text/html; charset=utf-8",
  css: "text/css; charset=utf-8",
  js: "text/javascript; charset=utf-8",
  svg: "image/svg+xml",
  png: "image/png",
  json: "application/json",
};

/**
 * Reads every file of `folder` (not below it) by URL path; a file of unknown type is left out.
 * Nothing is compressed: the page is read once over a local link, and PID 1 boots meanwhile.
 */
export async function loadAssets(folder: string): Promise<Map<string, Asset>> {
  const assets = new Map<string, Asset>();
  for await (const entry of Deno.readDir(folder)) {
    const type = types[entry.name.split(".").pop() ?? ""];
    if (!entry.isFile || type === undefined) continue;
    assets.set(`/${entry.name}`, { body: await Deno.readFile(`${folder}/${entry.name}`), type });
  }
  return assets;
}
