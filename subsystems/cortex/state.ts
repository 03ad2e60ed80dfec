/**
 * State: what a mind is told of the machine with every question.
 *
 * Owns the selection: the newest events worth telling, and lists and strings cut so that the frame
 * always fits. Must never hand on what a mind has no use for: arguments of processes and services,
 * tokens, environments. The one exception is an act's summary, which names the command it ran.
 */
import type { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import type { EventType } from "../../bus/events.ts";
import type { Machine } from "../../bus/machine.ts";
import type { ProcessInfo, ServiceState } from "../../bus/shapes.ts";
import type { MindState, ToldEvent } from "./frames.ts";

/** What the state is taken from. */
export type MindView = Pick<
  Machine,
  "boot" | "degraded" | "sample" | "processes" | "network" | "sensors" | "services"
>;

/** What a person means by "what happened": not every fork, sample and line of output. */
const told: readonly EventType[] = [
  "boot.started",
  "system.ready",
  "system.degraded",
  "system.recovered",
  "system.fault",
  "system.stopping",
  "sensor.failed",
  "link.added",
  "link.removed",
  "link.up",
  "link.down",
  "addr.removed",
  "addr.leased",
  "addr.renewed",
  "addr.lease_lost",
  "addr.lease_failed",
  "device.removed",
  "process.exited",
  "process.storm",
  "kernel.logged",
  "clock.stepped",
  "service.declared",
  "service.started",
  "service.exited",
  "service.restarting",
  "service.stopped",
  "service.failed",
  "incident.opened",
  "incident.remedied",
  "incident.resolved",
  "action.denied",
  "action.finished",
  "mind.exited",
  "mind.misbehaved",
  "bus.gap",
];

/** Kernel log levels up to KERN_ERR; the rest is chatter (linux/kern_levels.h). */
const kernelError = 3;

function worthTelling(event: AnyEvent): boolean {
  // Processes end all the time; one that a signal ended did not mean to.
  if (event.type === "process.exited") return event.data.signal !== null;
  if (event.type === "kernel.logged") return event.data.level <= kernelError;
  return true;
}

const maxString = 160;

function cut(text: string): string {
  return text.length > maxString ? `${text.slice(0, maxString - 1)}…` : text;
}

/** The newest events worth telling, oldest first. */
export class RecentEvents {
  readonly #events: ToldEvent[] = [];
  readonly #unsubscribe: () => void;

  constructor(bus: Pick<Bus, "subscribe">, readonly limit = 48) {
    this.#unsubscribe = bus.subscribe(told, (event) => {
      if (!worthTelling(event)) return;
      if (this.#events.length >= this.limit) this.#events.shift();
      this.#events.push(toTold(event));
    });
  }

  list(): readonly ToldEvent[] {
    return this.#events;
  }

  stop(): void {
    this.#unsubscribe();
  }
}

function toTold({ seq, type, time, cause, data }: AnyEvent): ToldEvent {
  const flat: ToldEvent["data"] = {};
  for (const [key, value] of Object.entries(data).slice(0, 12)) {
    if (typeof value === "string") flat[key] = cut(value);
    else if (typeof value === "number" || typeof value === "boolean" || value === null) {
      flat[key] = value;
    }
  }
  return { seq, type, time, ...(cause === undefined ? {} : { cause }), data: flat };
}

/** The largest, the busiest and the stuck. */
function chosen(processes: readonly ProcessInfo[], limit: number): ProcessInfo[] {
  if (processes.length <= limit) return [...processes];
  const picked = new Set<ProcessInfo>();
  const take = (list: readonly ProcessInfo[], count: number) => {
    for (const process of list.slice(0, count)) picked.add(process);
  };
  const stuck = ({ state, kernel }: ProcessInfo) => !kernel && (state === "Z" || state === "D");
  take(processes.filter(stuck), limit >> 3);
  take([...processes].sort((a, b) => b.cpu - a.cpu), limit >> 2);
  take([...processes].sort((a, b) => b.rss - a.rss), limit - picked.size);
  return [...picked];
}

function shortService(service: ServiceState): ServiceState {
  const { name, argv, state, pid, restarts, backoff_ms, last_exit, reason } = service;
  return {
    name,
    argv: argv.slice(0, 1).map(cut),
    state,
    pid,
    restarts,
    backoff_ms,
    last_exit,
    ...(reason === undefined ? {} : { reason: cut(reason) }),
  };
}

/**
 * The state of now, at most `maxBytes` when encoded.
 *
 * @param now wall time in ms
 */
export function stateOf(
  view: MindView,
  events: readonly ToldEvent[],
  now: number,
  maxBytes: number,
): MindState {
  // Each round tells half as much; the rest is bounded by the cuts below.
  for (let scale = 1;; scale /= 2) {
    const state = select(view, events, now, scale);
    if (scale < 0.02 || encodedBytes(state) <= maxBytes) return state;
  }
}

function encodedBytes(state: MindState): number {
  return new TextEncoder().encode(JSON.stringify(state)).length;
}

function select(
  view: MindView,
  events: readonly ToldEvent[],
  now: number,
  scale: number,
): MindState {
  const boot = view.boot();
  const sample = view.sample();
  const processes = view.processes();
  const network = view.network();
  const services = view.services();
  const first = <T>(list: readonly T[], count: number) => list.slice(0, Math.ceil(count * scale));
  // What an answer must not be silent about is not among what is cut off.
  const foremost = <T>(list: readonly T[], matters: (item: T) => boolean) =>
    list.toSorted((a, b) => Number(matters(b)) - Number(matters(a)));
  return {
    now,
    boot: {
      id: boot.id,
      kernel: cut(boot.kernel),
      version: cut(boot.version),
      hostname: cut(boot.hostname),
      architecture: boot.architecture,
      attempt: boot.attempt,
      rescue: boot.rescue,
      last_stop: {
        kind: boot.lastStop.kind,
        ...(boot.lastStop.text === undefined ? {} : { text: boot.lastStop.text.slice(0, 500) }),
      },
      ready_ms: boot.readyMs,
      kernel_ms: boot.kernelMs,
    },
    sample: sample === null ? null : {
      ...sample,
      disks: first(sample.disks, 16),
      links: first(sample.links, 16),
    },
    processes: chosen(processes, Math.ceil(80 * scale)),
    process_count: processes.length,
    network: {
      hostname: cut(network.hostname),
      links: first(network.links, 16).map((link) => ({
        ...link,
        addresses: link.addresses.slice(0, 6),
      })),
      routes: first(
        foremost(network.routes, ({ destination }) => destination === "default"),
        24,
      ),
      leases: first(network.leases, 8),
      dns: network.dns.slice(0, 4).map(cut),
    },
    services: first(
      foremost(services, ({ state }) => state === "failed" || state === "backoff"),
      48,
    ).map(shortService),
    service_count: services.length,
    degraded: first(view.degraded(), 16).map(({ part, reason, since }) => ({
      part,
      reason: cut(reason),
      since,
    })),
    sensors: first(view.sensors(), 32).map(({ name, state, gaps }) => ({ name, state, gaps })),
    events: events.slice(-Math.ceil(48 * scale)),
  };
}
