/** The loop, on a faked epoll: what the real one does only when something is badly wrong. */
import assert from "node:assert/strict";
import { fakeLibc, until } from "../../tests/kernel/harness.ts";
import { Errno } from "./errno.ts";
import { FAILURES_ALLOWED, Reactor } from "./reactor.ts";

const PACKED = Deno.build.arch === "x86_64";
const EVENT_BYTES = PACKED ? 12 : 16;

/** A machine with one epoll: `ready()` makes registered descriptors ready for one wait. */
class FakeEpoll {
  errno = 0;
  readonly log: string[] = [];
  /** fd → the data word it was added with. */
  readonly tokens = new Map<number, number>();
  readonly #waits: ((count: number) => void)[] = [];
  #batch: Uint8Array<ArrayBuffer> | null = null;
  /** Results of the next waits, instead of events: "reject" makes the parked call itself throw. */
  readonly faults: ("reject" | "EINTR" | "EBADF")[] = [];

  readonly libc = fakeLibc({
    epoll_create1: () => {
      this.log.push("create");
      this.tokens.clear();
      return 100;
    },
    epoll_ctl: (_epoll, operation, fd, event) => {
      const bytes = event as Uint8Array<ArrayBuffer>;
      const view = new DataView(bytes.buffer);
      assert.equal(bytes.byteLength, EVENT_BYTES, "struct epoll_event of this architecture");
      const token = view.getUint32(PACKED ? 4 : 8, true);
      this.log.push(`${["", "add", "del", "mod"][operation]} ${fd}`);
      if (operation === 1 && this.tokens.has(fd)) return this.#fail(Errno.EEXIST);
      if (operation === 1) this.tokens.set(fd, token);
      if (operation === 2 && !this.tokens.delete(fd)) return this.#fail(Errno.ENOENT);
      return 0;
    },
    epoll_wait: () => {
      const fault = this.faults.shift();
      if (fault === undefined || fault === "reject") return 0;
      return this.#fail(Errno[fault]);
    },
    epoll_waitAsync: (_epoll, batch) => {
      if (this.faults[0] === "reject") {
        this.faults.shift();
        return Promise.reject(new Error("the pool is gone"));
      }
      if (this.faults.length > 0) return Promise.resolve(-1);
      this.#batch = batch as Uint8Array<ArrayBuffer>;
      const { promise, resolve } = Promise.withResolvers<number>();
      this.#waits.push(resolve);
      return promise;
    },
    usleepAsync: () => new Promise<number>((resolve) => setTimeout(resolve, 0, 0)),
    eventfd: () => 101,
    read: () => 8,
    write: () => {
      this.ready([101, 1]);
      return 8;
    },
    close: () => 0,
  }, () => this.errno);

