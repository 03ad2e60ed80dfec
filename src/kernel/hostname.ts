/**
 * The machine's name and the kernel's.
 *
 * uname(2), sethostname(2).
 */

import { check } from "./errno.ts";
import { pinned, Reader } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** What uname(2) tells. */
export interface Uname {
  /** `"Linux"` */
  readonly system: string;
  readonly hostname: string;
  /** `"6.12.117"` */
  readonly release: string;
  /** Build number and date. */
  readonly version: string;
  /** `"x86_64"`, `"aarch64"` */
  readonly machine: string;
}

/** __NEW_UTS_LEN + 1; struct new_utsname has six such fields. */
const UTS_FIELD = 65;

/** Names of kernel and machine. @throws SysError */
export function uname(libc: Libc<"uname">): Uname {
  const bytes = pinned(UTS_FIELD * 6);
  check(libc, libc.sym.uname(bytes), "uname");
  const reader = new Reader(bytes);
  return {
    system: reader.text(UTS_FIELD),
    hostname: reader.text(UTS_FIELD),
    release: reader.text(UTS_FIELD),
    version: reader.text(UTS_FIELD),
    machine: reader.text(UTS_FIELD),
  };
}

/**
 * Names the machine.
 *
 * @param name at most 64 bytes
 * @throws SysError EINVAL when too long, EPERM without CAP_SYS_ADMIN
 */
export function setHostname(libc: Libc<"sethostname">, name: string): void {
  const bytes = new TextEncoder().encode(name);
  check(
    libc,
    libc.sym.sethostname(bytes, BigInt(bytes.byteLength)),
    "sethostname",
    () => JSON.stringify(name),
  );
}
