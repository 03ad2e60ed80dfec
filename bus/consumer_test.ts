/**
 * The consumer's promise: for each one, published = delivered + reported lost,
 * in order, whatever is published, read, filtered, lagged or closed when.
 */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Bus, type Consumer, type Item } from "./bus.ts";
import type { EventType } from "./events.ts";

const boot = "0123456789abcdef";
const types = ["link.removed", "clock.stepped", "process.forked"] as const;
type Kind = typeof types[number];

const data = {
  "link.removed": { index: 1, link: "eth0" },
  "clock.stepped": { by_ms: 1 },
  "process.forked": { pid: 2, ppid: 1 },
} as const;

class World {
  readonly bus: Bus;
  /** Type of event `seq`, from index 1. */
  readonly published: (Kind | null)[] = [null];
  readonly #source;

  constructor(ringEvents: number) {
    this.bus = new Bus({
      boot,
      clock: { wall: () => 0, mono: () => 0 },
      ringBytes: 128 << 10,
      ringEvents,
    });
    this.#source = this.bus.source("test", [">"]);
  }

  publish(kind: Kind): void {
    this.#source.publish(kind, { ...data[kind] } as never);
    this.published.push(kind);
  }
}

/** One consumer and the account of what it was given. */
class Account {
  readonly consumer: Consumer;
  /** The last event it was given or told of; the next must be later. */
  at: number;
  /** Matching events it had to account for when it was closed; null while open. */
  closedAt: number | null = null;
  delivered = 0;
  lost = 0;

  constructor(
    readonly world: World,
    readonly from: number,
    readonly wanted: ReadonlySet<EventType> | undefined,
    readonly maxLag: number | undefined,
    resume: boolean,
  ) {
    this.at = from;
    this.consumer = world.bus.consume({
      types: wanted,
      maxLag,
      after: resume ? { boot, seq: from } : undefined,
    });
  }

  matching(from: number, to: number): number {
    return this.world.published.slice(from, to + 1).filter((kind) =>
      kind !== null && (this.wanted === undefined || this.wanted.has(kind))
    ).length;
  }

  take(max: number): Item[] {
    const { bus } = this.world;
    const items = this.consumer.take(max);
    assert.ok(items.length <= max, `${items.length} items where ${max} were asked for`);
    for (const item of items) {
      if (item.kind === "event") this.#event(item);
      else this.#gap(item);
    }
    assert.ok(
      this.consumer.closed || this.maxLag === undefined || this.consumer.lag <= this.maxLag ||
        max === 0,
    );
    assert.ok(this.consumer.lag >= 0 && this.consumer.lag <= bus.head);
    return items;
  }

  #event(item: Extract<Item, { kind: "event" }>): void {
    assert.ok(item.seq > this.at, "in order, none twice");
    assert.equal(this.matching(this.at + 1, item.seq - 1), 0, "none left out in silence");
    assert.equal(item.type, this.world.published[item.seq]);
    assert.ok(this.wanted === undefined || this.wanted.has(item.type));
    const event = JSON.parse(item.json);
    assert.deepEqual([event.sequence, event.type], [item.seq, item.type]);
    this.at = item.seq;
    this.delivered++;
  }

  #gap(item: Extract<Item, { kind: "gap" }>): void {
    const { bus } = this.world;
    assert.ok(item.from > this.at && item.to >= item.from, `gap ${item.from}–${item.to}`);
    assert.equal(this.matching(this.at + 1, item.from - 1), 0, "none left out in silence");
    const inside = this.matching(item.from, item.to);
    if (item.reason === "older than the history in memory") {
      // What was in there is forgotten: all of it counts.
      assert.equal(item.count, item.to - item.from + 1);
    } else assert.equal(item.count, inside);
    const forgotten = Math.max(
      bus.tail - 1,
      this.maxLag === undefined ? 0 : bus.head - this.maxLag,
    );
    assert.ok(item.to <= forgotten, "nothing is lost that was still to be had");
    this.at = item.to;
    this.lost += inside;
  }

  close(): void {
    this.consumer.close();
    this.closedAt ??= this.at;
  }

  /** Where its reader would resume. */
  get position(): number {
    return this.at;
  }

  /** All there is, and the sum. */
  settle(): void {
    if (this.closedAt === null) {
      while (this.take(7).length > 0);
      assert.equal(this.consumer.lag, 0);
      assert.equal(this.delivered + this.lost, this.matching(this.from + 1, this.world.bus.head));
    } else {
      assert.deepEqual(this.take(100), [], "nothing after close");
      assert.equal(this.delivered + this.lost, this.matching(this.from + 1, this.closedAt));
    }
  }
}

