/**
 * Kernel parameters, /proc/sys.
 *
 * Must never: be given `vm.drop_caches`, `vm.compact_memory` or the like: writing those waits for
 * the work to be done, on this thread.
 *
 * sysctl(8), proc_sys(5).
 */

import { fromDeno } from "./errno.ts";

/**
 * The path of a parameter: `"net.ipv4.ip_forward"`, or with slashes when a part holds a dot, as in
 * `"net/ipv4/conf/eth0.5/rp_filter"`. Null if it is not a name.
 */
export function sysctlPath(name: string, root = "/proc/sys"): string | null {
  const parts = name.includes("/") ? name.split("/") : name.split(".");
  const good = parts.every((part) => /^[A-Za-z0-9_.:@-]+$/.test(part) && !/^\.+$/.test(part));
  return good ? `${root}/${parts.join("/")}` : null;
}

function pathOf(name: string, root?: string): string {
  const path = sysctlPath(name, root);
  if (path === null) throw new TypeError(`sysctl ${JSON.stringify(name)}: not a parameter's name`);
  return path;
}

/**
 * Sets a parameter.
 *
 * @throws SysError ENOENT when this kernel lacks it, EINVAL, EPERM; TypeError for a bad name
 */
export function setSysctl(name: string, value: string | number, root?: string): void {
  const path = pathOf(name, root);
  try {
    Deno.writeTextFileSync(path, `${value}\n`, { create: false });
  } catch (error) {
    throw fromDeno(error, "sysctl", `${name}=${value}`);
  }
}

/** A parameter's value, trimmed. @throws SysError ENOENT, EACCES; TypeError for a bad name */
export function getSysctl(name: string, root?: string): string {
  const path = pathOf(name, root);
  try {
    return Deno.readTextFileSync(path).trim();
  } catch (error) {
    throw fromDeno(error, "sysctl", name);
  }
}
