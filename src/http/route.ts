/**
 * Route: what a route is (data), and the one way every request to one goes:
 * credential, scope, query, body, handler.
 *
 * Owns that order. Nothing is read from a client before it is known and holds
 * the scope; a handler sees only what its schemas let through.
 */
import type { Bus, Clock } from "../../bus/bus.ts";
import type { Principal } from "../../bus/gate.ts";
import type { Machine } from "../../bus/machine.ts";
import { type Infer, schema, type SchemaFactory } from "../../bus/schema.ts";
import { allows } from "../../bus/scopes.ts";
import type { Refusals, Tokens } from "./auth.ts";
import type { BodyReader } from "./body.ts";
import { type Fault, json, problem } from "./problem.ts";
import type { Exchange } from "./reaper.ts";
import type { Streams } from "./stream.ts";

/** What handlers work with. */
export interface Edge {
  readonly machine: Machine;
  readonly bus: Bus;
  readonly tokens: Tokens;
  readonly refusals: Refusals;
  readonly streams: Streams;
  readonly bodies: BodyReader;
  readonly clock: Clock;
  /** The OpenAPI document as the image carries it; null when it carries none. */
  readonly openapi: () => string | null;
  /** Where errors go that nobody waits for. */
  readonly report: (where: string, error: unknown) => void;
}

/** One request on its way through a route. */
export interface Call<Q = unknown, B = unknown> {
  readonly edge: Edge;
  readonly principal: Principal;
  /** Path parameters, decoded. */
  readonly params: Readonly<Record<string, string>>;
  /** Query parameters; every one may be absent, whatever its schema says. */
  readonly query: Partial<Q>;
  readonly body: B;
  readonly request: Request;
  readonly exchange: Exchange;
}

/** A scope, or one for each value of a query parameter. Null: anybody, without a credential. */
export type RouteScope =
  | string
  | { readonly parameter: string; readonly scopes: Readonly<Record<string, string>> }
  | null;

export type Method = "GET" | "POST" | "DELETE";

export interface Route<Q extends SchemaFactory, B extends SchemaFactory> {
  readonly method: Method;
  /** Hono's path syntax: `/api/v1/services/:name`. */
  readonly path: string;
  readonly scope: RouteScope;
  /** One sentence. */
  readonly summary: string;
  /** A strict object of strings. Without it the route takes no query. */
  readonly query?: Q;
  /** Without it the route takes no body (an empty object passes). */
  readonly body?: B;
  /** Whether the body may be left out; the handler then sees `undefined`. */
  readonly bodyOptional?: boolean;
  /** Statuses it refuses with besides those that any route may. */
  readonly refusals?: readonly number[];
  /** What a 200 carries; without it, see `streams`. */
  readonly response?: SchemaFactory;
  /** The answer is a stream: credentials may come by subprotocol or ticket, and HEAD is refused. */
  readonly streams?: "websocket" | "sse";
  /** A value is answered as JSON with 200; a Response as it is. Throwing is a bug: 500. */
  handler(call: Call<Infer<Q>, Infer<B>>): unknown;
}

/** A route whose schemas' types are no longer of interest. */
export type AnyRoute = Omit<Route<SchemaFactory, SchemaFactory>, "handler"> & {
  // deno-lint-ignore no-explicit-any -- a table of routes holds handlers of many argument types
  handler(call: Call<any, any>): unknown;
};

/** Declares a route; exists to infer the handler's types from its schemas. */
export function route<
  Q extends SchemaFactory = SchemaFactory,
  B extends SchemaFactory = SchemaFactory,
>(
  definition: Route<Q, B>,
): AnyRoute {
  return definition as AnyRoute;
}

/** Takes a request through a route. Rejects only when the handler throws. */
export async function runRoute(
  edge: Edge,
  route: AnyRoute,
  request: Request,
  params: Readonly<Record<string, string>>,
  exchange: Exchange,
): Promise<Response> {
  if (route.streams !== undefined && request.method === "HEAD") {
    return problem(405, "A stream has no HEAD.", { headers: { allow: route.method } });
  }
  const parameters = new URL(request.url).searchParams;
  const entry = admit(edge, route, request, parameters);
  if (entry instanceof Response) return entry;
  const query = await readQuery(route, parameters);
  if (query instanceof Response) return query;
  let body: unknown;
  if (route.method === "POST") {
    const read = await readBody(edge, route, request);
    if ("refusal" in read) return read.refusal;
    body = read.value;
  }
  const answer = await route.handler({
    edge,
    principal: entry,
    params,
    query,
    body,
    request,
    exchange,
  });
  return answer instanceof Response ? answer : json(answer);
}

