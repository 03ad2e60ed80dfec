/**
 * Who may talk to the machine, and that its credential is nowhere it should not be.
 *
 * What `./run.sh` itself shows of it is headless_test.ts.
 */

import assert from "node:assert/strict";
import { routes } from "../../src/http/routes/index.ts";
import {
  endsWithoutFault,
  eventSince,
  head,
  history,
  portOf,
  rawExchange,
  rawGet,
  sharedGuest,
} from "./shared.ts";

const guest = sharedGuest();

Deno.test("every route refuses a request without a credential, and says so as a problem", async () => {
  const protectedRoutes = routes.filter((route) => route.scope !== null);
  assert.ok(protectedRoutes.length > 20);
  for (const { method, path } of protectedRoutes) {
    const url = (await guest()).url + path.replace(":name", "x");
    const answer = await fetch(url, { method });
    assert.equal(answer.status, 401, `${method} ${path}`);
    assert.equal(answer.headers.get("content-type"), "application/problem+json");
    assert.match(answer.headers.get("www-authenticate") ?? "", /^Bearer/);
    const problem = await answer.json() as Record<string, unknown>;
    assert.equal(problem.status, 401);
    assert.equal(problem.title, "Unauthorized");
  }
});

Deno.test("a wrong, malformed or misplaced credential is refused and each refusal is an event", async () => {
  const { url, token } = await guest();
  const since = await head(await guest());
  const wrong = token.startsWith("A") ? `B${token.slice(1)}` : `A${token.slice(1)}`;
  const credentials = [
    `Bearer ${wrong}`,
    `Bearer ${token}x`,
    "Bearer",
    `Basic ${btoa(`a:${token}`)}`,
  ];
  for (const authorization of credentials) {
    const answer = await fetch(`${url}/api/v1/status`, { headers: { authorization } });
    assert.equal(answer.status, 401, authorization.replaceAll(token, "TOKEN"));
    await answer.body?.cancel();
  }
  for (const query of [`token=${token}`, `ticket=${token}`, `access_token=${token}`]) {
    const answer = await fetch(`${url}/api/v1/status?${query}`);
    assert.equal(answer.status, 401, "a credential in the query");
    await answer.body?.cancel();
  }
  await eventSince(await guest(), since, "auth.refused", ({ data }) => data.status === 401);
  let refused = 0;
  await eventSince(await guest(), since, "auth.refused", ({ data }) => {
    refused += Number(data.count);
    return refused >= credentials.length;
  });
});

Deno.test("every GET of the interface answers with the credential", async () => {
  const plain = routes.filter(({ method, path, streams }) =>
    method === "GET" && streams === undefined && !path.includes(":") && path !== "/cgi-bin/api"
  );
  assert.ok(plain.length >= 12);
  for (const { path } of plain) {
    const body = await (await guest()).json(path);
    assert.equal(typeof body, "object", path);
  }
});

Deno.test("/healthz, /readyz and the page need no credential; nothing else is open", async () => {
  const { url } = await guest();
  const health = await fetch(`${url}/healthz`);
  assert.deepEqual(await health.json(), { status: "alive" });
  const ready = await (await fetch(`${url}/readyz`)).json() as { status: string };
  assert.equal(ready.status, "ready");
  const page = await fetch(`${url}/`);
  assert.equal(page.status, 200);
  assert.match(page.headers.get("content-type") ?? "", /^text\/html/);
  const html = await page.text();
  for (const [, path] of html.matchAll(/(?:src|href)="(\/?[\w./-]+)"/g)) {
    const asset = await fetch(new URL(path ?? "", `${url}/`));
    assert.equal(asset.status, 200, path);
    assert.ok((await asset.bytes()).length > 100, path);
  }
  const open = routes.filter((route) => route.scope === null).map((route) => route.path);
  assert.deepEqual(open.sort(), ["/healthz", "/readyz"]);
  for (const path of ["/osym/boot.js", "/boot.js", "/../../etc/passwd", "/%2e%2e/etc/passwd"]) {
    const answer = await fetch(url + path);
    assert.equal(answer.status, 404, path);
    await answer.body?.cancel();
  }
});

