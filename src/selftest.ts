/**
 * The self-test: runs `deno test` over the files of the test disk inside the
 * machine, as a child, and reports each result.
 *
 * Owns the reading of TAP. It runs only when the kernel command line said so,
 * and never inside PID 1.
 */
import type { Source } from "../bus/bus.ts";
import { LineSplitter } from "./child/lines.ts";
import { Output } from "./child/output.ts";
import type { Spawner, TaskGroups } from "./child/spawn.ts";
import type { Report, Timers } from "./child/timers.ts";

export interface SelftestDeps {
  readonly source: Source;
  readonly spawner: Pick<Spawner, "spawn">;
  readonly groups: TaskGroups;
  readonly timers: Timers;
  readonly report: Report;
}

/** One result line of TAP 14 (testanything.org), as `deno test --reporter=tap` prints it. */
export interface TapResult {
  readonly name: string;
  readonly ok: boolean;
  readonly skipped: boolean;
}

/** Parses one line; null when it is no result. */
export function parseTap(line: string): TapResult | null {
  const match = /^(not ok|ok) \d+ - (.*?)(?:\s+# (SKIP)\b.*)?$/.exec(line);
  if (match === null) return null;
  return { ok: match[1] === "ok", name: match[2]!, skipped: match[3] !== undefined };
}

/** Runs every `*_test.js` of `folder`. Never rejects: a run that can not start is a failed one. */
export async function runSelftest(folder: string, deps: SelftestDeps): Promise<void> {
  const { source, spawner, groups, timers, report } = deps;
  const files = [...Deno.readDirSync(folder)].map((entry) => entry.name).filter((name) =>
    name.endsWith("_test.js")
  );
  source.publish("selftest.started", { files: files.length });
  const counts = { passed: 0, failed: 0, ignored: 0 };
  const argv = [
    "/bin/deno",
    "test",
    "-A",
    "--no-prompt",
    "--no-remote",
    "--no-npm",
    "--no-check",
    "--no-config",
    "--reporter=tap",
    ...files.map((name) => `${folder}/${name}`),
  ];
  const env = { DENO_DIR: "/tmp/selftest", NO_COLOR: "1", HOME: "/" };
  const group = await groups.create("selftest");
  const spawned = await spawner.spawn({ argv, env, cwd: "/tmp", group });
  if (!spawned.ok) {
    source.publish("selftest.reported", {
      name: "start",
      ok: false,
      detail: spawned.fault.message,
    });
    source.publish("selftest.finished", { passed: 0, failed: 1, ignored: 0, code: -1 });
    return;
  }
  let tail = "";
  const lines = new LineSplitter(4096, (line) => {
    const result = parseTap(line);
    if (result === null) {
      tail = `${tail}\n${line}`.slice(-2000);
      return;
    }
    if (result.skipped) counts.ignored++;
    else if (result.ok) counts.passed++;
    else counts.failed++;
    source.publish("selftest.reported", {
      name: result.name,
      ok: result.ok,
      ...(result.ok ? {} : { detail: tail }),
    });
    tail = "";
  });
  const drain = (stream: ReadableStream<Uint8Array>) =>
    new Output(stream, {
      timers,
      report,
      onChunk: (chunk) => lines.push(chunk),
      onEnd: () => lines.end(),
    }).done;
  const { child } = spawned;
  const errors = new Output(child.stderr, {
    timers,
    report,
    onChunk: (chunk) => void (tail = (tail + new TextDecoder().decode(chunk)).slice(-2000)),
  }).done;
  const [exit] = await Promise.all([child.exit, drain(child.stdout), errors]);
  if (counts.passed + counts.failed === 0) {
    counts.failed = 1;
    source.publish("selftest.reported", { name: "run", ok: false, detail: tail || "no test ran" });
  }
  source.publish("selftest.finished", { ...counts, code: exit.code ?? -1 });
}
