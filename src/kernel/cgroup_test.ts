/** Control groups, on a directory that stands in for cgroupfs. */
import assert from "node:assert/strict";
import { Cgroup, parseFlatKeyed, parseMemoryEvents } from "./cgroup.ts";

Deno.test("parseMemoryEvents() reads counts and leaves the rest out", () => {
  assert.deepEqual(
    parseMemoryEvents("low 1\nhigh 2\nmax 3\noom 4\noom_kill 5\noom_group_kill 6\nx y\n"),
    {
      low: 1,
      high: 2,
      max: 3,
      oom: 4,
      oomKill: 5,
      oomGroupKill: 6,
    },
  );
  assert.deepEqual([...parseFlatKeyed("populated 1\n\nfrozen -1\n")], [["populated", 1]]);
});

Deno.test("Cgroup refuses names that leave its root", () => {
  for (const name of ["..", "a/../b", "a/./b", "a\0"]) {
    assert.throws(() => new Cgroup(name), TypeError, name);
  }
  assert.equal(new Cgroup("").path, "/sys/fs/cgroup");
  assert.equal(new Cgroup("/tasks//dns/").path, "/sys/fs/cgroup/tasks/dns");
});

Deno.test("Cgroup makes, fills, reads and removes its directory", async () => {
  const root = Deno.makeTempDirSync();
  const group = new Cgroup("tasks", root);
  assert.deepEqual([group.create(), group.create()], [true, false]);
  for (const file of ["memory.max", "cgroup.procs", "cgroup.kill", "cgroup.freeze"]) {
    Deno.writeTextFileSync(`${group.path}/${file}`, "");
  }
  await group.set("memory.max", "64M");
  assert.equal(group.read("memory.max"), "64M");
  assert.equal(group.addProcess(42), true);
  assert.deepEqual(group.processes(), [42]);
  group.kill();
  group.freeze(true);
  assert.deepEqual([group.read("cgroup.kill"), group.read("cgroup.freeze")], ["1", "1"]);
  assert.deepEqual([group.memoryEvents(), group.populated(), group.read("none")], [
    null,
    false,
    null,
  ]);
  Deno.removeSync(root, { recursive: true });
  assert.equal(group.remove(), false);
  assert.deepEqual(group.processes(), []);
});

Deno.test("Cgroup names file and value of what was refused", async () => {
  const root = Deno.makeTempDirSync();
  const group = new Cgroup("none", root);
  await assert.rejects(group.set("memory.max", "1G"), {
    message: `write "1G" to ${root}/none/memory.max: ENOENT`,
  });
  assert.throws(() => group.addProcess(1), {
    message: `write "1" to ${root}/none/cgroup.procs: ENOENT`,
  });
  assert.throws(() => new Cgroup("a/b", root).create(), {
    message: `create cgroup ${root}/a/b: ENOENT`,
  });
  Deno.removeSync(root, { recursive: true });
});
