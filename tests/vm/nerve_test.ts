/**
 * What happens in the kernel becomes an event, with its cause and in time, or a counted gap.
 *
 * The guest has two network cards: the API stays on one while the other's cable is pulled.
 */

import assert from "node:assert/strict";
import { Feed } from "./feed.ts";
import type { Guest } from "./guest.ts";
import {
  type ApiEvent,
  endsWithoutFault,
  eventSince,
  eventually,
  head,
  history,
  long,
  sharedGuest,
} from "./shared.ts";

/**
 * A second card that does not carry the API. Of virtio, like the first: an e1000's driver looks at
 * its carrier every two seconds by itself (e1000_watchdog), so it can be no part of "within a second".
 */
const guest = sharedGuest({
  append: ["osym.watch=/tmp"],
  qemu: [
    ...["-netdev", "user,id=net1,net=10.0.3.0/24"],
    ...["-device", "virtio-net-pci,romfile=,netdev=net1"],
  ],
});

/** The bound for an event to reach a client. */
const SOON_MS = 1000;

/** Process events in one window of a second beyond which the sensor counts (subsystems/nerve/processes.ts). */
const STORM_EVENTS = 2000;

/** The state of the network, as `GET /api/v1/network` tells it. */
interface NetworkState {
  links: { link: string; carrier: boolean; addresses: { address: string }[] }[];
  leases: { link: string; address: string }[];
  routes: { destination: string; gateway?: string; link?: string }[];
}

/** The name the guest gives to the second card. */
async function secondLink(machine: Guest): Promise<string> {
  const { leases } = await leased(machine);
  const found = leases.find(({ address }) => address.startsWith("10.0.3."));
  assert.ok(found, JSON.stringify(leases));
  return found.link;
}

/** Waits until both cards hold a lease. */
async function leased(machine: Guest): Promise<NetworkState> {
  return await eventually("two leases", async () => {
    const state = await machine.json<NetworkState>("/api/v1/network");
    return state.leases.length === 2 && state;
  }, 30_000);
}

Deno.test("every sensor runs", async () => {
  const sensors = await eventually("the sensors", async () => {
    const { items } = await (await guest()).json<{ items: { name: string; state: string }[] }>(
      "/api/v1/sensors",
    );
    return items.some(({ name }) => name === "files") && items;
  }, 60_000);
  const names = sensors.map(({ name, state }) => `${name} ${state}`).sort();
  assert.deepEqual(names, [
    "files running",
    "kmsg running",
    "processes running",
    "rtnetlink running",
    "sampler running",
    "uevent running",
  ]);
});

Deno.test("a command's processes are events whose cause is the event that allowed it", async () => {
  const machine = await guest();
  await using feed = await Feed.open(machine, { type: "action.>,process.>" });
  const result = await machine.exec(["/bin/sh", "-c", "/bin/sleep 0.2; exit 5"]);
  const allowed = (await feed.event(
    "action.allowed",
    ({ data }) => data.action === result.action,
  )).event;
  const execed = await feed.event("process.execed", ({ data }) => data.comm === "sleep");
  assert.equal(execed.event.cause, allowed.sequence);
  assert.match(String(execed.event.data.cgroup), /^\/tasks\/act-/);
  assert.equal(execed.event.data.exe, "/bin/busybox");
  assert.equal(execed.event.data.uid, 0);
  const { pid } = execed.event.data;
  const exited = await feed.event("process.exited", ({ data }) => data.pid === pid);
  assert.deepEqual(
    { code: exited.event.data.code, comm: exited.event.data.comm, cause: exited.event.cause },
    { code: 0, comm: "sleep", cause: allowed.sequence },
  );
  const shell = await feed.event("process.exited", ({ data }) => data.pid === result.pid);
  assert.equal(shell.event.data.code, 5);
  const finished = await feed.event(
    "action.finished",
    ({ data }) => data.action === result.action,
  );
  assert.equal(finished.event.cause, allowed.sequence);
});

Deno.test("a process that is started is an event within a second", async () => {
  const machine = await guest();
  const since = await head(machine);
  // The kernel's own clock, read by the process just before it becomes the one to be seen.
  const text = await machine.shell("cut -d' ' -f1 /proc/uptime; exec /bin/true");
  const startedUs = Number(text) * 1e6;
  const execed = await eventSince(
    machine,
    since,
    "process.execed",
    ({ data }) => data.comm === "true",
  );
  const tookMs = (execed.mono - startedUs) / 1000;
  assert.ok(tookMs > -20 && tookMs < SOON_MS, `${tookMs} ms`);
});

