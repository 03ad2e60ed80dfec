/** Groups for children, on a stand-in for the kernel's. */
import assert from "node:assert/strict";
import { FakeTimers } from "./fake_timers.ts";
import { CgroupTasks, type ControlGroup } from "./task_groups.ts";
import { needGroups, rig, testNeeding, withGroups } from "./testing.ts";

/** A group that stays populated for so many looks after a kill, and writes down what is done. */
class FakeGroup implements ControlGroup {
  readonly done: string[] = [];
  refused: string[] = [];
  constructor(public looks = 0) {}
  create(): boolean {
    this.done.push("create");
    return true;
  }
  remove(): boolean {
    this.done.push("remove");
    if (this.looks > 0) throw Object.assign(new Error("remove cgroup: EBUSY"), { code: "EBUSY" });
    return true;
  }
  set(file: string, value: string | number): Promise<void> {
    if (this.refused.includes(file)) return Promise.reject(new Error(`${file}: ENOENT`));
    this.done.push(`${file}=${value}`);
    return Promise.resolve();
  }
  addProcess(pid: number): boolean {
    return pid !== 404;
  }
  kill(): void {
    this.done.push("kill");
  }
  populated(): boolean {
    if (this.looks === 0) return false;
    this.looks--;
    return true;
  }
}

function tasksOn(group: FakeGroup) {
  const timers = new FakeTimers();
  const reports: string[] = [];
  const opened: string[] = [];
  const groups = new CgroupTasks({
    parent: "/tasks",
    open: (name) => {
      opened.push(name);
      return group;
    },
    timers,
    report: (where) => reports.push(where),
  });
  return { timers, reports, opened, groups };
}

Deno.test("CgroupTasks.create() makes the group with its bounds", async () => {
  const group = new FakeGroup();
  const { groups, opened, reports } = tasksOn(group);
  const made = await groups.create("act-1", { memoryBytes: 1 << 20, pids: 8 });
  assert.equal(made.path, "/tasks/act-1");
  assert.deepEqual(opened, ["tasks/act-1"]);
  assert.deepEqual(group.done, [
    "create",
    "cgroup.max.descendants=0",
    "memory.max=1048576",
    "memory.oom.group=1",
    "pids.max=8",
  ]);
  assert.deepEqual(reports, []);
});

Deno.test("CgroupTasks.create() reports a bound the kernel does not take, and goes on", async () => {
  const group = new FakeGroup();
  group.refused = ["memory.max"];
  const { groups, reports } = tasksOn(group);
  await groups.create("x", { memoryBytes: 1, pids: 2 });
  assert.deepEqual(reports, ["/tasks/x memory.max"]);
  assert(group.done.includes("pids.max=2"));
});

Deno.test("TaskGroup.add() rejects with ESRCH for a process that has ended", async () => {
  const made = await tasksOn(new FakeGroup()).groups.create("x");
  await made.add(1);
  await assert.rejects(made.add(404), { code: "ESRCH" });
});

Deno.test("TaskGroup.remove() kills what is left and waits until it is gone", async () => {
  const group = new FakeGroup(4);
  const { groups, timers } = tasksOn(group);
  const removed = (await groups.create("x")).remove();
  await timers.advance(2000);
  await removed;
  assert.deepEqual(group.done, [
    ...["create", "cgroup.max.descendants=0", "memory.oom.group=1"],
    ...["kill", "remove"],
  ]);
});

Deno.test("TaskGroup.remove() rejects when the group does not empty", async () => {
  const group = new FakeGroup(Infinity);
  const { groups, timers } = tasksOn(group);
  const removed = (await groups.create("x")).remove();
  const rejected = assert.rejects(removed, { code: "EBUSY" });
  await timers.advance(40_000);
  await rejected;
});

testNeeding(needGroups, "CgroupTasks.create() makes groups that none can be made in", async () => {
  const on = rig();
  await withGroups(on, async (groups, directory) => {
    const group = await groups.create("act-1");
    // One that stayed behind would keep its parent from being removed.
    assert.throws(() => Deno.mkdirSync(`${directory}/act-1/inside`), { code: "EAGAIN" });
    await group.remove();
  });
});