const filter = fc.option(
  fc.subarray<EventType>([...types], { minLength: 1 }).map((list) => new Set(list)),
  { nil: undefined },
);
const turn = fc.oneof(
  { weight: 10, arbitrary: fc.tuple(fc.constant("publish" as const), fc.constantFrom(...types)) },
  {
    weight: 5,
    arbitrary: fc.tuple(
      fc.constant("take" as const),
      fc.record({ which: fc.nat(5), max: fc.integer({ min: 1, max: 6 }) }),
    ),
  },
  {
    weight: 2,
    arbitrary: fc.tuple(
      fc.constant("open" as const),
      fc.record({
        types: filter,
        maxLag: fc.option(fc.integer({ min: 1, max: 12 }), { nil: undefined }),
        back: fc.option(fc.nat(15), { nil: undefined }),
      }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.constant("close" as const), fc.record({ which: fc.nat(5) })),
  },
);

Deno.test("Consumer: published = delivered + reported lost, for any schedule", () => {
  const schedule = fc.array(turn, { minLength: 5, maxLength: 120 });
  fc.assert(
    fc.property(schedule, fc.integer({ min: 1, max: 20 }), (turns, ringEvents) => {
      const world = new World(ringEvents);
      const accounts = [new Account(world, 0, undefined, undefined, false)];
      for (const [what, how] of turns) {
        if (what === "publish") world.publish(how);
        else if (what === "open") {
          const { head } = world.bus;
          const from = how.back === undefined ? head : Math.max(0, head - how.back);
          accounts.push(new Account(world, from, how.types, how.maxLag, how.back !== undefined));
        } else {
          const account = accounts[how.which % accounts.length]!;
          if (what === "take") account.take(how.max);
          else account.close();
        }
      }
      for (const account of accounts) account.settle();
    }),
    { numRuns: 1500 },
  );
});

Deno.test("Consumer: a reader that reconnects by position gets each event once or told as lost", () => {
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.constantFrom(...types) },
    { weight: 3, arbitrary: fc.integer({ min: 1, max: 5 }) },
    { weight: 1, arbitrary: fc.constant("reconnect" as const) },
  );
  fc.assert(
    fc.property(
      fc.array(step, { maxLength: 100 }),
      filter,
      fc.integer({ min: 2, max: 15 }),
      (steps, wanted, ringEvents) => {
        const world = new World(ringEvents);
        const seen: number[] = [];
        const gaps: [number, number][] = [];
        let account = new Account(world, 0, wanted, undefined, true);
        const take = (max: number) => {
          for (const item of account.take(max)) {
            if (item.kind === "event") seen.push(item.seq);
            else gaps.push([item.from, item.to]);
          }
        };
        for (const one of steps) {
          if (one === "reconnect") {
            account.close();
            account = new Account(world, account.position, wanted, undefined, true);
          } else if (typeof one === "number") take(one);
          else world.publish(one);
        }
        while (account.consumer.lag > 0) take(50);
        for (let seq = 1; seq <= world.bus.head; seq++) {
          if (wanted !== undefined && !wanted.has(world.published[seq]!)) continue;
          const times = seen.filter((one) => one === seq).length;
          const told = gaps.filter(([from, to]) => from <= seq && seq <= to).length;
          assert.equal(times + told, 1, `event ${seq}`);
        }
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("Consumer without a position gets only what is published from then on", () => {
  const world = new World(100);
  world.publish("link.removed");
  const consumer = world.bus.consume({});
  assert.deepEqual(consumer.take(10), []);
  world.publish("clock.stepped");
  assert.deepEqual(consumer.take(10).map((item) => item.kind === "event" && item.seq), [2]);
});

Deno.test("Consumer with the position of an unknown boot gets a gap and then all of history", () => {
  const world = new World(3);
  for (let i = 0; i < 5; i++) world.publish("clock.stepped");
  const consumer = world.bus.consume({ after: { boot: "fedcba9876543210", seq: 77 } });
  const [gap, ...events] = consumer.take(10);
  assert.ok(gap?.kind === "gap");
  assert.deepEqual([gap.from, gap.to, gap.count], [0, 2, 2]);
  assert.match(gap.reason, /boot fedcba9876543210 is not this boot/);
  assert.deepEqual(events.map((item) => item.kind === "event" && item.seq), [3, 4, 5]);
});

Deno.test("Consumer with a position that has not happened gets a gap and then what comes", () => {
  const world = new World(10);
  world.publish("clock.stepped");
  const consumer = world.bus.consume({ after: { boot, seq: 9 } });
  const [gap] = consumer.take(10);
  assert.ok(gap?.kind === "gap");
  assert.deepEqual([gap.count, gap.to], [0, 9]);
  assert.match(gap.reason, /event 9 has not happened/);
  world.publish("clock.stepped");
  assert.deepEqual(consumer.take(10).map((item) => item.kind === "event" && item.seq), [2]);
});

Deno.test("Consumer whose position history no longer reaches is told how many it missed", () => {
  const world = new World(4);
  for (let i = 0; i < 10; i++) world.publish("clock.stepped");
  const consumer = world.bus.consume({ after: { boot, seq: 2 } });
  assert.deepEqual(consumer.take(1), [{
    kind: "gap",
    from: 3,
    to: 6,
    count: 4,
    reason: "older than the history in memory",
  }]);
  assert.equal(consumer.take(10).length, 4);
  const exact = world.bus.consume({ after: { boot, seq: 6 } });
  assert.equal(exact.take(10).filter((item) => item.kind === "gap").length, 0);
});

Deno.test("Consumer.take() answers no more items than asked for, gaps included", () => {
  const world = new World(4);
  for (let i = 0; i < 10; i++) world.publish("clock.stepped");
  const consumer = world.bus.consume({ after: { boot, seq: 0 } });
  // Lost at the start, and more lost before it first reads.
  for (let i = 0; i < 2; i++) world.publish("clock.stepped");
  const items = Array.from({ length: 6 }, () => {
    const taken = consumer.take(1);
    assert.equal(taken.length, 1);
    return taken[0]!;
  });
  assert.deepEqual(
    items.map((item) => item.kind === "gap" ? [item.from, item.to, item.count] : item.seq),
    [[1, 6, 6], [7, 8, 2], 9, 10, 11, 12],
  );
  assert.deepEqual(consumer.take(1), []);
});

/** Lets what can settle do so, and says whether the promise has. */
async function settled(promise: Promise<unknown>): Promise<boolean> {
  let done = false;
  promise.then(() => done = true, () => done = true);
  for (let turns = 0; turns < 10; turns++) await null;
  return done;
}

Deno.test("Consumer.next() waits for an event it wants", async () => {
  const world = new World(10);
  const consumer = world.bus.consume({ types: new Set(["link.removed"]) });
  const next = consumer.next(10);
  assert.equal(await settled(next), false);
  world.publish("clock.stepped");
  assert.equal(await settled(next), false, "not woken by what it does not want");
  world.publish("link.removed");
  world.publish("link.removed");
  assert.deepEqual((await next).map((item) => item.kind === "event" && item.seq), [2, 3]);
  world.publish("link.removed");
  assert.equal((await consumer.next(10)).length, 1, "what is there is answered at once");
});

Deno.test("Consumer.next() answers a loss, though nothing it wants is left", async () => {
  const world = new World(2);
  const consumer = world.bus.consume({ types: new Set(["link.removed"]) });
  world.publish("link.removed");
  for (let i = 0; i < 5; i++) world.publish("clock.stepped");
  assert.deepEqual(await consumer.next(10), [
    { kind: "gap", from: 1, to: 1, count: 1, reason: "consumer too slow" },
  ]);
});

Deno.test("Consumer.close() ends a wait with nothing, and nothing comes after it", async () => {
  const world = new World(10);
  const consumer = world.bus.consume({});
  const next = consumer.next(10);
  consumer.close();
  consumer.close();
  assert.deepEqual(await next, []);
  world.publish("link.removed");
  assert.deepEqual(consumer.take(10), []);
  assert.deepEqual(await consumer.next(10), []);
  assert.equal(consumer.closed, true);
});

Deno.test("Consumer.close() during a delivery is safe, and so is opening one", () => {
  const world = new World(10);
  const first = world.bus.consume({});
  const opened: Consumer[] = [];
  world.bus.subscribe("link.removed", () => {
    first.close();
    opened.push(world.bus.consume({}));
  });
  world.publish("link.removed");
  world.publish("clock.stepped");
  assert.deepEqual(first.take(10), []);
  assert.deepEqual(opened[0]!.take(10).map((item) => item.kind === "event" && item.seq), [2]);
});

Deno.test("Consumer sees what a handler publishes in the order all see it", async () => {
  const world = new World(10);
  const consumer = world.bus.consume({});
  const next = consumer.next(10);
  let once = true;
  world.bus.subscribe("link.removed", () => {
    if (once) world.publish("clock.stepped");
    once = false;
  });
  world.publish("link.removed");
  assert.deepEqual((await next).map((item) => item.kind === "event" && item.type), [
    "link.removed",
    "clock.stepped",
  ]);
});
