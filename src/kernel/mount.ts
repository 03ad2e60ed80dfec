/**
 * Mounting, unmounting, and what is mounted.
 *
 * Owns: mount(2) and umount2(2) with their flags by name, the parser of /proc/self/mountinfo, and
 * statfs(2).
 * Must never: wait for a disk on the main thread. `mount()` and `umount()` are for pseudo file
 * systems (proc, sysfs, tmpfs, cgroup2), which answer at once and whose errno can be told; a file
 * system on a device goes through `mountDevice()` and `umountDevice()`, which run on the blocking
 * pool under a deadline and can tell only that it failed (the kernel log says why).
 *
 * mount(2), umount2(2), proc_pid_mountinfo(5), statfs(2).
 */

import type { BlockingCalls, Outcome } from "./blocking.ts";
import { check } from "./errno.ts";
import { cstr, pinned, Reader } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** MS_* flags by name, linux/mount.h. */
const MOUNT_FLAGS = {
  ro: 1,
  nosuid: 2,
  nodev: 4,
  noexec: 8,
  sync: 16,
  remount: 32,
  noatime: 1024,
  nodiratime: 2048,
  bind: 4096,
  move: 8192,
  rec: 16384,
  silent: 32768,
  private: 1 << 18,
  slave: 1 << 19,
  shared: 1 << 20,
  relatime: 1 << 21,
  strictatime: 1 << 24,
} as const;
/** A flag of mount(2). */
export type MountFlag = keyof typeof MOUNT_FLAGS;

/** umount2(2) flags by name. */
const UMOUNT_FLAGS = { force: 1, detach: 2, expire: 4, nofollow: 8 } as const;
/** A flag of umount2(2). */
export type UmountFlag = keyof typeof UMOUNT_FLAGS;

/** What to mount where. */
export interface MountRequest {
  /** Device path, or any name for a pseudo file system. */
  readonly source: string;
  readonly target: string;
  /** File system type; empty for bind, move, remount and propagation changes. */
  readonly type: string;
  readonly flags?: readonly MountFlag[];
  /** File system options, `"mode=0755,size=16m"`. */
  readonly data?: string;
}

function mountArguments(request: MountRequest) {
  const flags = (request.flags ?? []).reduce((bits, flag) => bits | MOUNT_FLAGS[flag], 0);
  return [
    cstr(request.source),
    cstr(request.target),
    cstr(request.type),
    BigInt(flags),
    request.data === undefined || request.data === "" ? null : cstr(request.data),
  ] as const;
}

function umountBits(flags: readonly UmountFlag[]): number {
  return flags.reduce((bits, flag) => bits | UMOUNT_FLAGS[flag], 0);
}

/**
 * Mounts a pseudo file system.
 *
 * @throws SysError such as `mount "proc" on "/proc": EBUSY`
 */
export function mount(libc: Libc<"mount">, request: MountRequest): void {
  const args = mountArguments(request);
  check(
    libc,
    libc.sym.mount(...args),
    "mount",
    () => `${JSON.stringify(request.source)} on ${JSON.stringify(request.target)}`,
  );
}

/** Unmounts a pseudo file system, or detaches any (`detach` never waits). @throws SysError */
export function umount(
  libc: Libc<"umount2">,
  target: string,
  flags: readonly UmountFlag[] = [],
): void {
  const path = cstr(target);
  check(
    libc,
    libc.sym.umount2(path, umountBits(flags)),
    "umount",
    () => JSON.stringify(target),
  );
}

/**
 * Mounts a file system that lives on a device, off the main thread.
 *
 * @returns whether it is mounted now; `timeout` and `busy` as `BlockingCalls` has them
 * @throws SysError EINVAL when a string holds a NUL
 */
export async function mountDevice(
  libc: Libc<"mountAsync">,
  calls: BlockingCalls,
  request: MountRequest,
  deadlineMs: number,
): Promise<Outcome<boolean>> {
  const args = mountArguments(request);
  return await calls.run(async () => await libc.sym.mountAsync(...args) === 0, deadlineMs, args);
}

/**
 * Unmounts a file system that lives on a device, off the main thread.
 *
 * @returns whether it is unmounted now; false is most often EBUSY
 * @throws SysError EINVAL when the path holds a NUL
 */
