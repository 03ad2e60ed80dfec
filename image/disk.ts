/**
 * The disks beside the root: the writable /data disk, and read-only ones made from a folder.
 *
 * Made as files, without root and without mounting. An existing data disk is never touched: it
 * is the machine's memory.
 */

import { dirname } from "node:path";
import { exists, run } from "./host.ts";

/** The label by which PID 1 finds the data disk. */
export const DATA_LABEL = "osym-data";
/** The label by which PID 1 finds the self-test disk. */
export const TEST_LABEL = "osym-test";

const MIB = 1024 * 1024;
/** Room for ext4's own structures on a disk made from a folder, and the least it works with. */
const OVERHEAD_BYTES = 8 * MIB;

/** Makes the data disk (sparse ext4) unless there is one. Size in MiB. True: it was made now. */
export async function ensureDataDisk(path: string, sizeMb = 1024): Promise<boolean> {
  if (await exists(path)) return false;
  await makeExt4(path, { label: DATA_LABEL, bytes: sizeMb * MIB });
  return true;
}

/** Makes a disk image with a folder's files in it, replacing an earlier one. */
export async function makeFolderDisk(
  path: string,
  folder: string,
  label: string = TEST_LABEL,
): Promise<void> {
  const bytes = OVERHEAD_BYTES + await folderBytes(folder) * 1.2;
  await makeExt4(path, { label, bytes: Math.ceil(bytes / MIB) * MIB, folder });
}

async function makeExt4(
  path: string,
  disk: { label: string; bytes: number; folder?: string },
): Promise<void> {
  await Deno.mkdir(dirname(path), { recursive: true });
  // Made under another name: an interrupted mkfs must not be taken for a disk.
  const fresh = `${path}.new`;
  const file = await Deno.open(fresh, { create: true, write: true, truncate: true, mode: 0o600 });
  await file.truncate(disk.bytes);
  file.close();
  const env = { PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin` };
  await run([
    ...["mkfs.ext4", "-q", "-F", "-L", disk.label, "-m", "0", "-E", "root_owner=0:0"],
    ...(disk.folder ? ["-d", disk.folder] : []),
    fresh,
  ], { env });
  await Deno.rename(fresh, path);
}

/** Bytes a folder needs, each file rounded up to blocks of 4 KiB. */
async function folderBytes(folder: string): Promise<number> {
  let total = 4096;
  for await (const entry of Deno.readDir(folder)) {
    const path = `${folder}/${entry.name}`;
    if (entry.isDirectory) total += await folderBytes(path);
    else total += Math.ceil((await Deno.lstat(path)).size / 4096 + 1) * 4096;
  }
  return total;
}
