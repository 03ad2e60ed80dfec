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
  constructor(readonly name: string, readonly fault?: string) {}
  start(source: Source): void {
    if (this.fault !== undefined) throw new Error(this.fault);
    this.source = source;
  }
  stop(): void {
    this.stopped++;
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
  assert.deepEqual([good.stopped, broken.stopped], [1, 0]);
});
