import assert from "node:assert/strict";
import fc from "fast-check";
import { Bus, maxEventBytes, ringSize, type Source } from "./bus.ts";
import type { AnyEvent } from "./envelope.ts";
import { catalogue, type EventType, eventTypes } from "./events.ts";
import { loadZod, schema } from "./schema.ts";

const boot = "0123456789abcdef";

function newBus(options: { ringBytes?: number; validate?: boolean } = {}): Bus {
  let tick = 0;
  return new Bus({
    boot,
    clock: { wall: () => 1_700_000_000_000 + tick++, mono: () => tick * 1000 },
    ringBytes: options.ringBytes ?? 1 << 20,
    validate: options.validate ?? false,
  });
}

function removed(source: Source, index: number): AnyEvent {
  return source.publish("link.removed", { index, link: `eth${index}` }) as AnyEvent;
}

/** Everything in history, decoded. */
function history(bus: Bus): { type: string; sequence: number; data: Record<string, unknown> }[] {
  const items = bus.consume({ after: { boot, seq: 0 } }).take(1e6);
  return items.flatMap((item) => item.kind === "event" ? [JSON.parse(item.json)] : []);
}

Deno.test("Bus.publish() makes a frozen event with the next sequence number and both clocks", () => {
  const bus = newBus();
  const source = bus.source("nerve.rtnetlink", ["link.*"]);
  assert.deepEqual([bus.head, bus.tail], [0, 1]);
  const data = { index: 2, link: "eth0" };
  const event = source.publish("link.removed", data, { subject: "eth0", cause: 41 });
  assert.deepEqual(event, {
    seq: 1,
    boot,
    type: "link.removed",
    source: "nerve.rtnetlink",
    time: 1_700_000_000_000,
    mono: 1000,
    subject: "eth0",
    cause: 41,
    data,
  });
  assert.ok(Object.isFrozen(event) && Object.isFrozen(event.data));
  const next = removed(source, 3);
  assert.deepEqual([next.seq, bus.head, bus.tail], [2, 2, 1]);
  assert.ok(!("subject" in next) && !("cause" in next));
  assert.deepEqual(history(bus).map(({ sequence }) => sequence), [1, 2]);
});

Deno.test("Bus.source() may publish what its grants match and nothing else", () => {
  const bus = newBus();
  fc.assert(fc.property(
    fc.constantFrom(...eventTypes),
    fc.constantFrom("link.*", "*.exited", "mind.>", "process.execed", ">", "nonsense.*"),
    (type, grant) => {
      const source = bus.source("mind.cortex", [grant]);
      const granted = grant === ">" || grant === type ||
        (grant.endsWith(".*") || grant.endsWith(".>")) && type.startsWith(grant.slice(0, -1)) ||
        grant === "*.exited" && type.endsWith(".exited");
      const before = bus.head;
      const publish = () => source.publish(type, {} as never);
      if (granted) publish();
      else assert.throws(publish, new RegExp(`publish "${type}" by "mind.cortex": not among its`));
      assert.equal(bus.head, granted ? before + 1 : before, "a refused event leaves no trace");
    },
  ));
});

Deno.test("Bus.subscribe() delivers what its patterns match, once, in order", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  const got: number[] = [];
  bus.subscribe(["link.*", "link.removed"], (event) => got.push(event.seq));
  removed(source, 1);
  source.publish("clock.stepped", { by_ms: 1 });
  removed(source, 2);
  assert.deepEqual(got, [1, 3]);
  assert.throws(() => bus.subscribe("Nonsense", () => {}), /subscribe: type "Nonsense"/);
});

Deno.test("Bus.publish() keeps one order for every handler, though handlers publish", () => {
  const publishers = fc.array(
    fc.record({ on: fc.integer({ min: 0, max: 5 }), times: fc.integer({ min: 1, max: 3 }) }),
    { minLength: 1, maxLength: 5 },
  );
  fc.assert(fc.property(publishers, fc.integer({ min: 1, max: 8 }), (handlers, first) => {
    const bus = newBus();
    const source = bus.source("test", [">"]);
    const seen: number[][] = handlers.map(() => []);
    let budget = 60;
    handlers.forEach((handler, index) =>
      bus.subscribe(">", (event) => {
        seen[index]!.push(event.seq);
        for (let i = 0; i < handler.times && event.seq % 6 === handler.on && budget > 0; i++) {
          budget--;
          const inner = removed(source, index);
          assert.ok(inner.seq > event.seq);
        }
      })
    );
    for (let i = 0; i < first; i++) removed(source, i);
    const all = Array.from({ length: bus.head }, (_, index) => index + 1);
    for (const one of seen) assert.deepEqual(one, all);
  }));
});

