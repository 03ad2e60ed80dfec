import assert from "node:assert/strict";
import type { Link, RtListener } from "../kernel/rtnetlink.ts";
import { answer, FakePort, FakeTimers, kindOf, settle } from "./fakes.ts";
import { Network, type NetworkOptions } from "./network.ts";

function link(index: number, name: string, fields: Partial<Link> = {}): Link {
  return {
    index,
    name,
    hardware: 1,
    flags: 0,
    up: false,
    carrier: false,
    loopback: false,
    state: "down",
    mtu: 1500,
    mac: `52:54:00:00:00:0${index}`,
    kind: null,
    stats: null,
    ...fields,
  };
}

const lo = link(1, "lo", { hardware: 772, loopback: true, mac: "00:00:00:00:00:00" });

/** A kernel that does as it is told, writes it down, and refuses what a test says. */
class FakeKernel {
  readonly links = new Map<number, Link>();
  readonly calls: string[] = [];
  readonly refuse = new Map<string, string>();
  dumpError: string | null = null;
  subscribeError: Error | null = null;
  #listener: RtListener | null = null;

  constructor(...links: Link[]) {
    for (const one of links) this.links.set(one.index, one);
  }

  dumpLinks() {
    return Promise.resolve(
      this.dumpError === null
        ? { ok: true as const, items: [...this.links.values()] }
        : { ok: false as const, error: this.dumpError, text: null },
    );
  }

  async setLinkUp(index: number) {
    const result = await this.#call(`up ${index}`);
    const found = this.links.get(index);
    if (result.ok && found !== undefined) this.change({ ...found, up: true, carrier: true });
    return result;
  }

  addAddr(r: { index: number; address: string; prefix: number; validSeconds?: number }) {
    const life = r.validSeconds === undefined ? "" : ` for ${r.validSeconds}`;
    return this.#call(`addr ${r.index} ${r.address}/${r.prefix}${life}`);
  }

  delAddr(r: { index: number; address: string; prefix: number }) {
    return this.#call(`-addr ${r.index} ${r.address}/${r.prefix}`);
  }

  addRoute(r: Route) {
    return this.#call(`route ${routeText(r)}`);
  }

  delRoute(r: Route) {
    return this.#call(`-route ${routeText(r)}`);
  }

  subscribe(listener: RtListener) {
    if (this.subscribeError !== null) throw this.subscribeError;
    this.#listener = listener;
    return { close: () => this.#listener = null };
  }

  /** A link is new or changed. */
  change(changed: Link): void {
    this.links.set(changed.index, changed);
    this.#listener?.onMessage({ kind: "link.new", link: changed });
  }

  remove(index: number): void {
    const gone = this.links.get(index)!;
    this.links.delete(index);
    this.#listener?.onMessage({ kind: "link.del", link: gone });
  }

  overflow(): void {
    this.#listener?.onOverflow();
  }

  get listening(): boolean {
    return this.#listener !== null;
  }

  #call(text: string) {
    this.calls.push(text);
    const error = [...this.refuse].find(([start]) => text.startsWith(start))?.[1];
    return Promise.resolve(
      error === undefined ? { ok: true as const } : { ok: false as const, error, text: null },
    );
  }
}

interface Route {
  index: number;
  destination?: string;
  prefix?: number;
  gateway?: string;
  metric?: number;
}

function routeText(r: Route): string {
  const to = r.destination === undefined ? "default" : `${r.destination}/${r.prefix}`;
  return `${r.index} ${to}${r.gateway === undefined ? "" : ` by ${r.gateway}`}${
    r.metric === undefined ? "" : ` metric ${r.metric}`
  }`;
}

class World {
  readonly timers = new FakeTimers();
  readonly ports = new Map<string, FakePort>();
  readonly told: string[] = [];
  readonly parts = new Map<string, string>();
  readonly faults: string[] = [];
  resolvConf: readonly string[] | null = null;
  /** Which links have a server behind them, and which address it gives. */
  readonly servers = new Map<string, string>();
  readonly network: Network;

  constructor(readonly kernel: FakeKernel, options: Partial<NetworkOptions> = {}) {
    this.network = new Network({
      rtnl: kernel,
      openPort: ({ name }) => {
        const port = new FakePort();
        this.ports.set(name, port);
        port.onSent = (message) => {
          const address = this.servers.get(name);
          const type = { discover: "offer", request: "ack" }[kindOf(message)] as "offer" | "ack";
          if (address === undefined || type === undefined) return;
          const router = address.replace(/\d+$/, "2");
          const fields = { type, address, server: router, routers: [router], dns: [router] };
          this.timers.after(1, () => port.deliver(answer(message, fields)));
        };
        return port;
      },
      timers: this.timers,
      random: () => 0.5,
      hostname: "osymbiote",
      ip: null,
      resolvConf: (servers) => {
        this.resolvConf = servers;
        return Promise.resolve({ ok: true });
      },
      notify: (type, data) => this.told.push(`${type} ${data.link}`),
      degraded: (part, reason) => this.parts.set(part, reason),
      recovered: (part) => this.parts.delete(part),
      report: (where, error) => this.faults.push(`${where}: ${error}`),
      ...options,
    });
  }
}

