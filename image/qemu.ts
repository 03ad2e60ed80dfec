/**
 * QEMU's command line as a pure function of what machine is wanted.
 *
 * Owns the device list and the guest's kernel parameters. Starts nothing, reads nothing but what
 * it is given, and must never put a secret in an argument: arguments show in the process list.
 */

export type Arch = "x86_64" | "aarch64";
export type MachineType = "q35" | "pc" | "microvm" | "virt";
export type Accelerator = "kvm" | "tcg";
export type NicChoice = "virtio" | "e1000" | "both";

/** A further virtio disk after root and data. */
export interface ExtraDisk {
  path: string;
  readonly: boolean;
}

/**
 * The machine's network: `user` is QEMU's own NAT with one forwarded port; `silent` is a card
 * whose cable leads nowhere (no DHCP server ever answers); null is no card at all.
 */
export type Network =
  | { kind: "user"; listen: string; port: number }
  | { kind: "silent" }
  | null;

/** Everything that decides QEMU's arguments. Sizes in MiB; paths on the host. */
export interface QemuOptions {
  arch: Arch;
  machine: MachineType;
  accel: Accelerator;
  memoryMb: number;
  cpus: number;
  /** One host thread for all virtual processors; only matters under TCG. */
  singleThreadTcg: boolean;
  kernel: string;
  /** Only the generic kernel needs one. */
  initrd: string | null;
  /** The complete kernel command line, from `kernelCommandLine()`. */
  append: string;
  /** The erofs image, always read-only and always the first disk (/dev/vda). */
  root: string;
  data: string | null;
  disks: readonly ExtraDisk[];
  nic: NicChoice;
  net: Network;
  /** Unix sockets on which the launcher already listens: QEMU connects, so nothing is lost. */
  sockets: { events: string; serial: string; qmp: string };
  /** The file behind fw_cfg `opt/org.osymbiote/launch`, mode 0600. */
  launchFile: string;
  /** Backing store of the ACPI error record device (panic records outlive QEMU); null: none. */
  erstFile: string | null;
  /** Further arguments, last. */
  extra: readonly string[];
}

/** Size of the file behind acpi-erst, bytes. */
export const ERST_BYTES = 256 * 1024;

/** The fw_cfg name under which the guest finds its launch record. */
export const LAUNCH_FW_CFG = "opt/org.osymbiote/launch";

/** The virtio-serial port on which the guest reports. */
export const EVENTS_PORT = "org.osymbiote.events";

/** Whether the machine type has a PCI bus (microvm's devices are virtio-mmio). */
export function hasPci(machine: MachineType): boolean {
  return machine !== "microvm";
}

/** Whether the machine type has ACPI error records; the file of `erstFile` is needed then. */
export function hasErst(machine: MachineType): boolean {
  return machine === "q35" || machine === "pc";
}

/** QEMU's program for an architecture. */
export function qemuProgram(arch: Arch): string {
  return `qemu-system-${arch}`;
}