Deno.test("Bus.publish() outlives a handler that throws, and reports it, thinned", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  const faults: AnyEvent[] = [];
  let reached = 0;
  bus.subscribe("link.removed", () => {
    throw new Error("handler broke");
  });
  bus.subscribe("link.removed", () => reached++);
  bus.subscribe("system.fault", (event) => faults.push(event));
  for (let i = 0; i < 100; i++) removed(source, i);
  assert.equal(reached, 100);
  assert.deepEqual(
    faults.map((event) => event.type === "system.fault" && event.data.count),
    [1, 2, 3, 4, 5, 6, 7, 8, 16, 32, 64],
  );
  assert.match(JSON.stringify(faults[0]!.data), /subscriber of link\.removed.*handler broke/);
});

Deno.test("Bus.publish() does not go round in circles when the handler of faults throws", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  bus.subscribe(">", () => {
    throw new Error("always");
  });
  removed(source, 1);
  assert.deepEqual(history(bus).map(({ type }) => type), ["link.removed", "system.fault"]);
});

Deno.test("Bus.report() takes whatever is thrown", () => {
  const bus = newBus();
  for (const error of [new Error("x"), "text", null, undefined, 7, { a: 1 }]) {
    bus.report("somewhere", error);
  }
  bus.report("elsewhere", new Error("long ".repeat(10_000)));
  const faults = history(bus);
  assert.equal(faults.length, 7);
  assert.equal(faults.at(-1)!.data["count"], 1, "counted by place");
});

Deno.test("Bus.publish() outlives what a handler throws, though reading it throws again", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  const unreadable = Object.defineProperty(new Error(), "message", {
    get: () => {
      throw new Error("again");
    },
  });
  const revoked = Proxy.revocable({}, {});
  revoked.revoke();
  const numbered = Object.assign(new Error(), { message: 5, stack: 6 });
  const thrown: unknown[] = [Object.create(null), unreadable, revoked.proxy, numbered, Symbol("s")];
  bus.subscribe("link.removed", (event) => {
    throw thrown[event.type === "link.removed" ? event.data.index : 0];
  });
  thrown.forEach((_, index) => removed(source, index));
  const faults = history(bus).filter(({ type }) => type === "system.fault");
  assert.equal(faults.length, thrown.length);
  for (const { data } of faults) assert.equal(typeof data["message"], "string");
});

Deno.test("Bus.report() forgets the places that failed longest ago", () => {
  const bus = newBus();
  for (let place = 0; place < 3000; place++) bus.report(`place ${place}`, "broken");
  bus.report("place 2999", "broken");
  bus.report("place 0", "broken");
  const counts = history(bus).slice(-2).map(({ data }) => data["count"]);
  assert.deepEqual(counts, [2, 1]);
});

Deno.test("Bus.subscribe() ends at once, also from within a delivery", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  const got: string[] = [];
  const endings: (() => void)[] = [];
  bus.subscribe(">", () => {
    got.push("first");
    endings.forEach((end) => end());
  });
  endings.push(bus.subscribe(">", () => got.push("second")));
  removed(source, 1);
  endings[0]!();
  removed(source, 2);
  assert.deepEqual(got, ["first", "first"], "nothing after an unsubscribe; twice is no harm");
});

Deno.test("Bus.subscribe() within a delivery begins with the next event", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  const got: number[] = [];
  let once = true;
  bus.subscribe(">", () => {
    if (!once) return;
    once = false;
    bus.subscribe(">", (event) => got.push(event.seq));
    removed(source, 2);
  });
  removed(source, 1);
  assert.deepEqual(got, [2]);
});

Deno.test("Bus.subscribe() keeps the same handler's subscriptions apart", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  let calls = 0;
  const handler = () => calls++;
  const end = bus.subscribe("link.removed", handler);
  bus.subscribe("link.removed", handler);
  removed(source, 1);
  end();
  removed(source, 2);
  assert.equal(calls, 3);
});

