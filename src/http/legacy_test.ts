import assert from "node:assert/strict";
import { bench, execResult, otherOrigin, viewerToken } from "./testing.ts";

const get = async (query: string, headers: Record<string, string | null> = {}) => {
  const made = await bench();
  const response = await made.ask(`/cgi-bin/api?${query}`, { headers });
  return { ...made, response, body: await response.json() };
};

/** What clients of the former interface read; change nothing here. */
const golden: [string, unknown][] = [
  ["action=status", {
    hostname: "osymbiote",
    kernel: "6.12.0",
    uptime: 12,
    load: [0.1, 0.2, 0.3],
    memory: { total: 524_288, used: 114_688, free: 307_200, available: 409_600 },
    agent: { name: "osymbiote", version: "1.0.0", pid: 1, state: "degraded" },
  }],
  ["action=processes", {
    processes: [
      { pid: 1, ppid: 0, user: "root", state: "S", name: "deno", rss: 40_960 },
      { pid: 2, ppid: 0, user: "root", state: "S", name: "kthreadd", rss: 0 },
      { pid: 7, ppid: 1, user: "900", state: "S", name: "mind", rss: 30_720 },
    ],
  }],
  ["action=network", {
    interfaces: [{
      name: "eth0",
      state: "up",
      mac: "52:54:00:12:34:56",
      addresses: ["10.0.2.15/24"],
      rx_bytes: 1_000,
      tx_bytes: 2_000,
    }],
    routes: [{ destination: "0.0.0.0/0", gateway: "10.0.2.2", interface: "eth0" }],
    dns: ["10.0.2.3"],
  }],
  ["action=memory", { MemTotal: 524_288, MemFree: 307_200 }],
  ["action=exec&cmd=ls", { command: "ls", output: "out\nerr\n", exit_code: 0 }],
];

for (const [query, expected] of golden) {
  Deno.test(`legacy ${query} answers the keys its clients know`, async () => {
    const { response, body } = await get(query, { origin: otherOrigin });
    assert.equal(response.status, 200);
    assert.deepEqual(body, expected);
    assert.equal(response.headers.get("content-type"), "application/json");
    assert.equal(response.headers.get("access-control-allow-origin"), otherOrigin);
  });
}

Deno.test("legacy exec goes through the same act as /api/v1/exec", async () => {
  const { machine } = await get("action=exec&cmd=echo%20a%20%7C%20wc");
  assert.deepEqual(machine.acts.map(({ kind, args }) => [kind, args]), [
    ["exec.run", { argv: ["/bin/sh", "-c", "echo a | wc"], timeout_ms: 30_000 }],
  ]);
});

Deno.test("legacy exec tells in one number how the command ended", async () => {
  const { ask, machine } = await bench();
  const code = async (result: Partial<typeof execResult>) => {
    machine.outcome = { status: "done", action: "a", result: { ...execResult, ...result } };
    return (await (await ask("/cgi-bin/api?action=exec&cmd=x")).json()).exit_code;
  };
  assert.equal(await code({ code: 3 }), 3);
  assert.equal(await code({ code: null, signal: "SIGKILL" }), 137);
  assert.equal(await code({ code: null, signal: "SIGKILL", timed_out: true }), 124);
});

Deno.test("legacy wants the credential and the scope of what it is asked for", async () => {
  assert.equal((await get("action=status", { authorization: null })).response.status, 401);
  const headers = { authorization: `Bearer ${viewerToken}` };
  assert.equal((await get("action=memory", headers)).response.status, 200);
  const { response, body, machine } = await get("action=exec&cmd=id", headers);
  assert.deepEqual([response.status, body.scope], [403, "shell:exec:exec"]);
  assert.deepEqual(machine.acts, []);
});

Deno.test("legacy refuses what it does not know with 400", async () => {
  for (
    const query of ["", "action=", "action=reboot", "action=toString", "action=exec", "cmd=ls"]
  ) {
    assert.equal((await get(query)).response.status, 400, query);
  }
});
