/**
 * Legacy: the interface of the shell-script system this one grew from,
 * `/cgi-bin/api?action=…`, for clients that still speak it.
 *
 * Owns its JSON keys, pinned by a golden test. It has no powers of its own: the
 * scopes, the credential and the act are those of `/api/v1`. Sizes are in kB,
 * as /proc/meminfo writes them.
 */
import type { Machine } from "../../bus/machine.ts";
import type { Zod } from "../../bus/schema.ts";
import type { ExecResult, ProcessInfo } from "../../bus/shapes.ts";
import { actRefusals, answerAct } from "./act.ts";
import { type Call, invalid, route } from "./route.ts";

const query = (z: Zod) =>
  z.object({ action: z.string().max(64), cmd: z.string().max(4_096).optional() }).strict();

const scopes = {
  status: "core:system:read",
  processes: "nerve:process:read",
  network: "nerve:network:read",
  memory: "nerve:system:read",
  exec: "shell:exec:exec",
} as const;

/** Rows one answer holds: this interface has no pages. */
const maxProcesses = 5_000;

type Action = keyof typeof scopes;

const handlers: Record<Action, (call: LegacyCall) => unknown> = {
  status: ({ edge: { machine } }) => status(machine),
  processes: ({ edge: { machine } }) => ({
    processes: machine.processes().slice(0, maxProcesses).map(processRow),
  }),
  network: ({ edge: { machine } }) => network(machine),
  memory: ({ edge: { machine } }) =>
    Object.fromEntries(
      Object.entries(machine.meminfo()).map(([key, bytes]) => [key, kilobytes(bytes)]),
    ),
  exec,
};

type LegacyCall = Call<{ action: string; cmd?: string }>;

export const legacy = route({
  method: "GET",
  path: "/cgi-bin/api",
  scope: { parameter: "action", scopes },
  summary: "The former interface: action = status, processes, network, memory or exec with cmd.",
  query,
  refusals: actRefusals,
  handler(call) {
    const { action } = call.query;
    if (action === undefined || !Object.hasOwn(handlers, action)) {
      const expected = `one of ${Object.keys(handlers).join(", ")}`;
      return invalid("Unknown action.", [{ field: "action", expected }]);
    }
    return handlers[action as Action](call);
  },
});

function kilobytes(bytes: number): number {
  return Math.round(bytes / 1024);
}

function status(machine: Machine) {
  const { hostname, kernel, version, readyMs } = machine.boot();
  const sample = machine.sample();
  const memory = sample?.memory;
  return {
    hostname,
    kernel,
    uptime: Math.floor(sample?.uptime_s ?? 0),
    load: sample?.load ?? [0, 0, 0],
    memory: {
      total: kilobytes(memory?.total ?? 0),
      used: kilobytes((memory?.total ?? 0) - (memory?.available ?? 0)),
      free: kilobytes(memory?.free ?? 0),
      available: kilobytes(memory?.available ?? 0),
    },
    agent: {
      name: "osymbiote",
      version,
      pid: 1,
      state: readyMs === null ? "booting" : machine.degraded().length > 0 ? "degraded" : "running",
    },
  };
}

function processRow({ pid, ppid, uid, state, comm, rss }: ProcessInfo) {
  return {
    pid,
    ppid,
    user: uid === 0 ? "root" : String(uid),
    state,
    name: comm,
    rss: kilobytes(rss),
  };
}

function network(machine: Machine) {
  const { links, routes, dns } = machine.network();
  const counters = machine.sample()?.links ?? [];
  return {
    interfaces: links.map(({ link, mac, up, carrier, addresses }) => {
      const counted = counters.find((counter) => counter.link === link);
      return {
        name: link,
        state: up && carrier ? "up" : "down",
        mac: mac ?? "",
        addresses: addresses.map(({ address, prefix }) => `${address}/${prefix}`),
        rx_bytes: counted?.rx_bytes ?? 0,
        tx_bytes: counted?.tx_bytes ?? 0,
      };
    }),
    routes: routes.map(({ destination, gateway, link }) => ({
      destination,
      gateway: gateway ?? "",
      interface: link ?? "",
    })),
    dns,
  };
}

async function exec({ edge, principal, query: { cmd }, request }: LegacyCall): Promise<unknown> {
  if (cmd === undefined || cmd === "") {
    return invalid("A command is needed.", [{ field: "cmd", expected: "a shell command" }]);
  }
  const args = { argv: ["/bin/sh", "-c", cmd], timeout_ms: 30_000 };
  const outcome = await edge.machine.act(principal, "exec.run", args, { signal: request.signal });
  if (outcome.status !== "done") return answerAct(outcome);
  const result = outcome.result as ExecResult;
  return { command: cmd, output: result.stdout + result.stderr, exit_code: exitCode(result) };
}

/** signal(7), those a command commonly ends by. */
const signals: Readonly<Record<string, number>> = {
  SIGHUP: 1,
  SIGINT: 2,
  SIGQUIT: 3,
  SIGILL: 4,
  SIGABRT: 6,
  SIGBUS: 7,
  SIGFPE: 8,
  SIGKILL: 9,
  SIGSEGV: 11,
  SIGPIPE: 13,
  SIGALRM: 14,
  SIGTERM: 15,
};

/** One number for how a command ended, as shells put it: 124 timed out, 128 + the signal. */
function exitCode({ code, signal, timed_out }: ExecResult): number {
  if (timed_out) return 124;
  return code ?? 128 + (signals[signal ?? ""] ?? 0);
}
