/**
 * The network against a real kernel and a real DHCP server (BusyBox udhcpd), on a pair of links
 * between two namespaces.
 */
import assert from "node:assert/strict";
import { openLibc } from "../../src/kernel/libc.ts";
import { Reactor } from "../../src/kernel/reactor.ts";
import { Rtnl } from "../../src/kernel/rtnetlink.ts";
import { openDhcpPort } from "../../src/net/dhcp_port.ts";
import { Network } from "../../src/net/network.ts";
import { ResolvConf } from "../../src/net/resolv_conf.ts";
import { all, capability, kernelTest, program, unshareable, until } from "./harness.ts";

const apart = { module: import.meta.url, unshare: ["--net", "--mount"] };
const need = all(
  capability("CAP_NET_ADMIN"),
  capability("CAP_NET_RAW"),
  unshareable("--net", "--mount"),
  program("ip"),
  program("busybox"),
);

const peer = "osym-udhcpd";
/** Short, so that a whole life of a lease passes in seconds: T1 after 3 s, its end after 6 s. */
const leaseS = 6;

function run(command: string, ...args: string[]): string {
  const { success, stdout, stderr } = new Deno.Command(command, { args }).outputSync();
  assert.ok(success, `${command} ${args.join(" ")}: ${new TextDecoder().decode(stderr)}`);
  return new TextDecoder().decode(stdout);
}

/** A server on the other end, leasing from one address to another. */
function serve(directory: string, range: { start: string; end: string }): Deno.ChildProcess {
  const config = `${directory}/udhcpd.conf`;
  Deno.writeTextFileSync(`${directory}/leases`, "");
  Deno.writeTextFileSync(
    config,
    `interface server0
start ${range.start}
end ${range.end}
min_lease ${leaseS}
lease_file ${directory}/leases
pidfile ${directory}/udhcpd.pid
option lease ${leaseS}
option subnet 255.255.255.0
option router 10.77.0.1
option dns 10.77.0.53 10.77.0.54
`,
  );
  return new Deno.Command("ip", {
    // -a: do not wait two seconds to see whether somebody else has the address.
    args: ["netns", "exec", peer, "busybox", "udhcpd", "-f", "-a", "50", config],
    stdout: "null",
    stderr: "null",
  }).spawn();
}

interface World {
  readonly network: Network;
  readonly told: string[];
  readonly parts: Map<string, string>;
  readonly directory: string;
  /** Whether the client's link has this address now, as ip(8) sees it. */
  has(address: string): boolean;
}

async function world(ip: string | null, test: (world: World) => Promise<void>): Promise<void> {
  run("ip", "netns", "add", peer);
  run("ip", "link", "add", "client0", "type", "veth", "peer", "name", "server0");
  run("ip", "link", "set", "server0", "netns", peer);
  run("ip", "-n", peer, "addr", "add", "10.77.0.1/24", "dev", "server0");
  run("ip", "-n", peer, "link", "set", "server0", "up");

  const directory = await Deno.makeTempDir();
  const faults: string[] = [];
  const report = (where: string, error: unknown) => void faults.push(`${where}: ${error}`);
  const libc = openLibc();
  const reactor = new Reactor(libc, report);
  const running = reactor.run();
  const rtnl = new Rtnl(libc, reactor, report);
  const resolvConf = new ResolvConf(`${directory}/resolv.conf`);
  const told: string[] = [];
  const parts = new Map<string, string>();
  const network = new Network({
    rtnl,
    openPort: ({ name }) => openDhcpPort(libc, reactor, name),
    timers: {
      now: () => performance.now(),
      after: (ms, callback) => {
        const timer = setTimeout(callback, ms);
        return () => clearTimeout(timer);
      },
    },
    random: Math.random,
    hostname: "osymbiote",
    ip,
    resolvConf: (servers) => resolvConf.write(servers),
    notify: (type, data) => told.push("reason" in data ? `${type} ${data.reason}` : type),
    degraded: (part, reason) => parts.set(part, reason),
    recovered: (part) => parts.delete(part),
    report,
    manages: (link) => link.name === "client0",
  });
  try {
    await network.start();
    await test({
      network,
      told,
      parts,
      directory,
      has: (address) =>
        run("ip", "-4", "addr", "show", "dev", "client0").includes(` ${address}/24`),
    });
    assert.deepEqual(faults, []);
  } finally {
    await network.stop();
    rtnl.close();
    await reactor.close();
    await running;
    await Deno.remove(directory, { recursive: true });
    run("ip", "netns", "del", peer);
  }
}

