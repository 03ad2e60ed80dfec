/** File events of the real kernel: a storm ends in events or in an overflow that is told. */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import { BlockingCalls } from "../../src/kernel/blocking.ts";
import { IN, Inotify } from "../../src/kernel/inotify.ts";
import { openLibc } from "../../src/kernel/libc.ts";
import { Reactor } from "../../src/kernel/reactor.ts";
import { runtimeAlarms } from "../../src/kernel/timers.ts";
import { FileSensor } from "../../subsystems/nerve/files.ts";
import { kernelTest, nothing, until } from "./harness.ts";

const libc = openLibc();

async function withWatch(
  test: (
    directory: string,
    seen: { names: string[]; overflows: number },
    inotify: Inotify,
  ) => Promise<void>,
): Promise<void> {
  const directory = Deno.makeTempDirSync();
  const reactor = new Reactor(libc, (where, error) => assert.fail(`${where}: ${error}`));
  const running = reactor.run();
  const inotify = new Inotify(libc);
  inotify.add(directory, IN.CREATE | IN.DELETE | IN.MOVED_FROM | IN.MOVED_TO);
  const seen = { names: [] as string[], overflows: 0 };
  const registration = reactor.add(inotify.fd, ["read"], () =>
    inotify.drain({
      onEvent: (event) =>
        seen.names.push(`${event.mask.toString(16)} ${event.name} ${event.cookie}`),
      onOverflow: () => seen.overflows++,
    }));
  try {
    await test(directory, seen, inotify);
  } finally {
    registration.remove();
    inotify.close();
    inotify.close();
    await reactor.close();
    await running;
    Deno.removeSync(directory, { recursive: true });
  }
}

kernelTest(
  "Inotify tells creations, renames with their cookie, and deletions",
  nothing,
  () =>
    withWatch(async (directory, seen) => {
      Deno.writeTextFileSync(`${directory}/a é`, "");
      Deno.renameSync(`${directory}/a é`, `${directory}/b`);
      Deno.removeSync(`${directory}/b`);
      await until(() => seen.names.length === 4);
      const cookie = seen.names[1]?.split(" ").at(-1);
      assert.notEqual(cookie, "0");
      assert.deepEqual(seen.names, ["100 a é 0", `40 a é ${cookie}`, `80 b ${cookie}`, "200 b 0"]);
    }),
);

kernelTest(
  "Inotify: a storm past the queue ends in events and one told overflow",
  nothing,
  () =>
    withWatch(async (directory, seen) => {
      const limit = Number(Deno.readTextFileSync("/proc/sys/fs/inotify/max_queued_events"));
      // Synchronous: the loop cannot drain in between.
      const files = Math.ceil(limit / 2) + 500;
      for (let index = 0; index < files; index++) {
        Deno.writeTextFileSync(`${directory}/f`, "");
        Deno.removeSync(`${directory}/f`);
      }
      await until(() => seen.overflows === 1, 20_000);
      assert.equal(seen.names.length, limit, "the queue's worth, then the overflow");
      Deno.writeTextFileSync(`${directory}/after`, "");
      await until(() => seen.names.at(-1) === "100 after 0");
    }),
);

kernelTest(
  "Inotify.add() names what it cannot watch; addOnDisk() answers null",
  nothing,
  () =>
    withWatch(async (directory, _seen, inotify) => {
      assert.throws(() => inotify.add(`${directory}/none`, IN.CREATE), {
        message: `inotify_add_watch "${directory}/none": ENOENT`,
      });
      const calls = new BlockingCalls();
      assert.deepEqual(await inotify.addOnDisk(calls, `${directory}/none`, IN.CREATE), {
        state: "done",
        value: null,
      });
      const watch = await inotify.addOnDisk(calls, "/tmp", IN.ATTRIB);
      assert.ok(watch.state === "done" && watch.value !== null);
      assert.deepEqual([inotify.remove(watch.value), inotify.remove(watch.value)], [true, false]);
    }),
);

kernelTest(
  "FileSensor follows its path, not the directory that once was there",
  nothing,
  async () => {
    const parent = Deno.makeTempDirSync();
    const path = `${parent}/watched`;
    const bus = new Bus({
      boot: "00112233",
      clock: { wall: () => 0, mono: () => 0 },
      ringBytes: 1 << 20,
    });
    const told: string[] = [];
    bus.subscribe(["file.created", "bus.gap"], (event) => {
      if (event.type === "file.created") told.push(event.data.path);
      else told.push(event.type);
    });
    const reactor = new Reactor(libc, (where, error) => assert.fail(`${where}: ${error}`));
    const running = reactor.run();
    const sensor = new FileSensor(libc, reactor, new BlockingCalls(), runtimeAlarms);
    sensor.start(bus.source("nerve.files", [...sensor.grants, "bus.gap"]));
    Deno.mkdirSync(path);
    assert.equal(await sensor.watch(path), null);
    const takes = [
      () => Deno.removeSync(path, { recursive: true }),
      () => Deno.renameSync(path, `${parent}/other`),
    ];
    for (const take of takes) {
      Deno.writeTextFileSync(`${path}/first`, "");
      await until(() => told.includes(`${path}/first`));
      take();
      Deno.mkdirSync(path);
      await until(() => told.filter((each) => each === "bus.gap").length === 2);
      Deno.writeTextFileSync(`${path}/second`, "");
      await until(() => told.includes(`${path}/second`));
      told.length = 0;
    }
    Deno.writeTextFileSync(`${parent}/other/unseen`, "");
    Deno.writeTextFileSync(`${path}/last`, "");
    await until(() => told.length > 0);
    assert.deepEqual(told, [`${path}/last`]);
    sensor.stop();
    await reactor.close();
    await running;
    Deno.removeSync(parent, { recursive: true });
  },
);
