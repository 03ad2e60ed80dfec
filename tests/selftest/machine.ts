/** Mounts, parameters, clocks and control groups of this machine. */

import assert from "node:assert/strict";
import { BlockingCalls } from "../../src/kernel/blocking.ts";
import { Cgroup } from "../../src/kernel/cgroup.ts";
import { Clocks } from "../../src/kernel/clock.ts";
import { closeFd, O, openFd, readFd, rewind } from "../../src/kernel/fd.ts";
import { mount, parseMountinfo, statfs, umount } from "../../src/kernel/mount.ts";
import { getSysctl, setSysctl } from "../../src/kernel/sysctl.ts";
import { libc, shell, until, withFolder, withReactor } from "./harness.ts";

Deno.test("mount() and umount() do what mountinfo and statfs show", () =>
  withFolder(async (target) => {
    const find = () =>
      parseMountinfo(Deno.readTextFileSync("/proc/self/mountinfo")).mounts
        .find((each) => each.target === target);
    const flags = ["nosuid", "nodev", "noexec"] as const;
    mount(libc, {
      source: "self test",
      target,
      type: "tmpfs",
      flags,
      data: "size=1m,nr_inodes=50",
    });
    assert.deepEqual([find()?.type, find()?.source], ["tmpfs", "self test"]);
    for (const flag of flags) assert.ok(find()?.options.includes(flag), flag);
    const room = await statfs(libc, new BlockingCalls(), target);
    assert.ok(room.state === "done");
    assert.deepEqual([room.value?.totalBytes, room.value?.totalInodes], [1 << 20, 50]);
    assert.throws(
      () => Deno.writeFileSync(`${target}/big`, new Uint8Array(2 << 20)),
      /os error 28/,
    );
    const held = openFd(libc, target, O.DIRECTORY);
    assert.throws(() => umount(libc, target), { message: `umount "${target}": EBUSY` });
    closeFd(libc, held);
    umount(libc, target);
    assert.equal(find(), undefined);
    assert.throws(() => umount(libc, target), { code: "EINVAL" });
  }));

Deno.test("sysctl: what the boot wrote is in force, and a wrong name or value is told", () => {
  const wanted = [
    ["kernel/dmesg_restrict", "1"],
    ["kernel/kptr_restrict", "2"],
    ["kernel/core_pattern", "|/bin/false"],
    ["user/max_user_namespaces", "0"],
    ["fs/protected_symlinks", "1"],
  ] as const;
  assert.deepEqual(wanted.map(([name]) => [name, getSysctl(name)]), wanted.map((row) => [...row]));
  assert.match(getSysctl("kernel.osrelease"), /^\d+\.\d+/);
  assert.throws(() => getSysctl("kernel/no_such_name"), { code: "ENOENT" });
  assert.throws(() => setSysctl("kernel/panic_on_oops", "nonsense"), { code: "EINVAL" });
});

Deno.test("Clocks agree with /proc/uptime and never step back", () => {
  const clocks = new Clocks(libc);
  const uptime = Number(Deno.readTextFileSync("/proc/uptime").split(" ")[0]) * 1e6;
  const boottime = clocks.boottime();
  assert.ok(boottime >= uptime && boottime - uptime < 10e6, `${boottime} ${uptime}`);
  let last = 0;
  for (let i = 0; i < 10_000; i++) {
    const now = clocks.monotonic();
    assert.ok(now >= last);
    last = now;
  }
});

Deno.test("Cgroup holds a tree of processes and kills all of it", async () => {
  const group = new Cgroup("tasks/selftest-kill");
  assert.equal(group.create(), true);
  const child = shell("read _; sleep 1000 & sleep 1000 & exec sleep 1000", { stdin: "piped" });
  assert.equal(group.addProcess(child.pid), true);
  await child.stdin.close();
  await until(() => group.processes().length === 3, () => group.processes());
  assert.throws(() => group.remove(), { code: "EBUSY" });
  group.kill();
  assert.equal((await child.status).signal, "SIGKILL");
  // Two were orphaned just now: whoever is their last parent buries them.
  await until(() => !group.populated(), () => group.processes());
  assert.equal(group.addProcess(child.pid), false, "it has ended");
  assert.equal(group.remove(), true);
});

Deno.test("Cgroup: a group over its memory is killed as a whole, and memory.events tells it", () =>
  withReactor(async (reactor) => {
    const group = new Cgroup("tasks/selftest-oom");
    group.create();
    await group.set("memory.max", 16 << 20);
    await group.set("memory.oom.group", 1);
    const fd = openFd(libc, `${group.path}/memory.events`);
    const buffer = new Uint8Array(512);
    let changes = 0;
    const registration = reactor.add(fd, ["priority"], () => {
      rewind(libc, fd);
      readFd(libc, fd, buffer);
      changes++;
    });
    const child = shell(
      "read _; sleep 1000 & dd if=/dev/zero of=/dev/null bs=64M count=1; exit 9",
      {
        stdin: "piped",
      },
    );
    group.addProcess(child.pid);
    await child.stdin.close();
    assert.equal((await child.status).signal, "SIGKILL");
    const events = () => group.memoryEvents();
    await until(() => (events()?.oomKill ?? 0) >= 1 && changes > 0, () => [events(), changes]);
    assert.equal(events()?.oomGroupKill, 1);
    assert.ok((events()?.max ?? 0) > 0);
    await until(() => !group.populated());
    registration.remove();
    closeFd(libc, fd);
    assert.equal(group.remove(), true);
  }));
