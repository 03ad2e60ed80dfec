/**
 * Every orderly way to stop or restart the machine leaves /data clean and tells the next boot why.
 *
 * One disk goes through all of it; each boot finds the file the one before wrote.
 */

import assert from "node:assert/strict";
import { join } from "node:path";
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
  const outcome = await guest.outcome;
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
  const outcome = await guest.outcome;
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

Deno.test("SIGTERM to run.sh powers off and unmounts /data cleanly", async () => {
  const options = ["--headless", "--json", "--http-port", "0", "--cpus", "1", "--data", data.path];
  const launcher = new Deno.Command(join(TREE, "run.sh"), {
    args: options,
    stdin: "null",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const reader = launcher.stdout.pipeThrough(new TextDecoderStream()).getReader();
  const { value = "" } = await reader.read();
  const ready = JSON.parse(value) as { qemu_pid: number };
  // At once: /data may be being mounted just now.
  launcher.kill("SIGTERM");
  const { code } = await launcher.status;
  await reader.cancel();
  assert.equal(code, 0);
  assert.equal(await exists(`/proc/${ready.qemu_pid}`), false);
  await assertCleanData(data.path);
});
