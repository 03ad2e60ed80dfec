import assert from "node:assert/strict";
import fc from "fast-check";
import type { EventType } from "./events.ts";
import { Ring } from "./ring.ts";

const types: readonly EventType[] = ["link.up", "link.down", "process.exited"];
const smallest = 16_384;

interface Held {
  seq: number;
  type: EventType;
  text: string;
}

/** The ring as a plain array that is told what was evicted. */
class Model {
  readonly held: Held[] = [];
  readonly evicted: number[] = [];
  next = 1;

  constructor(readonly ring: Ring) {}

  push(type: EventType, text: string): void {
    const written = this.ring.push(type, text, (seq, evictedType) => {
      const oldest = this.held.shift();
      assert.deepEqual([seq, evictedType], [oldest?.seq, oldest?.type], "oldest first");
      this.evicted.push(seq);
    });
    assert.equal(written, new TextEncoder().encode(text).length);
    this.held.push({ seq: this.next++, type, text });
  }

  check(): void {
    assert.equal(this.ring.next, this.next);
    assert.equal(this.ring.first, this.held[0]?.seq ?? this.next);
    for (const { seq, type, text } of this.held) {
      assert.equal(this.ring.read(seq), text);
      assert.equal(this.ring.typeOf(seq), type);
    }
    for (const seq of [0, -1, this.ring.first - 1, this.next, this.next + 7]) {
      if (this.held.some((held) => held.seq === seq)) continue;
      assert.equal(this.ring.read(seq), null, `seq ${seq}`);
      assert.equal(this.ring.typeOf(seq), null, `seq ${seq}`);
    }
  }
}

Deno.test("Ring.push() keeps what a plain array would, through evictions and wraps", () => {
  const text = fc.oneof(
    { weight: 6, arbitrary: fc.string({ maxLength: 80 }) },
    {
      weight: 2,
      arbitrary: fc.tuple(fc.constantFrom("ü", "日", "😀", "x"), fc.integer({ min: 0, max: 650 }))
        .map(([unit, times]) => unit.repeat(times)),
    },
    { weight: 1, arbitrary: fc.constantFrom("", "{}") },
  );
  const pushes = fc.array(fc.tuple(fc.constantFrom(...types), text), {
    minLength: 1,
    maxLength: 300,
  });
  fc.assert(
    fc.property(pushes, fc.integer({ min: 1, max: 120 }), (items, capacity) => {
      const model = new Model(new Ring(smallest, capacity));
      model.check();
      for (const [type, value] of items) {
        model.push(type, value);
        assert.ok(model.held.length <= capacity);
      }
      model.check();
      assert.deepEqual(
        model.evicted,
        Array.from({ length: model.evicted.length }, (_, index) => index + 1),
        "each once, in order",
      );
      assert.equal(model.evicted.length + model.held.length, items.length, "none vanishes");
    }),
    { numRuns: 300 },
  );
});

Deno.test("Ring.push() stays true after many times its size", () => {
  const model = new Model(new Ring(smallest, 50));
  for (let i = 0; i < 3000; i++) {
    model.push(types[i % 3]!, `${i}:${"日x😀".repeat((i * 37) % 90)}`);
    if (i % 100 === 0) model.check();
  }
  model.check();
  assert.ok(model.held.length >= 10, "most of the room is used");
});

Deno.test("Ring.push() holds as many events as it was built for", () => {
  const ring = new Ring(smallest, 3);
  const evicted: number[] = [];
  for (let i = 1; i <= 5; i++) ring.push("link.up", `${i}`, (seq) => evicted.push(seq));
  assert.deepEqual([ring.first, ring.next, evicted], [3, 6, [1, 2]]);
});

Deno.test("Ring.push() refuses what is larger than a quarter of it, and is unharmed", () => {
  const ring = new Ring(smallest, 10);
  ring.push("link.up", "a", () => {});
  const most = Math.floor(smallest / 4 / 3);
  assert.throws(() => ring.push("link.up", "x".repeat(most + 1), () => {}), RangeError);
  assert.equal(ring.next, 2);
  ring.push("link.up", "x".repeat(most), () => {});
  assert.equal(ring.read(2)?.length, most);
});

Deno.test("Ring refuses to be built too small", () => {
  assert.throws(() => new Ring(smallest - 1, 10), RangeError);
  assert.throws(() => new Ring(smallest, 0), RangeError);
  assert.equal(new Ring(smallest, 1).size, smallest);
});

Deno.test("Ring.push() survives halves of surrogate pairs", () => {
  const ring = new Ring(smallest, 10);
  ring.push("link.up", "a\ud800b", () => {});
  assert.equal(ring.read(1), "a\ufffdb");
});
