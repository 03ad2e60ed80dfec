/**
 * Resource limits of this process, inherited by its children.
 *
 * getrlimit(2).
 */

import { check } from "./errno.ts";
import { pinned, Reader, Writer } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** RLIMIT_* numbers, asm-generic/resource.h. */
const RESOURCES = { core: 4, nproc: 6, nofile: 7, memlock: 8 } as const;
/** A limited resource. */
export type Resource = keyof typeof RESOURCES;

/** struct rlimit { rlim_t cur; rlim_t max; }: two 64-bit words. */
const SIZEOF_RLIMIT = 16;
const RLIM_INFINITY = 0xffff_ffff_ffff_ffffn;

/** A soft and a hard limit; `Infinity` is none. */
export interface Limit {
  readonly soft: number;
  readonly hard: number;
}

function fromRlim(value: bigint): number {
  return value === RLIM_INFINITY ? Infinity : Number(value);
}

function toRlim(value: number): bigint {
  return value === Infinity ? RLIM_INFINITY : BigInt(Math.max(0, Math.floor(value)));
}

/** Reads a limit. @throws SysError */
export function getLimit(libc: Libc<"getrlimit">, resource: Resource): Limit {
  const bytes = pinned(SIZEOF_RLIMIT);
  check(libc, libc.sym.getrlimit(RESOURCES[resource], bytes), "getrlimit", resource);
  const reader = new Reader(bytes);
  return { soft: fromRlim(reader.u64big()), hard: fromRlim(reader.u64big()) };
}

/** Sets a limit. @throws SysError EPERM when raising the hard one without CAP_SYS_RESOURCE */
export function setLimit(libc: Libc<"setrlimit">, resource: Resource, limit: Limit): void {
  const bytes = new Writer(SIZEOF_RLIMIT).u64(toRlim(limit.soft)).u64(toRlim(limit.hard)).finish();
  check(
    libc,
    libc.sym.setrlimit(RESOURCES[resource], bytes),
    "setrlimit",
    () => `${resource} ${limit.soft}/${limit.hard}`,
  );
}