/** QEMU's arguments, without the program's name. */
export function qemuArgv(options: QemuOptions): string[] {
  const { machine, arch } = options;
  const pci = hasPci(machine);
  const virtio = (name: string): string => `virtio-${name}-${pci ? "pci" : "device"}`;
  const argv: string[] = [
    ...["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"],
    ...["-name", "osymbiote"],
    ...["-machine", machineArgument(machine, options.accel)],
    ...["-accel", acceleratorArgument(options)],
    ...["-cpu", processor(arch, options.accel)],
    ...["-smp", String(options.cpus), "-m", String(options.memoryMb)],
    ...["-kernel", options.kernel],
    ...(options.initrd ? ["-initrd", options.initrd] : []),
    ...["-append", options.append],
    // QMP first: the launcher must be able to stop a machine that hangs in its firmware.
    ...["-chardev", socket("qmp", options.sockets.qmp), "-mon", "chardev=qmp,mode=control"],
    ...["-chardev", socket("serial", options.sockets.serial), "-serial", "chardev:serial"],
    ...["-fw_cfg", `name=${LAUNCH_FW_CFG},file=${escape(options.launchFile)}`],
  ];

  const disks: ExtraDisk[] = [{ path: options.root, readonly: true }];
  if (options.data) disks.push({ path: options.data, readonly: false });
  disks.push(...options.disks);
  disks.forEach((disk, index) => {
    argv.push(
      ...["-drive", driveArgument(`disk${index}`, disk)],
      ...["-device", `${virtio("blk")},drive=disk${index}`],
    );
  });

  argv.push(
    ...["-device", virtio("serial")],
    ...["-chardev", socket("events", options.sockets.events)],
    ...["-device", `virtserialport,chardev=events,name=${EVENTS_PORT}`],
    ...["-device", virtio("rng")],
  );
  if (pci) {
    argv.push(
      ...["-device", "i6300esb", "-watchdog-action", "reset"],
      // The guest reboots itself (panic=-1); pvpanic only reports, so that pstore is written.
      ...["-device", "pvpanic-pci", "-action", "panic=none"],
    );
  }
  if (options.erstFile && hasErst(machine)) {
    argv.push(
      "-object",
      `memory-backend-file,id=erst,share=on,size=${ERST_BYTES},mem-path=${
        escape(options.erstFile)
      }`,
      ...["-device", "acpi-erst,memdev=erst"],
    );
  }
  argv.push(...networkArguments(options), ...options.extra);
  return argv;
}

function machineArgument(machine: MachineType, accel: Accelerator): string {
  switch (machine) {
    // The option ROMs, USB and the like would only be probed and found empty.
    case "q35":
      return "q35,usb=off,smbus=off,vmport=off";
    case "pc":
      return "pc,usb=off,vmport=off";
    case "microvm":
      return "microvm,rtc=on,x-option-roms=off";
    case "virt":
      return accel === "kvm" ? "virt,gic-version=host" : "virt";
  }
}

/**
 * Anything less than max makes Deno's own start three times as slow under TCG. But there "rep movsb",
 * which ERMS makes libc and kernel prefer, is emulated byte by byte.
 */
function processor(arch: Arch, accel: Accelerator): string {
  if (accel === "kvm") return "max";
  return arch === "aarch64" ? "cortex-a72" : "max,-erms";
}

function acceleratorArgument(options: QemuOptions): string {
  if (options.accel === "kvm") return "kvm";
  return `tcg,thread=${options.cpus > 1 && !options.singleThreadTcg ? "multi" : "single"}`;
}

function driveArgument(id: string, disk: ExtraDisk): string {
  // A full disk of the host is the guest's to hear of: QEMU's default stops the machine in silence.
  const access = disk.readonly ? ",read-only=on" : ",cache=writeback,werror=report";
  return `if=none,id=${id},format=raw,file=${escape(disk.path)}${access}`;
}

function networkArguments(options: QemuOptions): string[] {
  const { net, nic, machine } = options;
  if (net === null) return [];
  const backend = (id: string, index: number): string => {
    if (net.kind === "silent") return `hubport,id=${id},hubid=${index}`;
    if (index > 0) return `user,id=${id},net=10.0.${2 + index}.0/24`;
    return `user,id=${id},hostfwd=tcp:${net.listen}:${net.port}-:80`;
  };
  const virtioCard = hasPci(machine) ? "virtio-net-pci,romfile=" : "virtio-net-device";
  const cards = nic === "both"
    ? [virtioCard, "e1000,romfile="]
    : [nic === "e1000" ? "e1000,romfile=" : virtioCard];
  return cards.flatMap((card, index) => [
    ...["-netdev", backend(`net${index}`, index)],
    ...["-device", `${card},netdev=net${index}`],
  ]);
}

function socket(id: string, path: string): string {
  return `socket,id=${id},path=${escape(path)}`;
}

/** QEMU splits option values at commas; a comma in a path is doubled. */
function escape(path: string): string {
  return path.replaceAll(",", ",,");
}

