import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import { BlockingCalls } from "../../src/kernel/blocking.ts";
import { Errno } from "../../src/kernel/errno.ts";
import { IN } from "../../src/kernel/inotify.ts";
import { Writer } from "../../src/kernel/layout.ts";
import type { Handler } from "../../src/kernel/reactor.ts";
import { fakeLibc } from "../../tests/kernel/harness.ts";
import { FileSensor } from "./files.ts";

/** A sensor on a scripted inotify; `exists` are the directories that may be watched. */
async function setUp(...paths: string[]) {
  const exists = new Set(paths);
  const alarms: (() => void)[] = [];
  const removed: number[] = [];
  let queue = new Writer();
  let watches = 0;
  let handler: Handler = () => {};
  const libc = fakeLibc({
    inotify_init1: () => 9,
    inotify_add_watch: () => -1,
    inotify_add_watchAsync: (_fd, path) => {
      const text = new TextDecoder().decode(path as Uint8Array<ArrayBuffer>).replace("\0", "");
      return Promise.resolve(exists.has(text) ? ++watches : -1);
    },
    inotify_rm_watch: (_fd, watch) => {
      removed.push(watch);
      return 0;
    },
    read: (_fd, buffer) => {
      const bytes = queue.finish();
      queue = new Writer();
      if (bytes.byteLength === 0) return -1;
      (buffer as Uint8Array<ArrayBuffer>).set(bytes);
      return bytes.byteLength;
    },
    close: () => 0,
  }, () => Errno.EAGAIN);
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(["file.*", "bus.gap"], (event) => events.push(event));
  const timers = { set: (run: () => void) => alarms.push(run), clear: () => {} };
  const reactor = {
    add: (fd: number, _interest: unknown, added: Handler) => {
      handler = added;
      return { fd, active: true, modify() {}, remove() {} };
    },
  };
  const sensor = new FileSensor(libc, reactor, new BlockingCalls(), timers);
  sensor.start(bus.source("nerve.files", ["file.*", "bus.gap"]));
  for (const path of paths) assert.equal(await sensor.watch(path), null);
  const ready = { read: true, write: false, priority: false, hangup: false, error: false };
  return {
    sensor,
    exists,
    removed,
    tell: (watch: number, mask: number, name = "") => {
      queue.i32(watch).u32(mask).u32(0).u32(name === "" ? 0 : 16);
      if (name !== "") queue.text(name, 16);
      handler(ready);
    },
    ring: async () => {
      alarms.splice(0).forEach((run) => run());
      await new Promise((resolve) => setTimeout(resolve, 0));
    },
    told: () =>
      events.splice(0).map((event) =>
        event.type === "bus.gap" ? `gap: ${event.data.reason}` : event.subject ??
          `${event.type} ${"path" in event.data ? event.data.path : ""}`
      ),
  };
}

Deno.test("FileSensor says that a directory it watched is gone, and watches one made again", async () => {
  const { exists, tell, ring, told } = await setUp("/run/a", "/run/b");
  tell(1, IN.CREATE, "x");
  assert.deepEqual(told(), ["file.created /run/a/x"]);
  exists.delete("/run/a");
  tell(1, IN.IGNORED);
  assert.deepEqual(told(), ["gap: /run/a is gone: nothing in it is seen until it is back"]);
  await ring();
  exists.add("/run/a");
  tell(2, IN.CREATE, "y");
  assert.deepEqual(told(), ["file.created /run/b/y"]);
  await ring();
  assert.deepEqual(told(), ["gap: /run/a is watched again: what it held before is not told"]);
  tell(3, IN.CREATE, "z");
  await ring();
  assert.deepEqual(told(), ["file.created /run/a/z"]);
});

Deno.test("FileSensor does not tell of a renamed directory under its old name", async () => {
  const { tell, told, removed } = await setUp("/run/a");
  tell(1, IN.MOVE_SELF);
  assert.deepEqual(removed, [1]);
  assert.deepEqual(told(), ["gap: /run/a is gone: nothing in it is seen until it is back"]);
  tell(1, IN.CREATE, "x");
  tell(1, IN.IGNORED);
  assert.deepEqual(told(), []);
});

Deno.test("FileSensor.stop() ends the wait for a directory", async () => {
  const { sensor, tell, ring, told } = await setUp("/run/a");
  tell(1, IN.IGNORED);
  told();
  sensor.stop();
  await ring();
  await ring();
  assert.deepEqual(told(), []);
});
