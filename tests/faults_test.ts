/**
 * What goes wrong below the bus is an event, and the loop goes on: the real reactor and bus, with a
 * sensor that throws and, at the syscall boundary, a kernel that sends rubbish.
 */

import assert from "node:assert/strict";
import { Bus } from "../bus/bus.ts";
import type { AnyEvent } from "../bus/envelope.ts";
import { closeFd, eventfd, readFd, writeFd } from "../src/kernel/fd.ts";
import { openLibc } from "../src/kernel/libc.ts";
import { FAILURES_ALLOWED, Reactor, type Registration } from "../src/kernel/reactor.ts";
import { Rtnl } from "../src/kernel/rtnetlink.ts";
import { KmsgSensor } from "../subsystems/nerve/kmsg.ts";
import { ProcessSensor } from "../subsystems/nerve/processes.ts";
import { type Sensor, SensorHost } from "../subsystems/nerve/sensor.ts";
import { UeventSensor } from "../subsystems/nerve/uevent.ts";
import { fakeLibc, FakeNetlink, until } from "./kernel/harness.ts";

function newBus(): { bus: Bus; events: AnyEvent[] } {
  const bus = new Bus({
    boot: "0123456789abcdef",
    clock: { wall: () => Date.now(), mono: () => performance.now() * 1000 },
    ringBytes: 1 << 20,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  return { bus, events };
}

Deno.test("a sensor whose callback throws is an event, and another one still hears", async () => {
  const { bus, events } = newBus();
  const libc = openLibc();
  const reactor = new Reactor(libc, bus.report);
  const running = reactor.run();
  const sensors = new SensorHost((name, grants) => bus.source(name, grants));
  const descriptors: number[] = [];
  const sensor = async (name: string, hear: (fd: number) => void): Promise<() => void> => {
    const fd = eventfd(libc);
    descriptors.push(fd);
    let registration: Registration | null = null;
    const made: Sensor = {
      name,
      grants: [],
      get listening() {
        return registration?.active ?? false;
      },
      start() {
        registration = reactor.add(fd, ["read"], () => hear(fd), name);
      },
      stop: () => registration?.remove(),
    };
    await sensors.start(made);
    return () => void writeFd(libc, fd, new Uint8Array([1, 0, 0, 0, 0, 0, 0, 0]));
  };
  let heard = 0;
  const ringBroken = await sensor("broken", () => {
    throw new Error("torn message");
  });
  const ringSound = await sensor("sound", (fd) => {
    readFd(libc, fd, new Uint8Array(8));
    heard++;
  });

  ringBroken();
  ringSound();
  const told = () =>
    events.flatMap(({ type, data }) => type === "system.fault" ? [JSON.stringify(data)] : []);
  await until(() => told().some((fault) => fault.includes("handler removed")));
  assert.ok(told().some((fault) => fault.includes("broken") && fault.includes("torn message")));
  assert.ok(told().length <= FAILURES_ALLOWED + 1);
  const before = heard;
  ringSound();
  await until(() => heard > before);
  await reactor.close();
  await running;
  for (const fd of descriptors) closeFd(libc, fd);
  libc.close();
});

Deno.test("a malformed netlink datagram is an event, and the next one is heard", () => {
  const { bus, events } = newBus();
  // struct nlmsghdr: a length beyond the datagram; then a sound NLMSG_NOOP, which says nothing.
  const torn = [0xff, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const noop = [16, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  // Two RTM_NEWLINK (16) that end before their struct ifinfomsg does.
  const short = [16, 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
  const netlink = new FakeNetlink();
  const rtnl = new Rtnl(netlink.libc, netlink.reactor, bus.report);
  rtnl.subscribe({ onMessage: () => undefined, onOverflow: () => undefined });
  netlink.inbox.push(...[torn, noop, [...short, ...short]].map((bytes) => new Uint8Array(bytes)));
  netlink.turn();
  assert.deepEqual(netlink.inbox, [], "all were read");
  assert.equal(rtnl.malformed, 3);
  const faults = events.filter(({ type }) => type === "system.fault");
  assert.equal(faults.length, 2);
  assert.match(JSON.stringify(faults[0]?.data), /rtnetlink.*malformed datagram/);
  assert.match(
    JSON.stringify(faults[1]?.data),
    /malformed datagram: message of type 16 and 1 more/,
  );
});

Deno.test("malformed uevents, process events and log records are events, each sensor's its own", async () => {
  const { bus, events } = newBus();
  const torn = new Uint8Array(24).fill(0xff);
  const EAGAIN = 11;
  /** A kernel that sends each descriptor one torn message, and then nothing. */
  let lastFd = 8;
  const sent = new Set<number>();
  const read = (fd: number, buffer: Uint8Array<ArrayBuffer>): number => {
    if (sent.has(fd)) return -1;
    sent.add(fd);
    buffer.set(torn);
    return torn.length;
  };
  const libc = fakeLibc({
    socket: () => ++lastFd,
    open: () => ++lastFd,
    lseek: () => 0,
    bind: () => 0,
    getsockname: () => 0,
    setsockopt: () => 0,
    getsockopt: () => 0,
    sendto: () => 0,
    recvfrom: (fd, buffer) => read(fd, buffer as Uint8Array<ArrayBuffer>),
    read: (fd, buffer) => read(fd, buffer as Uint8Array<ArrayBuffer>),
    close: () => 0,
  }, () => EAGAIN);
  const drains: (() => unknown)[] = [];
  const reactor = {
    add: (fd: number, _interest: unknown, drain: unknown) => {
      drains.push(drain as () => unknown);
      return { fd, active: true, modify: () => undefined, remove: () => undefined };
    },
  };
  const sensors = new SensorHost((name, grants) => bus.source(name, grants));
  await sensors.start(new UeventSensor(libc, reactor));
  await sensors.start(
    new ProcessSensor({
      libc,
      reactor,
      proc: { read: () => null, processStatus: () => null, pids: () => [] },
      causeOf: () => undefined,
      rescan: () => Promise.resolve(),
      timers: { set: () => 0, clear: () => undefined },
      report: bus.report,
    }),
  );
  await sensors.start(new KmsgSensor(libc, reactor, () => undefined));
  for (const drain of drains) drain();
  assert.equal(sent.size, 3, "all were read");
  const gaps = events.flatMap(({ type, source, data }) =>
    type === "bus.gap" ? [`${source} ${data.count} ${data.reason}`] : []
  );
  assert.deepEqual(gaps, [
    "nerve.uevent 1 malformed uevent",
    "nerve.processes 1 malformed process event",
    "nerve.kmsg 1 malformed kernel log record",
  ]);
  assert.deepEqual(sensors.info().map(({ state, gaps }) => [state, gaps]), [
    ["running", 1],
    ["running", 1],
    ["running", 1],
  ]);
});
