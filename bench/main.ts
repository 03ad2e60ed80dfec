/**
 * `deno task bench`: measures boot, sizes, memory and bus, and prints what it found.
 *
 * Owns the command line and the report. Standard output is the report alone (tables, or one JSON
 * object with `--json`); progress goes to standard error. It judges nothing: figures depend on the
 * machine and on what else it does, so no test compares them with a limit.
 */

import { CommandError, HostError } from "../image/host.ts";
import { OptionError } from "../image/options.ts";
import { STDERR, withProgress } from "../image/progress.ts";
import { version } from "../src/version.ts";
import { type BootRow, measureBoots, platforms, type Prepared, preparePlatform } from "./boot.ts";
import { type BusRow, measureBus } from "./bus.ts";
import { measureMemory, type MemoryRow } from "./memory.ts";
import { measureSizes, type SizeRow } from "./size.ts";
import type { Spread } from "./stats.ts";
import { mb, ms, type Row, table, times } from "./table.ts";

const PARTS = ["boot", "size", "memory", "bus"] as const;
type Part = (typeof PARTS)[number];

/** Rounds of the bus: short and many, unlike boots. */
const BUS_ROUNDS = 15;

interface BenchOptions {
  parts: readonly Part[];
  runs: number;
  memoryMb: number;
  json: boolean;
}

/** What was measured, and where. */
interface Report {
  version: string;
  at: string;
  host: Host;
  boot?: BootRow[];
  size?: SizeRow[];
  memory?: MemoryRow[];
  bus?: BusRow[];
  missing?: string;
}

interface Host {
  cpu: string;
  cpus: number;
  /** 1 minute load average when the measurement began: above 0.5 the figures are upper bounds. */
  load: number;
  accelerator: string | null;
  memory_mb: number;
  deno: string;
}

const HELP = `./run.sh bench [--json] [--runs N] [--only PART[,PART]] [--memory MB]

  --json      one JSON object instead of tables
  --runs N    boots of each machine after one warm-up (5); the bus has ${BUS_ROUNDS} rounds of its own
  --only …    of ${PARTS.join(", ")}
  --memory MB memory of the guests in MiB (512)
`;

/** Throws OptionError. */
export function parseBenchOptions(argv: readonly string[]): BenchOptions {
  const options: BenchOptions = { parts: PARTS, runs: 5, memoryMb: 512, json: false };
  const whole = (name: string, value: string | undefined, least: number): number => {
    const n = /^\d{1,6}$/.test(value ?? "") ? Number(value) : NaN;
    if (!(n >= least)) throw new OptionError(`${name}: expected a whole number from ${least}`);
    return n;
  };
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i]!;
    if (word === "--json") options.json = true;
    else if (word === "--runs") options.runs = whole(word, argv[++i], 1);
    else if (word === "--memory") options.memoryMb = whole(word, argv[++i], 64);
    else if (word === "--only") {
      const names = (argv[++i] ?? "").split(",");
      const parts = PARTS.filter((part) => names.includes(part));
      if (parts.length !== new Set(names).size) {
        throw new OptionError(`--only: expected ${PARTS.join(", ")}, separated by commas`);
      }
      options.parts = parts;
    } else throw new OptionError(`${word}: unknown option; see ./run.sh bench --help`);
  }
  return options;
}

async function measure(options: BenchOptions): Promise<Report> {
  const { parts, runs, memoryMb } = options;
  const scratch = await Deno.makeTempDir({ prefix: "osymbiote-bench-" });
  const machines = parts.some((part) => part !== "bus");
  const report: Report = {
    version,
    at: new Date().toISOString(),
    host: {
      cpu: await processorName(),
      cpus: navigator.hardwareConcurrency,
      load: Deno.loadavg()[0]!,
      accelerator: null,
      memory_mb: memoryMb,
      deno: Deno.version.deno,
    },
  };
  try {
    const all: Prepared[] = [];
    if (machines) {
      const { list, missing } = await platforms();
      if (missing !== null) report.missing = missing;
      const wanted = parts.includes("boot") ? list : list.slice(0, 1);
      for (const platform of wanted) {
        all.push(await preparePlatform(platform, memoryMb, scratch));
      }
      report.host.accelerator = all[0]!.launch.machine.accel;
    }
    await withProgress("Measuring", async (progress) => {
      const step = (what: string): void => {
        progress.step(what);
        // Off a terminal progress shows no steps; a measurement of minutes should.
        if (!STDERR.terminal) STDERR.write(`${what}\n`);
      };
      const [first] = all;
      if (parts.includes("boot")) report.boot = await measureBoots(all, runs, scratch, step);
      if (parts.includes("memory") && first) {
        report.memory = await measureMemory(first.launch, step);
      }
      if (parts.includes("size") && first) {
        report.size = await measureSizes(first.image, first.built, step);
      }
      if (parts.includes("bus")) report.bus = await measureBus(BUS_ROUNDS, step);
    });
    return report;
  } finally {
    await Deno.remove(scratch, { recursive: true });
  }
}

