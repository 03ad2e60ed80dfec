/**
 * The floor: the least Linux userland that answers JSON over HTTP, to compare a boot with.
 *
 * BusyBox's init starts its httpd and, at the same time, its DHCP client; a shell script answers
 * as CGI, behind a password as our API is behind a token. It runs from an initramfs of its own on
 * the same kernel and the same machine, devices included; it has no disk to mount and no events to
 * tell. Owns that initramfs; starts no machine.
 */

import { join } from "node:path";
import { CpioArchive, loadOrder, moduleName, readModule } from "../image/initramfs.ts";
import type { Kernel } from "../image/kernel.ts";
import { debianPackage } from "../image/packages.ts";

/** Runs after the kernel: `rdinit=` wants BusyBox itself, its argument names the applet. */
export const FLOOR_INIT = ["/bin/busybox", "init"] as const;
/** What the DHCP script prints on the console once the address is on the link. */
export const FLOOR_READY = "floor: reachable";
/** Where the answer is. */
export const FLOOR_PATH = "/cgi-bin/status";
/** User and password of the answer, as BusyBox's httpd.conf has them. */
export const FLOOR_CREDENTIAL = "osym:floor";

/** What a generic kernel must load before there is a network card. */
const NETWORK_MODULES = ["virtio_pci", "virtio_mmio", "virtio_net"];

// `once` and `respawn` do not wait for each other: the lease is asked for while httpd starts.
const INITTAB = `::sysinit:/bin/busybox sh /etc/start
::once:/bin/busybox udhcpc -f -i eth0 -s /etc/dhcp
::respawn:/bin/busybox httpd -f -p 80 -h /www -c /etc/httpd.conf
`;

const START = `bb=/bin/busybox
$bb mount -t proc proc /proc
for module in /modules/*.ko; do test ! -f "$module" || $bb insmod "$module"; done
`;

/** udhcpc's script (its argument is what happened, the lease is in the environment). */
const DHCP = `#!/bin/busybox sh
bb=/bin/busybox
case $1 in
  deconfig) $bb ifconfig "$interface" 0.0.0.0 up ;;
  bound | renew)
    $bb ifconfig "$interface" "$ip" netmask "$subnet"
    $bb route add default gw "$router"
    echo "${FLOOR_READY}" >/dev/console
    ;;
esac
`;

const HTTPD_CONF = `/cgi-bin:${FLOOR_CREDENTIAL}\n`;

/** Built-in words of the shell only: each program started would count against the floor. */
const STATUS = `#!/bin/busybox sh
read -r uptime idle </proc/uptime
read -r load rest </proc/loadavg
while read -r key value unit; do
  case $key in
    MemTotal:) total=$value ;;
    MemAvailable:) available=$value ;;
  esac
done </proc/meminfo
printf 'Content-Type: application/json\\r\\n\\r\\n'
printf '{"uptime_s":%s,"load":%s,"memory":{"total_kb":%s,"available_kb":%s}}\\n' \\
  "$uptime" "$load" "$total" "$available"
`;

/** Writes the floor's initramfs for a kernel, uncompressed. */
export async function writeFloor(path: string, kernel: Kernel): Promise<void> {
  const busybox = await debianPackage("busybox-static");
  const archive = new CpioArchive();
  for (const folder of ["bin", "dev", "etc", "modules", "proc", "www", "www/cgi-bin"]) {
    archive.folder(folder);
  }
  archive.device("dev/console", 5, 1);
  archive.file("bin/busybox", 0o755, await Deno.readFile(join(busybox.folder, "bin/busybox")));
  const texts: readonly (readonly [string, number, string])[] = [
    ["etc/inittab", 0o644, INITTAB],
    ["etc/start", 0o644, START],
    ["etc/dhcp", 0o755, DHCP],
    ["etc/httpd.conf", 0o644, HTTPD_CONF],
    ["www/cgi-bin/status", 0o755, STATUS],
  ];
  for (const [name, mode, text] of texts) {
    archive.file(name, mode, new TextEncoder().encode(text));
  }
  if (kernel.modules !== null) {
    const { folder } = kernel.modules;
    for (const [i, module] of (await loadOrder(folder, NETWORK_MODULES)).entries()) {
      const name = `${String(i).padStart(2, "0")}-${moduleName(module)}.ko`;
      archive.file(`modules/${name}`, 0o644, await readModule(join(folder, module)));
    }
  }
  await Deno.writeFile(path, archive.bytes());
}
