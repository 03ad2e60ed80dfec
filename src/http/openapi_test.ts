import assert from "node:assert/strict";
import { openApiDocument, templatePath } from "./openapi.ts";
import { routes } from "./routes/index.ts";

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
  for (const { method, path, scope } of routes) {
    const operation = paths[templatePath(path)]![method.toLowerCase()]!;
    assert.ok(operation.summary.length > 0, path);
    if (scope === null) assert.deepEqual(operation.security, []);
    else {
      assert.deepEqual(operation.security, [{ bearer: [] }]);
      const told = operation["x-osym-scope"];
      assert.deepEqual(told, typeof scope === "string" ? scope : scope.scopes);
      for (const status of ["401", "403"]) {
        const { content } = operation.responses[status]!;
        assert.deepEqual(Object.keys(content!), ["application/problem+json"]);
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