Deno.test("Bus.publish() cuts events over 8 KiB, keeps their shape, and says so", async () => {
  await loadZod();
  const bus = newBus();
  const source = bus.source("test", [">"]);
  const big: [EventType, unknown][] = [
    ["kernel.logged", { level: 1, facility: 0, sequence: 1, text: "日".repeat(20_000) }],
    ["device.added", {
      devpath: "/".repeat(9000),
      subsystem: "x".repeat(9000),
      properties: Object.fromEntries(
        Array.from({ length: 500 }, (_, i) => [`KEY${i}${"k".repeat(300)}`, "\u0001".repeat(2000)]),
      ),
    }],
    ["service.started", {
      name: "x",
      argv: Array.from({ length: 256 }, () => "\\".repeat(4096)),
      state: "running",
      pid: 1,
      restarts: 0,
      backoff_ms: null,
      last_exit: null,
    }],
    ["system.sampled", {
      memory: { total: 1, available: 1, free: 1, cached: 1, swap_total: 0, swap_free: 0 },
      load: [0, 0, 0],
      cpu: { busy: 0, user: 0, system: 0, iowait: 0, count: 1 },
      processes: 1,
      disks: Array.from({ length: 400 }, () => ({
        mount: "/m".repeat(500),
        total: 1,
        free: 1,
        inodes: 1,
        inodes_free: 1,
      })),
      links: [],
      uptime_s: 1,
    }],
  ];
  for (const [type, data] of big) {
    const before = bus.head;
    source.publish(type, data as never, { subject: "s".repeat(50_000) });
    const [event, truncated] = history(bus).slice(-2);
    assert.equal(event!.sequence, before + 1);
    const bytes = new TextEncoder().encode(JSON.stringify(event)).length;
    assert.ok(bytes <= maxEventBytes, `${type}: ${bytes} bytes`);
    const parsed = (await schema(catalogue[type].schema)).safeParse(event!.data);
    assert.ok(parsed.success, `${type}: ${parsed.error}`);
    assert.equal(truncated!.type, "bus.truncated");
    assert.equal(truncated!.data["type"], type);
    assert.ok(Number(truncated!.data["bytes"]) > maxEventBytes);
  }
});

Deno.test("Bus.publish() never throws for the size of an event, whatever its content", () => {
  const text = fc.oneof(
    fc.string(),
    fc.tuple(fc.constantFrom("a", "\u0000", '"', "日", "😀", "\ud800"), fc.nat(9_000))
      .map(([unit, times]) => unit.repeat(times)),
  );
  const properties = fc.dictionary(text, text, { maxKeys: 20 });
  fc.assert(
    fc.property(text, properties, fc.option(text, { nil: undefined }), (value, map, subject) => {
      const bus = newBus({ ringBytes: 128 << 10 });
      const source = bus.source("test", [">"]);
      source.publish("device.added", { devpath: value, subsystem: value, properties: map }, {
        subject,
      });
      for (const item of bus.consume({ after: { boot, seq: 0 } }).take(10)) {
        assert.ok(item.kind === "event");
        assert.ok(new TextEncoder().encode(item.json).length <= maxEventBytes);
      }
    }),
    { numRuns: 100 },
  );
});

Deno.test("Bus.publish() leaves an event of just 8 KiB alone", () => {
  const bus = newBus();
  const source = bus.source("test", [">"]);
  const publish = (length: number) =>
    source.publish("kernel.logged", {
      level: 6,
      facility: 0,
      sequence: 1,
      text: "x".repeat(length),
    });
  publish(1);
  const empty = JSON.stringify(history(bus)[0]).length - 1;
  publish(maxEventBytes - empty);
  assert.deepEqual(history(bus).map(({ type }) => type), ["kernel.logged", "kernel.logged"]);
  publish(maxEventBytes - empty + 1);
  assert.deepEqual(history(bus).at(-1)!.type, "bus.truncated");
});

Deno.test("Bus with validation refuses data outside the schema", async () => {
  await loadZod();
  const bus = newBus({ validate: true });
  const source = bus.source("test", [">"]);
  assert.throws(
    () => source.publish("link.removed", { index: "2", link: 7 } as never),
    /publish "link\.removed" by "test": /,
  );
  assert.equal(bus.head, 0);
  removed(source, 1);
  assert.equal(bus.head, 1);
});

Deno.test("Bus.publish() cuts events to what a small ring takes, instead of throwing", () => {
  const bus = newBus({ ringBytes: 16_384 });
  const source = bus.source("test", [">"]);
  const text = "x".repeat(6000);
  for (let i = 0; i < 50; i++) {
    source.publish("kernel.logged", { level: 6, facility: 0, sequence: i, text });
  }
  assert.equal(bus.head, 100);
  assert.deepEqual(history(bus).at(-1)!.type, "bus.truncated");
});

Deno.test("ringSize() is a sixteenth of memory within bounds", () => {
  assert.equal(ringSize(0), 1 << 20);
  assert.equal(ringSize(96 << 20), 6 << 20);
  assert.equal(ringSize(2 ** 40), 64 << 20);
});
