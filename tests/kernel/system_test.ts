/** The log, pressure, mounts, signals, control groups and terminals of this host. */
import assert from "node:assert/strict";
import { BlockingCalls } from "../../src/kernel/blocking.ts";
import { Cgroup } from "../../src/kernel/cgroup.ts";
import { closeFd, O, openFd, readFd, writeFd } from "../../src/kernel/fd.ts";
import { setHostname, uname } from "../../src/kernel/hostname.ts";
import { Kmsg, type KmsgRecord } from "../../src/kernel/kmsg.ts";
import { openLibc } from "../../src/kernel/libc.ts";
import { mount, parseMountinfo, statfs, umount, umountDevice } from "../../src/kernel/mount.ts";
import { kill, pidfdOpen, pidfdSendSignal } from "../../src/kernel/process.ts";
import { PressureTrigger } from "../../src/kernel/psi.ts";
import { Reactor } from "../../src/kernel/reactor.ts";
import { sync } from "../../src/kernel/reboot.ts";
import { ignoreSigusr1 } from "../../src/kernel/signals.ts";
import { Tty } from "../../src/kernel/tty.ts";
import {
  all,
  capability,
  kernelTest,
  type Need,
  nothing,
  readable,
  unshareable,
  until,
} from "./harness.ts";

const libc = openLibc();

async function withReactor(test: (reactor: Reactor) => Promise<void>): Promise<void> {
  const reactor = new Reactor(libc, (where, error) => assert.fail(`${where}: ${error}`));
  const running = reactor.run();
  try {
    await test(reactor);
  } finally {
    await reactor.close();
    await running;
  }
}

kernelTest(
  "Kmsg reads the log from its start, in order, and a line as it comes",
  all(readable("/dev/kmsg"), capability("CAP_SYSLOG")),
  () =>
    withReactor(async (reactor) => {
      const kmsg = new Kmsg(libc);
      const records: KmsgRecord[] = [];
      let lost = 0;
      const registration = reactor.add(kmsg.fd, ["read"], () =>
        kmsg.drain({
          onRecord: (record) => records.push(record),
          onLost: (count) => lost += count,
        }));
      const line = `osymbiote test ${crypto.randomUUID()} é\n`;
      Deno.writeTextFileSync("/dev/kmsg", line);
      await until(() => records.some(({ text }) => `${text}\n` === line));
      assert.ok(records.every(({ seq }, at) => at === 0 || seq > (records[at - 1]?.seq ?? 0)));
      // A host that has run for long has overwritten the first ones: those, and no others.
      assert.deepEqual([kmsg.malformed, lost], [0, records[0]?.seq]);
      assert.equal(records.find(({ text }) => `${text}\n` === line)?.facility, 1);
      registration.remove();
      kmsg.close();
    }),
);

kernelTest(
  "PressureTrigger is accepted and watched",
  readable("/proc/pressure/memory"),
  () =>
    withReactor((reactor) => {
      const trigger = new PressureTrigger(libc, "/proc/pressure/memory", {
        kind: "some",
        stallUs: 500_000,
        // Without CAP_SYS_RESOURCE only windows of whole 2 s are taken.
        windowUs: 2_000_000,
      });
      const registration = reactor.add(trigger.fd, ["priority"], () => {});
      assert.equal(registration.active, true);
      registration.remove();
      trigger.close();
      assert.throws(
        () =>
          new PressureTrigger(libc, "/proc/pressure/memory", {
            kind: "some",
            stallUs: 2,
            windowUs: 1,
          }),
        { code: "EINVAL" },
      );
      return Promise.resolve();
    }),
);

