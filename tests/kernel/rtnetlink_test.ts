/** Links, addresses and routes of a network namespace of our own. */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import { openLibc } from "../../src/kernel/libc.ts";
import { Reactor } from "../../src/kernel/reactor.ts";
import { type RtMessage, Rtnl } from "../../src/kernel/rtnetlink.ts";
import { SockDiag } from "../../src/kernel/sockdiag.ts";
import { UeventSocket } from "../../src/kernel/uevent.ts";
import { RtnetlinkSensor } from "../../subsystems/nerve/rtnetlink.ts";
import { all, capability, kernelTest, nothing, program, unshareable, until } from "./harness.ts";

const apart = { module: import.meta.url, unshare: ["--net"] };
const need = all(capability("CAP_NET_ADMIN"), unshareable("--net"), program("ip"));

function ip(...args: string[]): void {
  const { success, stderr } = new Deno.Command("ip", { args }).outputSync();
  assert.ok(success, `ip ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

const libc = openLibc();

async function withRtnl(test: (rtnl: Rtnl, reactor: Reactor) => Promise<void>): Promise<void> {
  const reactor = new Reactor(libc, (where, error) => assert.fail(`${where}: ${error}`));
  const running = reactor.run();
  const rtnl = new Rtnl(libc, reactor, (where, error) => assert.fail(`${where}: ${error}`));
  try {
    await test(rtnl, reactor);
    assert.equal(rtnl.malformed, 0);
  } finally {
    rtnl.close();
    await reactor.close();
    await running;
  }
}

/** The items of a dump that must not be refused. */
function items<T>(list: { ok: true; items: T[] } | { ok: false; error: string }): T[] {
  assert.ok(list.ok, list.ok ? "" : list.error);
  return list.items;
}

kernelTest("Rtnl dumps what this host has", nothing, () =>
  withRtnl(async (rtnl) => {
    const links = items(await rtnl.dumpLinks());
    assert.ok(links.some(({ name, loopback }) => name === "lo" && loopback));
    items(await rtnl.dumpAddrs());
    items(await rtnl.dumpRoutes());
    items(await rtnl.dumpNeighbours());
  }));

kernelTest(
  "Rtnl brings a link up, addresses it, routes through it, and takes all back",
  need,
  () =>
    withRtnl(async (rtnl) => {
      ip("link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b");
      const [link, peer] = ["veth-a", "veth-b"];
      const find = async (wanted: string) =>
        items(await rtnl.dumpLinks()).find(({ name }) => name === wanted);
      const index = (await find(link))?.index ?? 0;
      assert.deepEqual([(await find(link))?.up, (await find(link))?.kind], [false, "veth"]);
      assert.deepEqual(await rtnl.setLinkUp(index), { ok: true });
      assert.deepEqual(await rtnl.setLinkUp((await find(peer))?.index ?? 0), { ok: true });
      assert.equal((await find(link))?.up, true);

      const address = { index, address: "10.9.0.2", prefix: 24, broadcast: "10.9.0.255" };
      assert.deepEqual(await rtnl.addAddr({ ...address, validSeconds: 100 }), { ok: true });
      assert.deepEqual(
        await rtnl.addAddr({ ...address, validSeconds: 500 }),
        { ok: true },
        "renewed",
      );
      const [mine] = items(await rtnl.dumpAddrs()).filter((each) => each.address === "10.9.0.2");
      assert.deepEqual([mine?.prefix, mine?.permanent, mine?.broadcast], [24, false, "10.9.0.255"]);
      assert.ok((mine?.validSeconds ?? 0) > 400);

      assert.deepEqual(await rtnl.addRoute({ index, gateway: "10.9.0.1", metric: 50 }), {
        ok: true,
      });
      assert.deepEqual(await rtnl.addRoute({ index, gateway: "10.9.0.1", metric: 50 }), {
        ok: true,
      });
      assert.deepEqual(
        await rtnl.addRoute({ index, destination: "10.10.0.77", prefix: 16 }),
        { ok: true },
      );
      const routes = items(await rtnl.dumpRoutes()).filter(({ table }) => table === 254);
      const defaults = routes.filter(({ destination, family }) =>
        destination === null && family === 4
      );
      assert.deepEqual(defaults.map(({ gateway, metric }) => [gateway, metric]), [[
        "10.9.0.1",
        50,
      ]]);
      assert.ok(
        routes.some(({ destination, prefix }) => destination === "10.10.0.0" && prefix === 16),
      );

      assert.deepEqual(await rtnl.delRoute({ index, gateway: "10.9.0.1", metric: 50 }), {
        ok: true,
      });
      assert.deepEqual(await rtnl.delAddr(address), { ok: true });
      assert.deepEqual(await rtnl.setLinkDown(index), { ok: true });
      assert.equal((await find(link))?.up, false);
    }),
  apart,
);

kernelTest("Rtnl answers refusals by the errno's name", need, () =>
  withRtnl(async (rtnl) => {
    const name = async (result: ReturnType<Rtnl["setLinkUp"]>) => {
      const answer = await result;
      return answer.ok ? "ok" : answer.error;
    };
    assert.equal(await name(rtnl.setLinkUp(9999)), "ENODEV");
    assert.equal(
      await name(rtnl.addAddr({ index: 9999, address: "10.0.0.1", prefix: 8 })),
      "ENODEV",
    );
    assert.equal(await name(rtnl.addAddr({ index: 1, address: "10.0.0", prefix: 8 })), "EINVAL");
    assert.equal(
      await name(rtnl.delAddr({ index: 1, address: "10.0.0.1", prefix: 8 })),
      "EADDRNOTAVAIL",
    );
    assert.equal(await name(rtnl.delRoute({ index: 1, gateway: "10.0.0.1" })), "ESRCH");
    const unreachable = await rtnl.addRoute({ index: 1, gateway: "10.0.0.1" });
    assert.deepEqual([unreachable.ok, (unreachable as { error: string }).error], [
      false,
      "ENETUNREACH",
    ]);
  }), apart);

kernelTest(
  "Rtnl.subscribe() tells of links, addresses and routes as they change",
  need,
  () =>
    withRtnl(async (rtnl) => {
      const messages: RtMessage[] = [];
      const subscription = rtnl.subscribe({
        onMessage: (message) => messages.push(message),
        onOverflow: () => assert.fail("overflow"),
      });
      assert.ok(subscription.socket.receiveBufferBytes >= 16 * 1024 * 1024);
      ip("link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b");
      ip("link", "set", "veth-a", "up");
      ip("addr", "add", "10.9.0.2/24", "dev", "veth-a");
      ip("link", "del", "veth-a");
      const kinds = () => new Set(messages.map(({ kind }) => kind));
      await until(() => kinds().has("link.del") && kinds().has("route.new"));
      assert.ok(kinds().has("link.new"));
      const told = messages.find((message) =>
        message.kind === "addr.new" && message.address.family === 4
      );
      assert.equal((told as { address: { address: string } }).address.address, "10.9.0.2");
      subscription.close();
      ip("link", "add", "veth-c", "type", "veth", "peer", "name", "veth-d");
      const after = messages.length;
      await new Promise((resolve) => setTimeout(resolve, 50));
      assert.equal(messages.length, after);
    }),
  apart,
);

kernelTest(
  "RtnetlinkSensor holds no route that went without a word, with its link or its address",
  need,
  () =>
    withRtnl(async (rtnl) => {
      ip("link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b");
      ip("link", "set", "veth-b", "up");
      const sensor = new RtnetlinkSensor(rtnl, (where, error) => assert.fail(`${where}: ${error}`));
      const bus = new Bus({
        boot: "00112233",
        clock: { wall: () => 0, mono: () => 0 },
        ringBytes: 1 << 20,
      });
      await sensor.start(bus.source("nerve.rtnetlink", [...sensor.grants, "bus.gap"]));
      const holds = (gateway: string) =>
        sensor.routes().some((route) => route.gateway === gateway && route.link === "veth-a");
      const takes = [
        ["link", "set", "veth-a", "down"],
        ["addr", "flush", "dev", "veth-a"],
        ["link", "del", "veth-a"],
      ];
      for (const take of takes) {
        ip("link", "set", "veth-a", "up");
        ip("addr", "replace", "10.9.0.2/24", "dev", "veth-a");
        ip("route", "add", "default", "via", "10.9.0.1");
        await until(() => holds("10.9.0.1"));
        ip(...take);
        await until(() => !holds("10.9.0.1"));
      }
      sensor.stop();
    }),
  apart,
);

kernelTest("UeventSocket tells of a device that comes and goes", need, async () => {
  const socket = new UeventSocket(libc);
  const reactor = new Reactor(libc, (where, error) => assert.fail(`${where}: ${error}`));
  const running = reactor.run();
  const seen: string[] = [];
  const registration = reactor.add(socket.fd, ["read"], () =>
    socket.drain({
      onEvent: (event) => seen.push(`${event.action} ${event.properties.get("INTERFACE")}`),
      onOverflow: () => assert.fail("overflow"),
    }));
  ip("link", "add", "veth-a", "type", "veth", "peer", "name", "veth-b");
  ip("link", "del", "veth-a");
  await until(() => seen.includes("add veth-a") && seen.includes("remove veth-a"));
  assert.equal(socket.malformed, 0);
  registration.remove();
  socket.close();
  await reactor.close();
  await running;
}, apart);

kernelTest(
  "SockDiag lists connections to a port and cuts one",
  need,
  () =>
    withRtnl(async (rtnl, reactor) => {
      assert.deepEqual(await rtnl.setLinkUp(1), { ok: true });
      const diag = new SockDiag(libc, reactor);
      const listener = Deno.listen({ hostname: "127.0.0.1", port: 8123 });
      const client = await Deno.connect({ hostname: "127.0.0.1", port: 8123 });
      const server = await listener.accept();
      const list = await diag.tcp(["established"], 8123);
      assert.ok(list.ok, "tcp()");
      const clientPort = (client.localAddr as Deno.NetAddr).port;
      const [accepted, ...others] = list.sockets.filter(({ state }) => state === "established");
      assert.equal(others.length, 0);
      assert.deepEqual(
        [accepted?.localPort, accepted?.remotePort, accepted?.remoteAddress],
        [8123, clientPort, "127.0.0.1"],
      );
      assert.ok(accepted !== undefined);
      const listening = await diag.tcp(["listen"], 8123);
      assert.equal(listening.ok && listening.sockets[0]?.state, "listen");
      const cut = await diag.destroy(accepted);
      if (cut.ok) {
        await assert.rejects(server.read(new Uint8Array(1)));
        assert.equal((await diag.destroy(accepted) as { error: string }).error, "ENOENT");
      } else assert.equal(cut.error, "EOPNOTSUPP", "a kernel without CONFIG_INET_DIAG_DESTROY");
      server.close();
      client.close();
      listener.close();
      diag.close();
    }),
  apart,
);