async function processorName(): Promise<string> {
  const text = await Deno.readTextFile("/proc/cpuinfo");
  return /^model name\s*:\s*(.*)$/m.exec(text)?.[1] ?? Deno.build.arch;
}

/** The tables of a report. */
function tables(report: Report): string {
  const { host } = report;
  const out = [
    `OSymbiote ${report.version}, ${report.at}`,
    `${host.cpu}, ${host.cpus} processors, load ${host.load.toFixed(2)}, Deno ${host.deno}`,
  ];
  if (host.accelerator !== null) {
    out.push(`guests: ${host.accelerator}, 1 processor, ${host.memory_mb} MiB`);
  }
  if (report.missing) out.push(`left out: ${report.missing}`);
  out.push("");
  if (report.boot) out.push(...bootTables(report.boot));
  if (report.memory) {
    out.push(
      table("Memory when idle", ["", ""], report.memory.map((row) => [row.name, mb(row.bytes)])),
    );
  }
  if (report.size) {
    const rows = report.size.map(({ name, bytes, compressed }): Row => [
      name,
      mb(bytes),
      compressed === null ? "" : mb(compressed),
    ]);
    out.push(table("Sizes", ["", "as is", "zstd -19"], rows));
  }
  if (report.bus) {
    const rows = report.bus.map((row): Row => [
      row.name,
      Math.round(row.perSecond).toLocaleString("en"),
      `${Math.round(row.ns)} ns`,
      times(row.busRatio),
    ]);
    out.push(
      table("Publish to 10 subscribers", ["", "a second", "each", "the bus costs"], rows),
    );
  }
  return out.join("\n");
}

function bootTables(rows: readonly BootRow[]): string[] {
  const range = (times: Spread): string =>
    `${ms(times.median)} (${Math.round(times.min)}–${Math.round(times.max)})`;
  const name = (row: BootRow): string => `${row.kernel} ${row.machine}`;
  const parts = [...new Set(rows.flatMap((row) => Object.keys(row.parts)))];
  return [
    table(
      `QEMU start → first authenticated answer, median of ${rows[0]?.ours.count ?? 0} (min–max)`,
      ["", "ours", "floor", "ours / floor"],
      rows.map((row) => [name(row), range(row.ours), range(row.floor), times(row.ratio)]),
    ),
    table(
      "Where ours goes (medians of each part)",
      ["", ...rows.map(name)],
      parts.map((
        part,
      ) => [PART_NAMES[part] ?? `phase ${part}`, ...rows.map((row) => ms(row.parts[part] ?? 0))]),
    ),
  ];
}

const PART_NAMES: Readonly<Record<string, string>> = {
  firmware: "QEMU and firmware",
  kernel: "kernel",
  runtime: "runtime (exec → first statement)",
  load: "our bundle (→ first phase)",
  lease: "ready → lease",
  answer: "ready and reachable → answer",
};

if (import.meta.main) {
  try {
    if (Deno.args.includes("--help")) {
      console.log(HELP);
      Deno.exit(0);
    }
    const options = parseBenchOptions(Deno.args);
    const report = await measure(options);
    console.log(options.json ? JSON.stringify(report) : tables(report));
    Deno.exit(0);
  } catch (error) {
    const known = error instanceof OptionError || error instanceof CommandError ||
      error instanceof HostError;
    console.error(known ? error.message : error);
    Deno.exit(error instanceof OptionError ? 2 : 1);
  }
}
