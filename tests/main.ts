/**
 * `./run.sh test`: brings what the tests need, runs the suites, and sums up.
 *
 * The last line is always `N passed, N failed`. Fails when a test failed, when a suite did not
 * finish, and when a suite ran nothing: silence is no success.
 */

import { join } from "node:path";
import { ensureImage } from "../image/build.ts";
import { CommandError, exists, filesBelow, HostError } from "../image/host.ts";
import { buildStripped, findStripped, genericKernel } from "../image/kernel.ts";
import { OptionError } from "../image/options.ts";
import { needTools } from "../image/packages.ts";
import { OUT, TREE } from "../image/paths.ts";
import { qemuProgram } from "../image/qemu.ts";
import { NO_REASON, parseJunit, summaryLine, type TestCase } from "./report.ts";

interface Suite {
  name: string;
  /** Where its test files are, relative to the tree; `folder/*` leaves out what is below. */
  folders: readonly string[];
  /** Test files at a time; a guest needs a processor of its own. */
  jobs: number;
  /** A suite that takes longer than this hangs. Minutes. */
  limitMin: number;
  prepare(): Promise<void>;
}

const SUITES: readonly Suite[] = [
  {
    name: "unit",
    folders: ["src", "bus", "subsystems", "image", "bench", "tests/*"],
    jobs: 1,
    limitMin: 15,
    // Children of the tests are BusyBox, as those of the guest are.
    prepare: () => needTools(["busybox", "mkfs.ext4"], "the unit suite"),
  },
  {
    name: "kernel",
    folders: ["tests/kernel"],
    jobs: 1,
    limitMin: 10,
    prepare: () => needTools(["busybox", "ip", "setpriv", "unshare"], "the kernel suite"),
  },
  {
    name: "vm",
    folders: ["tests/vm"],
    jobs: 2,
    limitMin: 45,
    prepare: prepareGuests,
  },
  {
    name: "web",
    folders: ["tests/web"],
    jobs: 1,
    limitMin: 15,
    async prepare() {
      await needTools(["chromium"], "the web suite");
      await prepareGuests();
    },
  },
];

/** With --long, limits are this much wider. */
const LONG_FACTOR = 4;
/** Set for the tests themselves: those that take long run only then. */
const LONG_VARIABLE = "OSYM_TEST_LONG";

/** Builds both kernels and their images, so that no test waits for a build. */
async function prepareGuests(): Promise<void> {
  const arch = Deno.build.arch;
  const tools = [qemuProgram(arch), "setpriv", "mkfs.ext4", "mkfs.erofs", "unshare", "depmod"];
  await needTools([...tools, "git", "script"], "the guests");
  if (arch === "x86_64") {
    await ensureImage(await findStripped(arch) ?? await buildStripped(arch));
  }
  await ensureImage(await genericKernel(arch));
}

interface SuiteResult {
  suite: string;
  cases: TestCase[];
  seconds: number;
}

async function runSuite(suite: Suite, long: boolean, filter: string | null): Promise<SuiteResult> {
  const startedAt = performance.now();
  const done = (cases: TestCase[]): SuiteResult => ({
    suite: suite.name,
    cases,
    seconds: (performance.now() - startedAt) / 1000,
  });
  const broken = (detail: string): TestCase => ({
    file: suite.name,
    name: `${suite.name} suite`,
    result: "failed",
    detail,
  });
  const files = await testFiles(suite);
  if (files.length === 0) return done([broken("there are no test files")]);
  await suite.prepare();

  const report = join(OUT, "test", `${suite.name}.xml`);
  await Deno.mkdir(join(OUT, "test"), { recursive: true });
  if (await exists(report)) await Deno.remove(report);
  const child = new Deno.Command(Deno.execPath(), {
    args: [
      ...["test", "-A", "--quiet", "--frozen", `--junit-path=${report}`],
      ...(suite.jobs > 1 ? ["--parallel"] : []),
      ...(filter === null ? [] : ["--filter", filter]),
      ...files,
    ],
    cwd: TREE,
    env: {
      DENO_JOBS: String(suite.jobs),
      ...(long ? { [LONG_VARIABLE]: "1" } : {}),
      // The summary's readers are programs too.
      ...(Deno.stdout.isTerminal() ? {} : { NO_COLOR: "1" }),
    },
    stdin: "null",
    stdout: "inherit",
    stderr: "inherit",
  }).spawn();
  let late = false;
  const limitMs = suite.limitMin * (long ? LONG_FACTOR : 1) * 60_000;
  const timer = setTimeout(() => {
    late = true;
    child.kill("SIGKILL");
  }, limitMs);
  const status = await child.status;
  clearTimeout(timer);

  let cases = await exists(report) ? parseJunit(await Deno.readTextFile(report)) : [];
  // What the filter left out is reported as skipped, too, but was not meant to run.
  if (filter !== null) cases = cases.filter((test) => test.detail !== NO_REASON);
  if (late) cases.push(broken(`it did not end within ${limitMs / 60_000} minutes`));
  else if (!status.success && !cases.some((test) => test.result === "failed")) {
    cases.push(broken(`deno test ended with ${status.signal ?? status.code}`));
  } else if (filter === null && cases.every((test) => test.result === "skipped")) {
    cases.push(broken("it ran no test"));
  }
  return done(cases);
}

