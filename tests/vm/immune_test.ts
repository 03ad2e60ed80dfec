/**
 * What the machine heals by itself: services that end, a lease that is lost, and what it does not
 * try to heal because trying can not help.
 */

import assert from "node:assert/strict";
import type { ServiceState } from "../../bus/shapes.ts";
import type { Guest } from "./guest.ts";
import {
  type ApiEvent,
  endsWithoutFault,
  eventually,
  head,
  history,
  sharedGuest,
  sleep,
} from "./shared.ts";

const guest = sharedGuest({ relaunch: true });

const WAIT_MS = 60_000;

function declare(machine: Guest, name: string, argv: string[], more = {}): Promise<ServiceState> {
  return machine.post<ServiceState>("/api/v1/services", { name, argv, ...more });
}

function service(machine: Guest, name: string): Promise<ServiceState> {
  return machine.json<ServiceState>(`/api/v1/services/${name}`);
}

async function remove(machine: Guest, name: string): Promise<void> {
  const answer = await machine.api(`/api/v1/services/${name}`, { method: "DELETE" });
  await answer.body?.cancel();
  assert.equal(answer.status, 200);
}

/** What happened to one service, oldest first. */
async function told(machine: Guest, name: string, since: string): Promise<ApiEvent[]> {
  const { items } = await history(machine, "service.*", since);
  return items.filter((event) => event.data.name === name);
}

function types(events: readonly ApiEvent[]): string[] {
  return events.map(({ type }) => type.replace("service.", ""));
}

Deno.test("a killed service comes back with another pid, counted, each event naming its cause", async () => {
  const machine = await guest();
  const since = await head(machine);
  const first = await declare(machine, "sleeper", ["/bin/sleep", "100000"]);
  assert.equal(first.state, "running");
  assert.ok(first.pid !== null && first.restarts === 0);
  await machine.shell(`kill -KILL ${first.pid}`);
  const second = await eventually("its second life", async () => {
    const state = await service(machine, "sleeper");
    return state.restarts === 1 && state.state === "running" && state;
  }, WAIT_MS);
  assert.ok(second.pid !== null && second.pid !== first.pid);
  assert.deepEqual(second.last_exit, { code: null, signal: "SIGKILL" });
  assert.match(await machine.shell(`cat /proc/${second.pid}/comm`), /^sleep$/m);

  const events = await told(machine, "sleeper", since);
  assert.deepEqual(types(events), ["declared", "started", "exited", "restarting", "started"]);
  for (let i = 1; i < events.length; i++) {
    assert.equal(events[i]?.cause, events[i - 1]?.sequence, `cause of ${events[i]?.type}`);
  }
  await remove(machine, "sleeper");
  const gone = await machine.api("/api/v1/services/sleeper");
  await gone.body?.cancel();
  assert.equal(gone.status, 404);
  assert.equal(await machine.shell(`ls -d /proc/${second.pid} 2>/dev/null || true`), "");
});

Deno.test("a service that ends at once is started again ever more slowly", async () => {
  const machine = await guest();
  const since = await head(machine);
  await declare(machine, "crasher", ["/bin/sh", "-c", "echo going; exit 3"]);
  const waits = await eventually("four restarts", async () => {
    const restarting = (await told(machine, "crasher", since))
      .filter(({ type }) => type === "service.restarting");
    return restarting.length >= 4 && restarting.map(({ data }) => Number(data.backoff_ms));
  }, WAIT_MS);
  // Each is twice the last, give or take the dice; never less.
  for (let i = 1; i < 4; i++) assert.ok(waits[i]! > waits[i - 1]! * 1.2, waits.join());
  const state = await service(machine, "crasher");
  assert.deepEqual(state.last_exit, { code: 3, signal: null });
  assert.ok(state.restarts >= 3);
  const { items: lines } = await history(machine, "service.output", since);
  assert.ok(lines.some(({ data }) => data.service === "crasher" && data.line === "going"));
  await remove(machine, "crasher");
  const { length } = await told(machine, "crasher", since);
  await sleep(3000);
  const after = types((await told(machine, "crasher", since)).slice(length));
  assert.deepEqual(after, [], "removed, it is not started again");
});

