/**
 * Headers: what every answer tells a browser not to do.
 *
 * Owns the security headers; a status 101 is left alone, its headers are the
 * handshake's.
 */

/** For answers that are data: nothing in them may run, load or be framed. */
const dataPolicy = "default-src 'none'; frame-ancestors 'none'";

/**
 * For the page: its own files only. The socket's address is written out from
 * the Host that was checked, since not every browser lets 'self' cover ws:.
 */
export function pagePolicy(host: string): string {
  return [
    "default-src 'self'",
    `connect-src 'self' ws://${host} wss://${host}`,
    "img-src 'self' data:",
    "object-src 'none'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
}

/** Sets them, keeping a policy and a caching rule that the handler chose itself. */
export function secure(response: Response): void {
  if (response.status === 101) return;
  const { headers } = response;
  headers.set("x-content-type-options", "nosniff");
  headers.set("referrer-policy", "no-referrer");
  headers.set("cross-origin-resource-policy", "same-origin");
  if (!headers.has("content-security-policy")) headers.set("content-security-policy", dataPolicy);
  if (!headers.has("cache-control")) headers.set("cache-control", "no-store");
}
