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

/** Reads every file of `folder` (not below it) by URL path; a file of unknown type is left out. */
export async function loadAssets(folder: string): Promise<Map<string, Asset>> {
  const assets = new Map<string, Asset>();
  for await (const entry of Deno.readDir(folder)) {
    const type = types[entry.name.split(".").pop() ?? ""];
    if (!entry.isFile || type === undefined) continue;
    const body = await Deno.readFile(`${folder}/${entry.name}`);
    const gzip = body.length < 1024 ? undefined : await compressed(body);
    assets.set(`/${entry.name}`, { body, type, gzip, etag: await digest(body) });
  }
  return assets;
}

async function compressed(body: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>> {
  const stream = new Blob([body]).stream().pipeThrough(new CompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function digest(body: Uint8Array<ArrayBuffer>): Promise<string> {
  return new Uint8Array(await crypto.subtle.digest("SHA-256", body)).toHex().slice(0, 32);
}