export async function umountDevice(
  libc: Libc<"umount2Async">,
  calls: BlockingCalls,
  target: string,
  flags: readonly UmountFlag[],
  deadlineMs: number,
): Promise<Outcome<boolean>> {
  const path = cstr(target);
  return await calls.run(
    async () => await libc.sym.umount2Async(path, umountBits(flags)) === 0,
    deadlineMs,
    [path],
  );
}

/** Room on a file system. */
export interface FileSystemStats {
  /** Magic number of the file system, linux/magic.h: 0xEF53 is ext4. */
  readonly magic: number;
  readonly totalBytes: number;
  readonly freeBytes: number;
  /** Free to processes without privilege. */
  readonly availableBytes: number;
  /** 0 where the file system does not count them (btrfs; erofs says −1). */
  readonly totalInodes: number;
  readonly freeInodes: number;
  readonly readOnly: boolean;
}

/** struct statfs of the 64-bit ABIs: eleven longs and four spare. */
const SIZEOF_STATFS = 120;
const ST_RDONLY = 1;

/** −1 as unsigned is no count. */
function inodes(count: number): number {
  return count >= 2 ** 63 ? 0 : count;
}

/** Decodes a struct statfs; null if it is too short. */
export function decodeStatfs(bytes: Uint8Array): FileSystemStats | null {
  const reader = new Reader(bytes);
  const magic = reader.u64();
  reader.u64(); // f_bsize: the unit of transfer; f_frsize is the unit of the counts
  const blocks = reader.u64();
  const free = reader.u64();
  const available = reader.u64();
  const totalInodes = inodes(reader.u64());
  const freeInodes = inodes(reader.u64());
  reader.skip(8 + 8); // f_fsid, f_namelen
  const fragment = reader.u64();
  const flags = reader.u64();
  if (reader.error !== null) return null;
  return {
    magic,
    totalBytes: blocks * fragment,
    freeBytes: free * fragment,
    availableBytes: available * fragment,
    totalInodes,
    freeInodes,
    readOnly: flags % 2 === ST_RDONLY,
  };
}

/**
 * Room on the file system that holds `path`, off the main thread.
 *
 * @returns null when the kernel refused (the path is gone, or not permitted)
 */
export async function statfs(
  libc: Libc<"statfsAsync">,
  calls: BlockingCalls,
  path: string,
  deadlineMs = 2000,
): Promise<Outcome<FileSystemStats | null>> {
  const name = cstr(path);
  const stats = pinned(SIZEOF_STATFS);
  return await calls.run(
    async () => await libc.sym.statfsAsync(name, stats) === 0 ? decodeStatfs(stats) : null,
    deadlineMs,
    [name, stats],
  );
}

/** One line of /proc/self/mountinfo. */
export interface Mount {
  readonly id: number;
  readonly parent: number;
  /** `"254:0"` */
  readonly device: string;
  /** Path within the file system that is mounted here. */
  readonly root: string;
  readonly target: string;
  readonly options: readonly string[];
  readonly type: string;
  readonly source: string;
  readonly superOptions: readonly string[];
}

/** Undoes the octal escapes of space, tab, newline and backslash. */
function unescape(text: string): string {
  return text.replace(
    /\\([0-7]{3})/g,
    (_, digits: string) => String.fromCharCode(parseInt(digits, 8) & 0xff),
  );
}

/** Parses /proc/[pid]/mountinfo. Malformed lines are left out and counted. */
export function parseMountinfo(text: string): { mounts: Mount[]; skipped: number } {
  const mounts: Mount[] = [];
  let skipped = 0;
  for (const line of text.split("\n")) {
    if (line === "") continue;
    // "36 35 98:0 /mnt1 /mnt2 rw,noatime master:1 - ext3 /dev/root rw,errors=continue":
    // any number of optional fields stand before the lone dash.
    const fields = line.split(" ");
    const dash = fields.indexOf("-", 6);
    const [id, parent, device, root, target, options] = fields;
    const [type, source, superOptions] = dash < 0 ? [] : fields.slice(dash + 1);
    if (
      device === undefined || root === undefined || target === undefined ||
      options === undefined || type === undefined || source === undefined ||
      !/^\d+$/.test(id ?? "") || !/^\d+$/.test(parent ?? "")
    ) {
      skipped++;
      continue;
    }
    mounts.push({
      id: Number(id),
      parent: Number(parent),
      device,
      root: unescape(root),
      target: unescape(target),
      options: options.split(","),
      type,
      source: unescape(source),
      superOptions: (superOptions ?? "").split(",").filter((option) => option !== ""),
    });
  }
  return { mounts, skipped };
}