const nobody: Principal = { id: "anonymous", kind: "human", lineage: "none", scopes: [] };

/** Who is asking, if they may. */
function admit(
  edge: Edge,
  route: AnyRoute,
  request: Request,
  parameters: URLSearchParams,
): Principal | Response {
  if (route.scope === null) return nobody;
  const path = new URL(request.url).pathname;
  const who = edge.tokens.authenticate(request, route.streams !== undefined);
  if (!who.ok) {
    edge.refusals.note(401, who.reason, path);
    return problem(401, `A credential is needed: ${who.reason}.`, {
      headers: { "www-authenticate": 'Bearer realm="osymbiote"' },
    });
  }
  const scope = scopeOf(route.scope, parameters);
  if (scope === null || allows(who.principal.scopes, scope)) return who.principal;
  edge.refusals.note(403, `lacks ${scope}`, path);
  return forbidden(scope);
}

/** 403, naming the scope that was wanted. */
export function forbidden(scope: string): Response {
  return problem(403, `This needs the scope ${scope}.`, { more: { scope } });
}

/** Null where the parameter names nothing: the handler will refuse it as invalid. */
function scopeOf(scope: NonNullable<RouteScope>, parameters: URLSearchParams): string | null {
  if (typeof scope === "string") return scope;
  const value = parameters.get(scope.parameter);
  return value !== null && Object.hasOwn(scope.scopes, value) ? scope.scopes[value]! : null;
}

async function readQuery(
  route: AnyRoute,
  parameters: URLSearchParams,
): Promise<Record<string, unknown> | Response> {
  const given: Record<string, string> = Object.create(null);
  const faults: Fault[] = [];
  for (const [name, value] of parameters) {
    // The credential is `authenticate`'s business, not the handler's.
    if (name === "ticket" && route.streams !== undefined) continue;
    if (Object.hasOwn(given, name)) faults.push({ field: show(name), expected: "given once" });
    given[name] = value;
  }
  const names = Object.keys(given);
  if (route.query === undefined) {
    faults.push(...names.map((name) => ({ field: show(name), expected: "no such parameter" })));
  }
  if (faults.length > 0) return invalid("The query is not valid.", faults);
  // Nothing to check: a request without a query never waits for the schema library.
  if (route.query === undefined || names.length === 0) return {};
  const parsed = (await schema(route.query)).safeParse({ ...given });
  if (parsed.success) return parsed.data as Record<string, unknown>;
  return invalid("The query is not valid.", readIssues(parsed.error.issues, "no such parameter"));
}

async function readBody(
  edge: Edge,
  route: AnyRoute,
  request: Request,
): Promise<{ value: unknown } | { refusal: Response }> {
  const read = await edge.bodies.json(request);
  if ("refusal" in read) return read;
  if (route.body === undefined) {
    const empty = read.value === undefined ||
      (typeof read.value === "object" && read.value !== null && !Array.isArray(read.value) &&
        Object.keys(read.value).length === 0);
    if (empty) return { value: undefined };
    return { refusal: invalid("This takes no body.", [{ field: "(body)", expected: "nothing" }]) };
  }
  if (read.value === undefined) {
    if (route.bodyOptional === true) return read;
    const type = request.headers.get("content-type");
    if (type !== null && !/^application\/json\s*(;|$)/i.test(type)) {
      return {
        refusal: problem(415, `Content-Type ${type.slice(0, 64)}: expected application/json.`),
      };
    }
    return {
      refusal: invalid("A body is needed.", [{ field: "(body)", expected: "a JSON object" }]),
    };
  }
  const parsed = (await schema(route.body)).safeParse(read.value);
  if (parsed.success) return { value: parsed.data };
  return {
    refusal: invalid("The body is not valid.", readIssues(parsed.error.issues, "no such field")),
  };
}

/** 400 with one fault per field. */
export function invalid(detail: string, errors: readonly Fault[]): Response {
  return problem(400, detail, { errors: errors.slice(0, 50) });
}

interface Issue {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  readonly keys?: readonly string[];
}

function readIssues(issues: readonly Issue[], unknown: string): Fault[] {
  return issues.flatMap(({ path, message, keys }) => {
    const field = path.map(String).join(".");
    if (keys === undefined) return [{ field: show(field || "(body)"), expected: message }];
    return keys.map((key) => ({
      field: show(field === "" ? key : `${field}.${key}`),
      expected: unknown,
    }));
  });
}

/** A client's own name for something, short enough to hand back. */
function show(name: string): string {
  return name.length > 128 ? `${name.slice(0, 128)}…` : name;
}