/** What decides the kernel's command line. */
export interface CommandLineOptions {
  arch: Arch;
  machine: MachineType;
  accel: Accelerator;
  /** The generic kernel finds its root from an initramfs, which then starts PID 1 itself. */
  initramfs: boolean;
  /** PID 1's program in the root, and its arguments. */
  init: readonly string[];
  /** Host TSC in kHz; only used under TCG. Null: let the guest calibrate. */
  tscKhz: number | null;
  /** Further parameters: `osym.*=`, `loglevel=`. */
  parameters: readonly string[];
}

/** The kernel's timer frequency (CONFIG_HZ) in image/kernel/x86_64.config, for lpj=. */
const STRIPPED_HZ = 250;

/** The guest's kernel command line; what follows `--` becomes PID 1's arguments. */
export function kernelCommandLine(options: CommandLineOptions): string {
  const console = options.arch === "aarch64" ? "ttyAMA0" : "ttyS0";
  const words = ["root=/dev/vda", "rootfstype=erofs", "ro", "panic=-1", `console=${console}`];
  if (!options.parameters.some((word) => word.startsWith("loglevel="))) words.push("loglevel=4");
  if (options.accel === "tcg" && options.arch === "x86_64") {
    // TCG does not speculate: the mitigations only cost.
    words.push("mitigations=off", ...clockParameters(options));
  }
  words.push(
    // Words with "=" that the kernel does not know become PID 1's environment.
    ...["PATH=/usr/sbin:/usr/bin:/sbin:/bin", "NO_COLOR=1"],
    ...["DENO_DIR=/var/deno", "DENO_NO_UPDATE_CHECK=1"],
    ...options.parameters,
  );
  // The initramfs is told what to become; without one the kernel starts it at once.
  if (options.initramfs) words.push("rdinit=/init", "--", ...options.init);
  else words.push(`init=${options.init[0]}`, "--", ...options.init.slice(1));
  return words.map(quoteWord).join(" ");
}

/** The kernel keeps a word in double quotes together, and knows no way to quote those. */
function quoteWord(word: string): string {
  if (word.includes('"') || word.includes("\n")) {
    throw new Error(`write the kernel command line: ${JSON.stringify(word)} can not be quoted`);
  }
  return word.includes(" ") ? `"${word}"` : word;
}

function clockParameters(options: CommandLineOptions): string[] {
  if (options.tscKhz === null) return [];
  const clock = [`tsc_early_khz=${options.tscKhz}`, "tsc=reliable"];
  if (options.machine !== "microvm") return clock;
  // microvm has no PIT to calibrate a delay loop against; lpj = loops per jiffy.
  return [...clock, `lpj=${Math.round(options.tscKhz * 1000 / STRIPPED_HZ)}`, "no_timer_check"];
}

/** What the host says about hardware virtualisation. */
export interface HostFacts {
  cpuinfo: string;
  kvmWritable: boolean;
}

/**
 * KVM only when the processor's own flags and /dev/kvm agree: some containers show a /dev/kvm
 * whose guests hang for ever.
 */
export function chooseAccelerator(wanted: "auto" | Accelerator, host: HostFacts): Accelerator {
  if (wanted !== "auto") return wanted;
  return host.kvmWritable && /^(flags|Features)\s*:.*\b(vmx|svm)\b/m.test(host.cpuinfo)
    ? "kvm"
    : "tcg";
}

/** Reads what `chooseAccelerator()` needs from this host. */
export async function hostFacts(): Promise<HostFacts> {
  const cpuinfo = await Deno.readTextFile("/proc/cpuinfo");
  let kvmWritable = false;
  try {
    (await Deno.open("/dev/kvm", { read: true, write: true })).close();
    kvmWritable = true;
  } catch (error) {
    // Absent or not ours: both mean "no KVM", and nothing else may be hidden here.
    if (!(error instanceof Deno.errors.NotFound) && !isRefusal(error)) throw error;
  }
  return { cpuinfo, kvmWritable };
}

function isRefusal(error: unknown): boolean {
  return error instanceof Deno.errors.PermissionDenied || error instanceof Deno.errors.NotCapable;
}
