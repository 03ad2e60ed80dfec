/**
 * Testing: a machine of cardboard and an app around it, for this room's tests.
 *
 * Owns no assertions. Nothing outside tests may import it.
 */
import { Bus, type Clock, type Source } from "../../bus/bus.ts";
import type { Principal } from "../../bus/gate.ts";
import type { ActKind, ActOutcome, ChatOutcome, Machine } from "../../bus/machine.ts";
import { loadZod } from "../../bus/schema.ts";
import { type Role, roleScopes } from "../../bus/scopes.ts";
import type { ExecResult, MachineSample, ServiceState } from "../../bus/shapes.ts";
import { type App, type AppDeps, createApp } from "./app.ts";
import { launchPrincipal, Tokens } from "./auth.ts";
import { sha256Hex } from "./sha256.ts";

export const bootId = "0123456789abcdef";
export const token = "launch-token-launch-token-launch-token-0000";
export const viewerToken = "viewer-token-viewer-token-viewer-token-0000";
export const host = "localhost:8422";
export const otherOrigin = "http://dash.example:3000";

/** A clock that moves by hand; milliseconds outside, as the clock's own units inside. */
export class ManualClock implements Clock {
  ms = 1_000;
  wall(): number {
    return 1_700_000_000_000 + this.ms;
  }
  mono(): number {
    return this.ms * 1_000;
  }
}

/** The process's own clock. */
export const realClock: Clock = {
  wall: () => Date.now(),
  mono: () => performance.now() * 1_000,
};

export const sample: MachineSample = {
  memory: {
    total: 512 << 20,
    available: 400 << 20,
    free: 300 << 20,
    cached: 80 << 20,
    swap_total: 0,
    swap_free: 0,
  },
  load: [0.1, 0.2, 0.3],
  cpu: { busy: 0.1, user: 0.05, system: 0.05, iowait: 0, count: 2 },
  processes: 3,
  disks: [{ mount: "/data", total: 1 << 30, free: 1 << 29, inodes: 65_536, inodes_free: 65_000 }],
  links: [{ link: "eth0", rx_bytes: 1_000, tx_bytes: 2_000, rx_rate: 10, tx_rate: 20 }],
  uptime_s: 12.5,
};

export const execResult: ExecResult = {
  action: "a1",
  pid: 42,
  code: 0,
  signal: null,
  stdout: "out\n",
  stderr: "err\n",
  truncated: { stdout: 0, stderr: 0 },
  timed_out: false,
  ms: 1.5,
};

export const dnsService: ServiceState = {
  name: "dns",
  argv: ["/bin/dns"],
  state: "running",
  pid: 77,
  restarts: 0,
  backoff_ms: null,
  last_exit: null,
};

export interface Proposed {
  principal: Principal;
  kind: ActKind;
  args: unknown;
  signal: AbortSignal | undefined;
}

/** A `Machine` that answers constants and remembers what it was asked to do. */
export class FakeMachine implements Machine {
  readonly acts: Proposed[] = [];
  readyMs: number | null = 900;
  outcome: ActOutcome | Promise<ActOutcome> = { status: "done", action: "a1", result: execResult };
  chatOutcome: ChatOutcome | Promise<ChatOutcome> = {
    status: "answered",
    reply: {
      reply: "Two lines.\nPID 7 uses most.",
      mode: "survival",
      mind: "m1",
      intent: "memory",
      ms: 3,
    },
  };

