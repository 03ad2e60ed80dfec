/**
 * Task groups: the control groups below /tasks that children live in.
 *
 * Owns their making and removal. A group is removed only when it is empty, so
 * that nothing of a finished task can be left running unseen.
 */
import type { TaskGroup, TaskGroups, TaskLimits } from "./child/spawn.ts";
import { Cgroup } from "./kernel/cgroup.ts";

const removeTries = 50;
const removeEveryMs = 20;

/** Groups below /tasks of the mounted cgroup2 tree. */
export class CgroupTasks implements TaskGroups {
  readonly #opened = Promise.withResolvers<void>();

  /** From now on groups can be made: /tasks is there. */
  open(): void {
    this.#opened.resolve();
  }

  /** Makes one, once `open()` was called: a request may come while the machine still boots. */
  async create(name: string, limits: TaskLimits = {}): Promise<TaskGroup> {
    await this.#opened.promise;
    const group = new Cgroup(`tasks/${name}`);
    group.create();
    await group.set("memory.oom.group", 1);
    if (limits.memoryBytes !== undefined) await group.set("memory.max", limits.memoryBytes);
    if (limits.pids !== undefined) await group.set("pids.max", limits.pids);
    return {
      path: `/tasks/${name}`,
      add: async (pid) => await group.set("cgroup.procs", pid),
      kill: async () => await group.set("cgroup.kill", 1),
      remove: async () => await remove(group),
    };
  }
}

/** The kernel lets go of killed processes one by one: until then the group is busy. */
async function remove(group: Cgroup): Promise<void> {
  if (group.populated()) await group.set("cgroup.kill", 1);
  for (let tries = 1;; tries++) {
    try {
      group.remove();
      return;
    } catch (error) {
      if (tries === removeTries) throw error;
      await new Promise((resolve) => setTimeout(resolve, removeEveryMs));
    }
  }
}
