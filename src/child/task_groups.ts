/**
 * TaskGroups: control groups for children, one each, below one parent (`/tasks`).
 *
 * Owns making, bounding and removing them. A group whose processes were just killed is busy for
 * some milliseconds more; waiting for that is done here, with an end. Must never leave a group
 * behind that it reported as removed.
 */
import { codeOf } from "./program.ts";
import type { TaskGroup, TaskGroups, TaskLimits } from "./spawn.ts";
import { type Report, sleep, type Timers } from "./timers.ts";

/** One group of the kernel's (src/kernel/cgroup.ts). Everything throws or rejects with its code. */
export interface ControlGroup {
  create(): boolean;
  remove(): boolean;
  set(file: string, value: string | number): Promise<void>;
  /** False when the process has ended. */
  addProcess(pid: number): boolean;
  kill(): void;
  populated(): boolean;
}

export interface TaskGroupsOptions {
  /** The parent as /proc/<pid>/cgroup shows it, `/tasks`. */
  readonly parent: string;
  /** Makes the handle of a group from its name below the hierarchy's root, `tasks/act-1`. */
  readonly open: (name: string) => ControlGroup;
  readonly timers: Timers;
  readonly report: Report;
  /** Resolves once the parent is there: a request may come while the machine still boots. */
  readonly ready?: Promise<void>;
}

/** A killed fork bomb of thousands takes the kernel seconds to let go of; then removing it fails. */
const emptyMs = 30_000;
/** Longest pause between two looks at whether it is empty. */
const pauseMs = 50;

export class CgroupTasks implements TaskGroups {
  constructor(readonly options: TaskGroupsOptions) {}

  /** Makes the group, or takes the one of that name. A bound the kernel refuses is reported. */
  async create(name: string, limits: TaskLimits = {}): Promise<TaskGroup> {
    const { parent, open, timers, report, ready } = this.options;
    await ready;
    const path = `${parent}/${name}`;
    const group = open(path.slice(1));
    group.create();
    const bounds: [string, number | undefined][] = [
      // What a child of ours made in its group would keep the group from being removed.
      ["cgroup.max.descendants", 0],
      ["memory.max", limits.memoryBytes],
      // Half a killed tree is worse than none: the group goes as a whole, whoever's bound was hit.
      ["memory.oom.group", 1],
      ["pids.max", limits.pids],
    ];
    for (const [file, value] of bounds) {
      if (value === undefined) continue;
      try {
        await group.set(file, value);
      } catch (error) {
        // No memory controller, no OOM kill within a group: nothing is lost.
        if (file === "memory.oom.group" && codeOf(error) === "ENOENT") continue;
        // The parent's own bounds still hold; without the controller there are none to set.
        report(`${path} ${file}`, error);
      }
    }
    return new Tasks(path, group, timers);
  }
}

class Tasks implements TaskGroup {
  constructor(
    readonly path: string,
    readonly group: ControlGroup,
    readonly timers: Timers,
  ) {}

  // Async, so that what the kernel refuses is a rejection.
  async add(pid: number): Promise<void> {
    if (await this.group.addProcess(pid)) return;
    throw Object.assign(new Error(`add ${pid} to ${this.path}: ESRCH`), { code: "ESRCH" });
  }

  async kill(): Promise<void> {
    await this.group.kill();
  }

  async remove(): Promise<void> {
    const until = this.timers.now() + emptyMs;
    if (this.group.populated()) this.group.kill();
    for (let pause = 1; this.group.populated() && this.timers.now() < until; pause *= 2) {
      await sleep(this.timers, Math.min(pause, pauseMs));
    }
    this.group.remove();
  }
}
