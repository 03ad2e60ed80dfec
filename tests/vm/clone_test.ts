/**
 * An empty clone in a fresh home: nothing is there but what the host has, and two commands are
 * enough.
 *
 * The clone's folder has a space in its name, and lies wherever temporary files do.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { exists, run } from "../../image/host.ts";
import { TREE } from "../../image/paths.ts";

const name =
  "git clone and ./run.sh --headless --json, with a fresh HOME, are a machine that answers";
const noClone = await exists(join(TREE, ".git")) ? "" : " [skipped: this tree is no clone]";

Deno.test(name + noClone, { ignore: noClone !== "" }, async () => {
  const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
  try {
    const clone = join(folder, "a clone");
    await run(["git", "clone", "--quiet", "--depth=1", `file://${TREE}`, clone]);
    const home = join(folder, "home");
    await Deno.mkdir(home);
    const { XDG_CACHE_HOME: _cache, DENO_DIR: _deno, ...env } = Deno.env.toObject();
    // Without the Deno that runs this test, the clone gets its own: for that it needs npm.
    const folders = (env.PATH ?? "").split(":");
    const others = folders.filter((folder) => !has(folder, "deno"));
    const path = (others.some((folder) => has(folder, "npm")) ? others : folders).join(":");
    const child = new Deno.Command(join(clone, "run.sh"), {
      args: ["--headless", "--json", "--http-port", "0"],
      clearEnv: true,
      env: { ...env, HOME: home, PATH: path },
      stdin: "null",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
    const { value } = await reader.read();
    // Nothing was said when it failed; what went wrong is on standard error.
    assert.ok(value, "a line when the machine is ready");
    try {
      const { url, token } = JSON.parse(value) as { url: string; token: string };
      const headers = { authorization: `Bearer ${token}` };
      const allowed = await fetch(`${url}/api/v1/status`, { headers });
      assert.equal(allowed.status, 200);
      await allowed.body?.cancel();
      const refused = await fetch(`${url}/api/v1/status`);
      assert.equal(refused.status, 401);
      assert.equal(refused.headers.get("content-type"), "application/problem+json");
      await refused.body?.cancel();
    } finally {
      child.kill("SIGTERM");
      const { code } = await child.status;
      await reader.cancel();
      assert.equal(code, 0);
    }
    // All it made is in the two places that are its own.
    const made = (await Array.fromAsync(Deno.readDir(home))).map(({ name }) => name);
    assert.deepEqual(made.filter((name) => name !== ".npm"), [".cache"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});

/** Whether a folder on the PATH has a program. */
function has(folder: string, program: string): boolean {
  try {
    return Deno.statSync(join(folder, program)).isFile;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound || error instanceof Deno.errors.PermissionDenied) {
      return false;
    }
    throw error;
  }
}
