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
import { exitText, type Spawner, type TaskGroups } from "./child/spawn.ts";
import type { Report, Timers } from "./child/timers.ts";

export interface SelftestDeps {
  readonly source: Source;
  readonly spawner: Pick<Spawner, "spawn">;
  readonly groups: TaskGroups;
  readonly timers: Timers;
  readonly report: Report;
}

/** One result of TAP 14 (testanything.org), as `deno test --reporter=tap` prints it. */
export interface TapResult {
  readonly name: string;
  readonly ok: boolean;
  readonly skipped: boolean;
}

/** Parses one line; null when it is no result. */
export function parseTap(line: string): TapResult | null {
  const match = /^(not ok|ok) \d+ - (.*?)(?:\s+# (SKIP)\b.*)?$/.exec(line);
  if (match === null) return null;
  const name = match[2]!.replace(/\\([#\\])/g, "$1");
  return { ok: match[1] === "ok", name, skipped: match[3] !== undefined };
}

/** Characters kept of what a failing test said. */
const maxDetail = 2000;

/** Puts what a test said, which stands below its result, together with that result. */
export class TapReader {
  readonly #onResult: (result: TapResult, detail: string) => void;
  #failed: TapResult | null = null;
  #said = "";

  constructor(onResult: (result: TapResult, detail: string) => void) {
    this.#onResult = onResult;
  }

  /** Takes a line without its end. */
  line(text: string): void {
    // A comment: the name of the file whose tests follow.
    if (text.startsWith("# ")) return;
    const result = parseTap(text);
    if (result === null) {
      this.#said = `${this.#said}${text}\n`.slice(-maxDetail);
      return;
    }
    this.end();
    if (result.ok) this.#onResult(result, "");
    else this.#failed = result;
  }

  /** Nothing follows. Answers what was said since the last result. */
  end(): string {
    const said = this.#said.trim();
    this.#said = "";
    if (this.#failed !== null) this.#onResult(this.#failed, said);
    this.#failed = null;
    return said;
  }
}

/** Longer than any self-test takes under emulation. */
const limitMs = 20 * 60_000;

/**
 * Runs every `*_test.js` of `folder`. A run that can not start is a failed one. Rejects when the
 * folder can not be read or no control group be had.
 */
export async function runSelftest(folder: string, deps: SelftestDeps): Promise<void> {
  const { source, spawner, groups, timers, report } = deps;
  const files: string[] = [];
  for await (const { name } of Deno.readDir(folder)) {
    if (name.endsWith("_test.js")) files.push(name);
  }
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
  const remove = () => group.remove().catch((error) => report("selftest group", error));
  const spawned = await spawner.spawn({ argv, env, cwd: "/tmp", group });
  if (!spawned.ok) {
    source.publish("selftest.reported", {
      name: "start",
      ok: false,
      detail: spawned.fault.message,
    });
    source.publish("selftest.finished", { passed: 0, failed: 1, ignored: 0, code: -1 });
    return await remove();
  }
  const tap = new TapReader((result, detail) => {
    if (result.skipped) counts.ignored++;
    else if (result.ok) counts.passed++;
    else counts.failed++;
    const { name, ok } = result;
    source.publish("selftest.reported", { name, ok, ...(ok ? {} : { detail }) });
  });
  const lines = new LineSplitter(4096, (line) => tap.line(line));
  const { child } = spawned;
  const output = new Output(child.stdout, {
    timers,
    report,
    onChunk: (chunk) => lines.push(chunk),
    onEnd: () => lines.end(),
  }).done;
  let complaints = "";
  const errors = new Output(child.stderr, {
    timers,
    report,
    onChunk: (chunk) =>
      void (complaints = (complaints + new TextDecoder().decode(chunk)).slice(-maxDetail)),
  }).done;
  const alarm = timers.set(() => void child.kill(), limitMs);
  const exit = await child.exit;
  timers.clear(alarm);
  // What a test left behind must not hold the pipes open.
  await child.kill();
  await Promise.all([output, errors]);
  const said = tap.end() || complaints;
  // Tests that never ended, and a run that failed without a failed test, have no line of their own.
  if (counts.passed + counts.failed === 0 || (exit.code !== 0 && counts.failed === 0)) {
    counts.failed++;
    const detail = `${exitText(exit)}: ${said || "it said nothing"}`;
    source.publish("selftest.reported", { name: "run", ok: false, detail });
  }
  source.publish("selftest.finished", { ...counts, code: exit.code ?? -1 });
  await remove();
}
