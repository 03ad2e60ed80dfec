/**
 * Summary: an event in one line of plain words, and how grave it is.
 *
 * Pure. Must never throw: data that does not have the catalogue's shape (an
 * older page, a newer machine, a forged event) is shown as it came.
 */
import type { CloudEvent } from "../../bus/envelope.ts";
import type { EventData, EventType } from "../../bus/events.ts";
import { formatBytes, formatCount, formatMs, formatShare, formatSpan, visible } from "./format.ts";

/** How an event reads at a glance. */
export type Tone = "bad" | "warn" | "good" | "plain";

type Words = { readonly [T in EventType]?: (data: EventData<T>) => string };
type Lease = EventData<"addr.leased">;
type Service = EventData<"service.started">;

const logLevels = ["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"];
const longest = 400;

const join = (...parts: (string | number | undefined | null | false)[]) =>
  parts.filter((part) => part !== undefined && part !== null && part !== false && part !== "")
    .join(" ");
const optional = (label: string, value: string | number | undefined) =>
  value === undefined ? "" : `${label} ${value}`;
const device = (d: { subsystem: string; devpath: string }) => join(d.subsystem, d.devpath);
const link = (d: { link: string; mac?: string | undefined }) => join(d.link, d.mac);
const route = (d: EventData<"route.added">) =>
  join(d.destination, optional("via", d.gateway), optional("on", d.link));
const lease = (d: Lease) =>
  `${d.address}/${d.prefix} on ${d.link} for ${formatSpan(d.lease_s)} from ${d.server}`;
const ended = (d: { code: number | null; signal: string | null }) => {
  if (d.signal !== null) return `by ${d.signal}`;
  // Its end was among what was lost; only that it ended is known.
  return d.code === null ? "unheard" : `with code ${d.code}`;
};
const service = (d: Service) =>
  join(
    d.name,
    d.state,
    d.pid !== null && `pid ${d.pid}`,
    d.state === "backoff" && d.backoff_ms !== null && `again in ${formatMs(d.backoff_ms)}`,
    d.state !== "running" && d.last_exit !== null && `ended ${ended(d.last_exit)}`,
    d.restarts > 0 && `restarts ${d.restarts}`,
    d.reason,
  );

const words: Words = {
  "kernel.logged": (d) => join(d.level <= 4 ? `${logLevels[d.level]}:` : "", d.text),
  "device.added": device,
  "device.removed": device,
  "device.changed": (d) => join(d.action, device(d)),
  "link.added": link,
  "link.removed": link,
  "link.up": link,
  "link.down": link,
  "addr.added": (d) => `${d.address}/${d.prefix} on ${d.link}`,
  "addr.removed": (d) => `${d.address}/${d.prefix} from ${d.link}`,
  "route.added": route,
  "route.removed": route,
  "addr.leased": lease,
  "addr.renewed": lease,
  "addr.lease_lost": (d) => join(d.link, d.address, d.reason),
  "addr.lease_failed": (d) => `${d.link} attempt ${d.attempt}: ${d.reason}`,
  "addr.lease_requested": (d) => `${d.link} ${d.mode}`,
  "process.forked": (d) => `${d.pid} from ${d.ppid}`,
  "process.execed": (d) =>
    join(d.pid, d.comm, d.exe, optional("uid", d.uid), optional("in", d.cgroup)),
  "process.exited": (d) => join(d.pid, d.comm, ended(d)),
  "process.reaped": (d) => join(d.pid, ended(d)),
  "process.storm": (d) =>
    `${formatCount(d.forks)} forks, ${formatCount(d.execs)} execs, ${
      formatCount(d.exits)
    } exits in ${formatMs(d.window_ms)}`,
  "file.created": (d) => d.path,
  "file.modified": (d) => d.path,
  "file.deleted": (d) => d.path,
  "file.moved": (d) => `${d.from ?? "(outside)"} to ${d.to ?? "(outside)"}`,
  "system.sampled": (d) =>
    `cpu ${formatShare(d.cpu.busy)}, memory ${
      formatBytes(d.memory.total - d.memory.available)
    }, load ${d.load[0].toFixed(2)}`,
  "sensor.started": (d) => d.sensor,
  "sensor.failed": (d) => `${d.sensor}: ${d.error}`,
  "clock.stepped": (d) => `by ${d.by_ms >= 0 ? "+" : "−"}${formatMs(Math.abs(d.by_ms))}`,
  "boot.started": (d) =>
    join(d.kernel, `attempt ${d.attempt}`, d.rescue && "rescue", `after ${d.last_stop.kind}`),
  "boot.phase": (d) => join(d.name, formatMs(d.ms), !d.ok && "failed:", d.error),
  "system.ready": (d) =>
    join(
      `port ${d.port} after ${formatMs(d.kernel_ms + d.ms)}`,
      d.degraded.length > 0 && `degraded: ${d.degraded.join(", ")}`,
    ),
  "system.degraded": (d) => `${d.part}: ${d.reason}`,
  "system.recovered": (d) => d.part,
  "system.fault": (d) => join(`${d.where}: ${d.message}`, d.count > 1 && `×${d.count}`),
  "system.stopping": (d) => `${d.how}: ${d.reason}`,
  "system.stopped": (d) => join(d.how, d.clean ? "clean" : "not clean", `killed ${d.killed}`),
  "service.declared": (d) => `${d.name}: ${d.argv.join(" ")}`,
  "service.started": service,
  "service.exited": service,
  "service.restarting": service,
  "service.stopped": service,
  "service.failed": service,
  "service.output": (d) => `${d.service} ${d.stream === "stderr" ? "err" : "out"}: ${d.line}`,
  "incident.opened": (d) => `${d.kind}: ${d.evidence}`,
  "incident.remedied": (d) => `${d.kind}: ${d.remedy}: ${d.result}`,
  "incident.resolved": (d) => `${d.kind} after ${formatMs(d.ms)}`,
  "action.proposed": (d) => join(d.kind, `by ${d.principal}`, d.reason),
  "action.allowed": (d) => `${d.kind} by ${d.principal}: ${d.reason}`,
  "action.denied": (d) => `${d.kind} by ${d.principal}: ${d.reason}`,
  "action.finished": (d) => `${d.kind}: ${d.summary} (${formatMs(d.ms)})`,
  "mind.started": (d) => `${d.mind} pid ${d.pid}`,
  "mind.caged": (d) => `${d.mind} uid ${d.uid} in ${d.cgroup}`,
  "mind.exited": (d) => `${d.mind}: ${d.reason}`,
  "mind.asked": (d) => `${d.principal}: ${d.message}`,
  "mind.answered": (d) => `${d.mode} ${d.intent}: ${d.reply}`,
  "mind.misbehaved": (d) => `${d.mind}: ${d.fault}`,
  "auth.refused": (d) => join(d.status, d.path, d.reason, d.count > 1 && `×${d.count}`),
  "http.reaped": (d) =>
    `${formatCount(d.count)} idle connections older than ${formatMs(d.older_than_ms)}`,
  "http.client_dropped": (d) => `${d.client}: ${d.reason}, ${formatCount(d.lost)} lost`,
  "http.failed": (d) => `${d.path}: ${d.error}`,
  "bus.gap": (d) => gapWords({ ...d, reason: join(`${d.source}:`, d.reason) }),
  "bus.truncated": (d) => `${d.type}: ${formatBytes(d.bytes)}`,
  "selftest.started": (d) => `${d.files} files`,
  "selftest.reported": (d) => join(d.ok ? "ok" : "failed", d.name, d.detail),
  "selftest.finished": (d) => `${d.passed} passed, ${d.failed} failed, ${d.ignored} ignored`,
};

