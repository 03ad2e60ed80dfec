import assert from "node:assert/strict";
import { Bus, type Source } from "../../bus/bus.ts";
import type { Sensor } from "./sensor.ts";
import { SensorHost } from "./sensor.ts";

function setUp() {
  let mono = 0;
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => mono++ },
    ringBytes: 1 << 20,
  });
  const seen: string[] = [];
  bus.subscribe(">", (event) => seen.push(event.type));
  const host = new SensorHost((name, grants) => bus.source(name, grants));
  return { host, seen };
}

class Fake implements Sensor {
  readonly grants = ["clock.stepped"];
  source: Source | null = null;
  stopped = 0;
  listening = true;
  constructor(readonly name: string, readonly fault?: string, readonly stuck?: string) {}
  start(source: Source): void {
    if (this.fault !== undefined) throw new Error(this.fault);
    this.source = source;
  }
  stop(): void {
    this.stopped++;
    if (this.stuck !== undefined) throw new Error(this.stuck);
  }
}

Deno.test("SensorHost.start() reports a sensor that can not start and goes on", async () => {
  const { host, seen } = setUp();
  await host.start(new Fake("broken", "open: ENOENT"));
  await host.start(new Fake("good"));
  assert.deepEqual(seen, ["sensor.failed", "sensor.started"]);
  const [broken, good] = host.info();
  assert.equal(broken?.state, "failed");
  assert.equal(broken?.error, "open: ENOENT");
  assert.equal(good?.state, "running");
});

Deno.test("SensorHost.info() counts events and gaps apart", async () => {
  const { host } = setUp();
  const sensor = new Fake("clock");
  await host.start(sensor);
  sensor.source!.publish("clock.stepped", { by_ms: 5 });
  sensor.source!.publish("bus.gap", {
    source: "x",
    from: null,
    to: null,
    count: 3,
    reason: "test",
  });
  const [info] = host.info();
  assert.deepEqual([info?.events, info?.gaps], [1, 1]);
});

Deno.test("SensorHost.start() gives a sensor no more than its grants", async () => {
  const { host } = setUp();
  const sensor = new Fake("clock");
  await host.start(sensor);
  assert.throws(() => sensor.source!.publish("link.removed", { index: 1, link: "eth0" }), /grants/);
});

Deno.test("SensorHost.stop() stops each running sensor once", async () => {
  const { host } = setUp();
  const [good, broken] = [new Fake("good"), new Fake("broken", "no")];
  await host.start(good);
  await host.start(broken);
  host.stop();
  host.stop();
  assert.deepEqual([good.stopped, broken.stopped], [1, 1], "broken: by its start that failed");
});

Deno.test("SensorHost.start() closes what a sensor opened before it failed", async () => {
  const { host, seen } = setUp();
  const broken = new Fake("broken", "dump: ETIMEDOUT", "close: EBADF");
  await host.start(broken);
  assert.equal(broken.stopped, 1);
  assert.equal(host.info()[0]?.error, "dump: ETIMEDOUT");
  assert.deepEqual(seen, ["sensor.failed", "sensor.failed"], "its stop, and its start");
});

Deno.test("SensorHost.stop() stops the rest though one refuses, and says which", async () => {
  const { host, seen } = setUp();
  const [first, stuck] = [new Fake("first"), new Fake("stuck", undefined, "sendto: ENOBUFS")];
  await host.start(first);
  await host.start(stuck);
  host.stop();
  assert.equal(first.stopped, 1);
  assert.deepEqual(seen.slice(2), ["sensor.failed"]);
  assert.deepEqual(host.info().map(({ state }) => state), ["stopped", "failed"]);
});

Deno.test("SensorHost.info() tells of a sensor whose handler was taken away", async () => {
  const { host } = setUp();
  const sensor = new Fake("clock");
  await host.start(sensor);
  sensor.listening = false;
  const [info] = host.info();
  assert.equal(info?.state, "failed");
  assert.match(info?.error ?? "", /handler/);
});
