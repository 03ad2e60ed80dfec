/**
 * Shapes: the values that more than one room speaks of (a machine's sample, a
 * service's state, an action's result), written once as schema factories so
 * that events, HTTP bodies, frames and TypeScript types are the same thing.
 *
 * Owns no behaviour.
 */
import type { Infer, Zod } from "./schema.ts";

/** How a process ended: an exit code or the name of the signal that ended it, never both. */
export const exitStatus = (z: Zod) =>
  z.object({
    pid: z.number().int(),
    code: z.number().int().nullable(),
    signal: z.string().nullable(),
  });

export const bootPhase = (z: Zod) =>
  z.object({
    name: z.string(),
    /** Milliseconds since PID 1's first statement. */
    at: z.number(),
    ms: z.number(),
    ok: z.boolean(),
    error: z.string().optional(),
  });
export type BootPhase = Infer<typeof bootPhase>;

/** Why the boot before this one ended, as the launcher saw it from outside. */
export const lastStop = (z: Zod) =>
  z.object({
    kind: z.enum(["none", "clean", "reboot", "panic", "watchdog", "cut", "unknown"]),
    text: z.string().optional(),
  });
export type LastStop = Infer<typeof lastStop>;

/** One DHCP lease; durations in seconds (RFC 2131 §4.4.5). */
export const leaseInfo = (z: Zod) =>
  z.object({
    link: z.string(),
    address: z.string(),
    prefix: z.number().int(),
    router: z.string().optional(),
    dns: z.array(z.string()),
    server: z.string(),
    lease_s: z.number(),
    t1_s: z.number(),
    t2_s: z.number(),
  });
export type LeaseInfo = Infer<typeof leaseInfo>;

/** Sizes in bytes; CPU shares 0…1 over the sampling interval. */
export const machineSample = (z: Zod) =>
  z.object({
    memory: z.object({
      total: z.number(),
      available: z.number(),
      free: z.number(),
      cached: z.number(),
      swap_total: z.number(),
      swap_free: z.number(),
    }),
    load: z.tuple([z.number(), z.number(), z.number()]),
    cpu: z.object({
      busy: z.number(),
      user: z.number(),
      system: z.number(),
      iowait: z.number(),
      count: z.number().int(),
    }),
    processes: z.number().int(),
    disks: z.array(z.object({
      mount: z.string(),
      total: z.number(),
      free: z.number(),
      inodes: z.number(),
      inodes_free: z.number(),
    })),
    links: z.array(z.object({
      link: z.string(),
      rx_bytes: z.number(),
      tx_bytes: z.number(),
      rx_rate: z.number(),
      tx_rate: z.number(),
    })),
    uptime_s: z.number(),
  });
export type MachineSample = Infer<typeof machineSample>;

/** A row of the process table; `rss` in bytes, `cpu` 0…1 of one CPU over the last sample. */
export const processInfo = (z: Zod) =>
  z.object({
    pid: z.number().int(),
    ppid: z.number().int(),
    comm: z.string(),
    state: z.string(),
    uid: z.number().int(),
    threads: z.number().int(),
    rss: z.number(),
    cpu: z.number(),
    started_s: z.number(),
    kernel: z.boolean(),
  });
export type ProcessInfo = Infer<typeof processInfo>;

export const linkInfo = (z: Zod) =>
  z.object({
    index: z.number().int(),
    link: z.string(),
    mac: z.string().optional(),
    up: z.boolean(),
    carrier: z.boolean(),
    mtu: z.number().int(),
    addresses: z.array(z.object({ address: z.string(), prefix: z.number().int() })),
  });
export type LinkInfo = Infer<typeof linkInfo>;

export const routeInfo = (z: Zod) =>
  z.object({
    destination: z.string(),
    gateway: z.string().optional(),
    link: z.string().optional(),
  });
export type RouteInfo = Infer<typeof routeInfo>;

export const networkState = (z: Zod) =>
  z.object({
    hostname: z.string(),
    links: z.array(linkInfo(z)),
    routes: z.array(routeInfo(z)),
    leases: z.array(leaseInfo(z)),
    dns: z.array(z.string()),
  });
export type NetworkState = Infer<typeof networkState>;

/** What a person or a mind declares a service to be. */
export const serviceSpec = (z: Zod) =>
  z.object({
    name: z.string().regex(
      /^[a-z0-9][a-z0-9_.-]{0,62}$/,
      "expected 1–63 of a-z 0-9 _ . - starting with a letter or digit",
    ),
    argv: z.array(z.string().max(4096)).min(1).max(256),
    env: z.record(z.string(), z.string()).optional(),
    cwd: z.string().max(4096).optional(),
    uid: z.number().int().min(0).max(65534).optional(),
    restart: z.enum(["always", "on-failure", "never"]).default("always"),
  }).strict();
export type ServiceSpec = Infer<typeof serviceSpec>;

export const serviceState = (z: Zod) =>
  z.object({
    name: z.string(),
    argv: z.array(z.string()),
    state: z.enum(["starting", "running", "backoff", "stopping", "stopped", "failed"]),
    pid: z.number().int().nullable(),
    restarts: z.number().int(),
    /** Milliseconds until the next start, in `backoff`. */
    backoff_ms: z.number().nullable(),
    last_exit: z.object({ code: z.number().int().nullable(), signal: z.string().nullable() })
      .nullable(),
    reason: z.string().optional(),
  });
export type ServiceState = Infer<typeof serviceState>;

/** Arguments of `exec.run` (HTTP `POST /api/v1/exec`). */
export const execArgs = (z: Zod) =>
  z.object({
    argv: z.array(z.string().max(65536)).min(1, "expected at least the program").max(1024),
    timeout_ms: z.number().int().min(1).max(600_000).default(30_000),
    env: z.record(z.string(), z.string()).optional(),
    cwd: z.string().max(4096).optional(),
    stdin: z.string().max(1_000_000).optional(),
  }).strict();
export type ExecArgs = Infer<typeof execArgs>;

/** What a finished `exec.run` answers; each stream is cut at 256 KiB and says so. */
export const execResult = (z: Zod) =>
  z.object({
    action: z.string(),
    pid: z.number().int().nullable(),
    code: z.number().int().nullable(),
    signal: z.string().nullable(),
    stdout: z.string(),
    stderr: z.string(),
    truncated: z.object({ stdout: z.number().int(), stderr: z.number().int() }),
    timed_out: z.boolean(),
    ms: z.number(),
  });
export type ExecResult = Infer<typeof execResult>;

export const actionResult = (z: Zod) =>
  z.object({
    action: z.string(),
    kind: z.string(),
    ok: z.boolean(),
    summary: z.string(),
    ms: z.number(),
  });

export const chatReply = (z: Zod) =>
  z.object({
    reply: z.string(),
    mode: z.enum(["model", "survival"]),
    mind: z.string(),
    /** Which canonical question was recognised; `unknown` is an honest "I can not tell". */
    intent: z.string(),
    ms: z.number(),
  });
export type ChatReply = Infer<typeof chatReply>;
