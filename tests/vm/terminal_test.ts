/**
 * `./run.sh` as a person uses it: on a terminal, with Ctrl-C, and with the window closed.
 *
 * script(1) is the terminal: what it is sent is typed, and killing it is closing the window.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
import { ensureDataDisk } from "../../image/disk.ts";
import { TREE } from "../../image/paths.ts";
import { assertCleanData, readOnDisk } from "./disks.ts";
import { eventually, isGone } from "./shared.ts";

const WAIT_MS = 120_000;

const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

/** A terminal in which `./run.sh` runs, and after it `then`. */
class Terminal implements AsyncDisposable {
  text = "";
  readonly process: Deno.ChildProcess;
  readonly #keys: WritableStreamDefaultWriter<Uint8Array<ArrayBuffer>>;
  readonly #reading: Promise<void>;

  constructor(data: string, then = ":") {
    // A shell waits for a program that Ctrl-C ends by itself only if it takes the signal as well.
    const command = `trap : INT; "$OSYM_RUN" --http-port 0 --cpus 1 --data "$OSYM_DATA"; ` +
      `code=$?; ${then}; exit $code`;
    this.process = new Deno.Command("script", {
      args: ["--quiet", "--return", "--command", command, "/dev/null"],
      env: { OSYM_RUN: join(TREE, "run.sh"), OSYM_DATA: data, SHELL: "/bin/sh", TERM: "linux" },
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#keys = this.process.stdin.getWriter();
    this.#reading = this.#read();
  }

  type(keys: string): Promise<void> {
    return this.#keys.write(new TextEncoder().encode(keys));
  }

  /** Waits until the screen shows it. */
  async shows(pattern: RegExp): Promise<RegExpExecArray> {
    return await eventually(`${pattern} on the screen`, () => {
      const match = pattern.exec(this.text);
      if (match === null) throw new Error(this.text.slice(-2000));
      return Promise.resolve(match);
    }, WAIT_MS);
  }

  /** Closes the window. */
  async close(): Promise<void> {
    this.process.kill("SIGKILL");
    await this.process.status;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      await this.close();
    } catch (error) {
      // It has ended by itself.
      if (!(error instanceof TypeError)) throw error;
    }
    await this.#keys.close().catch((error) => assert.ok(isGone(error), String(error)));
    await this.#reading;
  }

  async #read(): Promise<void> {
    for await (const text of this.process.stdout.pipeThrough(new TextDecoderStream())) {
      this.text += text;
    }
  }
}

/** The processes of this host that were started with `word` among their arguments. */
async function processesWith(word: string): Promise<{ pid: number; argv: string[] }[]> {
  const found = [];
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    const argv = (await Deno.readTextFile(`/proc/${name}/cmdline`).catch(() => "")).split("\0");
    if (argv.some((argument) => argument.includes(word))) found.push({ pid: Number(name), argv });
  }
  return found;
}

Deno.test("./run.sh on a terminal shows the boot and its address, joins the console, and obeys Ctrl-C", async () => {
  const data = join(folder, "ctrl-c.img");
  await ensureDataDisk(data, 64);
  await using terminal = new Terminal(data, "stty -a");
  await terminal.shows(/^\s*\d+ ms {2}QEMU and firmware\r$/m);
  await terminal.shows(/^\s*\d+ ms {2}guard\r$/m);
  await terminal.shows(/^\s*\d+ ms {2}first answer over HTTP\r$/m);
  await terminal.shows(/^ {2}http:\/\/localhost:\d+\/#token=[\w-]{43}\r$/m);
  await terminal.shows(/osym> /);
  await terminal.type("status\n");
  await terminal.shows(/boot +\w+, attempt 1/);
  await terminal.type("\x03");
  const { code } = await terminal.process.status;
  await terminal.shows(/Powering off \(once more to quit now\)/);
  await terminal.shows(/The machine stopped: clean/);
  // The terminal is as it was: it echoes and hands on whole lines.
  await terminal.shows(/(^|\s)icanon\s/);
  await terminal.shows(/(^|\s)echo\s/);
  assert.equal(code, 0);
  await assertCleanData(data);
});

Deno.test("a closed window powers the machine off in order", async () => {
  const data = join(folder, "closed.img");
  await ensureDataDisk(data, 64);
  await using terminal = new Terminal(data);
  const [, url, token] = await terminal.shows(/(http:\/\/localhost:\d+)\/#token=([\w-]{43})/);
  const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
  await eventually("/data to be mounted", async () => {
    const answer = await fetch(`${url}/api/v1/status`, { headers });
    const { boot } = await answer.json() as { boot: { phases: { name: string; ok: boolean }[] } };
    return boot.phases.some(({ name, ok }) => name === "data" && ok);
  }, WAIT_MS);
  const body = JSON.stringify({ argv: ["/bin/sh", "-c", "echo kept > /data/note"] });
  const answer = await fetch(`${url}/api/v1/exec`, { method: "POST", headers, body });
  assert.equal((await answer.json() as { code: number }).code, 0);

  const launcher = (await processesWith(data)).find(({ argv }) => argv.includes("boot"));
  assert.ok(launcher);
  await terminal.close();
  // The kernel hangs up, and so does the shell that ran in the window.
  Deno.kill(launcher.pid, "SIGHUP");
  await eventually("everything to be over", async () => {
    return (await processesWith(data)).length === 0;
  }, WAIT_MS);
  await assertCleanData(data);
  assert.equal(await readOnDisk(data, "/note"), "kept\n");
});