Deno.test("Network.start() brings lo and Ethernet up and gets a lease, route and name server", async () => {
  const world = new World(new FakeKernel(lo, link(2, "eth0")));
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(100);
  assert.deepEqual(world.kernel.calls, [
    "up 1",
    "up 2",
    "addr 2 10.0.2.15/24 for 3600",
    "route 2 default by 10.0.2.2 metric 100",
  ]);
  assert.deepEqual(world.resolvConf, ["10.0.2.2"]);
  assert.equal(world.network.fault, null);
  assert.deepEqual(world.network.leases().map((lease) => lease.address), ["10.0.2.15"]);
  assert.deepEqual(world.told, [
    "addr.lease_requested eth0",
    "addr.lease_requested eth0",
    "addr.leased eth0",
  ]);
  await world.timers.advance(10_000);
  assert.deepEqual([...world.parts], []);
  assert.deepEqual(world.faults, []);
});

Deno.test("Network.start() leaves virtual and other links alone", async () => {
  const kernel = new FakeKernel(
    link(2, "br0", { kind: "bridge" }),
    link(3, "tun0", { hardware: 65534, mac: null }),
  );
  const world = new World(kernel);
  await world.network.start();
  assert.deepEqual(kernel.calls, []);
  assert.deepEqual([...world.parts], [["network", "no network interface"]]);
});

Deno.test("Network says why it has no address: no interface, no carrier, no lease", async () => {
  const world = new World(new FakeKernel(lo));
  await world.network.start();
  assert.deepEqual([...world.parts], [["network", "no network interface"]]);
  world.kernel.refuse.set("up 2", "EIO");
  world.kernel.change(link(2, "eth0"));
  await settle();
  assert.equal(world.parts.get("network"), "no carrier on eth0");
  assert.equal(world.parts.get("network.eth0"), "bring eth0 up: EIO");
  world.kernel.change(link(2, "eth0", { up: true, carrier: true }));
  await world.timers.advance(1500);
  assert.match(world.parts.get("network")!, /^no lease yet on eth0: no usable offer within 1\.0 s/);
  world.servers.set("eth0", "10.0.2.15");
  await world.timers.advance(5000);
  assert.equal(world.parts.has("network"), false);
});

Deno.test("Network gives a lease five seconds before it calls its absence a fault", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  await world.network.start();
  await world.timers.advance(4900);
  assert.deepEqual([...world.parts], []);
  assert.match(world.network.fault!, /^no lease yet on eth0/);
  await world.timers.advance(200);
  assert.match(world.parts.get("network")!, /^no lease yet on eth0: no usable offer within 3\.0 s/);
});

Deno.test("Network gives the first lease the best default route", async () => {
  const world = new World(new FakeKernel(link(2, "eth0"), link(3, "eth1")));
  world.servers.set("eth1", "10.0.3.15");
  await world.network.start();
  await world.timers.advance(100);
  world.servers.set("eth0", "10.0.2.15");
  await world.timers.advance(5000);
  assert.deepEqual(world.kernel.calls.filter((call) => call.startsWith("route")), [
    "route 3 default by 10.0.3.2 metric 100",
    "route 2 default by 10.0.2.2 metric 200",
  ]);
  assert.deepEqual(world.network.dns(), ["10.0.3.2", "10.0.2.2"]);
  assert.deepEqual(world.resolvConf, ["10.0.3.2", "10.0.2.2"]);
  assert.deepEqual(world.network.leases().map((lease) => lease.link), ["eth1", "eth0"]);
});

Deno.test("Network follows links that come and go", async () => {
  const world = new World(new FakeKernel(lo));
  await world.network.start();
  world.servers.set("eth0", "10.0.2.15");
  world.kernel.change(link(2, "eth0"));
  await world.timers.advance(100);
  assert.equal(world.network.fault, null);
  world.kernel.remove(2);
  await world.timers.advance(100);
  assert.deepEqual(world.told.at(-1), "addr.lease_lost eth0");
  assert.equal(world.parts.get("network"), "no network interface");
  assert.deepEqual(world.resolvConf, []);
  assert.equal(world.ports.get("eth0")!.closed, true);
  world.kernel.change(link(5, "eth0"));
  await world.timers.advance(100);
  assert.equal(world.kernel.calls.at(-1), "route 5 default by 10.0.2.2 metric 100");
});

