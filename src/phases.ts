/**
 * Boot and shutdown as ordered tables of named rows, and the one loop that
 * runs a table.
 *
 * Owns order and timing. The order is the point: each row's comment names what
 * breaks when it moves. A row that fails degrades the system; it never stops
 * the rows after it.
 */
import type { BootPhase } from "../bus/shapes.ts";
import type { Core } from "./wiring.ts";

/** One step. `run` may be slow but must have deadlines of its own. */
export interface Phase<C> {
  readonly name: string;
  readonly about: string;
  run(core: C): Promise<void> | void;
}

export const bootPhases: readonly Phase<Core>[] = [
  // Before anything is opened: what is inherited without CLOEXEC leaks into every child.
  { name: "guard", about: "signals, CLOEXEC, NOFILE, faults", run: (core) => core.guardPhase() },
  // Every later row reads /sys, /dev or writes /run.
  { name: "mount", about: "sys, dev, devpts, run, tmp, cgroup2", run: (core) => core.mountPhase() },
  // The generic kernel has no network, console port or watchdog before this.
  { name: "modules", about: "drivers of the generic kernel", run: (core) => core.modulePhase() },
  // Names and the launch facts go into every event from here on.
  {
    name: "identity",
    about: "host name, boot id, launch facts",
    run: (core) => core.identityPhase(),
  },
  // The lease takes a round trip: ask before building what can be built meanwhile.
  { name: "network", about: "links up, DHCP DISCOVER sent", run: (core) => core.networkPhase() },
  { name: "http", about: "port bound", run: (core) => core.httpPhase() },
  { name: "nerve", about: "reactor and sensors", run: (core) => core.nervePhase() },
  { name: "ready", about: "system.ready published", run: (core) => core.readyPhase() },
  { name: "settle", about: "the first answer goes first", run: (core) => core.settlePhase() },
  // Off the path to ready, yet before any child: until this row is done, starting one waits.
  { name: "tasks", about: "sysctls, /core and /tasks", run: (core) => core.tasksPhase() },
  { name: "senses", about: "kernel log, files", run: (core) => core.sensesPhase() },
  // A disk may be slow, broken or absent.
  { name: "data", about: "/data checked and mounted", run: (core) => core.dataPhase() },
  {
    name: "immune",
    about: "supervisor, lease reflex, watchdog",
    run: (core) => core.immunePhase(),
  },
  { name: "cortex", about: "the first mind", run: (core) => core.cortexPhase() },
  { name: "console", about: "the serial conversation", run: (core) => core.consolePhase() },
  { name: "library", about: "schema validation loaded", run: (core) => core.libraryPhase() },
  {
    name: "selftest",
    about: "the test disk, when asked for",
    run: (core) => core.selftestPhase(),
  },
];

export const shutdownPhases: readonly Phase<Core>[] = [
  // First what starts things again, or it would fight the rows below.
  { name: "immune", about: "services stopped, supervisor off", run: (core) => core.stopImmune() },
  { name: "cortex", about: "minds killed", run: (core) => core.stopCortex() },
  { name: "http", about: "streams ended, port closed", run: (core) => core.stopHttp() },
  { name: "tasks", about: "TERM, grace, KILL to every process", run: (core) => core.stopTasks() },
  // Nobody holds a file on /data any more.
  { name: "data", about: "/data unmounted", run: (core) => core.stopData() },
  { name: "network", about: "leases released", run: (core) => core.stopNetwork() },
  { name: "sync", about: "sync with a deadline", run: (core) => core.syncDisks() },
];

/**
 * Runs a table in order. Never rejects: each row's outcome goes to `done`, with
 * `at` in ms since `startedAt` (a `performance.now()` reading). Once `over` answers true, no
 * further row begins.
 */
export async function runPhases<C>(
  table: readonly Phase<C>[],
  core: C,
  startedAt: number,
  done: (phase: BootPhase) => void,
  over: () => boolean = () => false,
): Promise<void> {
  for (const row of table) {
    if (over()) return;
    const began = performance.now();
    let error: string | undefined;
    try {
      await row.run(core);
    } catch (caught) {
      error = caught instanceof Error ? caught.message : String(caught);
    }
    done({
      name: row.name,
      at: round(began - startedAt),
      ms: round(performance.now() - began),
      ok: error === undefined,
      ...(error === undefined ? {} : { error }),
    });
  }
}

function round(ms: number): number {
  return Math.round(ms * 10) / 10;
}
