/** What a mind is told, and how much of it. */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import { loadZod, schema } from "../../bus/schema.ts";
import { maxFrameBytes } from "../../src/child/frames.ts";
import { mindState } from "./frames.ts";
import { type MindView, RecentEvents, stateOf } from "./state.ts";
import { processOf, serviceOf, stateOfTest } from "./testing.ts";

await loadZod();

function viewOf(about: Partial<MindView> = {}): MindView {
  const state = stateOfTest();
  return {
    boot: () => ({
      id: state.boot.id,
      kernel: state.boot.kernel,
      version: state.boot.version,
      hostname: state.boot.hostname,
      architecture: state.boot.architecture,
      attempt: 1,
      rescue: false,
      lastStop: { kind: "clean" },
      phases: [],
      readyMs: 1234,
      kernelMs: 567,
    }),
    degraded: () => state.degraded,
    sample: () => state.sample,
    processes: () => state.processes,
    network: () => state.network,
    sensors: () => [{ name: "kmsg", state: "running", events: 3, gaps: 0 }],
    services: () => state.services,
    ...about,
  };
}

const bytesOf = (value: unknown) => new TextEncoder().encode(JSON.stringify(value)).length;

Deno.test("stateOf() tells the machine as it is", async () => {
  const expected = stateOfTest({ events: [] });
  const state = stateOf(viewOf(), [], expected.now, 64_000);
  assert.deepEqual(state, expected);
  (await schema(mindState)).parse(state);
});

Deno.test("stateOf() fits its bound whatever the machine has, and keeps what matters", async () => {
  const long = "x".repeat(5000);
  const processes = Array.from(
    { length: 3000 },
    (_, i) =>
      processOf({
        pid: i,
        comm: `p${i}`,
        rss: i * 1000,
        cpu: i === 5 ? 1 : 0,
        state: i === 6 ? "Z" : "S",
      }),
  );
  const { network, sample } = stateOfTest();
  const view = viewOf({
    processes: () => processes,
    services: () =>
      Array.from(
        { length: 256 },
        (_, i) =>
          serviceOf({
            name: `s${i}`,
            argv: Array(256).fill(long),
            reason: long,
            state: i === 200 ? "failed" : "running",
          }),
      ),
    degraded: () => Array(100).fill({ part: "x", reason: long, since: 0 }),
    sample: () => ({ ...sample!, disks: Array(500).fill(sample!.disks[0]) }),
    network: () => ({
      ...network,
      hostname: long,
      routes: [...Array(500).fill({ destination: "10.9.0.0/16" }), network.routes[0]!],
      links: Array(300).fill({
        ...network.links[1],
        addresses: Array(99).fill({ address: "::1", prefix: 128 }),
      }),
      dns: Array(50).fill(long),
    }),
  });
  const events = Array.from({ length: 48 }, (_, seq) => ({
    seq,
    type: "kernel.logged",
    time: 0,
    data: { text: "\u{1f600}".repeat(80) },
  }));
  for (const maxBytes of [maxFrameBytes - 1024, 16_000]) {
    const state = stateOf(view, events, 0, maxBytes);
    assert(bytesOf(state) <= maxBytes, `${bytesOf(state)} of ${maxBytes}`);
    (await schema(mindState)).parse(state);
    assert.equal(state.process_count, 3000);
    for (const name of ["p2999", "p5", "p6"]) {
      assert(state.processes.some(({ comm }) => comm === name), `${name} is told of`);
    }
    assert.equal(state.events.at(-1)?.seq, 47, "the newest event");
    assert.equal(state.service_count, 256);
    assert(state.services.every(({ argv }) => argv.length === 1), "no arguments are handed on");
    assert.equal(state.services[0]?.name, "s200", "what fails is told of first");
    assert.deepEqual(state.network.routes[0], network.routes[0], "and so is the way out");
  }
});

Deno.test("RecentEvents keeps the newest worth telling, flat and short", async () => {
  const bus = new Bus({
    boot: "abcdef0123456789",
    clock: { wall: () => 5, mono: () => 0 },
    ringBytes: 1 << 20,
    validate: true,
  });
  const recent = new RecentEvents(bus, 3);
  const source = bus.source("test", [">"]);
  const exited = { pid: 9, comm: "x", code: null, signal: null };
  source.publish("process.forked", { pid: 1, ppid: 1 });
  source.publish("process.exited", { ...exited, code: 1 });
  source.publish("kernel.logged", { level: 6, facility: 0, sequence: 1, text: "chatter" });
  source.publish("service.output", { service: "s", stream: "stdout", line: "l" });
  assert.deepEqual(recent.list(), []);
  source.publish("kernel.logged", { level: 3, facility: 0, sequence: 1, text: "x".repeat(999) });
  source.publish("link.down", { index: 1, link: "eth0" }, { cause: 1 });
  source.publish("process.exited", { ...exited, signal: "SIGKILL" });
  source.publish("service.started", serviceOf({}));
  assert.deepEqual(recent.list().map(({ type }) => type), [
    "link.down",
    "process.exited",
    "service.started",
  ]);
  assert.deepEqual(recent.list()[0], {
    seq: 6,
    type: "link.down",
    time: 5,
    cause: 1,
    data: { index: 1, link: "eth0" },
  });
  assert.equal("argv" in recent.list()[2]!.data, false);
  recent.stop();
  source.publish("link.up", { index: 1, link: "eth0" });
  assert.equal(recent.list().length, 3);
  (await schema(mindState)).parse(stateOfTest({ events: [...recent.list()] }));
});
