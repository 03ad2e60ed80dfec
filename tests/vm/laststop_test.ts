/**
 * Every way to die is come back from, and the next boot knows which it was.
 *
 * One machine under one launcher dies five times, each time otherwise: killed core, panic,
 * watchdog, power cut, power cut. None of its boots holds for a minute, so the fourth is a rescue
 * boot and the fifth death is the last. The tests run in this order.
 */

import assert from "node:assert/strict";
import type { Guest } from "./guest.ts";
import { bootEnd, eventually, faults, sharedGuest } from "./shared.ts";
import { GIVE_UP_AFTER, RESCUE_AFTER } from "../../image/relaunch.ts";

const guest = sharedGuest({ relaunch: true });

interface Boot {
  id: string;
  attempt: number;
  rescue: boolean;
  last_stop: { kind: string; text?: string };
}

async function bootOf(machine: Guest): Promise<Boot> {
  return (await machine.json<{ boot: Boot }>("/api/v1/status")).boot;
}

/** Does something to the machine that it does not survive, and waits until it is back. */
async function dies(kill: (machine: Guest) => Promise<unknown>): Promise<{ from: Boot; to: Boot }> {
  const machine = await guest();
  const from = await bootOf(machine);
  const ready = machine.nextReady(120_000);
  // The answer dies with the machine.
  kill(machine).catch(() => undefined);
  await ready;
  await bootEnd(machine);
  const to = await bootOf(machine);
  assert.notEqual(to.id, from.id);
  assert.equal(machine.stops.at(-1)?.last.boot, from.id, "the launcher names the boot that died");
  return { from, to };
}

Deno.test("the first boot of a launcher knows of none before it", async () => {
  const { attempt, rescue, last_stop } = await bootOf(await guest());
  assert.deepEqual({ attempt, rescue, last_stop }, {
    attempt: 1,
    rescue: false,
    last_stop: { kind: "none" },
  });
});

Deno.test("PID 1 killed in its own memory is a panic, told with its text", async () => {
  const machine = await guest();
  // Remembered over the deaths to come, as everything on /data is.
  await machine.post("/api/v1/services", { name: "kept", argv: ["/bin/sleep", "1000"] });
  await machine.shell("sync");
  // Zeros over the code it is running: no signal could do it.
  const { to } = await dies((machine) =>
    machine.shell(`
      grep ' r-xp .*/bin/deno' /proc/1/maps | while IFS='- ' read -r from to _; do
        first=$((0x$from / 4096)); pages=$(((0x$to - 0x$from) / 4096))
        dd if=/dev/zero of=/proc/1/mem bs=4096 seek=$first count=$pages conv=notrunc
      done`)
  );
  assert.equal(to.last_stop.kind, "panic");
  assert.match(to.last_stop.text ?? "", /^Kernel panic - not syncing: Attempted to kill init!/);
  assert.deepEqual([to.attempt, to.rescue], [2, false]);
});

Deno.test("what was acknowledged before a death is there after it", async () => {
  const machine = await guest();
  const service = await eventually("the kept service", async () => {
    const answer = await machine.json<{ state: string; pid: number }>("/api/v1/services/kept");
    return answer.state === "running" && answer;
  });
  assert.ok(service.pid > 0);
  assert.deepEqual(await faults(machine), []);
});

Deno.test("a kernel panic is told with its text", async () => {
  const { to } = await dies((machine) => machine.shell("echo c > /proc/sysrq-trigger"));
  assert.equal(to.last_stop.kind, "panic");
  assert.match(to.last_stop.text ?? "", /^Kernel panic - not syncing: sysrq triggered crash/);
  assert.deepEqual([to.attempt, to.rescue], [3, false]);
});

Deno.test("a PID 1 that hangs is reset by the watchdog", async () => {
  const { to } = await dies((machine) =>
    machine.shell("echo 1 > /sys/fs/cgroup/core/cgroup.freeze; sleep 1000")
  );
  assert.equal(to.last_stop.kind, "watchdog");
  assert.equal(to.attempt, 4);
});

Deno.test(`after ${RESCUE_AFTER} boots that died early comes rescue, with HTTP and console`, async () => {
  const machine = await guest();
  const { rescue } = await bootOf(machine);
  assert.equal(rescue, true);
  assert.deepEqual(machine.launches.map((launch) => launch.rescue), [false, false, false, true]);
  assert.match(await machine.shell("cat /proc/cmdline"), /\bosym\.rescue=1\b/);
  assert.equal((await machine.exec(["/bin/echo", "alive"])).stdout, "alive\n");
  const page = await fetch(`${machine.url}/`);
  assert.equal(page.status, 200);
  await page.body?.cancel();
  // Nothing is started that may be why the machine keeps dying.
  const { items } = await machine.json<{ items: unknown[] }>("/api/v1/services");
  assert.deepEqual(items, []);
  const [answer] = await machine.console.ask("status", /rescue/i, 20_000);
  assert.ok(answer);
});

Deno.test("a killed QEMU is a cut, and the machine comes back", async () => {
  const { to } = await dies((machine) => machine.kill());
  assert.equal(to.last_stop.kind, "cut");
  assert.match(to.last_stop.text ?? "", /SIGKILL/);
  assert.deepEqual([to.attempt, to.rescue], [5, true]);
});

Deno.test(`after ${GIVE_UP_AFTER} early deaths the launcher gives up and shows the console`, async () => {
  const machine = await guest();
  await machine.kill();
  const outcome = await machine.ends();
  assert.equal(outcome.kind, "gave_up");
  assert.equal(outcome.early, GIVE_UP_AFTER);
  assert.equal(outcome.last.kind, "cut");
  assert.ok(outcome.serialTail.some((line) => /osymbiote/i.test(line)), outcome.serialTail.join());
  assert.ok(outcome.serialTail.length <= 100);
  assert.equal(machine.launches.length, GIVE_UP_AFTER, "and starts nothing more");
  assert.deepEqual(
    machine.stops.map(({ last }) => last.kind),
    ["panic", "panic", "watchdog", "cut", "cut"],
  );
});
