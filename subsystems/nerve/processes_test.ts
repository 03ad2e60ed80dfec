import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import { Writer } from "../../src/kernel/layout.ts";
import { encodeMessage, NLMSG } from "../../src/kernel/netlink.ts";
import { FakeNetlink } from "../../tests/kernel/harness.ts";
import { ProcessSensor } from "./processes.ts";

const FORK = 0x1;
const EXEC = 0x2;
const EXIT = 0x8000_0000;

/** A sensor on a scripted connector and a /proc of which the test says who lives in it. */
function setUp() {
  const netlink = new FakeNetlink();
  const living = new Map<number, string>();
  const alarms: (() => void)[] = [];
  let seq = 0;
  const bus = new Bus({
    boot: "00112233",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(["process.*", "bus.gap"], (event) => events.push(event));
  let rescans = 0;
  const faults: unknown[] = [];
  const sensor = new ProcessSensor({
    libc: netlink.libc,
    reactor: netlink.reactor,
    proc: {
      read: (path) => path.endsWith("/comm") ? living.get(parseInt(path)) ?? null : null,
      processStatus: () => null,
      pids: () => [...living.keys()],
    },
    causeOf: () => undefined,
    rescan: () => Promise.resolve(void rescans++),
    timers: { set: (run) => alarms.push(run), clear: () => {} },
    report: (_where, error) => faults.push(error),
  });
  sensor.start(bus.source("nerve.processes", ["process.*", "bus.gap"]));
  /** Queues an event of a process whose words after the stamp are given. */
  const tell = (what: number, ...words: number[]) => {
    const body = new Writer(40).u32(what).u32(0).u64(0);
    for (const word of words) body.u32(word);
    const event = body.zero(40 - body.length).finish();
    const payload = new Writer(60).u32(1).u32(1).u32(seq++).u32(0).u16(40).u16(0)
      .bytes(event).finish();
    netlink.inbox.push(encodeMessage({ type: NLMSG.DONE, flags: 0, seq: 0, pid: 0, payload }));
  };
  return {
    sensor,
    inbox: netlink.inbox,
    faults,
    fork: (pid: number) => tell(FORK, 1, 1, pid, pid),
    exec: (pid: number, comm: string) => {
      living.set(pid, comm);
      tell(EXEC, pid, pid);
    },
    exit: (pid: number, code = 0) => {
      living.delete(pid);
      tell(EXIT, pid, pid, code << 8, 17, 1, 1);
    },
    /** Ends unheard: the kernel had no room for its exit. */
    vanish: (pid: number) => {
      living.delete(pid);
      seq++;
    },
    turn: () => netlink.turn(),
    ring: () => alarms.splice(0).forEach((run) => run()),
    rescans: () => rescans,
    told: () =>
      events.splice(0).map((event) =>
        event.type === "process.exited"
          ? `exited ${event.data.pid} ${event.data.comm} ${event.data.code}`
          : event.type === "bus.gap"
          ? `gap ${event.data.count}${
            event.data.reason.startsWith("malformed") ? " malformed" : ""
          }`
          : event.type === "process.storm"
          ? `storm of ${event.data.forks} ${event.data.execs} ${event.data.exits}`
          : event.type
      ),
  };
}

Deno.test("ProcessSensor says what an exit's process was, and not what one before it was", () => {
  const { exec, exit, fork, vanish, turn, told } = setUp();
  exec(70, "first");
  turn();
  exit(70, 3);
  exec(71, "lost");
  turn();
  assert.deepEqual(told(), ["process.execed", "exited 70 first 3", "process.execed"]);
  // Its exit is lost, and its number goes to a process that only forks.
  vanish(71);
  fork(71);
  exit(71);
  turn();
  assert.deepEqual(told(), ["gap 1", "process.forked", "exited 71 undefined 0"]);
});

Deno.test("ProcessSensor after an overflow publishes the exits that were lost, each once", () => {
  const { exec, exit, vanish, turn, ring, told, inbox, rescans, faults } = setUp();
  for (const [pid, comm] of [[70, "lives"], [71, "lost"], [72, "late"]] as const) exec(pid, comm);
  turn();
  told();
  inbox.push("ENOBUFS");
  vanish(71);
  turn();
  assert.deepEqual(told(), ["gap null"]);
  assert.equal(rescans(), 1);
  // Ended, gone from /proc, and still in the queue when the time comes; another begins meanwhile.
  exit(72, 1);
  exec(73, "new");
  ring();
  assert.deepEqual(told(), ["gap 1", "exited 72 late 1", "process.execed", "exited 71 lost null"]);
  exit(70);
  exit(73);
  turn();
  ring();
  assert.deepEqual(told(), ["exited 70 lives 0", "exited 73 new 0"]);
  assert.deepEqual(faults, []);
});

Deno.test("ProcessSensor publishes each of a crowd, and counts what is a storm", () => {
  const { exec, exit, fork, turn, ring, told } = setUp();
  for (let pid = 1; pid <= 2000; pid++) exec(pid, "crowd");
  while (turn() === "more");
  fork(3000);
  exec(3000, "storm");
  exit(1);
  turn();
  assert.equal(told().length, 2000);
  ring();
  assert.deepEqual(told(), ["storm of 1 1 1"]);
});

Deno.test("ProcessSensor says once a drain how many messages were malformed, and hears the rest", () => {
  const { exec, turn, told, inbox } = setUp();
  const torn = new Uint8Array(16).fill(0xff);
  inbox.push(torn);
  exec(70, "between");
  inbox.push(torn);
  turn();
  assert.deepEqual(told(), ["process.execed", "gap 2 malformed"]);
  turn();
  assert.deepEqual(told(), [], "what was told is not told again");
});