Deno.test("a Host that is not on the list is refused, whatever its credential", async () => {
  const { token } = await guest();
  const port = portOf(await guest());
  const authorization = `Authorization: Bearer ${token}`;
  const own = await rawExchange(
    port,
    rawGet("/api/v1/status", [`Host: localhost:${port}`, authorization]),
  );
  assert.equal(own.status, 200, "by a listed name");
  for (const host of ["evil.example", `evil.example:${port}`, "10.0.2.15", "localhost:1", ""]) {
    const request = rawGet("/api/v1/status", [`Host: ${host}`, authorization]);
    const answer = await rawExchange(port, request);
    assert.equal(answer.status, 421, `Host: ${host}`);
    assert.match(answer.text, /application\/problem\+json/);
  }
  const page = await rawExchange(port, rawGet("/", ["Host: evil.example"]));
  assert.equal(page.status, 421, "the page too");
});

Deno.test("an Origin that is not on the list is refused, and only allowed ones get CORS headers", async () => {
  const { token } = await guest();
  const port = portOf(await guest());
  const base = [`Host: localhost:${port}`, `Authorization: Bearer ${token}`];
  const allowed = [`http://localhost:${port}`, `http://127.0.0.1:${port}`];
  for (const origin of allowed) {
    const answer = await rawExchange(
      port,
      rawGet("/api/v1/status", [...base, `Origin: ${origin}`]),
    );
    assert.equal(answer.status, 200, origin);
    assert.equal(header(answer.text, "access-control-allow-origin"), origin);
  }
  const foreign = ["https://evil.example", "null", "http://localhost", `https://localhost:${port}`];
  for (const origin of foreign) {
    for (const path of ["/api/v1/status", "/cgi-bin/api?action=status", "/healthz"]) {
      const answer = await rawExchange(port, rawGet(path, [...base, `Origin: ${origin}`]));
      assert.equal(answer.status, 403, `${origin} ${path}`);
      assert.equal(header(answer.text, "access-control-allow-origin"), null);
    }
  }
  const plain = await rawExchange(port, rawGet("/api/v1/status", base));
  assert.equal(plain.status, 200);
  assert.equal(header(plain.text, "access-control-allow-origin"), null);
});

Deno.test("a preflight is answered for allowed origins only", async () => {
  const port = portOf(await guest());
  const preflight = (origin: string) =>
    rawExchange(
      port,
      rawGet("/api/v1/exec", [
        `Host: localhost:${port}`,
        `Origin: ${origin}`,
        "Access-Control-Request-Method: POST",
        "Access-Control-Request-Headers: authorization, content-type",
      ]).replace("GET", "OPTIONS"),
    );
  const own = await preflight(`http://localhost:${port}`);
  assert.equal(own.status, 204);
  assert.match(header(own.text, "access-control-allow-headers") ?? "", /authorization/);
  assert.match(header(own.text, "access-control-allow-methods") ?? "", /POST/);
  const foreign = await preflight("https://evil.example");
  assert.equal(foreign.status, 403);
  assert.equal(header(foreign.text, "access-control-allow-origin"), null);
});

Deno.test("the former interface /cgi-bin/api answers its five actions", async () => {
  const machine = await guest();
  const ask = (query: string) => machine.json(`/cgi-bin/api?${query}`);
  const status = await ask("action=status") as {
    hostname: string;
    memory: Record<string, number>;
    agent: { pid: number; state: string };
  };
  assert.equal(status.hostname, "osymbiote");
  assert.equal(status.agent.pid, 1);
  assert.ok((status.memory.total ?? 0) > 400_000, "in kB");
  const { processes } = await ask("action=processes") as {
    processes: { pid: number; name: string; user: string }[];
  };
  assert.ok(processes.some(({ pid, user }) => pid === 1 && user === "root"));
  const { interfaces } = await ask("action=network") as {
    interfaces: { name: string; state: string; addresses: string[] }[];
  };
  assert.ok(interfaces.some(({ addresses }) => addresses.includes("10.0.2.15/24")));
  const memory = await ask("action=memory") as Record<string, number>;
  assert.ok((memory.MemTotal ?? 0) > 400_000);
  const command = encodeURIComponent("echo one; echo two >&2; exit 3");
  const exec = await ask(`action=exec&cmd=${command}`);
  assert.deepEqual(exec, {
    command: "echo one; echo two >&2; exit 3",
    output: "one\ntwo\n",
    exit_code: 3,
  });
  const unknown = await machine.api("/cgi-bin/api?action=format");
  assert.equal(unknown.status, 400);
  await unknown.body?.cancel();
});