  boot: Machine["boot"] = () => ({
    id: bootId,
    kernel: "6.12.0",
    version: "1.0.0",
    hostname: "osymbiote",
    architecture: "x86_64",
    attempt: 1,
    rescue: false,
    lastStop: { kind: "none" },
    phases: [
      { name: "guard", at: 0, ms: 1, ok: true },
      { name: "network", at: 1, ms: 2, ok: false, error: "no link" },
    ],
    readyMs: this.readyMs,
    kernelMs: 340,
  });
  degraded: Machine["degraded"] = () => [{ part: "data", reason: "no disk", since: 1 }];
  sample: Machine["sample"] = () => sample;
  meminfo: Machine["meminfo"] = () => ({ MemTotal: 512 << 20, MemFree: 300 << 20 });
  processes: Machine["processes"] = () => {
    const row = { state: "S", uid: 0, threads: 1, cpu: 0, started_s: 0 };
    return [
      { ...row, pid: 1, ppid: 0, comm: "deno", rss: 40 << 20, kernel: false },
      { ...row, pid: 2, ppid: 0, comm: "kthreadd", rss: 0, kernel: true },
      { ...row, pid: 7, ppid: 1, comm: "mind", rss: 30 << 20, kernel: false, uid: 900 },
    ];
  };
  network: Machine["network"] = () => ({
    hostname: "osymbiote",
    links: [{
      index: 2,
      link: "eth0",
      mac: "52:54:00:12:34:56",
      up: true,
      carrier: true,
      mtu: 1500,
      addresses: [{ address: "10.0.2.15", prefix: 24 }],
    }],
    routes: [{ destination: "0.0.0.0/0", gateway: "10.0.2.2", link: "eth0" }],
    leases: [],
    dns: ["10.0.2.3"],
  });
  hardware: Machine["hardware"] = () => ({
    cpus: [{ model: "QEMU", mhz: 2000 }],
    memory_bytes: 512 << 20,
    devices: [{ name: "vda", subsystem: "block" }],
    watchdog: null,
  });
  sensors: Machine["sensors"] = () => [{ name: "kmsg", state: "running", events: 3, gaps: 0 }];
  services: Machine["services"] = () => [dnsService];
  act: Machine["act"] = (principal, kind, args, about) => {
    this.acts.push({ principal, kind, args, signal: about?.signal });
    return Promise.resolve(this.outcome);
  };
  chat: Machine["chat"] = () => Promise.resolve(this.chatOutcome);
}

export interface Bench {
  readonly app: App;
  readonly machine: FakeMachine;
  readonly bus: Bus;
  readonly tokens: Tokens;
  readonly source: Source;
  /** What was reported as a fault nobody waits for. */
  readonly reports: string[];
  /** The data of every event of a type published so far. */
  published(type: string): Record<string, unknown>[];
  /** A request with an allowed Host and the admin's token; `null` leaves a header out. */
  ask(path: string, init?: Ask): Promise<Response>;
}

export interface Ask {
  method?: string;
  headers?: Record<string, string | null>;
  body?: BodyInit;
  /** Sent as a JSON body. */
  json?: unknown;
}

/** A principal of a role, for tests that need one with fewer scopes. */
export function principalOf(role: Role): Principal {
  return { id: `token:${role}`, kind: "human", lineage: role, scopes: roleScopes(role) };
}

/** An app over a fake machine and a real bus whose events are checked against the catalogue. */
export async function bench(
  options: { clock?: Clock; ringBytes?: number } & Partial<AppDeps> = {},
): Promise<Bench> {
  await loadZod();
  const { clock = new ManualClock(), ringBytes = 4 << 20, ...overrides } = options;
  const bus = new Bus({ boot: bootId, clock, ringBytes, validate: true });
  const machine = new FakeMachine();
  const tokens = new Tokens(clock);
  tokens.admit(sha256Hex(token), launchPrincipal());
  tokens.admit(sha256Hex(viewerToken), principalOf("viewer"));
  const reports: string[] = [];
  const page = new TextEncoder().encode("<!doctype html><title>OSymbiote</title>");
  const app = createApp({
    machine,
    bus,
    tokens,
    policy: { hosts: [host, "127.0.0.1:8422"], origins: [otherOrigin] },
    clock,
    assets: new Map([["/index.html", { body: page, type: "text/html; charset=utf-8" }]]),
    openapi: () => '{"openapi":"3.1.0"}',
    report: (where, error) => reports.push(`${where}: ${error}`),
    ...overrides,
  });
  const seen: { type: string; data: unknown }[] = [];
  bus.subscribe(">", ({ type, data }) => seen.push({ type, data }));
  return {
    app,
    machine,
    bus,
    tokens,
    source: bus.source("nerve.test", [">"]),
    reports,
    published: (type) =>
      seen.filter((event) => event.type === type).map(({ data }) =>
        data as Record<string, unknown>
      ),
    ask(path, { method = "GET", headers = {}, body, json } = {}) {
      const all: Record<string, string | null> = {
        host,
        authorization: `Bearer ${token}`,
        ...(json === undefined ? {} : { "content-type": "application/json" }),
        ...headers,
      };
      const given = Object.entries(all).filter((entry): entry is [string, string] =>
        entry[1] !== null
      );
      return app.fetch(
        new Request(`http://${all.host ?? host}${path}`, {
          method,
          headers: given,
          body: json === undefined ? body ?? null : JSON.stringify(json),
        }),
      );
    },
  };
}

/** Waits until `condition` holds; throws after `withinMs`. */
export async function until(condition: () => boolean, what: string, withinMs = 5_000) {
  const deadline = performance.now() + withinMs;
  while (!condition()) {
    if (performance.now() > deadline) throw new Error(`${what}: not within ${withinMs} ms`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
