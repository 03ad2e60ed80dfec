/**
 * Data disks as files on this host: judged, damaged and looked into without mounting them.
 *
 * Runs e2fsprogs only on images the tests made; never on a disk of a running guest.
 */

import assert from "node:assert/strict";
import { run } from "../../image/host.ts";

const env = { PATH: `${Deno.env.get("PATH") ?? ""}:/usr/sbin:/sbin` };

/** Fails unless the file system was unmounted cleanly and a full check finds nothing. */
export async function assertCleanData(image: string): Promise<void> {
  const { stdout: header } = await run(["dumpe2fs", "-h", image], { env });
  assert.match(header, /^Filesystem state:\s+clean$/m);
  // A journal to replay is what an unmount would have emptied.
  assert.doesNotMatch(header, /needs_recovery/);
  const check = await run(["e2fsck", "-fn", image], { env, accept: [0, 1, 4, 8, 12] });
  assert.equal(check.code, 0, check.stdout);
}

/** A request of debugfs(8), written to the image. */
export async function debugfs(image: string, request: string): Promise<string> {
  return (await run(["debugfs", "-w", "-R", request, image], { env })).stdout;
}

/** A file's content on the image, as it is on the disk. */
export async function readOnDisk(image: string, path: string): Promise<string> {
  return (await run(["debugfs", "-R", `cat ${path}`, image], { env })).stdout;
}

/** Fills an image to its last block, nothing of it damaged. */
export async function fillDisk(image: string): Promise<void> {
  const filling = await Deno.makeTempFile({ prefix: "osymbiote-test-" });
  try {
    // Ends for want of room; what it wrote until then stays. Zeros would be left out as a hole.
    const bytes = new Uint8Array((await Deno.stat(image)).size).fill(1);
    await Deno.writeFile(filling, bytes);
    await run(["debugfs", "-w", "-R", `write ${filling} fill`, image], { env, accept: [0, 1] });
    await run(["e2fsck", "-fy", image], { env, accept: [0, 1] });
  } finally {
    await Deno.remove(filling);
  }
}
