/** The loop, on the real epoll. */
import assert from "node:assert/strict";
import { closeFd, eventfd, pipe, readFd, writeFd } from "../../src/kernel/fd.ts";
import { openLibc } from "../../src/kernel/libc.ts";
import { Reactor } from "../../src/kernel/reactor.ts";
import { kernelTest, nothing, until } from "./harness.ts";

const libc = openLibc();

async function withReactor(
  test: (reactor: Reactor, reports: string[]) => Promise<void>,
): Promise<void> {
  const reports: string[] = [];
  const reactor = new Reactor(libc, (where, error) => reports.push(`${where}: ${error}`));
  const running = reactor.run();
  try {
    await test(reactor, reports);
  } finally {
    await reactor.close();
    await running;
  }
}

kernelTest(
  "Reactor hears a pipe, its hangup, and nothing after",
  nothing,
  () =>
    withReactor(async (reactor, reports) => {
      const ends = pipe(libc);
      const buffer = new Uint8Array(16);
      const heard: string[] = [];
      const registration = reactor.add(ends.read, ["read"], (ready) => {
        const count = readFd(libc, ends.read, buffer);
        heard.push(`${count}${ready.hangup ? " hangup" : ""}`);
        if (ready.hangup) registration.remove();
      });
      writeFd(libc, ends.write, new Uint8Array(3));
      await until(() => heard.length === 1);
      closeFd(libc, ends.write);
      await until(() => !registration.active);
      closeFd(libc, ends.read);
      assert.deepEqual(heard, ["3", "0 hangup"]);
      assert.deepEqual(reports, []);
    }),
);

kernelTest(
  "Reactor gives every descriptor its turn while one is always ready",
  nothing,
  () =>
    withReactor(async (reactor) => {
      const busy = eventfd(libc, 1);
      const quiet = eventfd(libc);
      let spins = 0;
      let heard = 0;
      const first = reactor.add(busy, ["read"], () => {
        spins++;
        return "more";
      });
      const second = reactor.add(quiet, ["read"], () => {
        heard++;
        readFd(libc, quiet, new Uint8Array(8));
      });
      await until(() => spins > 10);
      writeFd(libc, quiet, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
      const before = spins;
      await until(() => heard === 1);
      assert.ok(spins - before < 1000, `${spins - before} turns of the busy one`);
      first.remove();
      second.remove();
      closeFd(libc, busy);
      closeFd(libc, quiet);
    }),
);

kernelTest(
  "Reactor rests under a storm, and the storm costs less for it",
  nothing,
  () =>
    withReactor(async (reactor) => {
      // Always ready and never drained: the worst storm there is.
      const storm = eventfd(libc, 1);
      let calls = 0;
      const registration = reactor.add(storm, ["read"], () => {
        calls++;
      });
      await new Promise((resolve) => setTimeout(resolve, 300));
      registration.remove();
      closeFd(libc, storm);
      assert.ok(reactor.stats.rests > 10, `${reactor.stats.rests} rests`);
      assert.ok(calls < 200, `${calls} calls in 300 ms of a storm`);
    }),
);

kernelTest(
  "Reactor.modify() turns write interest on and off",
  nothing,
  () =>
    withReactor(async (reactor) => {
      const ends = pipe(libc);
      let writable = 0;
      const registration = reactor.add(ends.write, [], () => {
        writable++;
        registration.modify([]);
      });
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(writable, 0);
      registration.modify(["write"]);
      await until(() => writable === 1);
      await new Promise((resolve) => setTimeout(resolve, 20));
      assert.equal(writable, 1);
      registration.remove();
      closeFd(libc, ends.read);
      closeFd(libc, ends.write);
    }),
);

kernelTest(
  "Reactor does not deliver to the old handler of a reused descriptor",
  nothing,
  () =>
    withReactor(async (reactor, reports) => {
      const old = eventfd(libc);
      let oldCalls = 0;
      reactor.add(old, ["read"], () => {
        oldCalls++;
      });
      // Closed without remove(): the kernel drops it, the reactor does not know.
      closeFd(libc, old);
      const reused = eventfd(libc, 1);
      assert.equal(reused, old);
      let newCalls = 0;
      const registration = reactor.add(reused, ["read"], () => {
        newCalls++;
        readFd(libc, reused, new Uint8Array(8));
      });
      await until(() => newCalls === 1);
      assert.equal(oldCalls, 0);
      registration.remove();
      closeFd(libc, reused);
      assert.deepEqual(reports, []);
    }),
);

kernelTest(
  "Reactor lives when its epoll descriptor is closed under it",
  nothing,
  () =>
    withReactor(async (reactor, reports) => {
      const counter = eventfd(libc);
      let calls = 0;
      const registration = reactor.add(counter, ["read"], () => {
        calls++;
        readFd(libc, counter, new Uint8Array(8));
      });
      const epoll = [...Deno.readDirSync("/proc/self/fd")].map(({ name }) => Number(name)).find(
        (fd) => {
          try {
            const info = Deno.readTextFileSync(`/proc/self/fdinfo/${fd}`);
            return new RegExp(`^tfd:\\s+${counter} `, "m").test(info);
          } catch (error) {
            if (error instanceof Deno.errors.NotFound) return false;
            throw error;
          }
        },
      );
      assert.ok(epoll !== undefined);
      closeFd(libc, epoll);
      reactor.wake();
      // The parked wait holds the old epoll until something ends it.
      writeFd(libc, counter, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
      await until(() => reports.length > 0);
      writeFd(libc, counter, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
      const before = calls;
      await until(() => calls > before);
      assert.match(reports[0] ?? "", /epoll_wait \d+: EBADF/);
      registration.remove();
      closeFd(libc, counter);
    }),
);

kernelTest(
  "Reactor hears 10,000 wakes of an eventfd without missing the last",
  nothing,
  () =>
    withReactor(async (reactor) => {
      const counter = eventfd(libc);
      const buffer = new Uint8Array(8);
      let sum = 0;
      const registration = reactor.add(counter, ["read"], () => {
        readFd(libc, counter, buffer);
        sum += new DataView(buffer.buffer).getUint32(0, true);
      });
      for (let index = 0; index < 10_000; index++) {
        writeFd(libc, counter, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
        if (index % 100 === 0) await new Promise((resolve) => setTimeout(resolve, 0));
      }
      await until(() => sum === 10_000);
      registration.remove();
      closeFd(libc, counter);
    }),
);
