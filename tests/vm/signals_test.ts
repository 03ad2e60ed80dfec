/**
 * No signal ends PID 1 or opens a door in it. Signals that mean "power off" are in power_test.ts.
 */

import assert from "node:assert/strict";
import { endsWithoutFault, eventSince, head, sharedGuest, sleep } from "./shared.ts";

const guest = sharedGuest();

const SIGKILL = 9;
const SIGUSR2 = 12;
const SIGPWR = 30;

async function bootId(): Promise<string> {
  const { boot } = await (await guest()).json<{ boot: { id: string } }>("/api/v1/status");
  return boot.id;
}

/** TCP ports something in the guest listens on. */
async function listeningPorts(): Promise<number[]> {
  const tables = await (await guest()).shell("cat /proc/net/tcp; cat /proc/net/tcp6 || true");
  return tables.split("\n").flatMap((line) => {
    const [, local = "", , state] = line.trim().split(/\s+/);
    return state === "0A" ? [parseInt(local.split(":").at(-1) ?? "", 16)] : [];
  });
}

for (const name of ["TERM", "INT", "HUP"]) {
  Deno.test(`kill -${name} 1 is an event and changes nothing`, async () => {
    const machine = await guest();
    const boot = await bootId();
    const since = await head(machine);
    await machine.shell(`kill -${name} 1`);
    const isIt = ({ data }: { data: Record<string, unknown> }) => data.signal === `SIG${name}`;
    await eventSince(machine, since, "system.signalled", isIt);
    // The runtime's own handler would have ended the process within half a second.
    await sleep(1500);
    assert.equal(await bootId(), boot);
  });
}

Deno.test("kill -USR1 1 does nothing and opens no inspector", async () => {
  const machine = await guest();
  const boot = await bootId();
  // The runtime arms its inspector some time after its loop first rests: again and again.
  for (let i = 0; i < 4; i++) {
    await machine.shell("kill -USR1 1");
    await sleep(1500);
  }
  assert.equal(await bootId(), boot);
  assert.deepEqual(await listeningPorts(), [80]);
});

Deno.test("signals that were pending together leave PID 1 running", async () => {
  const machine = await guest();
  const boot = await bootId();
  const since = await head(machine);
  // Frozen, PID 1 takes none of them; thawed, all at once. Two have handlers on a small stack, which
  // the runtime takes away with the first of each: no test before this may send them.
  const freeze = "/sys/fs/cgroup/core/cgroup.freeze";
  const names = ["HUP", "INT", "USR1", "TERM", "CHLD", "BUS", "SEGV"];
  await machine.shell(
    `echo 1 > ${freeze}; kill -${names.join(" 1; kill -")} 1; usleep 200000; echo 0 > ${freeze}`,
  );
  const heard = new Set<unknown>();
  await eventSince(machine, since, "system.signalled", ({ data }) => {
    heard.add(data.signal);
    return ["SIGHUP", "SIGINT", "SIGTERM"].every((name) => heard.has(name));
  });
  assert.equal(await bootId(), boot);
});

Deno.test("every other signal leaves PID 1 running, SIGKILL included", async () => {
  const machine = await guest();
  const boot = await bootId();
  const numbers = Array.from({ length: 64 }, (_, index) => index + 1)
    // 32 and 33 belong to the C library and cannot be sent by name.
    .filter((number) => ![SIGUSR2, SIGPWR, 32, 33].includes(number));
  assert.ok(numbers.includes(SIGKILL));
  await machine.shell(numbers.map((number) => `kill -${number} 1`).join("; "));
  await sleep(1500);
  assert.equal(await bootId(), boot);
  // D while it reads a page of its program in; T would be stopped.
  assert.match(await machine.shell("cat /proc/1/status"), /^State:\s+[RSD]/m);
  assert.deepEqual(await listeningPorts(), [80]);
});

endsWithoutFault("signals", guest);