  /** Ends the parked wait with these descriptors and events. */
  ready(...events: [fd: number, events: number][]): void {
    const resolve = this.#waits.shift();
    if (resolve === undefined || this.#batch === null) return;
    const view = new DataView(this.#batch.buffer);
    events.forEach(([fd, bits], index) => {
      view.setUint32(index * EVENT_BYTES, bits, true);
      view.setUint32(index * EVENT_BYTES + (PACKED ? 4 : 8), this.tokens.get(fd) ?? 0xffff, true);
    });
    resolve(events.length);
  }

  get parked(): boolean {
    return this.#waits.length > 0;
  }

  #fail(errno: number): number {
    this.errno = errno;
    return -1;
  }
}

interface Bench {
  readonly epoll: FakeEpoll;
  readonly reactor: Reactor;
  readonly reports: string[];
  parked(): Promise<void>;
}

async function withReactor(test: (bench: Bench) => Promise<void>): Promise<void> {
  const epoll = new FakeEpoll();
  const reports: string[] = [];
  const reactor = new Reactor(epoll.libc, (where, error) => {
    reports.push(`${where}: ${error instanceof Error ? error.message : error}`);
  });
  const running = reactor.run();
  const parked = () => until(() => epoll.parked);
  try {
    await parked();
    await test({ epoll, reactor, reports, parked });
  } finally {
    await parked();
    await reactor.close();
    await running;
  }
}

Deno.test("Reactor tells a handler what became ready", () =>
  withReactor(async ({ epoll, reactor, parked }) => {
    const seen: string[] = [];
    reactor.add(7, ["read"], (ready) => {
      seen.push(Object.entries(ready).filter(([, on]) => on).map(([name]) => name).join(" "));
    });
    for (const events of [0x1, 0x2, 0x4, 0x8, 0x10, 0x2000, 0x11]) {
      epoll.ready([7, events]);
      await parked();
    }
    assert.deepEqual(seen, [
      "read",
      "priority",
      "write",
      "error",
      "hangup",
      "hangup",
      "read hangup",
    ]);
  }));

Deno.test("Reactor does not call a handler that an earlier one of the batch removed", () =>
  withReactor(async ({ epoll, reactor, parked }) => {
    const called: number[] = [];
    reactor.add(7, ["read"], () => {
      called.push(7);
      second.remove();
    });
    const second = reactor.add(8, ["read"], () => {
      called.push(8);
    });
    epoll.ready([7, 1], [8, 1]);
    await parked();
    assert.deepEqual(called, [7]);
    assert.equal(second.active, false);
    second.remove();
  }));

Deno.test("Reactor removes a handler that fails five times in a row, and says so", () =>
  withReactor(async ({ epoll, reactor, reports, parked }) => {
    let calls = 0;
    const registration = reactor.add(7, ["read"], () => {
      // The fourth call succeeds: the count starts again.
      if (++calls !== 4) throw new Error(`bad ${calls}`);
    }, "sensor");
    while (registration.active) {
      epoll.ready([7, 1]);
      await parked();
    }
    assert.equal(calls, 4 + FAILURES_ALLOWED);
    assert.equal(reports.at(-1), "sensor: handler removed: it failed 5 times in a row");
    assert.equal(reactor.stats.removed, 1);
    assert.ok(epoll.log.includes("del 7"));
  }));

Deno.test("Reactor survives a reporter that throws", async () => {
  const epoll = new FakeEpoll();
  const reactor = new Reactor(epoll.libc, () => {
    throw new Error("reporter");
  });
  const running = reactor.run();
  await until(() => epoll.parked);
  reactor.add(7, ["read"], () => {
    throw new Error("handler");
  });
  epoll.ready([7, 1]);
  await until(() => epoll.parked);
  assert.equal(reactor.stats.unreported, 1);
  await reactor.close();
  await running;
});

Deno.test("Reactor goes on after EINTR without a word", () =>
  withReactor(async ({ epoll, reactor, reports, parked }) => {
    epoll.faults.push("EINTR");
    reactor.wake();
    await until(() => epoll.faults.length === 0);
    await parked();
    assert.deepEqual(reports, []);
  }));

Deno.test("Reactor makes a new epoll when its own was closed, and watches everything again", () =>
  withReactor(async ({ epoll, reactor, reports, parked }) => {
    let calls = 0;
    reactor.add(7, ["read"], () => {
      calls++;
    });
    epoll.faults.push("EBADF");
    reactor.wake();
    await until(() => epoll.log.filter((entry) => entry === "create").length === 2);
    await parked();
    assert.deepEqual(reports, ["reactor: epoll_wait 100: EBADF"]);
    epoll.ready([7, 1]);
    await parked();
    assert.equal(calls, 1);
  }));

Deno.test("Reactor survives a parked wait that rejects", () =>
  withReactor(async ({ epoll, reactor, reports, parked }) => {
    epoll.faults.push("reject");
    reactor.wake();
    await until(() => reports.length === 1);
    await parked();
    assert.deepEqual(reports, ["reactor turn: the pool is gone"]);
  }));

Deno.test("Reactor ignores events of descriptors it does not know", () =>
  withReactor(async ({ epoll, reports, parked }) => {
    epoll.ready([55, 1]);
    await parked();
    assert.deepEqual(reports, []);
  }));

Deno.test("Reactor rests past a burst only, and not while a handler has more", () =>
  withReactor(async ({ epoll, reactor, parked }) => {
    let more = false;
    reactor.add(7, ["read"], () => more ? "more" : undefined);
    const turns = async (count: number) => {
      for (let turn = 0; turn < count; turn++) {
        epoll.ready([7, 1]);
        await parked();
      }
    };
    // So long that no credit grows back while this runs.
    reactor.coalesceMs = 60_000;
    await turns(60);
    assert.equal(reactor.stats.rests, 0, "a burst");
    await turns(20);
    const { rests } = reactor.stats;
    assert.ok(rests >= 16 && rests <= 20, `${rests} rests`);
    more = true;
    await turns(20);
    assert.equal(reactor.stats.rests, rests, "more to drain");
    more = false;
    reactor.coalesceMs = 0;
    await turns(20);
    assert.equal(reactor.stats.rests, rests, "turned off");
  }));

Deno.test("Registration.modify() changes the events once", () =>
  withReactor(({ epoll, reactor }) => {
    const registration = reactor.add(7, ["read"], () => {});
    registration.modify(["read"]);
    registration.modify(["read", "write"]);
    registration.remove();
    registration.modify(["read"]);
    assert.deepEqual(epoll.log.filter((entry) => entry.endsWith(" 7")), [
      "add 7",
      "mod 7",
      "del 7",
    ]);
    return Promise.resolve();
  }));

Deno.test("Reactor.add() throws for a descriptor watched already", () =>
  withReactor(({ reactor }) => {
    reactor.add(7, ["read"], () => {}, "one");
    assert.throws(() => reactor.add(7, ["read"], () => {}, "two"), {
      message: "epoll_ctl add two (7): EEXIST",
    });
    assert.equal(reactor.size, 1);
    return Promise.resolve();
  }));

Deno.test("Reactor.close() without run() frees its descriptors", async () => {
  const epoll = new FakeEpoll();
  const reactor = new Reactor(epoll.libc, () => {});
  await reactor.close();
  await reactor.close();
  assert.equal(reactor.size, 0);
});
