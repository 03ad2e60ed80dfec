import assert from "node:assert/strict";
import {
  chooseAccelerator,
  type CommandLineOptions,
  kernelCommandLine,
  qemuArgv,
  type QemuOptions,
} from "./qemu.ts";

const OPTIONS: QemuOptions = {
  arch: "x86_64",
  machine: "q35",
  accel: "tcg",
  memoryMb: 512,
  cpus: 2,
  singleThreadTcg: false,
  kernel: "/k/vmlinux",
  initrd: null,
  append: "quiet",
  root: "/i/root.erofs",
  data: "/i/data.img",
  disks: [],
  nic: "virtio",
  net: { kind: "user", listen: "127.0.0.1", port: 8422 },
  sockets: { events: "/s/events", serial: "/s/serial", qmp: "/s/qmp" },
  launchFile: "/s/launch.json",
  erstFile: "/i/data.img.erst",
  extra: [],
};

/** The values that follow an option, in order. */
function values(argv: readonly string[], option: string): string[] {
  return argv.filter((_, i) => argv[i - 1] === option);
}

Deno.test("qemuArgv() makes the root the first disk, and read-only", () => {
  const argv = qemuArgv({ ...OPTIONS, disks: [{ path: "/t/test.img", readonly: true }] });
  assert.deepEqual(values(argv, "-drive"), [
    "if=none,id=disk0,format=raw,file=/i/root.erofs,read-only=on",
    "if=none,id=disk1,format=raw,file=/i/data.img,cache=writeback,werror=report",
    "if=none,id=disk2,format=raw,file=/t/test.img,read-only=on",
  ]);
  const disks = values(argv, "-device").filter((device) => device.startsWith("virtio-blk"));
  assert.deepEqual(disks, [0, 1, 2].map((n) => `virtio-blk-pci,drive=disk${n}`));
});

Deno.test("qemuArgv() forwards the port on the given host address only", () => {
  const [netdev] = values(qemuArgv(OPTIONS), "-netdev");
  assert.equal(netdev, "user,id=net0,hostfwd=tcp:127.0.0.1:8422-:80");
});

Deno.test("qemuArgv() has the asked-for cards", () => {
  const cards = (nic: QemuOptions["nic"]) =>
    values(qemuArgv({ ...OPTIONS, nic }), "-device").filter((device) => device.includes("netdev="));
  assert.deepEqual(cards("virtio"), ["virtio-net-pci,romfile=,netdev=net0"]);
  assert.deepEqual(cards("e1000"), ["e1000,romfile=,netdev=net0"]);
  assert.deepEqual(cards("both"), [
    "virtio-net-pci,romfile=,netdev=net0",
    "e1000,romfile=,netdev=net1",
  ]);
  assert.deepEqual(values(qemuArgv({ ...OPTIONS, net: null }), "-netdev"), []);
  assert.deepEqual(values(qemuArgv({ ...OPTIONS, net: { kind: "silent" } }), "-netdev"), [
    "hubport,id=net0,hubid=0",
  ]);
});

Deno.test("qemuArgv() gives microvm mmio devices and nothing that needs PCI", () => {
  const argv = qemuArgv({ ...OPTIONS, machine: "microvm" });
  const devices = values(argv, "-device");
  assert.ok(devices.includes("virtio-net-device,netdev=net0"));
  for (const word of argv) assert.doesNotMatch(word, /-pci|i6300esb|pvpanic|acpi-erst|watchdog/);
});

Deno.test("qemuArgv() never resets a machine inside QEMU, and only reports panics", () => {
  const argv = qemuArgv(OPTIONS);
  assert.ok(argv.includes("-no-reboot"));
  assert.deepEqual(values(argv, "-watchdog-action"), ["reset"]);
  assert.deepEqual(values(argv, "-action"), ["panic=none"]);
});

