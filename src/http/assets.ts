/**
 * Assets: the page's files, served to anybody.
 *
 * Owns nothing but the answer: the bytes are given. It must never reach a file
 * system, so that no path can lead out of what was given.
 */
import { pagePolicy } from "./headers.ts";

export interface Asset {
  readonly body: Uint8Array<ArrayBuffer>;
  readonly type: string;
  /** The same, compressed, for clients that take it. */
  readonly gzip?: Uint8Array<ArrayBuffer> | undefined;
  /** Names these bytes, without quotes; absent: they are taken to change with every boot. */
  readonly etag?: string | undefined;
}

/** Files by URL path, `/index.html` being the page. */
export type Assets = ReadonlyMap<string, Asset> | ((path: string) => Asset | null | undefined);

/** The file behind a URL path; null when there is none. */
export function findAsset(assets: Assets, path: string): Asset | null {
  const name = path === "/" ? "/index.html" : path;
  return (typeof assets === "function" ? assets(name) : assets.get(name)) ?? null;
}

/** Answers a GET or HEAD with the file, or 304 when the client has it (RFC 9110 §13.1.2). */
export function serveAsset(asset: Asset, request: Request, boot: string): Response {
  const accepts = /(^|,)\s*gzip\s*(;\s*q=(?!0(\.0*)?\s*(,|$))|,|$)/i;
  const gzip = asset.gzip !== undefined &&
    accepts.test(request.headers.get("accept-encoding") ?? "");
  const name = asset.etag ?? `${boot}-${asset.body.length}`;
  // Two encodings are two representations: each has a tag of its own.
  const etag = gzip ? `"${name}-gzip"` : `"${name}"`;
  const headers = new Headers({
    etag,
    "cache-control": "no-cache",
    "content-security-policy": pagePolicy(request.headers.get("host") ?? "localhost"),
    "vary": "Accept-Encoding",
  });
  const known = (request.headers.get("if-none-match") ?? "").split(",").map((tag) =>
    tag.trim().replace(/^W\//, "")
  );
  if (known.includes(etag) || known.includes("*")) {
    return new Response(null, { status: 304, headers });
  }
  headers.set("content-type", asset.type);
  if (gzip) headers.set("content-encoding", "gzip");
  return new Response(gzip ? asset.gzip! : asset.body, { headers });
}