Deno.test("Network asks whether the address holds when a cable comes back", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(100);
  world.kernel.change(link(2, "eth0", { up: true, carrier: false }));
  await world.timers.advance(100);
  assert.equal(world.network.leases().length, 1, "the address stays");
  world.kernel.change(link(2, "eth0", { up: true, carrier: true }));
  await world.timers.advance(100);
  assert.equal(world.told.at(-1), "addr.renewed eth0");
  assert.deepEqual(world.ports.get("eth0")!.kinds(), ["discover", "request", "request"]);
});

Deno.test("Network dumps again when the kernel dropped messages", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.servers.set("eth0", "10.0.2.15").set("eth1", "10.0.3.15");
  await world.network.start();
  await world.timers.advance(100);
  world.kernel.links.delete(2);
  world.kernel.links.set(3, link(3, "eth1"));
  world.kernel.overflow();
  await world.timers.advance(100);
  assert.deepEqual(world.network.leases().map((lease) => lease.link), ["eth1"]);
});

Deno.test("Network restarts a client whose link changed its hardware address", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(100);
  world.kernel.change(link(2, "eth0", { mac: "52:54:00:00:00:99", up: true, carrier: true }));
  await world.timers.advance(100);
  const { message } = world.ports.get("eth0")!.sent.at(-1)!;
  assert.equal(message.chaddr[5], 0x99);
  assert.equal(world.network.leases().length, 1);
});

Deno.test("Network puts the static address on the first link and asks by DHCP on the others", async () => {
  const world = new World(new FakeKernel(link(2, "eth0"), link(3, "eth1")), {
    ip: "192.0.2.7/24,gw=192.0.2.1,dns=192.0.2.53",
  });
  world.servers.set("eth0", "10.0.2.15").set("eth1", "10.0.3.15");
  await world.network.start();
  await world.timers.advance(100);
  assert.deepEqual(world.kernel.calls, [
    "up 2",
    "addr 2 192.0.2.7/24",
    "route 2 default by 192.0.2.1 metric 100",
    "up 3",
    "addr 3 10.0.3.15/24 for 3600",
    "route 3 default by 10.0.3.2 metric 200",
  ]);
  assert.deepEqual(world.resolvConf, ["192.0.2.53", "10.0.3.2"]);
  assert.deepEqual(world.network.leases().map((lease) => lease.link), ["eth1"]);
  const renewal = await world.network.renew("eth0");
  assert.equal(renewal.ok ? "" : renewal.reason, "eth0 has no DHCP client");
  // Down and up again: the kernel dropped the routes, the address is applied anew.
  world.kernel.change(link(2, "eth0", { up: true, carrier: false }));
  world.kernel.change(link(2, "eth0", { up: true, carrier: true }));
  await settle();
  assert.equal(world.kernel.calls.at(-1), "route 2 default by 192.0.2.1 metric 100");
});

Deno.test("Network falls back to DHCP when the static address is refused or nonsense", async () => {
  const refused = new World(new FakeKernel(link(2, "eth0")), { ip: "192.0.2.7/24" });
  refused.kernel.refuse.set("addr 2 192.0.2.7", "EPERM");
  refused.servers.set("eth0", "10.0.2.15");
  await refused.network.start();
  await refused.timers.advance(100);
  assert.deepEqual(refused.network.leases().map((lease) => lease.address), ["10.0.2.15"]);
  assert.deepEqual([...refused.parts], [[
    "network.static",
    "192.0.2.7/24 on eth0: add 192.0.2.7/24 to eth0: EPERM; asking by DHCP instead",
  ]]);
  const nonsense = new World(new FakeKernel(link(2, "eth0")), { ip: "garbage" });
  nonsense.servers.set("eth0", "10.0.2.15");
  await nonsense.network.start();
  await nonsense.timers.advance(100);
  assert.equal(nonsense.network.fault, null);
  assert.match(nonsense.parts.get("network.static")!, /^osym\.ip: "garbage": expected/);
});

Deno.test("Network keeps an address whose route is refused, and says so", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.kernel.refuse.set("route", "ENETUNREACH");
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(100);
  assert.equal(world.network.leases().length, 1);
  assert.deepEqual([...world.parts], [[
    "network.eth0.route",
    "default route by 10.0.2.2: ENETUNREACH",
  ]]);
  world.kernel.refuse.clear();
  const renewal = world.network.renew();
  await world.timers.advance(100);
  assert.equal((await renewal).ok, true);
  assert.deepEqual([...world.parts], []);
});

