/**
 * Exec: runs one command and answers what it printed and how it ended.
 *
 * Owns the act `exec.run` and its control group. Must never run a shell nobody asked for, hand the
 * command any of PID 1's environment or descriptors, or leave a process of it behind: what it put
 * into the background dies with the act.
 */
import type { ExecArgs, ExecResult } from "../../bus/shapes.ts";
import { execArgs } from "../../bus/shapes.ts";
import { codeOf, spawnFault } from "../../src/child/program.ts";
import { capturedText, type RunResult, runToEnd } from "../../src/child/run.ts";
import {
  exitText,
  type Spawner,
  type TaskGroup,
  type TaskGroups,
  type TaskLimits,
} from "../../src/child/spawn.ts";
import type { Report, Timers } from "../../src/child/timers.ts";
import { type Act, type ActContext, type ActResult, defineAct } from "./act.ts";

export interface ExecDeps {
  readonly spawner: Pick<Spawner, "spawn">;
  /** Null on a machine without cgroup2: the command then has only a process group of its own. */
  readonly groups: TaskGroups | null;
  readonly timers: Timers;
  readonly report: Report;
  /** Bounds of each command's group; `tasks` itself bounds them all. */
  readonly limits?: TaskLimits;
}

/** Bytes kept of each stream. */
const streamBytes = 256 * 1024;
/** Between SIGTERM and SIGKILL when its time is up. */
const graceMs = 1000;

/** The act `exec.run`. */
export function execAct(deps: ExecDeps): Act {
  return defineAct({
    args: execArgs,
    scope: () => "shell:exec:exec",
    risk: () => "irreversible",
    lane: "work",
    run: (args, context) => run(deps, args, context),
  });
}

async function run(deps: ExecDeps, args: ExecArgs, context: ActContext): Promise<ActResult> {
  let group: TaskGroup | null = null;
  const name = `act-${context.action}`;
  try {
    group = await deps.groups?.create(name, deps.limits) ?? null;
  } catch (error) {
    return { status: "failed", reason: spawnFault("cgroup", name, codeOf(error)).message };
  }
  try {
    return await runIn(deps, group, args, context);
  } finally {
    await group?.remove().catch((error) => deps.report(`remove ${name}`, error));
  }
}

async function runIn(
  { spawner, timers, report }: ExecDeps,
  group: TaskGroup | null,
  args: ExecArgs,
  { action, signal }: ActContext,
): Promise<ActResult> {
  const spawned = await spawner.spawn({
    argv: args.argv,
    env: { HOME: "/", ...args.env },
    cwd: args.cwd,
    ...(group === null ? {} : { group }),
    stdin: args.stdin === undefined ? "null" : "piped",
  });
  if (!spawned.ok) return { status: "failed", reason: spawned.fault.message };
  const { child } = spawned;
  const ended = await runToEnd(child, {
    timers,
    report,
    timeoutMs: args.timeout_ms,
    graceMs,
    maxBytes: streamBytes,
    stdin: args.stdin === undefined ? undefined : new TextEncoder().encode(args.stdin),
    signal,
  });
  if (ended.exit === null) {
    return { status: "failed", reason: `kill ${child.pid}: still in the kernel after SIGKILL` };
  }
  const result: ExecResult = {
    action,
    pid: child.pid,
    code: ended.exit.code,
    signal: ended.exit.signal,
    stdout: capturedText(ended.stdout),
    stderr: capturedText(ended.stderr),
    truncated: { stdout: ended.stdout.cut, stderr: ended.stderr.cut },
    timed_out: ended.stopped === "timeout",
    ms: Math.round(ended.ms),
  };
  const ok = ended.stopped === null && result.code === 0;
  return { status: "done", result, ok, summary: summary(args, ended) };
}

function summary(args: ExecArgs, ended: RunResult): string {
  const command = args.argv.join(" ");
  const how = ended.stopped === "timeout"
    ? `stopped after ${args.timeout_ms} ms`
    : ended.stopped === "abort"
    ? "stopped, its caller went away"
    : exitText(ended.exit ?? { code: null, signal: null });
  return `${command.length > 200 ? `${command.slice(0, 200)}…` : command}: ${how}`;
}
