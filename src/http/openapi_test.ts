import assert from "node:assert/strict";
import type { ActOutcome } from "../../bus/machine.ts";
import { openApiDocument, templatePath } from "./openapi.ts";
import { routes } from "./routes/index.ts";
import { type Ask, bench, execResult, viewerToken } from "./testing.ts";

interface Operation {
  summary: string;
  security: unknown[];
  responses: Record<string, { content?: Record<string, unknown> }>;
  "x-osym-scope"?: unknown;
}
interface Document {
  openapi: string;
  paths: Record<string, Record<string, Operation>>;
}

Deno.test("openApiDocument() describes every mounted route and nothing else", async () => {
  const { openapi, paths } = await openApiDocument() as Document;
  assert.equal(openapi, "3.1.0");
  const described = Object.entries(paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`)
  );
  const mounted = routes.map(({ method, path }) => `${method} ${templatePath(path)}`);
  assert.deepEqual(described.sort(), mounted.sort());
});

Deno.test("openApiDocument() tells each route's scope, credential and refusals", async () => {
  const { paths } = await openApiDocument() as Document;
  for (const { method, path, scope, streams } of routes) {
    const operation = paths[templatePath(path)]![method.toLowerCase()]!;
    assert.ok(operation.summary.length > 0, path);
    if (scope === null) assert.deepEqual(operation.security, []);
    else {
      const ticket = streams === undefined ? [] : [{ ticket: [] }];
      assert.deepEqual(operation.security, [{ bearer: [] }, ...ticket]);
      const told = operation["x-osym-scope"];
      assert.deepEqual(told, typeof scope === "string" ? scope : scope.scopes);
      for (const status of ["401", "403"]) {
        const { content } = operation.responses[status]!;
        assert.deepEqual(Object.keys(content!), ["application/problem+json"]);
      }
    }
  }
});

Deno.test("openApiDocument() lists every status that a route answers with", async () => {
  const { paths } = await openApiDocument() as Document;
  const { ask, machine } = await bench({ openapi: () => null });
  const outcomes: ActOutcome[] = [
    { status: "done", action: "a", result: execResult },
    { status: "denied", action: "a", reason: "no" },
    { status: "invalid", faults: ["argv: no"] },
    { status: "not_found", reason: "no" },
    { status: "conflict", reason: "no" },
    { status: "failed", action: "a", reason: "no" },
  ];
  const json = { argv: ["x"], name: "x", message: "x", link: "x" };
  const bodies = Object.values(json).map((value, at) => ({ [Object.keys(json)[at]!]: value }));
  const asked: Ask[] = [
    {},
    { headers: { authorization: null } },
    { headers: { authorization: `Bearer ${viewerToken}` } },
    { headers: { origin: "https://evil.example" } },
    { headers: { host: "evil.example" } },
    { headers: { "content-type": "application/json" }, body: "x".repeat(1 << 21) },
    { headers: { "content-type": "text/plain" }, body: "x" },
    ...[...bodies, {}, { name: "x", argv: ["x"] }].map((json) => ({ json })),
  ];
  machine.chatOutcome = { status: "unavailable", reason: "no mind" };
  machine.readyMs = null;
  for (const { method, path } of routes) {
    const listed = Object.keys(paths[templatePath(path)]![method.toLowerCase()]!.responses);
    const query = path === "/cgi-bin/api" ? "action=exec&cmd=x" : "";
    for (const outcome of outcomes) {
      machine.outcome = outcome;
      for (const { body, json, ...init } of asked) {
        const sent = method === "POST" ? { body, json } : {};
        for (const target of [`${path}?${query}`, `${path}?${query}&unknown=1`]) {
          const { status, body: answer } = await ask(target, { method, ...init, ...sent });
          await answer?.cancel();
          assert.ok(listed.includes(String(status)), `${method} ${target}: ${status}`);
        }
      }
    }
  }
});

Deno.test("openApiDocument() survives JSON and refers only to what it holds", async () => {
  const text = JSON.stringify(await openApiDocument());
  const document = JSON.parse(text);
  for (const [, reference] of text.matchAll(/"\$ref":"#\/([^"]+)"/g)) {
    let at = document;
    for (const part of reference!.split("/")) at = at?.[part];
    assert.notEqual(at, undefined, reference);
  }
});

Deno.test("docs/API.md names every route with its scope", async () => {
  const page = await Deno.readTextFile(new URL("../../docs/API.md", import.meta.url));
  const text = page.replaceAll(/ +/g, " ");
  for (const { method, path, scope } of routes) {
    const name = scope === null ? "none" : typeof scope === "string" ? `\`${scope}\`` : "by action";
    assert.ok(text.includes(`| \`${method} ${path}\` | ${name} |`), `${method} ${path} ${name}`);
  }
});
