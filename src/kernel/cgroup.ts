/**
 * Control groups, version 2.
 *
 * Owns: one directory of the hierarchy: making it, its control files, who is in it, and killing
 * all of them at once.
 * Must never: lower memory limits on the main thread: writing memory.max reclaims until the group
 * fits, so limits are written on the blocking pool; moving and killing only take a lock.
 *
 * Documentation/admin-guide/cgroup-v2.rst.
 */

import { denoErrno, Errno, fromDeno, SysError } from "./errno.ts";

/** Where cgroup2 is mounted. */
export const CGROUP_ROOT = "/sys/fs/cgroup";

/** Counts of memory.events since the group was made. */
export interface MemoryEvents {
  readonly low: number;
  readonly high: number;
  readonly max: number;
  readonly oom: number;
  readonly oomKill: number;
  readonly oomGroupKill: number;
}

/** Parses a flat keyed file: `key number` a line. Other lines are left out. */
export function parseFlatKeyed(text: string): Map<string, number> {
  const values = new Map<string, number>();
  for (const line of text.split("\n")) {
    const match = /^(\S+) (\d+)$/.exec(line);
    if (match !== null) values.set(match[1]!, Number(match[2]));
  }
  return values;
}

/** Parses memory.events. */
export function parseMemoryEvents(text: string): MemoryEvents {
  const values = parseFlatKeyed(text);
  const of = (name: string) => values.get(name) ?? 0;
  return {
    low: of("low"),
    high: of("high"),
    max: of("max"),
    oom: of("oom"),
    oomKill: of("oom_kill"),
    oomGroupKill: of("oom_group_kill"),
  };
}

/** A control group. */
export class Cgroup {
  /** Absolute path of its directory. */
  readonly path: string;

  /** @param name below the root, such as `"tasks/dns"`; empty for the root itself. No "..". */
  constructor(name: string, root = CGROUP_ROOT) {
    const parts = name.split("/").filter((part) => part !== "");
    if (parts.some((part) => /^\.+$/.test(part) || part.includes("\0"))) {
      throw new TypeError(`cgroup ${JSON.stringify(name)}: not a name`);
    }
    this.path = [root, ...parts].join("/");
  }

  /** Makes it; true when it was not there. @throws SysError ENOENT without the parent, EAGAIN, … */
  create(): boolean {
    try {
      Deno.mkdirSync(this.path);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.AlreadyExists) return false;
      throw fromDeno(error, "create cgroup", this.path);
    }
  }

  /** Removes it. False when it is not there. @throws SysError EBUSY while anyone or a child is in it */
  remove(): boolean {
    try {
      Deno.removeSync(this.path);
      return true;
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return false;
      throw fromDeno(error, "remove cgroup", this.path);
    }
  }

  /** Controllers its children may use. @throws SysError ENOENT for one the parent lacks */
  async enable(controllers: readonly string[]): Promise<void> {
    // One by one: a refused one must not take the others with it.
    const words = controllers.map((controller) => `+${controller}`);
    for (const word of words) await this.set("cgroup.subtree_control", word);
  }

  /** Writes a control file: `set("memory.max", "64M")`. @throws SysError naming file and value */
  async set(file: string, value: string | number): Promise<void> {
    try {
      await Deno.writeTextFile(`${this.path}/${file}`, String(value), { create: false });
    } catch (error) {
      throw this.#named(error, file, value);
    }
  }

  /** Moves a process here. False when it has ended (ESRCH). @throws SysError */
  addProcess(pid: number): boolean {
    try {
      this.#write("cgroup.procs", pid);
      return true;
    } catch (error) {
      if (error instanceof SysError && error.errno === Errno.ESRCH) return false;
      throw error;
    }
  }

  /** SIGKILLs everyone in it and below it, at once and without a race (Linux 5.14). @throws SysError */
  kill(): void {
    this.#write("cgroup.kill", 1);
  }

  /** Stops or continues everyone in it. @throws SysError */
  freeze(on: boolean): void {
    this.#write("cgroup.freeze", on ? 1 : 0);
  }

  /** The processes in it, not below it. Empty when it is gone. */
  processes(): number[] {
    const text = this.read("cgroup.procs") ?? "";
    return text.split("\n").filter((line) => /^\d+$/.test(line)).map(Number);
  }

  /** memory.events; null without the memory controller. The count of an OOM comes a moment late. */
  memoryEvents(): MemoryEvents | null {
    const text = this.read("memory.events");
    return text === null ? null : parseMemoryEvents(text);
  }

  /** Whether anyone is in it or below it (cgroup.events). */
  populated(): boolean {
    return parseFlatKeyed(this.read("cgroup.events") ?? "").get("populated") === 1;
  }

  /** The text of a control file; null when it, or the group, is not there. @throws SysError */
  read(file: string): string | null {
    try {
      return Deno.readTextFileSync(`${this.path}/${file}`);
    } catch (error) {
      // ENODEV: the group was removed while its file was open.
      const errno = denoErrno(error);
      if (errno === Errno.ENOENT || errno === Errno.ENODEV) return null;
      throw fromDeno(error, "read", `${this.path}/${file}`);
    }
  }

  #write(file: string, value: string | number): void {
    try {
      Deno.writeTextFileSync(`${this.path}/${file}`, String(value), { create: false });
    } catch (error) {
      throw this.#named(error, file, value);
    }
  }

  #named(error: unknown, file: string, value: string | number): unknown {
    return fromDeno(error, "write", `${JSON.stringify(String(value))} to ${this.path}/${file}`);
  }
}
