/** The UDP socket on a link without an address, between two namespaces. */
import assert from "node:assert/strict";
import { openLibc } from "../../src/kernel/libc.ts";
import { Reactor } from "../../src/kernel/reactor.ts";
import { setSysctl } from "../../src/kernel/sysctl.ts";
import { UdpSocket } from "../../src/kernel/udp.ts";
import { all, capability, kernelTest, program, unshareable, until } from "./harness.ts";

const apart = { module: import.meta.url, unshare: ["--net", "--mount"] };
const need = all(
  capability("CAP_NET_ADMIN"),
  capability("CAP_NET_RAW"),
  unshareable("--net", "--mount"),
  program("ip"),
  program("python3"),
);

function run(command: string, ...args: string[]): void {
  const { success, stderr } = new Deno.Command(command, { args }).outputSync();
  assert.ok(success, `${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
}

/** Answers each datagram to port 67 with a broadcast and, if told, with a unicast. */
const SERVER = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_BINDTODEVICE, b"server0")
s.bind(("0.0.0.0", 67))
print("up", flush=True)
while True:
    data, peer = s.recvfrom(2048)
    s.sendto(b"reply to %s from %s" % (data, peer[0].encode()), ("255.255.255.255", 68))
`;

async function exchange(rpFilter: string): Promise<string[]> {
  run("ip", "netns", "add", "osym-dhcp");
  run("ip", "link", "add", "client0", "type", "veth", "peer", "name", "server0");
  run("ip", "link", "set", "server0", "netns", "osym-dhcp");
  run("ip", "-n", "osym-dhcp", "addr", "add", "10.77.0.1/24", "dev", "server0");
  run("ip", "-n", "osym-dhcp", "link", "set", "server0", "up");
  run("ip", "link", "set", "client0", "up");
  setSysctl("net.ipv4.conf.client0.rp_filter", rpFilter);
  const server = new Deno.Command("ip", {
    args: ["netns", "exec", "osym-dhcp", "python3", "-c", SERVER],
    stdout: "piped",
  }).spawn();
  const greeting = server.stdout.getReader();
  await greeting.read();

  const libc = openLibc();
  const reactor = new Reactor(libc, (where, error) => assert.fail(`${where}: ${error}`));
  const running = reactor.run();
  const socket = new UdpSocket(libc, { port: 68, device: "client0" });
  const got: string[] = [];
  const registration = reactor.add(
    socket.fd,
    ["read"],
    () =>
      socket.drain((datagram, from) => {
        got.push(`${new TextDecoder().decode(datagram)} (${from.address}:${from.port})`);
      }),
  );
  try {
    for (let tries = 0; tries < 5 && got.length === 0; tries++) {
      assert.deepEqual(socket.send(new TextEncoder().encode("discover"), "255.255.255.255", 67), {
        ok: true,
      });
      await new Promise((resolve) => setTimeout(resolve, 200));
    }
    return got;
  } finally {
    registration.remove();
    socket.close();
    await reactor.close();
    await running;
    await greeting.cancel();
    server.kill("SIGKILL");
    await server.status;
    run("ip", "netns", "del", "osym-dhcp");
  }
}

kernelTest(
  "UdpSocket.drain() receives a broadcast reply on a link without an address",
  need,
  async () => {
    assert.equal((await exchange("0"))[0], "reply to discover from 0.0.0.0 (10.77.0.1:67)");
  },
  apart,
);

kernelTest(
  "UdpSocket.drain() gets nothing on a link without an address when rp_filter is on",
  need,
  async () => {
    assert.deepEqual(await exchange("1"), []);
  },
  apart,
);

kernelTest(
  "UdpSocket.send() answers ENETUNREACH without a route",
  need,
  () => {
    const socket = new UdpSocket(openLibc(), { port: 0 });
    const sent = socket.send(new Uint8Array(1), "192.0.2.1", 9);
    socket.close();
    assert.deepEqual(sent, { ok: false, error: "ENETUNREACH", text: null });
  },
  apart,
);

kernelTest("UdpSocket.drain() takes at most what is there", () => null, async () => {
  const libc = openLibc();
  const receiver = new UdpSocket(libc, { port: 45_871, address: "127.0.0.1" });
  const sender = new UdpSocket(libc, { port: 0 });
  const got: number[] = [];
  for (let index = 0; index < 3; index++) {
    sender.send(new Uint8Array([index]), "127.0.0.1", 45_871);
  }
  sender.send(new Uint8Array(4000), "127.0.0.1", 45_871);
  await until(() => {
    receiver.drain((datagram) => got.push(datagram[0] ?? -1));
    return receiver.truncated === 1;
  });
  receiver.close();
  sender.close();
  assert.deepEqual(got, [0, 1, 2]);
});
