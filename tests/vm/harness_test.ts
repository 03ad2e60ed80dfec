/**
 * The harness itself: a guest that panics, hangs, stays silent or is killed must show as that.
 *
 * Its guests run something else than our PID 1, so these tests tell the harness's faults apart
 * from the system's.
 */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import {
  Guest,
  GuestDied,
  GuestError,
  GuestNeverReady,
  GuestPanicked,
  GuestTimeout,
} from "./guest.ts";
import { exists } from "../../image/host.ts";
import { OptionError } from "../../image/options.ts";
import { GIVE_UP_AFTER, RESCUE_AFTER } from "../../image/relaunch.ts";

const SLEEP = ["/bin/busybox", "sleep", "1000"];
const EXIT = ["/bin/busybox", "false"];

Deno.test("Guest.boot() reports a panic with its text", async () => {
  const error = await rejection(Guest.boot({ init: EXIT, data: "none" }));
  assert.ok(error instanceof GuestPanicked, String(error));
  assert.match(error.text, /^Kernel panic - not syncing: Attempted to kill init!/);
  assert.ok(error.serialTail.some((line) => line.includes("Attempted to kill init!")));
});

Deno.test("Guest.nextReady() reports a guest that is never ready, and what was seen", async () => {
  await using guest = await Guest.start({ init: SLEEP, data: "none", append: ["loglevel=7"] });
  await guest.console.read("Run /bin/busybox as init process", 60_000);
  const error = await rejection(guest.nextReady(1000));
  assert.ok(error instanceof GuestNeverReady, String(error));
  assert.match(error.message, /events seen: none/);
  assert.ok(error.serialTail.some((line) => line.includes("Run /bin/busybox as init process")));
});

Deno.test("Guest.start() reports QEMU's own words when it does not start", async () => {
  const error = await rejection(Guest.start({ init: SLEEP, qemu: ["-no-such-option"] }));
  assert.ok(error instanceof GuestError, String(error));
  assert.match(error.message, /-no-such-option: invalid option/);
});

Deno.test("a data disk or a port that somebody uses already is named", async () => {
  await using guest = await Guest.start({ init: SLEEP });
  const data = { path: await dataOf(guest.machine.pid) };
  const disk = await rejection(Guest.start({ init: SLEEP, data }));
  assert.ok(disk instanceof GuestError, String(disk));
  assert.match(disk.message, /Is another process using the image/);
  const httpPort = Number(new URL(guest.url).port);
  const port = await rejection(Guest.start({ init: SLEEP, data: "none", httpPort }));
  assert.ok(port instanceof OptionError, String(port));
  assert.match(port.message, /^--http-port \d+: another program listens on 127\.0\.0\.1:\d+/);
});

Deno.test("Launcher.quit() ends what the power button does not", async () => {
  await using guest = await Guest.start({ init: SLEEP, data: "none" });
  const pressed = guest.launcher.stop(600_000);
  await guest.launcher.quit();
  await pressed;
  const outcome = await guest.ends();
  assert.equal(outcome.kind, "ended");
  assert.equal(outcome.last.kind, "cut");
});

Deno.test("Guest.waitEvent() fails at once when QEMU is killed", async () => {
  await using guest = await Guest.start({ init: SLEEP, data: "none" });
  const waiting = rejection(guest.waitEvent("never.comes", undefined, 60_000));
  await guest.kill();
  const error = await waiting;
  assert.ok(error instanceof GuestDied, String(error));
  assert.deepEqual(error.decision.last, { kind: "cut", text: "QEMU was killed by SIGKILL" });
});

Deno.test("Guest.waitUntil() ends at its deadline while the guest lives", async () => {
  await using guest = await Guest.start({ init: SLEEP, data: "none" });
  const error = await rejection(guest.waitEvent("never.comes", undefined, 200));
  assert.ok(error instanceof GuestTimeout, String(error));
  assert.ok(guest.machine.pid > 0);
});

Deno.test("GuestConsole.ask() types into the guest and reads its answer", async () => {
  const init = [
    "/bin/busybox",
    "sh",
    "-c",
    "echo listening; while read line; do echo got:$line; done",
  ];
  await using guest = await Guest.start({ init, data: "none" });
  await guest.console.read("listening", 60_000);
  const [, answer] = await guest.console.ask("hello there", /got:(.*?)\r?\n/, 60_000);
  assert.equal(answer, "hello there");
});

Deno.test("Launcher.run() tries again, goes to rescue, and gives up", async () => {
  await using guest = await Guest.start({ init: EXIT, data: "none", relaunch: true });
  const outcome = await guest.ends();
  assert.equal(outcome.kind, "gave_up");
  assert.equal(outcome.last.kind, "panic");
  assert.equal(guest.launches.length, GIVE_UP_AFTER);
  assert.deepEqual(
    guest.launches.map(({ attempt, rescue }) => [attempt, rescue]),
    Array.from({ length: GIVE_UP_AFTER }, (_, i) => [i + 1, i >= RESCUE_AFTER]),
  );
});

Deno.test("Launcher.run() tells the next boot that a watchdog ended the last one", async () => {
  const show = "cat /sys/firmware/qemu_fw_cfg/by_name/opt/org.osymbiote/launch/raw; ";
  const script = "mount -t proc proc /proc; mount -t sysfs sysfs /sys; " + show + "echo; " +
    // Two seconds of patience, fed once a minute.
    "watchdog -F -T 2 -t 60 /dev/watchdog";
  const init = ["/bin/busybox", "sh", "-c", script];
  await using guest = await Guest.start({ init, data: "none", relaunch: true });
  const [, record] = await guest.console.read(/("last_stop":\{"kind":"watchdog"\})/, 120_000);
  assert.ok(record);
  assert.equal(guest.stops[0]?.last.kind, "watchdog");
});

Deno.test("Machine.start() leaves no QEMU behind when its launcher is killed", async () => {
  const module = fileURLToPath(new URL("./guest.ts", import.meta.url));
  const program = `import { Guest } from ${JSON.stringify(module)};
    const guest = await Guest.start({ init: ${JSON.stringify(SLEEP)}, data: "none" });
    console.log(guest.machine.pid);`;
  // What a killed launcher can not clean up goes here.
  const scratch = await Deno.makeTempDir();
  const launcher = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--ext=ts", "-"],
    env: { TMPDIR: scratch },
    stdin: "piped",
    stdout: "piped",
    stderr: "inherit",
  }).spawn();
  const writer = launcher.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const reader = launcher.stdout.getReader();
  const { value } = await reader.read();
  const pid = Number(new TextDecoder().decode(value));
  assert.ok(await exists(`/proc/${pid}`));
  launcher.kill("SIGKILL");
  await launcher.status;
  await reader.cancel();
  const deadline = performance.now() + 5000;
  while (await isRunning(pid) && performance.now() < deadline) {
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await Deno.remove(scratch, { recursive: true });
  assert.equal(await isRunning(pid), false);
});

/** The data disk of a QEMU process, the second of its drives. */
async function dataOf(pid: number): Promise<string> {
  const argv = (await Deno.readTextFile(`/proc/${pid}/cmdline`)).split("\0");
  const drive = argv.find((argument) => argument.startsWith("if=none,id=disk1,"));
  return /,file=([^,]+)/.exec(drive ?? "")?.[1] ?? "";
}

/** Whether a process runs; one that only waits to be collected does not. */
async function isRunning(pid: number): Promise<boolean> {
  try {
    return !/^State:\s*Z/m.test(await Deno.readTextFile(`/proc/${pid}/status`));
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  try {
    await promise;
  } catch (error) {
    return error;
  }
  throw new Error("expected a rejection");
}
