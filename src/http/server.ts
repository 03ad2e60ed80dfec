/**
 * Server: the listening socket around an app.
 *
 * Owns the port, the book of requests in flight and the clock that sweeps
 * connections and streams. It must never let an error out, and never wait for
 * a client longer than it was told to.
 */
import type { Bus, Clock } from "../../bus/bus.ts";
import { type App, finish } from "./app.ts";
import { problem } from "./problem.ts";
import {
  type Connection,
  ConnectionReaper,
  type ConnectionTable,
  peerKey,
  type ReaperLimits,
} from "./reaper.ts";

export interface ServerDeps {
  readonly bus: Bus;
  readonly clock: Clock;
  readonly report: (where: string, error: unknown) => void;
}

export interface ServeOptions<C extends Connection> {
  readonly port: number;
  /** Default: every IPv4 address. */
  readonly hostname?: string | undefined;
  /** The kernel's list of connections; without it nothing is reaped. */
  readonly connections?: ConnectionTable<C> | undefined;
  readonly limits?: Partial<ReaperLimits> | undefined;
  /** Stands in for `Deno.serve` in tests. */
  readonly listen?: typeof Deno.serve | undefined;
  /** Between two looks at connections and streams, ms. */
  readonly sweepMs?: number | undefined;
  /** Calls back every so many ms; answers how to stop. The runtime's timers when absent. */
  readonly every?: ((ms: number, run: () => void) => () => void) | undefined;
}

export interface HttpServer<C extends Connection> {
  readonly port: number;
  readonly reaper: ConnectionReaper<C>;
  /**
   * Stops: no new connections, streams ended, requests in flight given
   * `deadlineMs` to end. Answers whether they did. Never rejects; idempotent.
   */
  close(deadlineMs: number): Promise<boolean>;
}

/** Between the end of a listening socket and the next attempt to have one, ms. */
const relistenMs = 250;

function runtimeEvery(ms: number, run: () => void): () => void {
  const id = setInterval(run, ms);
  return () => clearInterval(id);
}

/** Listens. Throws what `Deno.serve` throws when the port can not be bound. */
export function serve<C extends Connection = Connection>(
  app: App,
  deps: ServerDeps,
  options: ServeOptions<C>,
): HttpServer<C> {
  const { bus, clock, report } = deps;
  const reaper = new ConnectionReaper<C>({
    table: options.connections,
    source: bus.source("http", ["http.*"]),
    now: () => clock.mono() / 1000,
    report,
    limits: options.limits,
  });
  const answer = async (request: Request, info: Deno.ServeHandlerInfo): Promise<Response> => {
    const { hostname, port } = info.remoteAddr as Deno.NetAddr;
    const exchange = reaper.begin(peerKey(hostname, port));
    if (exchange === null) {
      return finish(problem(503, "Too many connections or requests.", {
        headers: { "retry-after": "1", connection: "close" },
      }));
    }
    info.completed.then(exchange.end, exchange.end);
    try {
      return await app.fetch(request, exchange);
    } finally {
      exchange.answered();
    }
  };
  const listen = (port: number): Deno.HttpServer<Deno.NetAddr> =>
    (options.listen ?? Deno.serve)({
      port,
      hostname: options.hostname ?? "0.0.0.0",
      // Said by `system.ready`, not on the console.
      onListen() {},
      onError: (error) => app.failed("(server)", error),
    }, answer);

  let closing = false;
  let again: ReturnType<typeof setTimeout> | undefined;
  let server = listen(options.port);
  const { port } = server.addr;
  const relisten = () => {
    try {
      server = listen(port);
      watch();
    } catch (error) {
      report("http listen", error);
      again = setTimeout(relisten, relistenMs);
    }
  };
  // One failed accept, for want of a descriptor say, ends the runtime's server for good.
  const ended = (error: unknown) => {
    if (closing) return;
    report("http server", error ?? new Error("the listening socket ended"));
    again = setTimeout(relisten, relistenMs);
  };
  const watch = () => void server.finished.then(() => ended(null), ended);
  watch();

  const every = options.every ?? runtimeEvery;
  const stopSweeping = every(options.sweepMs ?? 2_000, () => {
    try {
      app.sweep();
    } catch (error) {
      report("http sweep", error);
    }
    // Never rejects.
    void reaper.sweep();
  });

  let closed: Promise<boolean> | null = null;
  const close = async (deadlineMs: number): Promise<boolean> => {
    closing = true;
    stopSweeping();
    clearTimeout(again);
    try {
      app.close();
    } catch (error) {
      report("http close", error);
    }
    let deadline: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<boolean>((resolve) => {
      deadline = setTimeout(resolve, deadlineMs, false);
    });
    // Not by an abort signal: aborting a server that has just finished throws from the signal.
    const done = server.shutdown().then(() => true, (error) => {
      report("http shutdown", error);
      return false;
    });
    const clean = await Promise.race([done, late]);
    clearTimeout(deadline);
    return clean;
  };
  return {
    port,
    reaper,
    close: (deadlineMs) => closed ??= close(deadlineMs),
  };
}