Deno.test("qemuArgv() runs TCG with a thread for each processor unless told otherwise", () => {
  assert.deepEqual(values(qemuArgv(OPTIONS), "-accel"), ["tcg,thread=multi"]);
  assert.deepEqual(values(qemuArgv({ ...OPTIONS, cpus: 1 }), "-accel"), ["tcg,thread=single"]);
  assert.deepEqual(values(qemuArgv({ ...OPTIONS, singleThreadTcg: true }), "-accel"), [
    "tcg,thread=single",
  ]);
  assert.deepEqual(values(qemuArgv({ ...OPTIONS, accel: "kvm" }), "-accel"), ["kvm"]);
});

Deno.test("qemuArgv() doubles commas in paths", () => {
  const argv = qemuArgv({ ...OPTIONS, root: "/a,b/root" });
  assert.match(values(argv, "-drive")[0] ?? "", /file=\/a,,b\/root,/);
});

const LINE: CommandLineOptions = {
  arch: "x86_64",
  machine: "q35",
  accel: "tcg",
  initramfs: false,
  init: ["/bin/deno", "run", "/osym/boot.js"],
  tscKhz: 2_300_000,
  parameters: ["osym.rescue=1"],
};

Deno.test("kernelCommandLine() starts PID 1 and gives it its environment", () => {
  const line = kernelCommandLine(LINE);
  assert.match(line, /^root=\/dev\/vda rootfstype=erofs ro panic=-1 console=ttyS0 /);
  assert.match(line, / DENO_DIR=\/var\/deno /);
  assert.match(line, / osym\.rescue=1 init=\/bin\/deno -- run \/osym\/boot\.js$/);
});

Deno.test("kernelCommandLine() tells an initramfs what to become", () => {
  const line = kernelCommandLine({ ...LINE, initramfs: true });
  assert.match(line, / rdinit=\/init -- \/bin\/deno run \/osym\/boot\.js$/);
});

Deno.test("kernelCommandLine() gives the clock's frequency under TCG, all of it on microvm", () => {
  assert.match(kernelCommandLine(LINE), / mitigations=off tsc_early_khz=2300000 tsc=reliable /);
  assert.match(
    kernelCommandLine({ ...LINE, machine: "microvm" }),
    / tsc_early_khz=2300000 tsc=reliable lpj=9200000 no_timer_check /,
  );
  assert.doesNotMatch(kernelCommandLine({ ...LINE, accel: "kvm" }), /tsc|mitigations/);
  assert.doesNotMatch(kernelCommandLine({ ...LINE, tscKhz: null }), /tsc/);
});

Deno.test("qemuArgv() takes the whole processor, less what TCG emulates slowly", () => {
  const cpu = (about: Partial<QemuOptions>) => values(qemuArgv({ ...OPTIONS, ...about }), "-cpu");
  assert.deepEqual(cpu({ accel: "kvm" }), ["max"]);
  assert.deepEqual(cpu({ accel: "tcg" }), ["max,-erms"]);
  assert.deepEqual(cpu({ accel: "tcg", arch: "aarch64", machine: "virt" }), ["cortex-a72"]);
});

Deno.test("kernelCommandLine() quotes words with spaces and refuses what can not be quoted", () => {
  const init = ["/bin/sh", "-c", "a b"];
  assert.match(kernelCommandLine({ ...LINE, init }), /-- -c "a b"$/);
  assert.throws(() => kernelCommandLine({ ...LINE, init: ["x", 'a "b"'] }), /can not be quoted/);
});

Deno.test("chooseAccelerator() takes KVM only when processor and device agree", () => {
  const vmx = "flags\t\t: fpu vmx sse\n";
  const none = "flags\t\t: fpu sse\n";
  assert.equal(chooseAccelerator("auto", { cpuinfo: vmx, kvmWritable: true }), "kvm");
  assert.equal(chooseAccelerator("auto", { cpuinfo: vmx, kvmWritable: false }), "tcg");
  assert.equal(chooseAccelerator("auto", { cpuinfo: none, kvmWritable: true }), "tcg");
  assert.equal(chooseAccelerator("kvm", { cpuinfo: none, kvmWritable: false }), "kvm");
});
