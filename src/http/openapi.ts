/**
 * Openapi: the description of the HTTP interface, generated from the table of
 * routes.
 *
 * Owns the document. It runs when the image is built and must never be imported
 * by PID 1: what it imports is most of what the boot path leaves out.
 */
import { OpenAPIHono, z } from "@hono/zod-openapi";
import type { SchemaFactory, Zod } from "../../bus/schema.ts";
import { titles } from "./problem.ts";
import type { AnyRoute, RouteScope } from "./route.ts";
import { routes } from "./routes/index.ts";

const problemShape = (z: Zod) =>
  z.object({
    type: z.string(),
    title: z.string(),
    status: z.number().int(),
    detail: z.string(),
    errors: z.array(z.object({ field: z.string(), expected: z.string() })).optional(),
  });

type RouteConfig = Parameters<OpenAPIHono["openAPIRegistry"]["registerPath"]>[0];

/** `/services/:name` as OpenAPI writes it. */
export function templatePath(path: string): string {
  return path.replace(/:([a-z_]+)/g, "{$1}");
}

function scopeExtension(scope: RouteScope): Record<string, unknown> {
  if (scope === null) return {};
  return { "x-osym-scope": typeof scope === "string" ? scope : scope.scopes };
}

/** Any request may have an unknown parameter, a foreign Origin or Host, or come at a bad time. */
const anyRoute = [400, 403, 414, 421, 500, 503];

/** The refusals a route can answer with. */
function refusals(route: AnyRoute): number[] {
  const statuses = [...anyRoute, ...route.refusals ?? []];
  if (route.scope !== null) statuses.push(401);
  if (route.method === "POST") statuses.push(408, 413, 415);
  if (route.streams === "websocket") statuses.push(426);
  return statuses.sort();
}

function success(route: AnyRoute): RouteConfig["responses"] {
  if (route.streams === "websocket") {
    return {
      101: { description: "A WebSocket of subprotocol osym.v1; docs/API.md has its frames." },
    };
  }
  if (route.streams === "sse") {
    const content = { "text/event-stream": { schema: z.string() } };
    return { 200: { description: "Server-sent events; docs/API.md has their fields.", content } };
  }
  const shape: SchemaFactory = route.response ?? ((z) => z.record(z.string(), z.unknown()));
  return { 200: { description: "Done.", content: { "application/json": { schema: shape(z) } } } };
}

function describe(route: AnyRoute, refused: z.ZodType): RouteConfig {
  const names = [...route.path.matchAll(/:([a-z_]+)/g)].map((match) => match[1]!);
  const params = z.object(Object.fromEntries(names.map((name) => [name, z.string()])));
  const body = route.body === undefined ? undefined : {
    required: route.bodyOptional !== true,
    content: { "application/json": { schema: route.body(z) } },
  };
  return {
    method: route.method.toLowerCase() as "get" | "post" | "delete",
    path: templatePath(route.path),
    summary: route.summary,
    ...scopeExtension(route.scope),
    security: route.scope === null
      ? []
      : route.streams === undefined
      ? [{ bearer: [] }]
      : [{ bearer: [] }, { ticket: [] }],
    request: {
      ...(names.length === 0 ? {} : { params }),
      ...(route.query === undefined ? {} : { query: route.query(z) as z.ZodObject }),
      ...(body === undefined ? {} : { body }),
    },
    responses: {
      ...success(route),
      ...Object.fromEntries(
        refusals(route).map((status) => [status, {
          description: titles[status]!,
          content: { "application/problem+json": { schema: refused } },
        }]),
      ),
    },
  };
}

/** OpenAPI 3.1 of every mounted route, as a value ready for `JSON.stringify`. */
// deno-lint-ignore require-await -- asynchronous by contract, so that generation may come to need it
export async function openApiDocument(): Promise<unknown> {
  const app = new OpenAPIHono();
  const { openAPIRegistry: registry } = app;
  registry.registerComponent("securitySchemes", "bearer", {
    type: "http",
    scheme: "bearer",
    description: "The launch token, or one granted by it.",
  });
  registry.registerComponent("securitySchemes", "ticket", {
    type: "apiKey",
    in: "query",
    name: "ticket",
    description:
      "Opens one stream once, within 30 s; a WebSocket also takes the token as a subprotocol.",
  });
  const refused = registry.register("Problem", problemShape(z));
  for (const route of routes) registry.registerPath(describe(route, refused));
  return app.getOpenAPI31Document({
    openapi: "3.1.0",
    info: {
      title: "OSymbiote",
      version: "1",
      description: "The machine, over HTTP. Errors are RFC 9457 problem details.",
    },
    servers: [{ url: "/" }],
  });
}