Deno.test("Network forgets a refused route with the lease it was for", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.kernel.refuse.set("route", "ENETUNREACH");
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(100);
  assert.equal(world.parts.has("network.eth0.route"), true);
  world.servers.clear();
  await world.timers.advance(3_600_000);
  assert.deepEqual([...world.parts.keys()], ["network"]);
});

Deno.test("Network forgets that links could not be listed once they can", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.kernel.dumpError = "ENOBUFS";
  await world.network.start();
  assert.equal(world.parts.get("network.links"), "list links: ENOBUFS");
  world.kernel.dumpError = null;
  world.kernel.overflow();
  await settle();
  assert.equal(world.parts.has("network.links"), false);
});

Deno.test("Network starts a lease over that the kernel does not take", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.kernel.refuse.set("addr", "EPERM");
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(6000);
  assert.match(
    world.parts.get("network")!,
    /10\.0\.2\.15 could not be applied: add 10\.0\.2\.15\/24 to eth0: EPERM/,
  );
  world.kernel.refuse.clear();
  await world.timers.advance(11_000);
  assert.deepEqual([...world.parts], []);
});

Deno.test("Network reaches a router outside its own network by a route of its own", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")), {
    ip: "192.0.2.7/32,gw=198.51.100.1",
  });
  await world.network.start();
  await settle();
  assert.deepEqual(world.kernel.calls.slice(1), [
    "addr 2 192.0.2.7/32",
    "route 2 198.51.100.1/32",
    "route 2 default by 198.51.100.1 metric 100",
  ]);
});

Deno.test("Network works, degraded, where netlink or UDP are refused", async () => {
  const deaf = new FakeKernel(link(2, "eth0"));
  deaf.subscribeError = new Error("socket: EPERM");
  const world = new World(deaf);
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(3000);
  assert.equal(world.network.leases().length, 1, "a carrier is assumed");
  assert.match(world.parts.get("network.links")!, /socket: EPERM/);

  const blind = new FakeKernel();
  blind.dumpError = "ENOBUFS";
  const other = new World(blind);
  await other.network.start();
  assert.equal(other.parts.get("network.links"), "list links: ENOBUFS");

  const mute = new World(new FakeKernel(link(2, "eth0")), {
    openPort: () => {
      throw new Error("bind 0.0.0.0:68: EADDRINUSE");
    },
  });
  await mute.network.start();
  await settle();
  assert.match(mute.parts.get("network.eth0.dhcp")!, /port 68 on eth0: bind .*EADDRINUSE/);
  assert.deepEqual([...world.faults, ...other.faults, ...mute.faults], []);
});

Deno.test("Network survives sinks that throw", async () => {
  const broken = () => {
    throw new Error("sink broke");
  };
  const world = new World(new FakeKernel(link(2, "eth0")), {
    degraded: broken,
    recovered: broken,
    notify: broken,
    resolvConf: () => Promise.reject(new Error("disk broke")),
    ip: "garbage",
  });
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(10_000);
  await world.network.stop();
  assert.ok(world.faults.length > 0);
});

Deno.test("Network.renew() takes the best link, or the one named", async () => {
  const world = new World(new FakeKernel(link(2, "eth0"), link(3, "eth1")));
  world.servers.set("eth0", "10.0.2.15").set("eth1", "10.0.3.15");
  await world.network.start();
  await world.timers.advance(100);
  const best = world.network.renew();
  const named = world.network.renew("eth1");
  await world.timers.advance(100);
  const [one, other] = [await best, await named];
  assert.equal(one.ok && one.lease.link, "eth0");
  assert.equal(other.ok && other.lease.link, "eth1");
  const missing = await world.network.renew("eth9");
  assert.deepEqual(missing, { ok: false, reason: 'no link "eth9"', missing: true });
  const nothing = await new World(new FakeKernel()).network.renew();
  assert.equal(nothing.ok ? "" : nothing.reason, "no network interface");
});

Deno.test("Network.stop() gives leases back and closes what it opened", async () => {
  const world = new World(new FakeKernel(link(2, "eth0")));
  world.servers.set("eth0", "10.0.2.15");
  await world.network.start();
  await world.timers.advance(100);
  await world.network.stop();
  assert.equal(world.ports.get("eth0")!.kinds().at(-1), "release");
  assert.ok(world.kernel.calls.includes("-addr 2 10.0.2.15/24"));
  assert.ok(world.kernel.calls.includes("-route 2 default by 10.0.2.2 metric 100"));
  assert.equal(world.ports.get("eth0")!.closed, true);
  assert.equal(world.kernel.listening, false);
  assert.equal(world.timers.pending, 0);
});
