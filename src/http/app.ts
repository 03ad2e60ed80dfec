/**
 * App: every request this machine answers, from Host to last header, without
 * listening anywhere.
 *
 * Owns the order of what happens to a request and that each gets an answer: an
 * error below becomes a 500 problem without a stack and an `http.failed` event,
 * never a rejection.
 */
import { Hono } from "hono/quick";
import type { Bus, Clock } from "../../bus/bus.ts";
import type { Machine } from "../../bus/machine.ts";
import { type Assets, findAsset, serveAsset } from "./assets.ts";
import { Refusals, type Tokens } from "./auth.ts";
import { BodyReader } from "./body.ts";
import { secure } from "./headers.ts";
import { allowOrigin, Hosts, type Policy, preflight } from "./hosts.ts";
import { problem } from "./problem.ts";
import { detached, type Exchange } from "./reaper.ts";
import { type AnyRoute, type Edge, runRoute } from "./route.ts";
import { routes } from "./routes/index.ts";
import { type StreamLimits, Streams } from "./stream.ts";

export interface AppDeps {
  readonly machine: Machine;
  readonly bus: Bus;
  readonly tokens: Tokens;
  readonly policy: Policy;
  readonly clock: Clock;
  readonly assets: Assets;
  /** The OpenAPI document as the image carries it; null when it carries none. */
  readonly openapi: () => string | null;
  readonly report: (where: string, error: unknown) => void;
  readonly limits?: Partial<StreamLimits> | undefined;
  /** Stands in for `Deno.upgradeWebSocket` in tests. */
  readonly upgrade?: typeof Deno.upgradeWebSocket | undefined;
  /** Stands in for the table of routes in tests. */
  readonly routes?: readonly AnyRoute[] | undefined;
}

export interface App {
  /** Answers a request; never rejects. `exchange` is what the server knows of its connection. */
  fetch(request: Request, exchange?: Exchange): Promise<Response>;
  /** Answers 500 for an error that `fetch` could not have seen, and publishes it. */
  failed(path: string, error: unknown): Response;
  readonly streams: Streams;
  /** Looks after clients that stand still and refusals not yet told; called every few seconds. */
  sweep(): void;
  /** Ends every stream. */
  close(): void;
}

/** Longer request targets are refused: a query holds a position and a few patterns. */
const maxUrl = 8_192;

/** Builds the app. Throws only on a malformed policy or route table. */
export function createApp(deps: AppDeps): App {
  const { machine, bus, tokens, clock, assets, openapi, report, limits, upgrade } = deps;
  const source = bus.source("http", ["http.*", "auth.refused"]);
  const streams = new Streams({ bus, source, clock, report, limits, upgrade });
  const refusals = new Refusals(source, clock);
  const bodies = new BodyReader();
  const edge: Edge = { machine, bus, tokens, refusals, streams, bodies, clock, openapi, report };
  const hosts = new Hosts(deps.policy, machine);

  const failed = (path: string, error: unknown): Response => {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    try {
      source.publish("http.failed", { path: path.slice(0, 256), error: text.slice(0, 1024) });
    } catch (fault) {
      report("http.failed", fault);
    }
    return problem(500, "The request failed inside the machine; it is in the events.");
  };

  const router = mount(edge, deps.routes ?? routes);
  router.notFound(({ req: { raw } }) => {
    const asset = findAsset(assets, pathOf(raw));
    if (asset === null) return problem(404, "There is nothing here.");
    if (raw.method === "GET" || raw.method === "HEAD") return serveAsset(asset, raw, bus.boot);
    return methodNotAllowed(["GET"]);
  });
  router.onError((error, { req: { raw } }) => failed(pathOf(raw), error));

  const answer = async (request: Request, exchange: Exchange): Promise<Response> => {
    if (request.url.length > maxUrl) return finish(problem(414, "The request target is too long."));
    const verdict = hosts.check(request);
    if (!verdict.ok) {
      refusals.note(verdict.status, verdict.reason, pathOf(request));
      return finish(problem(verdict.status, `${verdict.reason}.`));
    }
    const response = preflight(request) ?? await router.fetch(request, { exchange });
    return finish(response, verdict.origin);
  };

  return {
    async fetch(request, exchange = detached) {
      try {
        return await answer(request, exchange);
      } catch (error) {
        return finish(failed(pathOf(request), error));
      }
    },
    failed: (path, error) => finish(failed(path, error)),
    streams,
    sweep() {
      streams.sweep();
      refusals.flush();
    },
    close() {
      streams.close();
      refusals.flush(true);
    },
  };
}

type Router = Hono<{ Bindings: { exchange: Exchange } }>;

function mount(edge: Edge, table: readonly AnyRoute[]): Router {
  const router: Router = new Hono();
  const methods = new Map<string, string[]>();
  for (const route of table) {
    const known = methods.get(route.path) ?? [];
    if (known.includes(route.method)) {
      throw new Error(`mount "${route.method} ${route.path}": mounted already`);
    }
    methods.set(route.path, [...known, route.method]);
    router.on(
      route.method,
      route.path,
      ({ req, env }) => runRoute(edge, route, req.raw, req.param(), env.exchange),
    );
  }
  for (const [path, allowed] of methods) router.all(path, () => methodNotAllowed(allowed));
  return router;
}

function methodNotAllowed(methods: readonly string[]): Response {
  const allow = (methods.includes("GET") ? [...methods, "HEAD"] : methods).join(", ");
  return problem(405, `This takes ${allow}.`, { headers: { allow } });
}

/** Adds the headers every answer has. `origin` is the allowed origin that asked. */
export function finish(response: Response, origin: string | null = null): Response {
  if (response.status === 101) return response;
  secure(response);
  allowOrigin(response.headers, origin);
  return response;
}

/** The path alone: a query may hold a ticket. */
function pathOf(request: Request): string {
  const { url } = request;
  const start = url.indexOf("/", url.indexOf("://") + 3);
  if (start < 0) return "/";
  const end = url.slice(start).search(/[?#]/);
  return end < 0 ? url.slice(start) : url.slice(start, start + end);
}
