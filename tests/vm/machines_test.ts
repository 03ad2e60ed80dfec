/**
 * Machine types, network cards and addresses other than the usual: each boots, is reached and ends
 * in order.
 */

import assert from "node:assert/strict";
import type { NetworkState } from "../../bus/shapes.ts";
import { Guest, type GuestOptions } from "./guest.ts";
import { eventually, faults } from "./shared.ts";

const WAIT_MS = 60_000;

/** Boots a machine, lets `judge` look at it, and expects it to end in order. */
async function withMachine(
  options: GuestOptions,
  judge: (guest: Guest) => Promise<void>,
): Promise<void> {
  await using guest = await Guest.boot({ readyTimeoutMs: 120_000, ...options });
  await guest.waitEvent("boot.phase", ({ data }) => data.name === "selftest", WAIT_MS);
  await judge(guest);
  assert.deepEqual(await faults(guest), []);
  await guest.post("/api/v1/power/poweroff", {});
  const outcome = await guest.ends();
  assert.equal(outcome.last.kind, "clean");
  assert.equal(guest.events("system.stopped").at(-1)?.data.clean, true);
}

function network(guest: Guest): Promise<NetworkState> {
  return guest.json<NetworkState>("/api/v1/network");
}

/** Link name → the driver of its card. */
async function drivers(guest: Guest): Promise<Record<string, string>> {
  const text = await guest.shell(
    "for l in /sys/class/net/eth*; do echo ${l##*/} $(basename $(readlink $l/device/driver)); done",
  );
  return Object.fromEntries(text.trim().split("\n").map((line) => line.split(" ")));
}

Deno.test("microvm boots to ready, with its data disk, and powers off", () =>
  withMachine({ machine: "microvm" }, async (guest) => {
    const { boot, degraded } = await guest.json<{
      boot: { phases: { name: string; ok: boolean }[] };
      degraded: unknown[];
    }>("/api/v1/status");
    assert.deepEqual(boot.phases.filter(({ ok }) => !ok), []);
    assert.deepEqual(degraded, []);
    assert.match(await guest.shell("cat /proc/mounts"), /^\/dev\/vd\w \/data ext4 rw/m);
    assert.equal(await guest.shell("ls /sys/bus/pci/devices 2>/dev/null || true"), "");
    assert.deepEqual(await drivers(guest), { eth0: "virtio_net" });
  }));

Deno.test("q35 with an e1000 card is reached through it", () =>
  withMachine({ machine: "q35", nic: "e1000" }, async (guest) => {
    assert.deepEqual(await drivers(guest), { eth0: "e1000" });
    const { links, leases } = await network(guest);
    assert.deepEqual(leases.map(({ link, address }) => [link, address]), [["eth0", "10.0.2.15"]]);
    assert.ok(links.find(({ link }) => link === "eth0")?.carrier);
  }));

Deno.test("q35 with both cards drives both, each with a lease of its own", () =>
  withMachine({ machine: "q35", nic: "both" }, async (guest) => {
    const cards = await drivers(guest);
    assert.deepEqual(Object.values(cards).sort(), ["e1000", "virtio_net"]);
    const leases = await eventually("both leases", async () => {
      const state = await network(guest);
      return state.leases.length === 2 && state.leases;
    }, WAIT_MS);
    assert.deepEqual(leases.map(({ link }) => link).sort(), Object.keys(cards).sort());
    assert.ok((await guest.api("/healthz")).ok);
  }));

Deno.test("pc boots the same system", () =>
  withMachine({ machine: "pc" }, async (guest) => {
    const { leases } = await network(guest);
    assert.equal(leases.length, 1);
    assert.match(await guest.shell("cat /proc/mounts"), /^\/dev\/vd\w \/data ext4 rw/m);
  }));

Deno.test("osym.ip= and osym.hostname= are taken: no lease is asked for", () =>
  withMachine({
    append: ["osym.ip=10.0.2.15/24,gw=10.0.2.2,dns=10.0.2.3", "osym.hostname=static-one"],
  }, async (guest) => {
    const state = await network(guest);
    assert.equal(state.hostname, "static-one");
    assert.equal((await guest.shell("hostname")).trim(), "static-one");
    assert.deepEqual(state.leases, []);
    assert.deepEqual(state.dns, ["10.0.2.3"]);
    assert.match(await guest.shell("cat /etc/resolv.conf"), /^nameserver 10\.0\.2\.3$/m);
    assert.ok(state.routes.some(({ gateway }) => gateway === "10.0.2.2"));
    const eth0 = state.links.find(({ link }) => link === "eth0");
    assert.ok(
      eth0?.addresses.some(({ address, prefix }) => `${address}/${prefix}` === "10.0.2.15/24"),
    );
    assert.deepEqual(guest.events("addr.lease_requested"), []);
    assert.deepEqual(guest.events("addr.leased"), []);
  }));

Deno.test("parameters that can not be taken are told and do not stop the boot", () =>
  withMachine(
    { append: ["osym.hostname=no_name!", "osym.nonsense=1", "osym.grace_ms=x"] },
    async (guest) => {
      const { degraded } = await guest.json<{ degraded: { part: string; reason: string }[] }>(
        "/api/v1/status",
      );
      assert.deepEqual(
        degraded.map(({ part }) => part).filter((part) => part.startsWith("config.")).sort(),
        ["config.osym.grace_ms", "config.osym.hostname", "config.osym.nonsense"],
      );
      assert.equal((await network(guest)).hostname, "osymbiote");
    },
  ));