async function end(server: Deno.ChildProcess): Promise<void> {
  server.kill("SIGKILL");
  await server.status;
}

kernelTest(
  "Network lives through the life of a lease with a real server",
  need,
  async () => {
    await world(null, async ({ network, told, has, directory }) => {
      const count = (type: string) => told.filter((line) => line.startsWith(type)).length;
      let server = serve(directory, { start: "10.77.0.20", end: "10.77.0.29" });
      await until(() => network.leases().length === 1, 10_000);
      const [lease] = network.leases();
      assert.ok(lease !== undefined);
      assert.match(lease.address, /^10\.77\.0\.2\d$/);
      assert.deepEqual(
        { ...lease, address: "" },
        {
          link: "client0",
          address: "",
          prefix: 24,
          router: "10.77.0.1",
          dns: ["10.77.0.53", "10.77.0.54"],
          server: "10.77.0.1",
          lease_s: leaseS,
          t1_s: leaseS / 2,
          t2_s: leaseS * 0.875,
        },
      );
      assert.ok(has(lease.address));
      assert.match(
        run("ip", "-4", "route", "show", "default"),
        new RegExp(`default via 10.77.0.1 dev client0 .*src ${lease.address} metric 100`),
      );
      await until(() =>
        Deno.readTextFileSync(`${directory}/resolv.conf`).includes("nameserver 10.77.0.54\n")
      );
      assert.match(run("ip", "-4", "addr", "show", "lo"), /inet 127\.0\.0\.1/, "lo is up");

      // On request, and by itself at T1.
      const renewed = await network.renew("client0");
      assert.equal(renewed.ok && renewed.lease.address, lease.address);
      const before = count("addr.renewed");
      await until(() => count("addr.renewed") > before, leaseS * 1000);

      // A cable that comes back: INIT-REBOOT.
      const cables = count("addr.renewed");
      run("ip", "-n", peer, "link", "set", "server0", "down");
      await new Promise((resolve) => setTimeout(resolve, 200));
      run("ip", "-n", peer, "link", "set", "server0", "up");
      await until(() => count("addr.renewed") > cables, 5000);

      // A link that was taken down and up: the kernel flushed its routes.
      const flushed = count("addr.renewed");
      run("ip", "link", "set", "client0", "down");
      await new Promise((resolve) => setTimeout(resolve, 200));
      run("ip", "link", "set", "client0", "up");
      await until(() => count("addr.renewed") > flushed, 5000);
      assert.match(run("ip", "-4", "route", "show", "default"), /default via 10\.77\.0\.1/);
      assert.equal(count("addr.lease_lost"), 0);

      // A server that falls silent: the lease runs out, and the address with it.
      await end(server);
      await until(() => count("addr.lease_lost") === 1, (leaseS + 2) * 1000);
      assert.ok(told.includes("addr.lease_lost expired"));
      await until(() => !has(lease.address));
      assert.equal(run("ip", "-4", "route", "show", "default"), "");

      // Another one gives another address.
      server = serve(directory, { start: "10.77.0.40", end: "10.77.0.49" });
      await until(() => network.leases().length === 1, 15_000);
      const next = network.leases()[0]!.address;
      assert.match(next, /^10\.77\.0\.4\d$/);
      assert.ok(has(next) && !has(lease.address));
      await network.stop();
      assert.ok(!has(next), "given back");
      assert.ok(told.includes("addr.lease_lost released"));
      await end(server);
    });
  },
  apart,
);

kernelTest(
  "Network puts the static address of the command line on the link",
  need,
  async () => {
    await world("10.77.0.9/24,gw=10.77.0.1,dns=10.77.0.53", async ({ network, has, parts }) => {
      await until(() => network.fault === null);
      assert.ok(has("10.77.0.9"));
      assert.match(run("ip", "-4", "route", "show", "default"), /via 10\.77\.0\.1 .*metric 100/);
      run("ip", "netns", "exec", peer, "busybox", "ping", "-c", "1", "10.77.0.9");
      run("ip", "link", "set", "client0", "down");
      await new Promise((resolve) => setTimeout(resolve, 100));
      run("ip", "link", "set", "client0", "up");
      await until(() => run("ip", "-4", "route", "show", "default") !== "");
      assert.deepEqual([...parts], []);
    });
  },
  apart,
);

kernelTest(
  "Network says that no server answers",
  need,
  async () => {
    await world(null, async ({ network, parts }) => {
      await until(() => parts.has("network"), 7000);
      assert.match(parts.get("network")!, /^no lease yet on client0: no usable offer within/);
      assert.notEqual(network.fault, null);
    });
  },
  apart,
);
