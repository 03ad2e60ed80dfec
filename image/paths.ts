/**
 * Where things are on the host: the source tree, its build products, the cache outside the tree.
 *
 * Must never point into the guest; guest paths are constants beside the code that makes them.
 */

import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { HostError } from "./host.ts";

/** The checkout's root, absolute, without a trailing slash. */
export const TREE: string = fileURLToPath(new URL("..", import.meta.url)).replace(/\/$/, "");

/** Build products of this checkout; deleted by `./run.sh clean`. */
export const OUT: string = join(TREE, ".out");

/**
 * What is expensive to make and shared by every checkout of this user: kernels, packages.
 * Throws when neither HOME nor XDG_CACHE_HOME says where that is.
 */
export function cacheDir(): string {
  const xdg = Deno.env.get("XDG_CACHE_HOME");
  // Its specification wants a relative path ignored.
  if (xdg?.startsWith("/")) return join(xdg, "osymbiote");
  const home = Deno.env.get("HOME");
  if (home) return join(home, ".cache", "osymbiote");
  throw new HostError("find the cache directory: neither HOME nor XDG_CACHE_HOME is set");
}
