import assert from "node:assert/strict";
import fc from "fast-check";
import type { ActOutcome } from "../../bus/machine.ts";
import { allows, parseScope } from "../../bus/scopes.ts";
import { createApp } from "./app.ts";
import { route } from "./route.ts";
import { routes } from "./routes/index.ts";
import {
  type Ask,
  type Bench,
  bench,
  bootId,
  execResult,
  host,
  otherOrigin,
  principalOf,
  token,
  viewerToken,
} from "./testing.ts";

/** Asserts that a response is an RFC 9457 problem of `status` and answers its body. */
async function isProblem(response: Response, status: number): Promise<Record<string, unknown>> {
  const text = await response.text();
  assert.equal(response.status, status, text);
  assert.equal(response.headers.get("content-type"), "application/problem+json");
  const body = JSON.parse(text);
  assert.equal(body.type, "about:blank");
  assert.equal(body.status, status);
  assert.equal(typeof body.title, "string");
  assert.equal(typeof body.detail, "string");
  assert.doesNotMatch(text, /\bat \S+:\d+:\d+|file:\/\//, "a stack got out");
  return body;
}

/** A path with its parameters filled in. */
const concrete = (path: string) => path.replaceAll(/:([a-z]+)/g, "x");

Deno.test("routes declare scopes that parse, and only the two health checks have none", () => {
  const open: string[] = [];
  for (const { scope, path } of routes) {
    if (scope === null) open.push(path);
    const all = scope === null
      ? []
      : typeof scope === "string"
      ? [scope]
      : Object.values(scope.scopes);
    for (const text of all) {
      assert.equal(typeof parseScope(text), "object", text);
      assert.ok(allows(principalOf("admin").scopes, text), `the admin lacks ${text}`);
    }
  }
  assert.deepEqual(open.sort(), ["/healthz", "/readyz"]);
});

Deno.test("every route but the health checks answers 401 without a credential", async () => {
  const { ask, published } = await bench();
  for (const { method, path, scope } of routes) {
    if (scope === null) continue;
    for (const authorization of [null, "Bearer wrong", "Basic x"]) {
      const response = await ask(concrete(path), { method, headers: { authorization } });
      await isProblem(response, 401);
      assert.match(response.headers.get("www-authenticate")!, /^Bearer/);
    }
  }
  assert.ok(published("auth.refused").length > 0);
});

Deno.test("a role that lacks a route's scope gets 403 with its name, and the body stays unread", async () => {
  const { ask, machine } = await bench();
  const viewer = principalOf("viewer");
  let refused = 0;
  for (const { method, path, scope } of routes) {
    if (typeof scope !== "string" || allows(viewer.scopes, scope)) continue;
    const body = "{".repeat(100);
    const headers = { authorization: `Bearer ${viewerToken}` };
    const response = await ask(concrete(path), {
      method,
      headers,
      ...(method === "POST" ? { body } : {}),
    });
    assert.equal((await isProblem(response, 403)).scope, scope);
    refused++;
  }
  assert.ok(refused >= 8);
  assert.deepEqual(machine.acts, []);
});

Deno.test("a foreign Host gets 421 and a foreign Origin 403, whatever the path and credential", async () => {
  const { ask, published } = await bench();
  for (const path of ["/", "/healthz", "/api/v1/status", "/api/v1/stream", "/nothing"]) {
    await isProblem(await ask(path, { headers: { host: "evil.example" } }), 421);
    await isProblem(await ask(path, { headers: { origin: "https://evil.example" } }), 403);
  }
  const reasons = published("auth.refused").map(({ reason }) => reason);
  assert.deepEqual(new Set(reasons), new Set(["Host not on the list", "Origin not on the list"]));
});

Deno.test("an allowed origin gets CORS headers, its preflight too, and nobody else does", async () => {
  const { ask } = await bench();
  const own = await ask("/api/v1/status");
  assert.equal(own.headers.get("access-control-allow-origin"), null);
  const other = await ask("/api/v1/status", { headers: { origin: otherOrigin } });
  assert.equal(other.headers.get("access-control-allow-origin"), otherOrigin);
  assert.match(other.headers.get("vary")!, /Origin/);
  assert.equal(other.headers.get("access-control-allow-credentials"), null);
  const refused = await ask("/api/v1/status", {
    headers: { origin: otherOrigin, authorization: null },
  });
  assert.equal(refused.status, 401);
  assert.equal(refused.headers.get("access-control-allow-origin"), otherOrigin);
  const flight = (origin: string) =>
    ask("/api/v1/exec", {
      method: "OPTIONS",
      headers: { origin, authorization: null, "access-control-request-method": "POST" },
    });
  const allowed = await flight(otherOrigin);
  assert.equal(allowed.status, 204);
  assert.match(allowed.headers.get("access-control-allow-headers")!, /authorization/);
  await isProblem(await flight("https://evil.example"), 403);
});

Deno.test("every answer carries the security headers; data is never stored or framed", async () => {
  const { ask } = await bench();
  for (const path of ["/", "/api/v1/status", "/nothing", "/healthz"]) {
    const { headers } = await ask(path);
    assert.equal(headers.get("x-content-type-options"), "nosniff", path);
    assert.match(headers.get("content-security-policy")!, /frame-ancestors 'none'/);
    assert.match(headers.get("content-security-policy")!, /default-src '(self|none)'/);
    assert.equal(headers.get("cache-control"), path === "/" ? "no-cache" : "no-store");
  }
});

Deno.test("unknown paths get 404 and known ones with another method 405 with Allow", async () => {
  const { ask } = await bench();
  for (
    const path of ["/nothing", "/api/v1", "/api/v2/status", "/index.htm", "/api/v1/services/a/b"]
  ) {
    await isProblem(await ask(path), 404);
  }
  const wrong = await ask("/api/v1/status", { method: "POST", json: {} });
  await isProblem(wrong, 405);
  assert.equal(wrong.headers.get("allow"), "GET, HEAD");
  const both = await ask("/api/v1/services", { method: "DELETE" });
  assert.equal(both.headers.get("allow"), "GET, POST, HEAD");
  await isProblem(both, 405);
  await isProblem(await ask("/index.html", { method: "POST" }), 405);
  for (const path of ["/api/v1/stream", "/api/v1/events/stream"]) {
    assert.equal((await ask(path, { method: "HEAD" })).status, 405);
  }
  const head = await ask("/api/v1/status", { method: "HEAD" });
  assert.deepEqual([head.status, await head.text()], [200, ""]);
});

Deno.test("a body is refused with what is wrong with it: 413, 415, 400", async () => {
  const { ask, machine } = await bench();
  const send = (init: Ask) => ask("/api/v1/exec", { method: "POST", ...init });
  const type = { "content-type": "application/json" };
  await isProblem(await send({ body: "x".repeat(1 << 21), headers: type }), 413);
  const endless = new ReadableStream({
    pull: (controller) => controller.enqueue(new Uint8Array(1 << 16)),
  });
  await isProblem(await send({ body: endless, headers: type }), 413);
  await isProblem(await send({ body: "{}", headers: { "content-type": "text/plain" } }), 415);
  await isProblem(await send({ body: new Uint8Array([123, 125]) }), 415);
  const packed = { ...type, "content-encoding": "gzip" };
  await isProblem(await send({ body: "{}", headers: packed }), 415);
  const malformed = await isProblem(await send({ body: "{argv:", headers: type }), 400);
  assert.match(JSON.stringify(malformed.errors), /JSON/);
  await isProblem(await send({ body: new Uint8Array([0x22, 0xff, 0x22]), headers: type }), 400);
  await isProblem(await send({ headers: type }), 400);
  for (const json of [null, 1, "x", [], {}, { argv: [] }, { argv: "ls" }, { argv: [1] }]) {
    const { errors } = await isProblem(await send({ json }), 400);
    assert.ok((errors as unknown[]).length > 0);
  }
  const unknown = await isProblem(await send({ json: { argv: ["ls"], shell: true } }), 400);
  assert.deepEqual(unknown.errors, [{ field: "shell", expected: "no such field" }]);
  const none = await isProblem(
    await ask("/api/v1/power/poweroff", { method: "POST", json: { force: true } }),
    400,
  );
  assert.match(String(none.detail), /no body/);
  assert.deepEqual(machine.acts, []);
});

Deno.test("a query is refused field by field", async () => {
  const { ask } = await bench();
  const errors = async (query: string) =>
    (await isProblem(await ask(`/api/v1/events?${query}`), 400)).errors as { field: string }[];
  for (
    const query of ["limit=0", "limit=1001", "limit=-1", "limit=1.5", "limit=", "limit=1&limit=2"]
  ) assert.equal((await errors(query))[0]!.field, "limit", query);
  assert.deepEqual(await errors("color=red"), [{ field: "color", expected: "no such parameter" }]);
  for (const after of ["1", "xyz:1", `${bootId}:`, `${bootId}:-1`, `${bootId}:1e3`]) {
    assert.equal((await errors(`after=${after}`))[0]!.field, "after", after);
  }
  const resumed = await ask("/api/v1/events", { headers: { "last-event-id": "1" } });
  const named = (await isProblem(resumed, 400)).errors as { field: string }[];
  assert.equal(named[0]!.field, "Last-Event-ID");
  for (const type of ["nothing.here", "link..up", "LINK.UP", "", "link.up,", ">.up"]) {
    assert.equal((await errors(`type=${type}`))[0]!.field, "type", type);
  }
  await isProblem(await ask("/api/v1/status?x=1"), 400);
  await isProblem(await ask(`/api/v1/events?after=${"x".repeat(9_000)}`), 414);
});

Deno.test("GET /healthz and /readyz answer anybody; not ready is 503 with what is missing", async () => {
  const { ask, machine } = await bench();
  const headers = { authorization: null };
  assert.deepEqual(await (await ask("/healthz", { headers })).json(), { status: "alive" });
  assert.equal((await ask("/readyz", { headers })).status, 200);
  machine.readyMs = null;
  assert.equal((await ask("/healthz", { headers })).status, 200);
  const body = await isProblem(await ask("/readyz", { headers }), 503);
  assert.deepEqual(body.missing, ["network", "ready"]);
});

Deno.test("GET / serves the page to anybody, once: 304 when it is known", async () => {
  const { ask } = await bench();
  const headers = { authorization: null };
  const page = await ask("/", { headers });
  assert.match(await page.text(), /OSymbiote/);
  const policy = page.headers.get("content-security-policy")!;
  assert.match(policy, /connect-src 'self' ws:\/\/localhost:8422 /);
  const etag = page.headers.get("etag")!;
  const again = await ask("/index.html", { headers: { ...headers, "if-none-match": `W/${etag}` } });
  assert.deepEqual([again.status, await again.text()], [304, ""]);
  assert.equal((await ask("/", { headers: { "if-none-match": '"other"' } })).status, 200);
});

Deno.test("an asset's compressed form goes to those who take it", async () => {
  const bytes = (text: string) => new TextEncoder().encode(text);
  const asset = { body: bytes("plain"), type: "text/css", gzip: bytes("packed"), etag: "abc" };
  const { ask } = await bench({ assets: (path) => path === "/a.css" ? asset : undefined });
  const get = async (encoding: string) => {
    const response = await ask("/a.css", { headers: { "accept-encoding": encoding } });
    return [await response.text(), response.headers.get("content-encoding")];
  };
  assert.deepEqual(await get("br, gzip"), ["packed", "gzip"]);
  assert.deepEqual(await get("gzip;q=0.5"), ["packed", "gzip"]);
  assert.deepEqual(await get("gzip;q=0, br"), ["plain", null]);
  assert.deepEqual(await get("br"), ["plain", null]);
});

Deno.test("GET routes answer the machine's state in their shapes", async () => {
  const { ask } = await bench();
  for (const route of routes) {
    if (route.method !== "GET" || route.streams !== undefined || route.response === undefined) {
      continue;
    }
    const path = route.path.replace(":name", "dns");
    const response = await ask(path === "/cgi-bin/api" ? `${path}?action=status` : path);
    assert.equal(response.status, 200, path);
    const { z } = await import("zod");
    route.response(z).parse(await response.json());
  }
  const status = await (await ask("/api/v1/status")).json();
  assert.deepEqual(Object.keys(status), [
    "boot",
    "degraded",
    "sample",
    "userland",
    "sensors",
    "clients",
    "head",
  ]);
  assert.equal(status.userland, 2);
  assert.deepEqual(status.boot.last_stop, { kind: "none" });
  assert.equal(status.boot.ready_ms, 900);
  assert.match(status.head, new RegExp(`^${bootId}:\\d+$`));
});

Deno.test("GET /api/v1/processes pages by pid", async () => {
  const { ask } = await bench();
  const first = await (await ask("/api/v1/processes?limit=2")).json();
  assert.deepEqual([first.items.length, first.next], [2, "2"]);
  const rest = await (await ask("/api/v1/processes?limit=2&after=2")).json();
  assert.deepEqual([rest.items[0].pid, rest.next], [7, undefined]);
});

Deno.test("POST /api/v1/exec proposes exec.run for the caller and answers its result", async () => {
  const { ask, machine } = await bench();
  const response = await ask("/api/v1/exec", { method: "POST", json: { argv: ["ls", "-l"] } });
  assert.deepEqual(await response.json(), execResult);
  const [proposed] = machine.acts;
  assert.deepEqual([proposed!.kind, proposed!.args, proposed!.principal.id], [
    "exec.run",
    { argv: ["ls", "-l"], timeout_ms: 30_000 },
    "token:launch",
  ]);
  assert.ok(proposed!.signal instanceof AbortSignal);
});

Deno.test("act outcomes become statuses", async () => {
  const { ask, machine } = await bench();
  const outcomes: [ActOutcome, number][] = [
    [{ status: "denied", action: "a", reason: "no" }, 403],
    [{ status: "invalid", faults: ["argv.0: expected a program"] }, 400],
    [{ status: "not_found", reason: "no such service" }, 404],
    [{ status: "conflict", reason: "is stopping" }, 409],
    [{ status: "failed", action: "a", reason: 'spawn "x": ENOENT' }, 502],
  ];
  for (const [outcome, status] of outcomes) {
    machine.outcome = outcome;
    for (const path of ["/api/v1/exec", "/api/v1/services/dns/restart"]) {
      const json = path.endsWith("exec") ? { argv: ["x"] } : {};
      const body = await isProblem(await ask(path, { method: "POST", json }), status);
      if (outcome.status === "invalid") {
        assert.deepEqual(body.errors, [{ field: "argv.0", expected: "expected a program" }]);
      }
    }
  }
  machine.outcome = { status: "done", action: "a9", result: undefined };
  const done = await ask("/api/v1/network/renew", { method: "POST" });
  assert.deepEqual(await done.json(), { action: "a9" });
});

Deno.test("services are declared, named and removed through acts", async () => {
  const { ask, machine } = await bench();
  const spec = { name: "web", argv: ["/bin/web"] };
  assert.equal((await ask("/api/v1/services", { method: "POST", json: spec })).status, 200);
  await ask("/api/v1/services/web/stop", { method: "POST" });
  await ask("/api/v1/services/web", { method: "DELETE" });
  await ask("/api/v1/network/renew", { method: "POST", json: { link: "eth0" } });
  await ask("/api/v1/power/reboot", { method: "POST", json: {} });
  assert.deepEqual(machine.acts.map(({ kind, args }) => [kind, args]), [
    ["service.declare", { ...spec, restart: "always" }],
    ["service.stop", { name: "web" }],
    ["service.remove", { name: "web" }],
    ["network.renew", { link: "eth0" }],
    ["power.reboot", {}],
  ]);
  assert.equal((await (await ask("/api/v1/services/dns")).json()).pid, 77);
  await isProblem(await ask("/api/v1/services/web"), 404);
  const bad = await isProblem(
    await ask("/api/v1/services", { method: "POST", json: { name: "No!", argv: [] } }),
    400,
  );
  assert.deepEqual((bad.errors as { field: string }[]).map(({ field }) => field), ["name", "argv"]);
});

Deno.test("POST /api/v1/chat answers whole, or as events when asked to", async () => {
  const { ask, machine } = await bench();
  const question = { method: "POST", json: { message: "what uses the memory?" } };
  const whole = await (await ask("/api/v1/chat", question)).json();
  assert.equal(whole.mode, "survival");
  const headers = { accept: "text/event-stream" };
  const events = await ask("/api/v1/chat", { ...question, headers });
  assert.match(events.headers.get("content-type")!, /^text\/event-stream/);
  const text = await events.text();
  assert.deepEqual(text.match(/^event: .*/gm), ["event: delta", "event: delta", "event: done"]);
  assert.match(text, /"intent":"memory"/);
  await isProblem(await ask("/api/v1/chat", { method: "POST", json: { message: "" } }), 400);
  machine.chatOutcome = { status: "unavailable", reason: "no mind" };
  await isProblem(await ask("/api/v1/chat", question), 503);
  assert.match(await (await ask("/api/v1/chat", { ...question, headers })).text(), /event: error/);
  machine.chatOutcome = Promise.reject(new Error("broken"));
  assert.match(await (await ask("/api/v1/chat", { ...question, headers })).text(), /"status":500/);
});

Deno.test("GET /api/v1/events resumes exactly, filters, and says what is gone", async () => {
  const { ask, source, bus } = await bench();
  for (let pid = 1; pid <= 10; pid++) {
    source.publish("process.forked", { pid, ppid: 1 });
    source.publish("sensor.started", { sensor: `s${pid}` });
  }
  const get = async (query: string) => (await ask(`/api/v1/events?${query}`)).json();
  const all = await get("limit=1000");
  assert.deepEqual(
    all.items.map((item: { sequence: number }) => item.sequence),
    [
      ...Array(20).keys(),
    ].map((i) => i + 1),
  );
  assert.equal(all.gap, undefined);
  assert.equal(all.next, `${bootId}:20`);
  const seen: number[] = [];
  for (let after = `${bootId}:0`;;) {
    const page = await get(`after=${after}&type=process.*&limit=3`);
    if (page.items.length === 0) break;
    seen.push(...page.items.map((item: { data: { pid: number } }) => item.data.pid));
    after = page.next;
  }
  assert.deepEqual(seen, [1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  const both = await get("type=process.*,sensor.>&limit=1000");
  assert.equal(both.items.length, 20);
  const unknown = await get("after=ffffffffffffffff:5");
  assert.equal(unknown.items.length, 20);
  assert.match(unknown.gap.reason, /not this boot/);
  const future = await get(`after=${bootId}:500`);
  assert.deepEqual([future.items, future.gap.count, future.next], [[], 0, `${bootId}:20`]);
  assert.equal(bus.head, 20, "reading history publishes nothing");
});

Deno.test("GET /api/v1/events counts what history no longer holds", async () => {
  const { ask, source, bus } = await bench({ ringBytes: 98_304 });
  for (let pid = 1; pid <= 1_000; pid++) source.publish("process.forked", { pid, ppid: 1 });
  const page = await (await ask(`/api/v1/events?after=${bootId}:10&limit=1000`)).json();
  assert.equal(page.gap.count, bus.tail - 11);
  assert.equal(page.gap.count + page.items.length, 990);
});

Deno.test("GET /api/v1/events shows a caller only the types its scopes cover", async () => {
  const { ask, source, tokens } = await bench();
  const { sha256Hex } = await import("./sha256.ts");
  const narrow = ["core:event:read", "nerve:process:read"].map((text) => parseScope(text));
  tokens.admit(sha256Hex("narrow"), {
    id: "narrow",
    kind: "human",
    lineage: "narrow",
    scopes: narrow.filter((scope) => typeof scope !== "string"),
  });
  source.publish("process.forked", { pid: 1, ppid: 1 });
  source.publish("sensor.started", { sensor: "s" });
  const headers = { authorization: "Bearer narrow" };
  const page = await (await ask("/api/v1/events", { headers })).json();
  assert.deepEqual(page.items.map((item: { type: string }) => item.type), ["process.forked"]);
  const refused = await ask("/api/v1/events?type=sensor.*", { headers });
  assert.equal((await isProblem(refused, 403)).scope, "nerve:sensor:read");
});

Deno.test("a handler that throws gives a 500 problem without a stack, and an event", async () => {
  const broken = (path: string, handler: () => unknown) =>
    route({ method: "GET", path, scope: "core:system:read", summary: "Breaks.", handler });
  const { ask, published, reports } = await bench({
    routes: [
      broken("/throws", () => {
        throw new Error("s3cret");
      }),
      broken("/rejects", () => Promise.reject(new Error("s3cret"))),
      broken("/odd", () => Promise.reject("text")),
      broken("/cycle", () => {
        const cycle: Record<string, unknown> = {};
        return cycle.self = cycle;
      }),
    ],
  });
  for (const path of ["/throws", "/rejects", "/odd", "/cycle"]) {
    const body = await isProblem(await ask(path), 500);
    assert.doesNotMatch(JSON.stringify(body), /s3cret/);
  }
  const failed = published("http.failed");
  assert.deepEqual(failed.map(({ path }) => path), ["/throws", "/rejects", "/odd", "/cycle"]);
  assert.equal(failed[0]!.error, "Error: s3cret");
  assert.deepEqual(reports, []);
});

Deno.test("no event or answer ever shows a token or a ticket", async () => {
  const { ask, bus } = await bench();
  const secret = "s3cret-s3cret";
  const answers = await Promise.all([
    ask(`/api/v1/stream?ticket=${secret}`, { headers: { authorization: null } }),
    ask("/api/v1/status", { headers: { authorization: `Bearer ${secret}` } }),
    ask(`/api/v1/stream`, {
      headers: { authorization: null, "sec-websocket-protocol": `osym.token.${secret}` },
    }),
  ]);
  for (const answer of answers) assert.doesNotMatch(await answer.text(), /s3cret/);
  const consumer = bus.consume({ after: { boot: bus.boot, seq: 0 } });
  const history = consumer.take(1_000);
  consumer.close();
  assert.ok(history.length > 0);
  assert.doesNotMatch(JSON.stringify(history), new RegExp(`s3cret|${token}`));
});

Deno.test("createApp() refuses a table that mounts a route twice", async () => {
  const once = route({
    method: "GET",
    path: "/a",
    scope: null,
    summary: "A.",
    handler: () => ({}),
  });
  await assert.rejects(bench({ routes: [once, once] }), /mounted already/);
  assert.equal(typeof createApp, "function");
});

const paths = routes.map(({ path }) => concrete(path)).concat("/", "/index.html", "/x");

async function answersSanely({ ask }: Bench, path: string, init: Ask): Promise<void> {
  const response = await ask(path, init);
  const { status } = response;
  // The only 5xx there are: a machine that is busy or cannot, and an openapi of another kind.
  assert.ok(status < 500 || status === 503, `${path}: ${status}`);
  await response.body?.cancel();
}

Deno.test("no query makes a route answer 500", async () => {
  const made = await bench();
  const word = fc.oneof(
    fc.constantFrom(
      "after",
      "type",
      "limit",
      "ticket",
      "action",
      "cmd",
      "__proto__",
      "constructor",
    ),
    fc.string({ unit: "binary", maxLength: 20 }),
  );
  const value = fc.oneof(
    fc.constantFrom("status", "exec", "process.*", ">", `${bootId}:3`, "1", "%", "%00", "%E0%A4%A"),
    fc.string({ unit: "binary", maxLength: 40 }),
  );
  const query = fc.array(fc.tuple(word, value, fc.boolean()), { maxLength: 4 }).map((pairs) =>
    pairs.map(([name, text, raw]) =>
      raw
        ? `${name}=${text}`.replaceAll(/[#\s]/g, "")
        : new URLSearchParams({ [name]: text }).toString()
    ).join("&")
  );
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...paths), query, async (path, text) => {
      await answersSanely(made, `${path}?${text}`, {});
    }),
    { numRuns: 500 },
  );
});

Deno.test("no body makes a route answer 500", async () => {
  const made = await bench();
  const field = fc.constantFrom(
    "argv",
    "name",
    "message",
    "env",
    "link",
    "cwd",
    "timeout_ms",
    "__proto__",
    "constructor",
    "toString",
  );
  const shaped = fc.dictionary(
    field,
    fc.oneof(fc.jsonValue(), fc.array(fc.string({ maxLength: 5 }), { maxLength: 3 })),
    { maxKeys: 5 },
  ).map((value) => JSON.stringify(value));
  const nested = fc.nat(20_000).map((depth) => "[".repeat(depth) + "]".repeat(depth));
  const body = fc.oneof(
    fc.json(),
    shaped,
    nested,
    fc.string({ maxLength: 50 }),
    fc.uint8Array({ maxLength: 50 }).map((bytes) => new Uint8Array(bytes)),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.constantFrom("POST", "DELETE", "PUT", "PATCH"),
      body,
      fc.constantFrom("application/json", "application/json; charset=utf-8", "text/plain", "", "é"),
      async (path, method, sent, type) => {
        const headers = { "content-type": type === "é" ? "x/\u00e9" : type };
        await answersSanely(made, path, { method, headers, body: sent });
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("no header makes a route answer 500", async () => {
  const made = await bench();
  const name = fc.constantFrom(
    "host",
    "origin",
    "authorization",
    "accept",
    "accept-encoding",
    "if-none-match",
    "last-event-id",
    "upgrade",
    "connection",
    "sec-websocket-protocol",
    "sec-websocket-version",
    "sec-websocket-key",
    "content-length",
    "content-type",
  );
  const value = fc.oneof(
    fc.constantFrom("websocket", "Upgrade", "13", "osym.v1", "gzip", `Bearer ${token}`, host, "-1"),
    fc.string({ maxLength: 30 }).map((text) => text.replaceAll(/[^\x20-\x7e]/g, "")),
  );
  await fc.assert(
    fc.asyncProperty(
      fc.constantFrom(...paths),
      fc.array(fc.tuple(name, value), { maxLength: 4 }),
      async (path, pairs) => {
        const headers = Object.fromEntries(pairs);
        const response = await made.app.fetch(
          new Request(`http://${host}${path}`, {
            headers: { host, authorization: `Bearer ${token}`, ...headers },
          }),
        );
        assert.ok(response.status < 500, `${path} ${JSON.stringify(headers)}: ${response.status}`);
        await response.body?.cancel();
      },
    ),
    { numRuns: 500 },
  );
});

Deno.test("the server's own modules never import zod at start", async () => {
  const { stdout } = await new Deno.Command(Deno.execPath(), {
    args: ["info", "--json", new URL("./server.ts", import.meta.url).href],
  }).output();
  const graph = JSON.parse(new TextDecoder().decode(stdout));
  const modules = new Map<string, { dependencies?: Dependency[] }>(
    graph.modules.map((module: { specifier: string }) => [module.specifier, module]),
  );
  const reached = new Set<string>();
  const next: string[] = [...graph.roots];
  for (let at = next.pop(); at !== undefined; at = next.pop()) {
    if (reached.has(at)) continue;
    reached.add(at);
    for (const { code, isDynamic } of modules.get(at)?.dependencies ?? []) {
      if (code !== undefined && isDynamic !== true) next.push(code.specifier);
    }
  }
  assert.ok(reached.size > 20);
  assert.deepEqual([...reached].filter((name) => /zod|openapi\.ts$/.test(name)), [
    new URL("./routes/openapi.ts", import.meta.url).href,
  ]);
});

interface Dependency {
  readonly code?: { readonly specifier: string };
  readonly isDynamic?: boolean;
}