kernelTest(
  "mount() and umount() do what mountinfo shows",
  all(capability("CAP_SYS_ADMIN"), unshareable("--mount")),
  async () => {
    const target = Deno.makeTempDirSync();
    const find = () =>
      parseMountinfo(Deno.readTextFileSync("/proc/self/mountinfo")).mounts.find((each) =>
        each.target === target
      );
    mount(libc, {
      source: "osym test",
      target,
      type: "tmpfs",
      flags: ["nosuid", "nodev"],
      data: "size=1m,nr_inodes=50",
    });
    assert.equal(find()?.type, "tmpfs");
    assert.equal(find()?.source, "osym test");
    assert.ok(find()?.options.includes("nosuid") && find()?.options.includes("nodev"));
    const calls = new BlockingCalls();
    const room = await statfs(libc, calls, target);
    assert.ok(room.state === "done");
    assert.deepEqual(
      [room.value?.totalBytes, room.value?.totalInodes, room.value?.readOnly],
      [1024 * 1024, 50, false],
    );
    mount(libc, { source: "", target, type: "", flags: ["remount", "ro"] });
    const readOnly = await statfs(libc, calls, target);
    assert.ok(readOnly.state === "done" && readOnly.value?.readOnly === true);
    assert.throws(() => mount(libc, { source: "x", target, type: "nonefs" }), { code: "ENODEV" });
    const held = openFd(libc, target, O.DIRECTORY);
    assert.throws(() => umount(libc, target), { message: `umount "${target}": EBUSY` });
    assert.deepEqual(await umountDevice(libc, calls, target, [], 1000), {
      state: "done",
      value: false,
    });
    closeFd(libc, held);
    umount(libc, target);
    assert.equal(find(), undefined);
    assert.deepEqual(await statfs(libc, calls, `${target}/none`), { state: "done", value: null });
    Deno.removeSync(target);
  },
  { module: import.meta.url, unshare: ["--mount"] },
);

kernelTest("sync() ends", nothing, async () => {
  const outcome = await sync(libc, new BlockingCalls(), 30_000);
  assert.equal(outcome.state, "done");
});

kernelTest(
  "setHostname() names the machine",
  all(capability("CAP_SYS_ADMIN"), unshareable("--uts")),
  () => {
    setHostname(libc, "osym-test");
    assert.equal(uname(libc).hostname, "osym-test");
    assert.throws(() => setHostname(libc, "x".repeat(65)), { code: "EINVAL" });
  },
  { module: import.meta.url, unshare: ["--uts"] },
);

kernelTest(
  "ignoreSigusr1(): no inspector, no death, and children get their default",
  nothing,
  async () => {
    // The runtime installs a signal's handler once; this is that time.
    Deno.addSignalListener("SIGUSR1", () => assert.fail("the runtime's handler was called"));
    ignoreSigusr1(libc);
    // The inspector's would come half a second after the loop first rests.
    await new Promise((resolve) => setTimeout(resolve, 1000));
    kill(libc, Deno.pid, "SIGUSR1");
    await new Promise((resolve) => setTimeout(resolve, 200));
    const listeners = Deno.readTextFileSync("/proc/net/tcp");
    assert.ok(!listeners.includes(":240D "), "9229 listens");
    const child = new Deno.Command("sh", { args: ["-c", "kill -USR1 $$"] }).outputSync();
    assert.equal(child.signal, "SIGUSR1");
  },
  { module: import.meta.url, unshare: [] },
);

kernelTest(
  "pidfds name one process and tell when it has ended",
  nothing,
  () =>
    withReactor(async (reactor) => {
      const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
      const pidfd = pidfdOpen(libc, child.pid);
      assert.ok(pidfd !== null);
      let ended = false;
      const registration = reactor.add(pidfd, ["read"], () => {
        ended = true;
        registration.remove();
      });
      assert.equal(pidfdSendSignal(libc, pidfd, "SIGTERM"), true);
      assert.equal((await child.status).signal, "SIGTERM");
      await until(() => ended);
      assert.equal(pidfdSendSignal(libc, pidfd, "SIGTERM"), false);
      assert.equal(kill(libc, child.pid, "SIGTERM"), false);
      closeFd(libc, pidfd);
      assert.equal(pidfdOpen(libc, 0x3fff_fff), null);
    }),
);

