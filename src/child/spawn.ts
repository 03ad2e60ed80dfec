/**
 * Spawn: starts every child of PID 1, and remembers which processes are its own.
 *
 * Owns the set of own pids (the reaper must leave those to Deno), the way into a cgroup, and the
 * child's three pipes. Must never start anything with an inherited environment or an inherited
 * stream, wait on a pipe that a grandchild may hold open, or let a failed start be anything but a
 * value.
 *
 * Into a cgroup without a race: the child begins as a shell that waits for one line on its stdin
 * and only then execs the program. Until then it forks nothing, so the pid is moved (by us, as
 * root, which works for a child of any user and gives the kernel's own error) before there is
 * anything that could be left behind. Measured 0.8 ms over a bare spawn; stop and continue cost 3.
 */
import type { SignalName } from "../kernel/signals.ts";
import {
  checkDirectory,
  codeOf,
  defaultPath,
  denoFiles,
  type FileFacts,
  findProgram,
  type SpawnFault,
  spawnFault,
} from "./program.ts";
import { late, type Report, type Timers, within } from "./timers.ts";
import { Turns } from "./turns.ts";

export type { SpawnFault } from "./program.ts";

/** One control group, as far as a child's life needs it. Every method rejects with the kernel's code. */
export interface TaskGroup {
  /** As /proc/<pid>/cgroup shows it, `/tasks/act-1`. */
  readonly path: string;
  /** Moves a process in (cgroup.procs). */
  add(pid: number): Promise<void>;
  /** SIGKILL to everything inside (cgroup.kill). */
  kill(): Promise<void>;
  /** Kills what is left, then removes the group. */
  remove(): Promise<void>;
}

/** Bounds of a group; absent means none of its own. */
export interface TaskLimits {
  readonly memoryBytes?: number | undefined;
  readonly pids?: number | undefined;
}

/** Makes control groups below /tasks; the composition root hands in the kernel's. */
export interface TaskGroups {
  create(name: string, limits?: TaskLimits): Promise<TaskGroup>;
}

/** The processes that are ours to await: the reaper asks `isOwn` and leaves those alone. */
export class OwnChildren {
  readonly #pids = new Set<number>();

  readonly isOwn = (pid: number): boolean => this.#pids.has(pid);

  get size(): number {
    return this.#pids.size;
  }

  add(pid: number): void {
    this.#pids.add(pid);
  }

  delete(pid: number): void {
    this.#pids.delete(pid);
  }
}

/** How a process ended; both null when the kernel would not say. */
export interface Exit {
  readonly code: number | null;
  readonly signal: SignalName | null;
}

/** `exit 1`, `SIGKILL`, or `unknown`. */
export function exitText(exit: Exit): string {
  if (exit.signal !== null) return exit.signal;
  return exit.code === null ? "unknown" : `exit ${exit.code}`;
}

/** The writing end of a child's stdin. */
export interface ChildInput {
  /** Writes all of it, as fast as the child reads. False once the child no longer does (EPIPE). */
  write(bytes: Uint8Array): Promise<boolean>;
  /** Ends the stream once all is written. Never rejects. */
  close(): Promise<void>;
  /** Lets go of the pipe at once, whatever is unwritten. */
  destroy(): void;
}

export interface Child {
  readonly pid: number;
  readonly group: TaskGroup | null;
  /** Settles when the kernel has reaped the process. Never rejects. */
  readonly exit: Promise<Exit>;
  readonly exited: boolean;
  /** Null when the child was started without one. */
  readonly stdin: ChildInput | null;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  /** Signals the child's process group; false when the child has exited. */
  signal(name: "SIGTERM" | "SIGKILL" | "SIGINT" | "SIGHUP"): boolean;
  /** Kills the whole tree: its cgroup when there is one, and its process group. Never rejects. */
  kill(): Promise<void>;
}

export interface SpawnRequest {
  readonly argv: readonly string[];
  /** The whole environment; PATH is `defaultPath` unless given. */
  readonly env?: Readonly<Record<string, string>> | undefined;
  readonly cwd?: string | undefined;
  readonly uid?: number | undefined;
  readonly gid?: number | undefined;
  readonly group?: TaskGroup | undefined;
  /** `null` (the default) reads as empty. */
  readonly stdin?: "piped" | "null" | undefined;
}

