/**
 * Every way the machine can die: it comes back, and the next boot knows why.
 *
 * One launcher goes through all of it, as a person's would.
 */

import assert from "node:assert/strict";
import { RESCUE_AFTER } from "../../image/relaunch.ts";
import { Guest } from "./guest.ts";
import { bootEnd } from "./shared.ts";

interface BootStatus {
  boot: {
    id: string;
    attempt: number;
    rescue: boolean;
    last_stop: { kind: string; text?: string };
  };
}

async function status(guest: Guest): Promise<BootStatus["boot"]> {
  return (await guest.json<BootStatus>("/api/v1/status")).boot;
}

/** Does something that ends the machine; answers how the boot after it sees that. */
async function dieBy(guest: Guest, how: () => Promise<unknown>): Promise<BootStatus["boot"]> {
  const before = await status(guest);
  const ready = guest.nextReady();
  // The answer dies with the machine: what counts is what comes after.
  await Promise.allSettled([how()]);
  await ready;
  const after = await status(guest);
  assert.notEqual(after.id, before.id);
  return after;
}

Deno.test("the next boot knows how the last one ended", async (step) => {
  await using guest = await Guest.boot({ relaunch: true, dataMb: 64 });
  assert.equal((await status(guest)).last_stop.kind, "none");

  await step.step("a panic, with its text", async () => {
    await bootEnd(guest);
    const boot = await dieBy(guest, () => guest.shell("echo c > /proc/sysrq-trigger"));
    assert.equal(boot.last_stop.kind, "panic");
    assert.match(boot.last_stop.text ?? "", /sysrq triggered crash/);
  });

  await step.step("PID 1 killed", async () => {
    await bootEnd(guest);
    // Its code is overwritten from outside: the next instruction of PID 1 is not one.
    const wreck = `
      set -- $(grep -m1 "r-xp.*/bin/deno" /proc/1/maps | tr - " ")
      start=$(printf "%d" 0x$1); end=$(printf "%d" 0x$2)
      dd if=/dev/zero of=/proc/1/mem bs=4096 conv=notrunc \
        seek=$((start / 4096)) count=$(((end - start) / 4096))`;
    const boot = await dieBy(guest, () => guest.shell(wreck));
    assert.equal(boot.last_stop.kind, "panic");
    assert.match(boot.last_stop.text ?? "", /Attempted to kill init/);
  });

  await step.step("QEMU killed", async () => {
    await bootEnd(guest);
    const boot = await dieBy(guest, () => guest.kill());
    assert.equal(boot.last_stop.kind, "cut");
  });

  await step.step("a wedged PID 1, reset by the watchdog", async () => {
    await bootEnd(guest);
    const boot = await dieBy(
      guest,
      () => guest.shell("echo 1 > /sys/fs/cgroup/core/cgroup.freeze"),
    );
    assert.equal(boot.last_stop.kind, "watchdog");
  });
});

Deno.test("a machine that keeps dying early ends in rescue, with console and HTTP up", async () => {
  await using guest = await Guest.boot({ relaunch: true, data: "none" });
  for (let deaths = 1; deaths <= RESCUE_AFTER; deaths++) {
    const boot = await dieBy(guest, async () => {
      await bootEnd(guest);
      await guest.shell("echo c > /proc/sysrq-trigger");
    });
    assert.equal(boot.rescue, deaths >= RESCUE_AFTER, `after ${deaths} early deaths`);
  }
  await bootEnd(guest);
  assert.match(await guest.shell("echo still here"), /still here/);
  await guest.console.ask("status", /rescue/i, 30_000);
});
