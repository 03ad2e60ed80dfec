/**
 * Team rules as tests: which way imports run, and what no source file may hold.
 * Each rule has a small test of its own that shows it can fail.
 */
import assert from "node:assert/strict";

interface Room {
  readonly path: string;
  /** Prefixes of our own files it may import besides itself. */
  readonly may: readonly string[];
}

/** Most specific first: a file belongs to the first room its path starts with. */
const rooms: readonly Room[] = [
  { path: "src/kernel/", may: [] },
  { path: "bus/", may: [] },
  { path: "src/net/", may: ["src/kernel/", "bus/"] },
  { path: "src/child/", may: ["src/kernel/", "bus/"] },
  { path: "src/http/", may: ["bus/"] },
  { path: "src/console/", may: ["bus/"] },
  { path: "src/web/", may: ["bus/"] },
  { path: "subsystems/nerve/", may: ["src/kernel/", "bus/"] },
  { path: "subsystems/immune/", may: ["bus/", "src/child/"] },
  { path: "subsystems/shell/", may: ["bus/", "src/kernel/", "src/child/"] },
  { path: "subsystems/cortex/", may: ["bus/", "src/child/"] },
  // The composition root and what only it uses.
  { path: "src/", may: ["src/", "bus/", "subsystems/"] },
  { path: "image/", may: ["src/http/openapi.ts"] },
];

/** The mind's bundle: what reasons over untrusted text imports nothing of the core. */
const mindFiles = [
  "subsystems/cortex/mind.ts",
  "subsystems/cortex/survival.ts",
  "subsystems/cortex/frames.ts",
  "subsystems/cortex/intent.ts",
];

const importPattern =
  /(?:^|\n)\s*(?:import|export)\s[^;]*?from\s+"([^"]+)"|import\(\s*"([^"]+)"\s*\)|(?:^|\n)\s*import\s+"([^"]+)"/g;

function importsOf(text: string): string[] {
  return [...text.matchAll(importPattern)].map((match) => match[1] ?? match[2] ?? match[3] ?? "");
}

/** Resolves a relative import of `file` to a path from the repository's root. */
function resolve(file: string, specifier: string): string {
  return new URL(specifier, `file:///${file}`).pathname.slice(1);
}

function importFaults(file: string, text: string): string[] {
  const faults: string[] = [];
  const room = rooms.find((candidate) => file.startsWith(candidate.path));
  for (const specifier of importsOf(text)) {
    if (/^(?:jsr:|https?:|@std\/)/.test(specifier)) faults.push(`${file}: imports ${specifier}`);
    if (room === undefined || !specifier.startsWith(".")) continue;
    const target = resolve(file, specifier);
    const allowed = target.startsWith(room.path) ||
      room.may.some((prefix) => target.startsWith(prefix));
    if (!allowed) faults.push(`${file}: ${room.path} may not import ${target}`);
    if (
      mindFiles.includes(file) && !target.startsWith("subsystems/cortex/") &&
      !target.startsWith("bus/")
    ) {
      faults.push(`${file}: the mind's bundle may not import ${target}`);
    }
  }
  return faults;
}

const forbidden: readonly (readonly [RegExp, string])[] = [
  [/\bconsole\.(?:log|error|warn|info|debug)\(/, "console output in PID 1 (use the reporter)"],
  [
    /catch\s*(?:\([^)]*\))?\s*\{\s*(?:\/\/[^\n]*\s*|\/\*[^*]*\*\/\s*)*\}/,
    "an error caught and dropped",
  ],
  [/\b(?:TODO|FIXME|XXX)\b/, "work left in a comment"],
  [/from "(?:zod|@hono\/zod-openapi|[./]+\/zod\.ts)"/, "zod on the boot path"],
];

/**
 * Files of the boot path and the trusted core; `openapi.ts` runs at image build only, and
 * `zod.ts` when somebody first needs a schema.
 */
function isCore(file: string): boolean {
  return /^(?:src|bus|subsystems)\//.test(file) && !file.startsWith("src/web/") &&
    !file.endsWith("_test.ts") &&
    file !== "src/http/openapi.ts" && file !== "bus/zod.ts" && !file.startsWith("src/cli/");
}

function textFaults(file: string, text: string): string[] {
  const faults: string[] = [];
  for (const [pattern, what] of forbidden) {
    const lines = text.split("\n").filter((line) => !/^\s*import type/.test(line));
    if (pattern.test(lines.join("\n"))) faults.push(`${file}: ${what}`);
  }
  if (!/^(?:#!.*\n)?\/\*\*/.test(text)) {
    faults.push(`${file}: no header comment saying what it owns`);
  }
  return faults;
}

function* sources(directory: string): Generator<string> {
  for (const entry of Deno.readDirSync(directory)) {
    const path = `${directory}/${entry.name}`;
    if (entry.isDirectory) yield* sources(path);
    else if (/\.tsx?$/.test(entry.name)) yield path;
  }
}

Deno.test("tidy: imports run one way", () => {
  const faults = ["src", "bus", "subsystems", "image"].flatMap((directory) =>
    [...sources(directory)].flatMap((file) =>
      file.endsWith("_test.ts") ? [] : importFaults(file, Deno.readTextFileSync(file))
    )
  );
  assert.deepEqual(faults, []);
});

Deno.test("tidy: core files keep the rules", () => {
  const faults = ["src", "bus", "subsystems"].flatMap((directory) =>
    [...sources(directory)].filter(isCore).flatMap((file) =>
      textFaults(file, Deno.readTextFileSync(file))
    )
  );
  assert.deepEqual(faults, []);
});

Deno.test("tidy: the import rule can fail", () => {
  assert.equal(
    importFaults("src/kernel/a.ts", `import { x } from "../../bus/bus.ts";\n`).length,
    1,
  );
  assert.equal(
    importFaults("bus/a.ts", `const y = await import("../src/kernel/b.ts");\n`).length,
    1,
  );
  assert.equal(importFaults("src/http/a.ts", `import { x } from "../../bus/bus.ts";\n`).length, 0);
  assert.equal(
    importFaults("subsystems/cortex/mind.ts", `import { x } from "../../src/child/frames.ts";\n`)
      .length,
    1,
  );
  assert.equal(importFaults("src/main.ts", `import "jsr:@std/async";\n`).length, 1);
});

Deno.test("tidy: the text rules can fail", () => {
  const header = "/** Owns x. */\n";
  assert.equal(textFaults("src/a.ts", `${header}try { f(); } catch { /* x */ }\n`).length, 1);
  assert.equal(
    textFaults("src/a.ts", `${header}try { f(); } catch (e) {\n  // nothing\n}\n`).length,
    1,
  );
  assert.equal(textFaults("src/a.ts", `${header}console.log("x");\n`).length, 1);
  assert.equal(textFaults("src/a.ts", `${header}import { z } from "zod";\n`).length, 1);
  assert.equal(textFaults("src/a.ts", `${header}import * as z from "./zod.ts";\n`).length, 1);
  assert.equal(textFaults("src/a.ts", `${header}import type { z } from "zod";\n`).length, 0);
  assert.equal(textFaults("src/a.ts", `const x = 1;\n`).length, 1);
});