/** A gap in words: how many, which, why. */
export function gapWords(
  gap: { from: number | null; to: number | null; count: number | null; reason: string },
): string {
  const count = gap.count === null
    ? "an unknown number of events"
    : `${formatCount(gap.count)} ${gap.count === 1 ? "event" : "events"}`;
  const range = gap.from === null || gap.to === null ? "" : ` (${gap.from}–${gap.to})`;
  return `${count} lost${range}: ${gap.reason}`;
}

/** The event in one line, safe to show: control and bidirectional characters spelled out. */
export function summarise(event: CloudEvent): string {
  const line = worded(event) ?? raw(event);
  return visible(line.length > longest ? `${line.slice(0, longest)}…` : line);
}

/** Null for a type without words and for data that is not of the catalogue's shape. */
function worded(event: CloudEvent): string | null {
  if (!Object.hasOwn(words, event.type)) return null;
  const write = words[event.type as EventType] as (data: unknown) => unknown;
  try {
    const line = write(event.data);
    return typeof line === "string" ? line : null;
  } catch {
    // A field is missing or of another type: what came is shown as it came.
    return null;
  }
}

function raw(event: CloudEvent): string {
  const data = JSON.stringify(event.data) ?? "";
  return event.subject === undefined ? data : `${event.subject} ${data}`;
}

const bad = new Set([
  "sensor.failed",
  "system.fault",
  "service.failed",
  "mind.misbehaved",
  "http.failed",
  "addr.lease_lost",
]);
const warn = new Set([
  "link.down",
  "link.removed",
  "addr.lease_failed",
  "process.storm",
  "system.degraded",
  "system.stopping",
  "service.exited",
  "service.restarting",
  "incident.opened",
  "action.denied",
  "mind.exited",
  "auth.refused",
  "http.client_dropped",
  "http.reaped",
  "bus.gap",
  "bus.truncated",
]);
const good = new Set(["system.ready", "system.recovered", "incident.resolved"]);

/** How grave an event is. */
export function toneOf(event: CloudEvent): Tone {
  const data = (typeof event.data === "object" && event.data !== null ? event.data : {}) as Record<
    string,
    unknown
  >;
  switch (event.type) {
    case "kernel.logged":
      return typeof data.level !== "number" || data.level > 4
        ? "plain"
        : data.level === 4
        ? "warn"
        : "bad";
    case "process.exited":
      return data.signal !== null && data.signal !== undefined ? "warn" : "plain";
    case "boot.phase":
    case "action.finished":
    case "selftest.reported":
      return data.ok === false ? "bad" : "plain";
    case "system.stopped":
      return data.clean === false ? "bad" : "plain";
  }
  if (bad.has(event.type)) return "bad";
  if (warn.has(event.type)) return "warn";
  return good.has(event.type) ? "good" : "plain";
}
