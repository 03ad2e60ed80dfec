/** The loop and its timers on this machine's epoll, eventfd and timerfd. */

import assert from "node:assert/strict";
import { Clocks } from "../../src/kernel/clock.ts";
import { closeFd, eventfd, pipe, readFd, writeFd } from "../../src/kernel/fd.ts";
import { BootTimers } from "../../src/kernel/timers.ts";
import { failOn, libc, until, withReactor } from "./harness.ts";

Deno.test("Reactor hears an eventfd as often as it is written, and nothing once removed", () =>
  withReactor(async (reactor) => {
    const fd = eventfd(libc);
    const counter = new Uint8Array(8);
    let total = 0;
    const registration = reactor.add(fd, ["read"], () => {
      readFd(libc, fd, counter);
      total += new DataView(counter.buffer).getUint32(0, true);
    });
    const one = new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]);
    for (let i = 0; i < 500; i++) {
      assert.equal(writeFd(libc, fd, one), 8);
      if (i % 50 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
    await until(() => total === 500, () => total);
    registration.remove();
    writeFd(libc, fd, one);
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(total, 500);
    closeFd(libc, fd);
  }));

Deno.test("Reactor gives each of 100 pipes its own bytes and tells its hangup", () =>
  withReactor(async (reactor) => {
    const count = 100;
    const got = new Array<number>(count).fill(0);
    const hungUp = new Set<number>();
    const ends = Array.from({ length: count }, () => pipe(libc));
    const buffer = new Uint8Array(64);
    ends.forEach(({ read }, index) => {
      const registration = reactor.add(read, ["read"], (ready) => {
        for (let n; (n = readFd(libc, read, buffer)) > 0;) got[index]! += n;
        if (!ready.hangup) return;
        hungUp.add(index);
        registration.remove();
        closeFd(libc, read);
      });
    });
    ends.forEach(({ write }, index) => writeFd(libc, write, new Uint8Array(index % 60 + 1)));
    for (const { write } of ends) closeFd(libc, write);
    await until(() => hungUp.size === count, () => hungUp.size);
    assert.deepEqual(got, got.map((_, index) => index % 60 + 1));
    assert.equal(reactor.size, 0);
  }));

Deno.test("BootTimers ring in order, never early, and not when cleared", () =>
  withReactor(async (reactor) => {
    const clocks = new Clocks(libc);
    // Stands still while alarms are set, so that each one's time is known exactly.
    let still: number | null = clocks.boottime() / 1000;
    const start = still;
    const timers = new BootTimers(libc, reactor, failOn, () => still ?? clocks.boottime() / 1000);
    const rung: number[] = [];
    let early = 0;
    const delays = Array.from({ length: 200 }, (_, i) => (i * 37) % 200);
    for (const delay of delays) {
      const due = start + delay;
      timers.set(() => {
        if (timers.now() < due) early++;
        rung.push(due);
      }, delay);
    }
    timers.clear(timers.set(() => failOn("timers", "a cleared alarm rang"), 20));
    still = null;
    await until(() => rung.length === delays.length, () => rung.length);
    assert.equal(early, 0);
    assert.deepEqual(rung, rung.toSorted((a, b) => a - b));
    assert.equal(timers.size, 0);
    const before = clocks.boottime();
    await timers.sleep(50);
    assert.ok(clocks.boottime() - before >= 50_000);
    timers.close();
  }));