Deno.test("a program that is not there is given up at once, told apart from a crash", async () => {
  const machine = await guest();
  const since = await head(machine);
  const state = await declare(machine, "missing", ["/bin/no-such-program"]);
  assert.equal(state.state, "failed");
  assert.match(state.reason ?? "", /exec "\/bin\/no-such-program": ENOENT/);
  const refused = await declare(machine, "no-program", ["/etc/passwd"]);
  assert.equal(refused.state, "failed");
  assert.match(refused.reason ?? "", /EACCES/);
  await sleep(3000);
  assert.deepEqual(types(await told(machine, "missing", since)), ["declared", "failed"]);
  await remove(machine, "missing");
  await remove(machine, "no-program");
});

Deno.test("a service that is not to be restarted rests, and says whether it ended well", async () => {
  const machine = await guest();
  await declare(machine, "once", ["/bin/false"], { restart: "never" });
  await declare(machine, "done", ["/bin/true"], { restart: "on-failure" });
  for (const [name, rest] of [["once", "failed"], ["done", "stopped"]] as const) {
    const state = await eventually(`${name} to rest`, async () => {
      const now = await service(machine, name);
      return ["failed", "stopped"].includes(now.state) && now;
    }, WAIT_MS);
    assert.deepEqual([state.state, state.restarts], [rest, 0], name);
    await remove(machine, name);
  }
});

Deno.test("an address taken off the link is had back by a renewed lease", async () => {
  const machine = await guest();
  const mark = machine.mark();
  const { boot } = await machine.json<{ boot: { id: string } }>("/api/v1/status");
  // The answer would have to leave by the address that is gone: it is not waited for.
  const asked = machine.exec(["/bin/sh", "-c", "ip addr flush dev eth0"]).catch(() => null);
  const opened = await machine.waitEvent(
    "incident.opened",
    ({ data }) => /10\.0\.2\.15 was taken off eth0/.test(String(data.evidence)),
    WAIT_MS,
    mark,
  );
  const ofIt = (event: { data: Record<string, unknown> }) =>
    event.data.incident === opened.data.incident;
  const remedied = await machine.waitEvent("incident.remedied", ofIt, WAIT_MS, mark);
  assert.equal(remedied.data.remedy, "network.renew");
  await machine.waitEvent("incident.resolved", ofIt, WAIT_MS, mark);
  const order = machine.events("incident.").filter(ofIt).map(({ type }) => type);
  assert.equal(order.at(0), "incident.opened");
  assert.equal(order.at(-1), "incident.resolved");
  await asked;
  const status = await eventually(
    "the API to answer again",
    () => machine.json<{ boot: { id: string } }>("/api/v1/status"),
    WAIT_MS,
  );
  assert.equal(status.boot.id, boot.id);
  assert.match(await machine.shell("ip -4 addr show dev eth0"), /inet 10\.0\.2\.15\/24/);
  assert.match(await machine.shell("ip route"), /^default via 10\.0\.2\.2/m);
});

Deno.test("a declared service runs again after a reboot", async () => {
  const machine = await guest();
  await machine.waitEvent("boot.phase", ({ data }) => data.name === "data", WAIT_MS);
  const { boot: before } = await machine.json<{ boot: { id: string } }>("/api/v1/status");
  await declare(machine, "lasting", ["/bin/sleep", "200000"], { env: { A: "b c" } });
  const ready = machine.nextReady(120_000);
  await machine.post("/api/v1/power/reboot", {});
  await ready;
  const state = await eventually("the service of the boot before", async () => {
    const now = await service(machine, "lasting");
    return now.state === "running" && now;
  }, WAIT_MS);
  const { boot } = await machine.json<{ boot: { id: string } }>("/api/v1/status");
  assert.notEqual(boot.id, before.id);
  assert.deepEqual([state.argv, state.restarts], [["/bin/sleep", "200000"], 0]);
  assert.equal(
    await machine.shell(`tr '\\0' '\\n' < /proc/${state.pid}/environ | grep ^A=`),
    "A=b c\n",
  );
  await remove(machine, "lasting");
  assert.equal(await machine.shell("ls /data/services"), "");
});

endsWithoutFault("immune", guest);