Deno.test("a cable that is pulled is link.down at a client within a second, and up again", async () => {
  const machine = await guest();
  const link = await secondLink(machine);
  await using feed = await Feed.open(machine, { type: "link.*,addr.*" });
  const ofLink = ({ data }: ApiEvent) => data.link === link;

  const pulledAt = performance.now();
  await machine.qmp("set_link", { name: "net1", up: false });
  const down = await feed.event("link.down", ofLink);
  assert.ok(down.atMs - pulledAt < SOON_MS, `link.down after ${down.atMs - pulledAt} ms`);
  const state = await machine.json<NetworkState>("/api/v1/network");
  assert.equal(state.links.find((one) => one.link === link)?.carrier, false);

  const pluggedAt = performance.now();
  await machine.qmp("set_link", { name: "net1", up: true });
  const up = await feed.event("link.up", ofLink);
  assert.ok(up.atMs - pluggedAt < SOON_MS, `link.up after ${up.atMs - pluggedAt} ms`);
  const since = up.event.sequence;
  await feed.wait(
    "its lease asked for anew",
    (item) =>
      item.kind === "event" && /^addr\.(renewed|leased)$/.test(item.event.type) &&
      ofLink(item.event) && item.event.sequence > since,
    30_000,
  );
});

Deno.test("the link the API is on comes back with its lease renewed", async () => {
  const machine = await guest();
  const since = await head(machine);
  await machine.console.ask("events link.*", /events link\.\*[\s\S]*events off/, 60_000);
  await machine.qmp("set_link", { name: "net0", up: false });
  // Nothing reaches the guest by the network now: its console says when it has seen it.
  await machine.console.read(/link\.down/, 60_000);
  await machine.qmp("set_link", { name: "net0", up: true });
  const down = await eventSince(machine, since, "link.down", () => true, 60_000);
  const up = await eventSince(
    machine,
    since,
    "link.up",
    ({ data }) => data.link === down.data.link,
  );
  const renewed = await eventSince(
    machine,
    since,
    "addr.renewed,addr.leased",
    ({ data, sequence }) => data.link === down.data.link && sequence > up.sequence,
    60_000,
  );
  await machine.console.write("events off");
  assert.equal(renewed.data.address, "10.0.2.15");
  assert.notEqual(renewed.data.link, await secondLink(machine));
});

Deno.test("files that come, change, move and go in a watched directory are events", async () => {
  const machine = await guest();
  // Watched last, by the phase that opens the data disk.
  await machine.waitEvent("boot.phase", ({ data }) => data.name === "data", 30_000);
  const since = await head(machine);
  await machine.shell(
    "cd /tmp && mkdir d && echo one > a && mv a b && mv b d/c && rm -r d",
  );
  await eventSince(machine, since, "file.deleted", ({ data }) => data.path === "/tmp/d");
  const { items } = await history(machine, "file.>", since);
  const told = items.map(({ type, data }) => [type, data]);
  assert.deepEqual(told.filter(([type]) => type !== "file.moved"), [
    ["file.created", { path: "/tmp/d", directory: true }],
    ["file.created", { path: "/tmp/a", directory: false }],
    ["file.modified", { path: "/tmp/a", directory: false }],
    ["file.deleted", { path: "/tmp/d", directory: true }],
  ]);
  assert.deepEqual(told.filter(([type]) => type === "file.moved"), [
    ["file.moved", { from: "/tmp/a", to: "/tmp/b", directory: false }],
    // The other end is not watched.
    ["file.moved", { from: "/tmp/b", directory: false }],
  ]);
});

Deno.test("a device that is plugged in and pulled out is an event", async () => {
  const machine = await guest();
  const since = await head(machine);
  // A port on the virtio-serial bus: every machine type can have one added while it runs.
  await machine.qmp("device_add", { driver: "virtserialport", id: "hot", name: "org.test.hot" });
  const isPort = ({ data }: ApiEvent) => data.subsystem === "virtio-ports";
  const added = await eventSince(machine, since, "device.added", isPort);
  assert.match(String(added.data.devpath), /\/virtio-ports\/vport/);
  await machine.qmp("device_del", { id: "hot" });
  const removed = await eventSince(machine, since, "device.removed", isPort);
  assert.equal(removed.data.devpath, added.data.devpath);

  const before = await head(machine);
  const link = await secondLink(machine);
  await machine.shell(`echo change > /sys/class/net/${link}/uevent`);
  const changed = await eventSince(
    machine,
    before,
    "device.changed",
    ({ data }) => String(data.devpath).endsWith(`/net/${link}`),
  );
  assert.equal(changed.data.action, "change");
  assert.equal((changed.data.properties as Record<string, string>).INTERFACE, link);
});

Deno.test("a line in the kernel's log is an event, from the first of the boot on", async () => {
  const machine = await guest();
  const since = await head(machine);
  const words = `hello ${crypto.randomUUID()}`;
  await machine.shell(`echo '<4>${words}' > /dev/kmsg`);
  const logged = await eventSince(
    machine,
    since,
    "kernel.logged",
    ({ data }) => data.text === words,
  );
  assert.equal(logged.data.level, 4);
  assert.equal(logged.data.facility, 1);
  const { items } = await history(machine, "kernel.logged");
  assert.match(String(items[0]?.data.text), /^Linux version 6\./);
  const numbers = items.map(({ data }) => Number(data.sequence));
  assert.deepEqual(numbers, [...numbers].sort((a, b) => a - b));
});

