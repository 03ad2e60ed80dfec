/**
 * `./run.sh --headless --json` as a program uses it: one line, a token, SIGTERM.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { TREE } from "../../image/paths.ts";

interface ReadyLine {
  url: string;
  token: string;
  ready_ms: number;
  qemu_pid: number;
  phases: Record<string, number>;
}

Deno.test("./run.sh --headless --json prints one line, serves, and ends with SIGTERM", async (t) => {
  const scratch = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
  const child = new Deno.Command(join(TREE, "run.sh"), {
    args: ["--headless", "--json", "--http-port", "0", "--cpus", "1", "--data", "none"],
    env: { TMPDIR: scratch },
    stdin: "null",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  const reader = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const log = new Response(child.stderr).text();
  try {
    const text = (await reader.read()).value ?? "";
    assert.equal(text.indexOf("\n"), text.length - 1, "exactly one line");
    const ready = JSON.parse(text) as ReadyLine;

    await t.step("the line says what a client needs", () => {
      assert.match(ready.url, /^http:\/\/localhost:\d+$/);
      assert.match(ready.token, /^[\w-]{43}$/);
      assert.ok(ready.ready_ms > 0);
      assert.ok(Object.keys(ready.phases).length > 3);
    });
    await t.step("the API answers with the token and refuses without", async () => {
      const headers = { authorization: `Bearer ${ready.token}` };
      const allowed = await fetch(`${ready.url}/api/v1/status`, { headers });
      assert.equal(allowed.status, 200);
      await allowed.body?.cancel();
      const refused = await fetch(`${ready.url}/api/v1/status`);
      assert.equal(refused.status, 401);
      assert.match(refused.headers.get("content-type") ?? "", /application\/problem\+json/);
      await refused.body?.cancel();
    });
    await t.step("the token is in no process list and in no file but memory", async () => {
      for await (const { name } of Deno.readDir("/proc")) {
        if (!/^\d+$/.test(name)) continue;
        for (const file of ["cmdline", "environ"]) {
          const words = await Deno.readTextFile(`/proc/${name}/${file}`).catch(() => "");
          assert.ok(!words.includes(ready.token), `/proc/${name}/${file}`);
        }
      }
      for await (const folder of Deno.readDir(scratch)) {
        for await (const { name, isFile } of Deno.readDir(join(scratch, folder.name))) {
          if (!isFile) continue;
          const path = join(scratch, folder.name, name);
          assert.ok(!(await Deno.readTextFile(path)).includes(ready.token), path);
          assert.equal(((await Deno.stat(path)).mode ?? 0) & 0o077, 0, path);
        }
      }
    });
    await t.step("it and QEMU listen on the one port on 127.0.0.1, and nowhere else", async () => {
      const port = Number(new URL(ready.url).port).toString(16).toUpperCase().padStart(4, "0");
      const sockets = new Set<string>();
      for (const pid of [child.pid, ready.qemu_pid]) {
        for await (const { name } of Deno.readDir(`/proc/${pid}/fd`)) {
          // A descriptor may be closed meanwhile.
          sockets.add(await Deno.readLink(`/proc/${pid}/fd/${name}`).catch(() => ""));
        }
      }
      const listening: string[] = [];
      for (const table of ["tcp", "tcp6"]) {
        for (const line of (await Deno.readTextFile(`/proc/net/${table}`)).split("\n").slice(1)) {
          // sl local remote st tx:rx tr:when retransmits uid timeout inode; 0A is LISTEN.
          const [, local = "", , state, , , , , , inode] = line.trim().split(/\s+/);
          if (state === "0A" && sockets.has(`socket:[${inode}]`)) listening.push(local);
        }
      }
      assert.deepEqual(listening, [`0100007F:${port}`]);
    });
    await t.step("SIGTERM powers the guest off and leaves nothing behind", async () => {
      child.kill("SIGTERM");
      const status = await child.status;
      assert.equal(status.code, 0, await log);
      assert.equal((await log).includes(ready.token), false, "the token is not in its log");
      assert.equal((await reader.read()).done, true, "nothing else on standard output");
      await assert.rejects(Deno.stat(`/proc/${ready.qemu_pid}`), Deno.errors.NotFound);
      assert.deepEqual(await Array.fromAsync(Deno.readDir(scratch)), []);
    });
  } finally {
    killIfRunning(child);
    await child.status;
    await log;
    await reader.cancel();
    await Deno.remove(scratch, { recursive: true });
  }
});

function killIfRunning(child: Deno.ChildProcess): void {
  try {
    child.kill("SIGKILL");
  } catch (error) {
    // Already ended, as it should.
    if (!(error instanceof TypeError) && !(error instanceof Deno.errors.NotFound)) throw error;
  }
}
