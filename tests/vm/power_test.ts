/**
 * Every orderly way to stop or restart the machine leaves /data clean and tells the next boot why.
 *
 * One disk goes through all of it; each boot finds the file the one before wrote.
 */

import assert from "node:assert/strict";
import { basename, join } from "node:path";
import { ensureDataDisk } from "../../image/disk.ts";
import { exists } from "../../image/host.ts";
import { TREE } from "../../image/paths.ts";
import { assertCleanData, readOnDisk } from "./disks.ts";
import { Guest } from "./guest.ts";
import { eventually } from "./shared.ts";

const folder = await Deno.makeTempDir({ prefix: "osymbiote-test-" });
const data = { path: join(folder, "data.img") };
Deno.test.beforeAll(async () => {
  await ensureDataDisk(data.path, 64);
});
Deno.test.afterAll(() => Deno.remove(folder, { recursive: true }));

/** Waits until /data is mounted: before that there is nothing to unmount. */
async function dataMounted(guest: Guest): Promise<void> {
  const phase = await guest.waitEvent("boot.phase", ({ data }) => data.name === "data", 30_000);
  assert.equal(phase.data.ok, true);
  assert.match(await guest.shell("cat /proc/mounts"), /^\/dev\/vdb \/data ext4 rw/m);
}

/** Writes a file without sync: only the unmount brings it to the disk. */
async function write(guest: Guest, text: string): Promise<void> {
  await dataMounted(guest);
  await guest.shell(`echo ${text} > /data/note`);
}

/** The guest said that it stopped in order, and its disk shows it. */
async function assertOrderly(guest: Guest, how: string): Promise<void> {
  const stopping = guest.events("system.stopping").at(-1);
  const stopped = guest.events("system.stopped").at(-1);
  assert.equal(stopping?.data.how, how);
  assert.deepEqual({ how: stopped?.data.how, clean: stopped?.data.clean }, { how, clean: true });
  await assertCleanData(data.path);
}

Deno.test("POST /api/v1/power/reboot comes back with the same address and token", async () => {
  await using guest = await Guest.boot({ data, relaunch: true });
  await write(guest, "one");
  const { boot: first } = await guest.json<{ boot: { id: string } }>("/api/v1/status");
  const ready = guest.nextReady();
  await guest.post("/api/v1/power/reboot", {});
  await ready;
  const { boot } = await guest.json<{
    boot: { id: string; attempt: number; last_stop: { kind: string; text?: string } };
  }>("/api/v1/status");
  assert.notEqual(boot.id, first.id);
  assert.equal(boot.last_stop.kind, "reboot");
  assert.match(boot.last_stop.text ?? "", /token:launch/);
  assert.equal(boot.attempt, 1, "a wished reboot counts as no failure");
  await dataMounted(guest);
  assert.equal(await guest.shell("cat /data/note"), "one\n");
});

Deno.test("poweroff in the guest unmounts /data cleanly and ends the launcher", async () => {
  await using guest = await Guest.boot({ data, relaunch: true });
  await write(guest, "two");
  // The command outlives its answer only if the machine takes its time.
  const asked = guest.exec(["/sbin/poweroff"]).catch(() => null);
  const outcome = await guest.ends();
  await asked;
  assert.equal(outcome.kind, "ended");
  assert.equal(outcome.last.kind, "clean");
  assert.match(outcome.last.text ?? "", /SIGUSR2/);
  await assertOrderly(guest, "poweroff");
  assert.equal(await readOnDisk(data.path, "/note"), "two\n");
});

Deno.test("POST /api/v1/power/poweroff unmounts /data cleanly, and stops what runs", async () => {
  await using guest = await Guest.boot({ data });
  await write(guest, "three");
  await guest.post("/api/v1/services", { name: "sleeper", argv: ["/bin/sleep", "1000"] });
  // Holds a file on /data open and does not go on TERM: the stop must not wait for it for ever.
  const stubborn = "trap '' TERM; exec 3>/data/held; while :; do sleep 1000; done";
  const held = guest.exec(["/bin/sh", "-c", stubborn]).catch(() => null);
  await eventually("the stubborn process", async () => {
    return await guest.shell("ls /data").then((text) => text.includes("held"));
  });
  await guest.post("/api/v1/power/poweroff", {});
  const outcome = await guest.ends();
  await held;
  assert.equal(outcome.last.kind, "clean");
  await assertOrderly(guest, "poweroff");
  assert.equal(await readOnDisk(data.path, "/note"), "three\n");
});

Deno.test("the power button (QMP system_powerdown) unmounts /data cleanly", async () => {
  await using guest = await Guest.boot({ data });
  await write(guest, "four");
  const outcome = await guest.powerOff(40_000);
  assert.equal(outcome.last.kind, "clean");
  await assertOrderly(guest, "poweroff");
  assert.equal(await readOnDisk(data.path, "/note"), "four\n");
});

/** What `--headless --json` prints. */
interface ReadyLine {
  url: string;
  token: string;
  qemu_pid: number;
}

/** Runs `./run.sh`, does something with the machine once it is ready, and sends SIGTERM. */
async function terminated(use: (ready: ReadyLine) => Promise<void>): Promise<void> {
  const args = ["--headless", "--json", "--http-port", "0", "--cpus", "1"];
  const launcher = new Deno.Command(join(TREE, "run.sh"), {
    // Relative: a path is the caller's, wherever the tree is.
    args: [...args, "--data", basename(data.path)],
    cwd: folder,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = launcher.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const ready = JSON.parse((await reader.read()).value ?? "") as ReadyLine;
  try {
    await use(ready);
  } finally {
    launcher.kill("SIGTERM");
  }
  const { code } = await launcher.status;
  await reader.cancel();
  assert.equal(code, 0);
  assert.equal(await exists(`/proc/${ready.qemu_pid}`), false);
  await assertCleanData(data.path);
}

Deno.test("SIGTERM to run.sh powers off and unmounts /data cleanly", async () => {
  await terminated(async ({ url, token }) => {
    const headers = { authorization: `Bearer ${token}`, "content-type": "application/json" };
    await eventually("/data to be mounted", async () => {
      const answer = await fetch(`${url}/api/v1/status`, { headers });
      const { boot } = await answer.json() as { boot: { phases: { name: string; ok: boolean }[] } };
      return boot.phases.some(({ name, ok }) => name === "data" && ok);
    }, 60_000);
    const body = JSON.stringify({ argv: ["/bin/sh", "-c", "echo five > /data/note"] });
    const answer = await fetch(`${url}/api/v1/exec`, { method: "POST", headers, body });
    assert.equal((await answer.json() as { code: number }).code, 0);
  });
  assert.equal(await readOnDisk(data.path, "/note"), "five\n");
});

Deno.test("SIGTERM to run.sh while /data is being mounted leaves it clean as well", async () => {
  await terminated(() => Promise.resolve());
  assert.equal(await readOnDisk(data.path, "/note"), "five\n");
});
