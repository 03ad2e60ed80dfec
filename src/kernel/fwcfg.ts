/**
 * Small files that QEMU hands to its guest by fw_cfg.
 *
 * Documentation/ABI/testing/sysfs-firmware-qemu_fw_cfg; needs CONFIG_FW_CFG_SYSFS.
 */

import { fromDeno } from "./errno.ts";

/** A handed-over file longer than this is refused: ours are short. */
const MAX_BYTES = 1024 * 1024;

/**
 * The content of `-fw_cfg name=…,file=…`; null when it was not given or there is no fw_cfg.
 *
 * @param name such as `"opt/org.osymbiote/token"`
 * @throws SysError when it cannot be read; RangeError past 1 MiB; TypeError for a bad name
 */
export function readFwCfg(
  name: string,
  root = "/sys/firmware/qemu_fw_cfg/by_name",
): Uint8Array<ArrayBuffer> | null {
  const good = name.split("/").every((part) => /^[\w.@-]+$/.test(part) && !/^\.+$/.test(part));
  if (!good) throw new TypeError(`fw_cfg ${JSON.stringify(name)}: not a name`);
  try {
    const size = Number(Deno.readTextFileSync(`${root}/${name}/size`));
    if (size > MAX_BYTES) throw new RangeError(`fw_cfg ${name}: ${size} bytes`);
    return Deno.readFileSync(`${root}/${name}/raw`);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return null;
    throw fromDeno(error, "read fw_cfg", name);
  }
}