/** A cgroup2 hierarchy we may write to: its own mount, or the unified one of a hybrid host. */
function cgroup2(): string | null {
  const { mounts } = parseMountinfo(Deno.readTextFileSync("/proc/self/mountinfo"));
  return mounts.find(({ type }) => type === "cgroup2")?.target ?? null;
}
const cgroupWritable: Need = () => {
  const root = cgroup2();
  if (root === null) return "no cgroup2";
  try {
    const probe = new Cgroup(`osym-probe-${Deno.pid}`, root);
    probe.create();
    const kills = [...Deno.readDirSync(probe.path)].some(({ name }) => name === "cgroup.kill");
    probe.remove();
    return kills ? null : "no cgroup.kill";
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};

kernelTest("Cgroup holds a process and kills it", cgroupWritable, async () => {
  const group = new Cgroup(`osym-test-${Deno.pid}`, cgroup2() ?? "");
  assert.equal(group.create(), true);
  try {
    const child = new Deno.Command("sleep", { args: ["60"] }).spawn();
    assert.equal(group.addProcess(child.pid), true);
    assert.deepEqual([group.processes(), group.populated()], [[child.pid], true]);
    assert.throws(() => group.remove(), { code: "EBUSY" });
    group.kill();
    assert.equal((await child.status).signal, "SIGKILL");
    await until(() => !group.populated());
    assert.equal(group.addProcess(child.pid), false, "it has ended");
    await assert.rejects(group.set("cgroup.max.depth", "nonsense"), {
      message: `write "nonsense" to ${group.path}/cgroup.max.depth: EINVAL`,
    });
  } finally {
    assert.equal(group.remove(), true);
  }
});

/** A pseudo terminal: the master's descriptor and the other side's path. */
function openPty(): { master: number; path: string } {
  const master = openFd(libc, "/dev/ptmx", O.RDWR | O.NOCTTY);
  const word = new Uint8Array(4);
  assert.equal(libc.sym.ioctl(master, 0x40045431n, word), 0, "TIOCSPTLCK");
  assert.equal(libc.sym.ioctl(master, 0x80045430n, word), 0, "TIOCGPTN");
  return { master, path: `/dev/pts/${new DataView(word.buffer).getUint32(0, true)}` };
}

kernelTest(
  "Tty reads lines, never blocks on a reader that sleeps, and tells of a hangup",
  readable("/dev/ptmx"),
  () =>
    withReactor(async (reactor) => {
      const { master, path } = openPty();
      const input: string[] = [];
      const closed: string[] = [];
      const tty = new Tty(libc, reactor, (where, error) => assert.fail(`${where}: ${error}`), {
        onInput: (bytes) => input.push(new TextDecoder().decode(bytes)),
        onClose: (reason) => closed.push(reason),
      }, { path, queueBytes: 10_000 });
      writeFd(libc, master, new TextEncoder().encode("status\n"));
      await until(() => input.length === 1);
      // Ctrl-D on an empty line is an end of file that is none.
      writeFd(libc, master, new Uint8Array([4]));
      writeFd(libc, master, new TextEncoder().encode("help\n"));
      await until(() => input.length === 2);
      assert.deepEqual([input, closed], [["status\n", "help\n"], []]);

      const began = performance.now();
      for (let line = 0; line < 5000; line++) tty.write(`line ${line}\n`);
      assert.ok(performance.now() - began < 1000);
      const { droppedBytes, queuedBytes } = tty.output;
      assert.ok(droppedBytes > 0 && queuedBytes <= 10_100, "dropped and counted");
      assert.equal(await tty.drained(20), false);
      let text = "";
      const buffer = new Uint8Array(65_536);
      await until(() => {
        const count = readFd(libc, master, buffer);
        if (count > 0) text += new TextDecoder().decode(buffer.subarray(0, count));
        return text.endsWith("line 4999\r\n");
      });
      assert.equal(await tty.drained(1000), true);
      assert.equal(tty.output.queuedBytes, 0);

      closeFd(libc, master);
      await until(() => closed.length === 1);
      tty.write("into the void");
      tty.close();
    }),
);

kernelTest(
  "Tty.takeControl() makes it the controlling terminal",
  all(readable("/dev/ptmx"), capability("CAP_SYS_ADMIN")),
  () =>
    withReactor((reactor) => {
      // The master stays open until the process ends: closing it would send us SIGHUP.
      const { path } = openPty();
      const tty = new Tty(libc, reactor, () => {}, { onInput: () => {}, onClose: () => {} }, {
        path,
      });
      tty.takeControl();
      const stat = Deno.readTextFileSync("/proc/self/stat");
      const [, , , session, terminal] = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      assert.equal(session, String(Deno.pid));
      assert.notEqual(terminal, "0");
      tty.close();
      return Promise.resolve();
    }),
  { module: import.meta.url, unshare: ["--fork"] },
);
