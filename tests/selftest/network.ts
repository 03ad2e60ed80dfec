/** Links, addresses, routes and connections of this machine. */

import assert from "node:assert/strict";
import { type RtMessage, Rtnl } from "../../src/kernel/rtnetlink.ts";
import { SockDiag } from "../../src/kernel/sockdiag.ts";
import { failOn, libc, until, withReactor } from "./harness.ts";

Deno.test("Rtnl dumps what /sys and /proc show", () =>
  withReactor(async (reactor) => {
    const rtnl = new Rtnl(libc, reactor, failOn);
    const links = await rtnl.dumpLinks();
    assert.ok(links.ok);
    const shown = [...Deno.readDirSync("/sys/class/net")].map(({ name }) => name);
    assert.deepEqual(links.items.map(({ name }) => name).sort(), shown.sort());
    for (const { name, index, mtu, mac } of links.items) {
      const read = (file: string) => Deno.readTextFileSync(`/sys/class/net/${name}/${file}`).trim();
      assert.deepEqual([index, mtu], [Number(read("ifindex")), Number(read("mtu"))], name);
      assert.equal(mac, read("address"), name);
    }
    const addresses = await rtnl.dumpAddrs();
    assert.ok(addresses.ok && addresses.items.some(({ address }) => address === "127.0.0.1"));
    const routes = await rtnl.dumpRoutes();
    assert.ok(routes.ok && routes.items.length > 0);
    assert.equal(rtnl.malformed, 0);
    rtnl.close();
  }));

Deno.test("Rtnl adds and removes an address, and its subscription tells both", () =>
  withReactor(async (reactor) => {
    const rtnl = new Rtnl(libc, reactor, failOn);
    const seen: RtMessage[] = [];
    const subscription = rtnl.subscribe({
      onMessage: (message) => void seen.push(message),
      onOverflow: () => failOn("rtnetlink", "overflow"),
    });
    const links = await rtnl.dumpLinks();
    assert.ok(links.ok);
    const index = links.items.find(({ loopback }) => loopback)?.index ?? 0;
    const request = { index, address: "10.99.9.9", prefix: 32 };
    const told = () =>
      seen.flatMap((message) =>
        "address" in message && message.address.address === request.address ? [message.kind] : []
      );
    assert.deepEqual(await rtnl.addAddr(request), { ok: true });
    assert.deepEqual(await rtnl.delAddr(request), { ok: true });
    await until(() => told().length === 2, () => seen);
    const again = await rtnl.delAddr(request);
    assert.equal(again.ok === false && again.error, "EADDRNOTAVAIL");
    subscription.close();
    rtnl.close();
  }));

Deno.test("SockDiag lists a connection by its port and cuts it for both ends", () =>
  withReactor(async (reactor) => {
    const diag = new SockDiag(libc, reactor);
    const listener = Deno.listen({ hostname: "127.0.0.1", port: 0 });
    const { port } = listener.addr as Deno.NetAddr;
    const [accepted, connected] = await Promise.all([
      listener.accept(),
      Deno.connect({ hostname: "127.0.0.1", port }),
    ]);
    const listed = await diag.tcp(["established"], port);
    assert.ok(listed.ok);
    assert.equal(listed.sockets.length, 1);
    const [socket] = listed.sockets;
    assert.ok(socket !== undefined);
    const local = connected.localAddr as Deno.NetAddr;
    assert.deepEqual([socket.localPort, socket.remotePort], [port, local.port]);
    const ends = [accepted, connected].map((end) =>
      end.read(new Uint8Array(1)).then((count) => String(count), (error) => error.name as string)
    );
    assert.deepEqual(await diag.destroy(socket), { ok: true });
    // The destroyed end is told ECONNABORTED, its peer gets a reset.
    assert.deepEqual(await Promise.all(ends), ["ConnectionAborted", "ConnectionReset"]);
    const gone = await diag.destroy(socket);
    assert.equal(gone.ok === false && gone.error, "ENOENT");
    accepted.close();
    connected.close();
    listener.close();
    diag.close();
  }));