export type Spawned = { ok: true; child: Child } | { ok: false; fault: SpawnFault };

export interface SpawnerOptions {
  readonly own: OwnChildren;
  readonly timers: Timers;
  readonly report: Report;
  readonly files?: FileFacts;
  /** The shell that waits for its group. */
  readonly busybox?: string;
}

/** Looking a program up may meet a dead disk: longer than this is ETIMEDOUT. */
const lookupMs = 5000;
/** Look-ups at once: one that hangs holds a thread of the runtime's 32, which all files need. */
const lookupsAtOnce = 8;
/** More than all acts and services together want at once. */
const lookupsWaiting = 1024;
/** Exit code of the waiting shell when we closed its stdin instead of letting it go on. */
const notReleased = 125;

/** SHLVL and PWD are the shell's own additions to the environment. */
const waitThenExec = {
  piped: `read -r _ || exit ${notReleased}; unset SHLVL OLDPWD PWD; exec "$@"`,
  null: `read -r _ || exit ${notReleased}; unset SHLVL OLDPWD PWD; exec "$@" </dev/null`,
};

export class Spawner {
  readonly #options: SpawnerOptions;
  readonly #files: FileFacts;
  readonly #lookups = new Turns(lookupsAtOnce, lookupsWaiting);

  constructor(options: SpawnerOptions) {
    this.#options = options;
    this.#files = options.files ?? denoFiles;
  }