/** The most of these times (µs, ascending) that lie within one second; a window of the sensor may end in it. */
function densest(times: readonly number[]): number {
  let most = 0;
  for (let first = 0, last = 0; last < times.length; last++) {
    while (times[last]! - times[first]! > 1e6) first++;
    most = Math.max(most, last - first + 1);
  }
  return most;
}

/** What of a storm reached history, as single events, as counts and as told losses. */
async function account(machine: Guest, since: string) {
  const types = "process.forked,process.exited,process.storm,bus.gap";
  const { items, lost } = await history(machine, types, since);
  const ofType = (type: string) => items.filter((event) => event.type === type);
  const gaps = ofType("bus.gap").filter(({ source }) => source.includes("processes"));
  const sum = (events: ApiEvent[], field: string) =>
    events.reduce((total, { data }) => total + Number(data[field] ?? 0), 0);
  const singles = items.filter(({ type }) =>
    type === "process.forked" || type === "process.exited"
  );
  return {
    densest: densest(singles.map(({ mono }) => mono)),
    forks: {
      single: ofType("process.forked").length,
      counted: sum(ofType("process.storm"), "forks"),
    },
    exits: {
      single: ofType("process.exited").length,
      counted: sum(ofType("process.storm"), "exits"),
    },
    gaps: gaps.length,
    missed: sum(gaps, "count"),
    /** The kernel could not say how many it dropped. */
    unknown: gaps.some(({ data }) => data.count === null),
    /** Older than the guest's memory by now: the answer to the request says so. */
    lost,
  };
}

/** Nothing of `count` processes is silent: each is an event, in a count, or in a told loss. */
function assertAccounted(told: Awaited<ReturnType<typeof account>>, count: number): void {
  const words = `${count} processes: ${JSON.stringify(told)}`;
  for (const { single, counted } of [told.forks, told.exits]) {
    assert.ok(single + counted + told.missed + told.lost >= count || told.unknown, words);
    // Some more ran beside them, and nothing is told twice.
    if (told.gaps === 0 && told.lost === 0) assert.ok(single + counted < count + 300, words);
  }
}

/** Waits until all is accounted for: a storm's count is published after its second. */
async function accounted(machine: Guest, since: string, count: number) {
  return await eventually(
    "every process told or counted",
    async () => {
      const told = await account(machine, since);
      assertAccounted(told, count);
      return told;
    },
    60_000,
    1000,
  );
}

Deno.test("processes that come while PID 1 can not look are told, counted in a storm, or a gap", async () => {
  const machine = await guest();
  const since = await head(machine);
  // Frozen, PID 1 reads nothing for some seconds: fewer than its watchdog waits.
  const freeze = "/sys/fs/cgroup/core/cgroup.freeze";
  const script = `
    now() { read -r up _ < /proc/uptime; echo \${up%.*}; }
    end=$(( $(now) + 8 )); i=0
    echo 1 > ${freeze}
    while [ $i -lt 5000 ] && read -r up _ < /proc/uptime && [ \${up%.*} -lt $end ]; do
      ( : ); ( : ); i=$((i+2))
    done
    echo 0 > ${freeze}
    echo $i`;
  const made = Number(await machine.shell(script));
  const told = await accounted(machine, since, made);
  // However fast PID 1 catches up, the sensor tells no more than so many a second one by one.
  assert.ok(told.densest <= 2 * STORM_EVENTS, JSON.stringify(told));
});

Deno.test("a stream of processes reaches history and a client, or they are told of what is missing", async () => {
  const machine = await guest();
  const count = long ? 20_000 : 1500;
  await using feed = await Feed.open(machine, { type: "process.forked,process.exited" });
  const since = await head(machine);
  const script = `i=0; while [ $i -lt ${count} ]; do i=$((i+1)); ( : ); done`;
  const result = await machine.exec(["/bin/sh", "-c", script], { timeout_ms: 500_000 });
  assert.equal(result.code, 0);
  const told = await accounted(machine, since, count);
  await eventually("the client to have them all", () => {
    const dropped = feed.gaps.reduce((total, gap) => total + gap.count, 0);
    return Promise.resolve(feed.events.length + dropped >= told.forks.single + told.exits.single);
  }, 60_000);
});

Deno.test("a wall clock that jumps is an event, and disturbs no deadline", async () => {
  const machine = await guest();
  const since = await head(machine);
  const before = Date.now();
  await machine.shell("date -s '2031-05-06 07:08:09'");
  // Of years: an emulated clock may step a little by itself.
  await eventSince(machine, since, "clock.stepped", ({ data }) => Number(data.by_ms) > 1e10);
  const slept = await machine.exec(["/bin/sleep", "1"], { timeout_ms: 20_000 });
  assert.deepEqual([slept.code, slept.timed_out], [0, false]);
  const back = new Date(before).toISOString().slice(0, 19).replace("T", " ");
  const after = await head(machine);
  await machine.shell(`date -u -s '${back}'`);
  await eventSince(machine, after, "clock.stepped", ({ data }) => Number(data.by_ms) < -1e10);
});

endsWithoutFault("nerve", guest);