Deno.test("openapi.json describes every route there is", async () => {
  const document = await (await guest()).json("/api/v1/openapi.json") as {
    openapi: string;
    paths: Record<string, Record<string, unknown>>;
  };
  assert.match(document.openapi, /^3\.1\./);
  for (const { method, path } of routes) {
    const name = path.replaceAll(/:(\w+)/g, "{$1}");
    assert.ok(document.paths[name]?.[method.toLowerCase()], `${method} ${name}`);
  }
});

Deno.test("the forwarded port is bound to 127.0.0.1 alone", async () => {
  const port = portOf(await guest()).toString(16).toUpperCase().padStart(4, "0");
  const listening: string[] = [];
  for (const table of ["tcp", "tcp6"]) {
    const text = await Deno.readTextFile(`/proc/net/${table}`);
    for (const line of text.split("\n").slice(1)) {
      const [, local = "", , state] = line.trim().split(/\s+/);
      if (local.endsWith(`:${port}`) && state === "0A") listening.push(local);
    }
  }
  assert.deepEqual(listening, [`0100007F:${port}`]);
});

Deno.test("the token is in no process, command line, log or event, on the host or in the guest", async () => {
  const machine = await guest();
  const { token } = machine;
  await assertNotOnHost(token);
  // Collected there and searched here: the token must not enter the guest by this test either.
  const places: Record<string, string> = {
    "processes of the guest": await machine.shell(
      "cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null || true",
    ),
    "kernel command line": await machine.shell("cat /proc/cmdline"),
    "kernel log": await machine.shell("dmesg"),
    "launch record": await machine.shell(
      "cat /sys/firmware/qemu_fw_cfg/by_name/opt/org.osymbiote/launch/raw",
    ),
    "files of /run, /tmp and /data": await machine.shell(
      "find /run /tmp /data -type f -exec cat {} + 2>/dev/null",
    ),
    "serial console": machine.console.text,
    "event port": JSON.stringify(machine.events()),
    "events": JSON.stringify((await history(machine, ">")).items),
    "status": JSON.stringify(await machine.json("/api/v1/status")),
  };
  assert.match(places["kernel command line"] ?? "", /init=\/bin\/deno|rdinit/);
  assert.match(places["launch record"] ?? "", /"token_sha256":"[0-9a-f]{64}"/);
  assert.match(places["kernel log"] ?? "", /Linux version/);
  for (const [place, text] of Object.entries(places)) {
    assert.ok(text.length > 0 || place === "serial console", `${place} was read`);
    assert.equal(text.includes(token), false, place);
  }
});

endsWithoutFault("access", guest);

function header(answer: string, name: string): string | null {
  return new RegExp(`^${name}: (.*)\r$`, "im").exec(answer.split("\r\n\r\n")[0] ?? "")?.[1] ?? null;
}

/** Looks through every process of this host. The token is in the memory of some, in no argument. */
async function assertNotOnHost(token: string): Promise<void> {
  const bytes = new TextEncoder().encode(token);
  let read = 0;
  for await (const { name } of Deno.readDir("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    for (const file of ["cmdline", "environ"]) {
      const content = await readProcess(`/proc/${name}/${file}`);
      if (content === null) continue;
      read++;
      assert.equal(indexOf(content, bytes), -1, `/proc/${name}/${file}`);
    }
  }
  assert.ok(read > 4, "processes were looked at");
}

async function readProcess(path: string): Promise<Uint8Array | null> {
  try {
    return await Deno.readFile(path);
  } catch {
    // Ended meanwhile, or another user's: this test runs as whoever started the guest.
    return null;
  }
}

function indexOf(haystack: Uint8Array, needle: Uint8Array): number {
  return new TextDecoder("latin1").decode(haystack).indexOf(
    new TextDecoder("latin1").decode(needle),
  );
}
