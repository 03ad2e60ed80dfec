/**
 * The in-guest self-test: our kernel bindings against the real kernel of the machine, and proof
 * that a failing one is told.
 *
 * Each file of tests/selftest is bundled here and runs there, on a disk of its own.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { makeFolderDisk } from "../../image/disk.ts";
import { run } from "../../image/host.ts";
import { TREE } from "../../image/paths.ts";
import { Guest } from "./guest.ts";
import { boot, faults } from "./shared.ts";

const SOURCES = "tests/selftest";
/** Every registered test must have run: silence is no success. */
const TEST_PATTERN = /^Deno\.test\(/gm;
const LIMIT_MS = 600_000;

/** Bundles every self-test into `folder`; answers how many tests they register. */
async function bundleSelftests(folder: string): Promise<number> {
  let tests = 0;
  const modules = [];
  for await (const { name } of Deno.readDir(join(TREE, SOURCES))) {
    if (name.endsWith(".ts") && name !== "harness.ts") modules.push(name);
  }
  for (const name of modules.sort()) {
    const source = join(SOURCES, name);
    tests += (await Deno.readTextFile(join(TREE, source))).match(TEST_PATTERN)?.length ?? 0;
    const output = join(folder, name.replace(/\.ts$/, "_test.js"));
    const argv = [Deno.execPath(), "bundle", "--quiet", "--frozen", "--output", output, source];
    await run(argv, { cwd: TREE, env: { NO_COLOR: "1" } });
  }
  return tests;
}

/** Boots with `folder` as the self-test disk; answers the summary and what failed. */
async function selftest(
  folder: string,
  judge: (summary: Record<string, unknown>, failed: unknown[], guest: Guest) => Promise<void>,
): Promise<void> {
  await using guest = await Guest.boot({ selftest: folder });
  const { data } = await guest.waitEvent("selftest.finished", undefined, LIMIT_MS);
  const failed = guest.events("selftest.reported").map((event) => event.data)
    .filter(({ ok }) => ok !== true);
  await judge(data, failed, guest);
}

async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}

Deno.test("the self-test passes inside the machine, and PID 1 reports no fault meanwhile", () =>
  withFolder(async (folder) => {
    const tests = await bundleSelftests(folder);
    assert.ok(tests >= 17, `${tests} self-tests`);
    await selftest(folder, async (summary, failed, guest) => {
      assert.deepEqual(failed, []);
      assert.deepEqual(summary, { passed: tests, failed: 0, ignored: 0, code: 0 });
      assert.equal(guest.events("selftest.reported").length, tests);
      assert.deepEqual(await faults(guest), []);
    });
  }));

Deno.test("a self-test that fails is told, with what it said", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(
      join(folder, "wrong_test.js"),
      `Deno.test("is right", () => {});
       Deno.test("is wrong", () => { throw new Error("on purpose"); });
       Deno.test({ name: "is left out", ignore: true, fn() {} });`,
    );
    // A file that is no test must not be run.
    await Deno.writeTextFile(join(folder, "helper.js"), `throw new Error("not a test");`);
    await selftest(folder, (summary, failed) => {
      assert.deepEqual(summary, { passed: 1, failed: 1, ignored: 1, code: 1 });
      assert.equal(failed.length, 1);
      const [{ name, detail }] = failed as [{ name: string; detail: string }];
      assert.equal(name, "is wrong");
      assert.match(detail, /on purpose/);
      return Promise.resolve();
    });
  }));

Deno.test("a self-test that can not be loaded is a failed run, not a silent one", () =>
  withFolder(async (folder) => {
    await Deno.writeTextFile(join(folder, "broken_test.js"), `Deno.test("never", () => {`);
    await selftest(folder, (summary, failed) => {
      assert.equal(summary.passed, 0);
      assert.ok(Number(summary.failed) >= 1);
      assert.notEqual(summary.code, 0);
      assert.match(JSON.stringify(failed), /broken_test|SyntaxError|parse/);
      return Promise.resolve();
    });
  }));

Deno.test("a self-test disk that nobody asked for is not run", () =>
  withFolder(async (folder) => {
    // Beside the folder it is made from, not in it: it would have to hold itself.
    const disk = join(folder, "disk.img");
    const content = join(folder, "content");
    await Deno.mkdir(content);
    await Deno.writeTextFile(join(content, "any_test.js"), `Deno.test("any", () => {});`);
    await makeFolderDisk(disk, content);
    await using guest = await boot({
      data: "none",
      qemu: [
        ...["-drive", `if=none,id=test,format=raw,read-only=on,file=${disk}`],
        ...["-device", "virtio-blk-pci,drive=test"],
      ],
    });
    // It is there: only the kernel command line says whether it counts.
    assert.match(await guest.shell("cat /proc/partitions"), /\bvdb$/m);
    assert.deepEqual(guest.events("selftest."), []);
    assert.equal(await guest.shell("grep -c ' /mnt ' /proc/mounts || true"), "0\n");
  }));
