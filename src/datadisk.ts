/**
 * The data disk: finding the ext4 file system labelled `osym-data`, checking
 * and mounting it at /data.
 *
 * Owns nothing after the mount. It must never run a synchronous call that waits
 * on the disk, and never repair beyond what e2fsck calls safe: a disk that
 * needs a person is left alone and said so.
 */
import type { BlockingCalls } from "./kernel/blocking.ts";

/** How looking for /data ended; every refusal says why in words for a person. */
export type DataDisk =
  | { ok: true; device: string; checked: string }
  | { ok: false; reason: string };

export interface DataDeps {
  /** A disk that never answers keeps one of these, not the runtime's pool. */
  readonly calls: BlockingCalls;
  /** Mounts ext4 at /data within a deadline; null is success, else the error. */
  mount(device: string): Promise<string | null>;
  /** Runs a program to its end within a deadline. */
  run(argv: string[], timeoutMs: number): Promise<{ code: number | null; output: string }>;
}

const ext4MagicAt = 0x438;
const labelAt = 0x478;
/** erofs superblock (fs/erofs/erofs_fs.h): magic at 1024, volume name 64 bytes on. */
const erofsMagicAt = 1024;
const erofsLabelAt = 1024 + 64;
const readDeadlineMs = 5000;

export interface BlockDevice {
  readonly device: string;
  readonly fs: "ext4" | "erofs" | null;
  readonly label: string | null;
}

/** Every virtual or real disk and partition with what its superblock says. */
export async function blockDevices(calls: BlockingCalls): Promise<BlockDevice[]> {
  const found: BlockDevice[] = [];
  for (
    const entry of [...Deno.readDirSync("/sys/class/block")].sort((a, b) =>
      a.name < b.name ? -1 : 1
    )
  ) {
    if (/^(?:loop|ram|dm-|sr)/.test(entry.name)) continue;
    const device = `/dev/${entry.name}`;
    found.push({ device, ...await probe(calls, device) });
  }
  return found;
}

/** The device whose file system carries `label`. */
export async function findByLabel(
  calls: BlockingCalls,
  label: string,
): Promise<BlockDevice | undefined> {
  return (await blockDevices(calls)).find((block) => block.label === label);
}

async function probe(
  calls: BlockingCalls,
  device: string,
): Promise<{ fs: BlockDevice["fs"]; label: string | null }> {
  const outcome = await calls.run(() => readHead(device), readDeadlineMs);
  const head = outcome.state === "done" ? outcome.value : null;
  if (head === null || head.length < 2048) return { fs: null, label: null };
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  const text = (at: number) =>
    new TextDecoder().decode(head.subarray(at, at + 16)).replace(/\0.*$/s, "");
  if (view.getUint16(ext4MagicAt, true) === 0xEF53) return { fs: "ext4", label: text(labelAt) };
  if (view.getUint32(erofsMagicAt, true) === 0xE0F5E1E2) {
    return { fs: "erofs", label: text(erofsLabelAt) };
  }
  return { fs: null, label: null };
}

async function readHead(device: string): Promise<Uint8Array | null> {
  try {
    using file = await Deno.open(device, { read: true });
    const head = new Uint8Array(4096);
    const count = await file.read(head);
    return count === null ? null : head.subarray(0, count);
  } catch (error) {
    // No medium, or a device that answers no reads: it is not the one we look for.
    if (error instanceof Error) return null;
    throw error;
  }
}

/**
 * Finds, checks and mounts the data disk. Never throws.
 *
 * @param list what there is to find it among; replaced in tests
 */
export async function openDataDisk(
  deps: DataDeps,
  list: () => Promise<BlockDevice[]> = () => blockDevices(deps.calls),
): Promise<DataDisk> {
  try {
    return await open(deps, await list());
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) };
  }
}

async function open(deps: DataDeps, blocks: readonly BlockDevice[]): Promise<DataDisk> {
  const data = blocks.find((block) => block.fs === "ext4" && block.label === "osym-data");
  if (data === undefined) {
    const blank = blocks.filter((block) => block.fs === null).map((block) => block.device);
    return {
      ok: false,
      reason: blank.length === 0
        ? "no disk with an ext4 file system labelled osym-data"
        : `no ext4 file system labelled osym-data (unreadable or damaged: ${blank.join(", ")})`,
    };
  }
  // e2fsck(8): 0 clean, 1 corrected, 2 corrected and wants a reboot, 4 left uncorrected, 8 failed.
  const fsck = await deps.run(["/sbin/e2fsck", "-p", data.device], 60_000);
  if (fsck.code === null || fsck.code > 2) {
    const why = fsck.output.trim().split("\n").slice(-3).join(" / ").slice(0, 400);
    return {
      ok: false,
      reason: `e2fsck -p ${data.device}: exit ${fsck.code ?? "by signal or deadline"}: ${why}`,
    };
  }
  const refused = await deps.mount(data.device);
  if (refused !== null) return { ok: false, reason: refused };
  return { ok: true, device: data.device, checked: fsck.code === 0 ? "clean" : "corrected" };
}
