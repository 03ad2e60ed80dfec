/**
 * Testing: what tests of children need of a real machine: a spawner, and control groups where the
 * host lets them be made.
 *
 * For tests only; nothing of the system imports it.
 */
import { Cgroup } from "../kernel/cgroup.ts";
import { OwnChildren, Spawner, type TaskGroup, type TaskGroups } from "./spawn.ts";
import { CgroupTasks } from "./task_groups.ts";
import { realTimers, type Timers } from "./timers.ts";

export interface Rig {
  readonly own: OwnChildren;
  readonly timers: Timers;
  readonly spawner: Spawner;
  /** What reached the reporter; a test that expects nothing asserts that it is empty. */
  readonly reports: string[];
  readonly report: (where: string, error: unknown) => void;
}

/** A spawner on the real machine. */
export function rig(): Rig {
  const own = new OwnChildren();
  const reports: string[] = [];
  const report = (where: string, error: unknown) => {
    reports.push(`${where}: ${error instanceof Error ? error.message : String(error)}`);
  };
  const timers = realTimers(report);
  return { own, timers, reports, report, spawner: new Spawner({ own, timers, report }) };
}

let serial = 0;

/** The first place where cgroup2 is mounted and takes a new group; null on a host that has none. */
function cgroup2(): string | null {
  for (const root of ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]) {
    const probe = new Cgroup(`osym-probe-${Deno.pid}`, root);
    try {
      probe.create();
      // An ordinary directory, as of a version 1 tree's tmpfs, has no such file in it.
      const usable = probe.read("cgroup.procs") !== null;
      probe.remove();
      if (usable) return root;
    } catch (error) {
      // Not mounted, or not ours to write: the next place may do.
      if (!(error instanceof Error)) throw error;
    }
  }
  return null;
}

/** Why a test that needs root can not run here; null when it can. */
export const needRoot: string | null = Deno.uid() === 0 ? null : "not root";

const groupRoot = cgroup2();
/** Why a test that needs control groups can not run here; null when it can. */
export const needGroups: string | null = groupRoot === null ? "no cgroup2 takes groups" : null;

/** A test that shows as skipped, with the reason in its name, where it can not run. */
export function testNeeding(need: string | null, name: string, fn: () => Promise<void>): void {
  Deno.test({
    name: need === null ? name : `${name} [skipped: ${need}]`,
    ignore: need !== null,
    fn,
  });
}

/** Runs a test with groups of its own below one parent, removed afterwards; for `needGroups`. */
export async function withGroups(
  { timers, report }: Rig,
  test: (groups: TaskGroups, directory: string) => Promise<void>,
): Promise<void> {
  if (groupRoot === null) throw new Error("withGroups() on a host without cgroup2");
  const root = groupRoot;
  const parent = `osym-test-${Deno.pid}-${++serial}`;
  const own = new Cgroup(parent, root);
  own.create();
  const groups = new CgroupTasks({
    parent: `/${parent}`,
    open: (name) => new Cgroup(name, root),
    timers,
    report,
  });
  try {
    await test(groups, own.path);
  } finally {
    own.remove();
  }
}

/** A group that is only remembered, for tests of what is done with it. */
export class FakeGroups implements TaskGroups {
  readonly made: string[] = [];
  readonly removed: string[] = [];
  readonly pids: number[] = [];
  /** Set to make `create` or `add` fail with this code. */
  failing: { create?: string; add?: string } = {};

  create(name: string): Promise<TaskGroup> {
    if (this.failing.create !== undefined) return Promise.reject(coded(this.failing.create));
    this.made.push(name);
    const inside: number[] = [];
    const kill = (): Promise<void> => {
      for (const pid of inside) {
        try {
          Deno.kill(-pid, "SIGKILL");
        } catch (error) {
          if (!(error instanceof Deno.errors.NotFound)) throw error;
        }
      }
      return Promise.resolve();
    };
    return Promise.resolve({
      path: `/tasks/${name}`,
      add: (pid) => {
        if (this.failing.add !== undefined) return Promise.reject(coded(this.failing.add));
        inside.push(pid);
        this.pids.push(pid);
        return Promise.resolve();
      },
      kill,
      remove: async () => {
        await kill();
        this.removed.push(name);
      },
    });
  }
}

function coded(code: string): Error {
  return Object.assign(new Error(code), { code });
}

/** Whether a process is there (kill(2) with signal 0 has no name in Deno). */
export function isThere(pid: number): boolean {
  try {
    // A zombie is there for /proc, but nothing of it runs.
    return !/^State:\s+Z/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    // ESRCH: it ended between the open and the read.
    if ((error as { code?: string }).code === "ESRCH") return false;
    throw error;
  }
}

/** Waits until `met` holds; throws after `ms` with what was awaited. */
export async function until(what: string, met: () => boolean, ms = 10_000): Promise<void> {
  const end = performance.now() + ms;
  while (!met()) {
    if (performance.now() > end) throw new Error(`${what}: not within ${ms} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