async function testFiles(suite: Suite): Promise<string[]> {
  const found: string[] = [];
  for (const folder of suite.folders) {
    const flat = folder.endsWith("/*");
    const base = flat ? folder.slice(0, -2) : folder;
    if (!await exists(join(TREE, base))) continue;
    const names = await filesBelow(join(TREE, base));
    found.push(
      ...names.filter((name) => /_test\.tsx?$/.test(name) && !(flat && name.includes("/")))
        .map((name) => `${base}/${name}`),
    );
  }
  return found;
}

function summarise(results: readonly SuiteResult[]): void {
  console.log("");
  for (const { suite, cases, seconds } of results) {
    console.log(`${suite.padEnd(8)} ${summaryLine(cases)} (${seconds.toFixed(0)} s)`);
  }
  const all = results.flatMap((result) => result.cases);
  for (const result of ["skipped", "failed"] as const) {
    const some = all.filter((test) => test.result === result);
    if (some.length > 0) console.log(`\n${result}:`);
    for (const { file, name, detail } of some) console.log(`  ${file}: ${name}: ${detail}`);
  }
  console.log("");
  console.log(summaryLine(all));
}

interface TestOptions {
  suites: readonly Suite[];
  long: boolean;
  filter: string | null;
}

function parse(argv: readonly string[]): TestOptions {
  const suites: Suite[] = [];
  let long = false;
  let filter: string | null = null;
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    const suite = SUITES.find((candidate) => candidate.name === word);
    if (suite) suites.push(suite);
    else if (word === "--long") long = true;
    else if (word === "--filter" && argv[i + 1] !== undefined) filter = argv[++i] ?? null;
    else {
      throw new OptionError(
        `${word}: expected ${
          SUITES.map((candidate) => candidate.name).join(", ")
        }, --long or --filter TEXT`,
      );
    }
  }
  return { suites: suites.length > 0 ? suites : SUITES, long, filter };
}

async function main(argv: readonly string[]): Promise<number> {
  const { suites, long, filter } = parse(argv);
  const results: SuiteResult[] = [];
  for (const suite of suites) {
    console.log(`\n== ${suite.name} ==`);
    try {
      results.push(await runSuite(suite, long, filter));
    } catch (error) {
      // One suite's missing tools or failed build must not hide the others' results.
      if (!(error instanceof Error)) throw error;
      console.error(error.message);
      const failed: TestCase = {
        file: suite.name,
        name: `${suite.name} suite`,
        result: "failed",
        detail: error.message.split("\n")[0] ?? "",
      };
      results.push({ suite: suite.name, cases: [failed], seconds: 0 });
    }
  }
  const nothing = filter !== null && results.every(({ cases }) => cases.length === 0);
  if (nothing) console.error(`--filter ${filter}: no test has that in its name`);
  summarise(results);
  const failed = results.some(({ cases }) => cases.some((test) => test.result === "failed"));
  return nothing || failed ? 1 : 0;
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    const known = error instanceof OptionError || error instanceof CommandError ||
      error instanceof HostError;
    console.error(known ? error.message : error);
    Deno.exit(known && error instanceof OptionError ? 2 : 1);
  }
}