  /**
   * Starts a child in a session of its own, with exactly the given environment and fds 0–2. It is
   * in its group before its first instruction; in one, the variables a shell keeps for itself (PWD,
   * OLDPWD, SHLVL, IFS, OPTIND, PPID, _) are not the given ones. Never rejects.
   */
  async spawn(request: SpawnRequest): Promise<Spawned> {
    const { argv, group } = request;
    const env: Record<string, string> = { PATH: defaultPath, ...request.env };
    const cwd = request.cwd ?? "/";
    // The waiting shell passes on only what can be one of its variables: say so instead of losing it.
    const odd = Object.keys(env).find((name) => !/^[A-Za-z_][A-Za-z0-9_]*$/.test(name));
    if (odd !== undefined) return { ok: false, fault: spawnFault("env", odd, "EINVAL") };
    const found = await within(
      this.#options.timers,
      lookupMs,
      this.#lookUp(argv[0] ?? "", cwd, env),
    );
    if (found === late) return { ok: false, fault: spawnFault("exec", argv[0]!, "ETIMEDOUT") };
    if (typeof found !== "string") return { ok: false, fault: found };

    const stdin = request.stdin ?? "null";
    const command = group === undefined ? [found, ...argv.slice(1)] : [
      this.#options.busybox ?? "/bin/busybox",
      "sh",
      "-c",
      waitThenExec[stdin],
      "sh",
      found,
      ...argv.slice(1),
    ];
    let process: Deno.ChildProcess;
    try {
      process = new Deno.Command(command[0]!, {
        args: command.slice(1),
        env,
        clearEnv: true,
        cwd,
        ...(request.uid === undefined ? {} : { uid: request.uid }),
        ...(request.gid === undefined ? {} : { gid: request.gid }),
        detached: true,
        stdin: group === undefined ? stdin : "piped",
        stdout: "piped",
        stderr: "piped",
      }).spawn();
    } catch (error) {
      return { ok: false, fault: spawnFault("spawn", argv[0]!, codeOf(error)) };
    }
    // Before anything is awaited: the reaper may run as soon as we yield.
    this.#options.own.add(process.pid);
    const input = group === undefined && stdin === "null" ? null : new Input(process.stdin);
    const child = new SpawnedChild(process, group ?? null, input, this.#options);
    if (group === undefined) return { ok: true, child };

    try {
      await group.add(process.pid);
    } catch (error) {
      await input?.close();
      await child.discard();
      return { ok: false, fault: spawnFault("cgroup", group.path, codeOf(error)) };
    }
    await input?.write(new Uint8Array([10]));
    if (stdin === "null") await input?.close();
    return { ok: true, child: stdin === "null" ? child.withoutStdin() : child };
  }

  async #lookUp(
    name: string,
    cwd: string,
    env: Readonly<Record<string, string>>,
  ): Promise<string | SpawnFault> {
    if (await this.#lookups.take() !== "mine") return spawnFault("exec", name, "EAGAIN");
    try {
      return await checkDirectory(this.#files, cwd) ??
        await findProgram(this.#files, name, cwd, env.PATH);
    } finally {
      this.#lookups.done();
    }
  }
}

class Input implements ChildInput {
  readonly #writer: WritableStreamDefaultWriter<Uint8Array>;
  #open = true;

  constructor(stream: WritableStream<Uint8Array>) {
    this.#writer = stream.getWriter();
    // The same failure reaches `write`, where it is an answer.
    this.#writer.closed.catch(() => this.#open = false);
  }

  async write(bytes: Uint8Array): Promise<boolean> {
    if (!this.#open) return false;
    try {
      await this.#writer.write(bytes);
      return true;
    } catch {
      // EPIPE: the child is gone or does not read; its exit says the rest.
      this.#open = false;
      return false;
    }
  }

  async close(): Promise<void> {
    if (!this.#open) return;
    this.#open = false;
    try {
      await this.#writer.close();
    } catch {
      // The reader is gone already: as closed as it can be.
      this.#writer.releaseLock();
    }
  }

  destroy(): void {
    this.#open = false;
    this.#writer.abort().catch(() => this.#writer.releaseLock());
  }
}

class SpawnedChild implements Child {
  readonly exit: Promise<Exit>;
  readonly stdout: ReadableStream<Uint8Array>;
  readonly stderr: ReadableStream<Uint8Array>;
  readonly #report: Report;
  #stdin: ChildInput | null;
  #exited = false;

  constructor(
    readonly process: Deno.ChildProcess,
    readonly group: TaskGroup | null,
    stdin: ChildInput | null,
    { own, report }: SpawnerOptions,
  ) {
    this.#stdin = stdin;
    this.#report = report;
    this.stdout = process.stdout;
    this.stderr = process.stderr;
    this.exit = this.#awaitExit(own);
  }

  get pid(): number {
    return this.process.pid;
  }

  get stdin(): ChildInput | null {
    return this.#stdin;
  }

  get exited(): boolean {
    return this.#exited;
  }

  signal(name: "SIGTERM" | "SIGKILL" | "SIGINT" | "SIGHUP"): boolean {
    return !this.#exited && this.#signalAll(name);
  }

  async kill(): Promise<void> {
    if (this.group !== null) {
      try {
        await this.group.kill();
        // Root can move itself into another group, out of reach of this one's kill.
        if (this.#exited) return;
      } catch (error) {
        this.#report(`kill ${this.group.path}`, error);
      }
    }
    // A process group outlives its leader, and its number is not reused as long as it has a member.
    this.#signalAll("SIGKILL");
  }

  /** The stdin was only there to hold the child back. */
  withoutStdin(): Child {
    this.#stdin = null;
    return this;
  }

  /** Ends a child nobody will ever hold. */
  async discard(): Promise<void> {
    this.#signalAll("SIGKILL");
    await this.exit;
    await Promise.allSettled([this.stdout.cancel(), this.stderr.cancel()]);
  }

  #signalAll(name: Deno.Signal): boolean {
    try {
      Deno.kill(-this.pid, name);
      return true;
    } catch (error) {
      // ESRCH: nothing of it is left, which is what a signal to it would have been for.
      if (!(error instanceof Deno.errors.NotFound)) this.#report(`kill -${this.pid}`, error);
      return false;
    }
  }

  async #awaitExit(own: OwnChildren): Promise<Exit> {
    try {
      const { code, signal } = await this.process.status;
      // Deno's names are the kernel's on Linux; its type also lists other systems'.
      return signal === null ? { code, signal } : { code: null, signal: signal as SignalName };
    } catch (error) {
      // Deno rejects for signals it has no name for, which are the real-time ones.
      const number = /^Invalid signal: (\d+)$/.exec((error as Error).message)?.[1];
      if (number !== undefined) return { code: null, signal: `SIG${Number(number)}` };
      this.#report(`wait for ${this.pid}`, error);
      return { code: null, signal: null };
    } finally {
      this.#exited = true;
      own.delete(this.pid);
    }
  }
}
