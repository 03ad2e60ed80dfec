/**
 * Store: everything the page knows, as signals, and how what arrives changes it.
 *
 * Owns state and reducers. Does no I/O, sets no timers: session.ts does.
 */
import { batch, computed, signal } from "@preact/signals";
import type { CloudEvent } from "../../bus/envelope.ts";
import type {
  ChatReply,
  ExecResult,
  MachineSample,
  NetworkState,
  ProcessInfo,
  ServiceState,
} from "../../bus/shapes.ts";
import type { Problem, Status } from "./api.ts";
import { parseSearch, select } from "./filter.ts";
import type { Filter } from "./filter.ts";
import { emptyHistory, remember } from "./history.ts";
import type { Item } from "./item.ts";
import { append, bootEntry, emptyLog, eventEntry, gapEntry } from "./log.ts";
import type { Entry, Log } from "./log.ts";
import type { Connection } from "./stream.ts";
import { visible } from "./format.ts";

/** Something about the machine that a person should look at. */
export interface Concern {
  readonly level: "bad" | "warn";
  readonly part: string;
  readonly reason: string;
  /** Wall ms, when known. */
  readonly since?: number;
}

/** One exchange with the mind. */
export interface Exchange {
  readonly id: number;
  readonly question: string;
  readonly answer: { readonly ok: true; readonly value: ChatReply } | {
    readonly ok: false;
    readonly problem: Problem;
  } | null;
}

/** One command run. */
export interface Run {
  readonly id: number;
  readonly line: string;
  readonly startedAt: number;
  readonly outcome: { readonly ok: true; readonly value: ExecResult } | {
    readonly ok: false;
    readonly problem: Problem;
  } | null;
}

const keptExchanges = 30;
const keptRuns = 20;
const keptFaults = 5;
/** Services that may be remembered from events alone. */
const keptServices = 500;
/** Incidents whose end may have been lost in a gap: the oldest give way. */
const keptIncidents = 100;

export class Store {
  readonly connection = signal<Connection>({ state: "idle" });
  /** Why the sign-in form is shown; null while there is a token to try. */
  readonly signIn = signal<{ readonly reason: string | null } | null>(null);
  /** Milliseconds of `performance.now()`, once a second: what makes counters tick. */
  readonly now = signal(0);
  /** When the machine last said anything, in the same milliseconds. */
  readonly heardAt = signal<number | null>(null);

  readonly status = signal<Status | null>(null);
  readonly sample = signal<MachineSample | null>(null);
  readonly history = signal(emptyHistory);
  readonly processes = signal<readonly ProcessInfo[] | null>(null);
  readonly network = signal<NetworkState | null>(null);
  readonly services = signal<readonly ServiceState[] | null>(null);
  /** What a panel's own request was last refused with. */
  readonly problems = signal<Readonly<Record<string, Problem | undefined>>>({});
  readonly incidents = signal<ReadonlyMap<string, { kind: string; evidence: string; at: number }>>(
    new Map(),
  );

  readonly log = signal<Log>(emptyLog);
  /** The log the view was paused on. */
  readonly pausedOn = signal<Log | null>(null);
  readonly search = signal("");
  readonly shownFamilies = signal<ReadonlySet<string>>(new Set());
  readonly selected = signal<CloudEvent | null>(null);
  /** Items that could not be read. */
  readonly unreadable = signal(0);

  /** The last reboot this page lived through, until dismissed; times in wall ms. */
  readonly rebooted = signal<{ readonly at: number; readonly silentMs: number } | null>(null);

  readonly exchanges = signal<readonly Exchange[]>([]);
  readonly runs = signal<readonly Run[]>([]);
  /** Errors of the page itself. */
  readonly faults = signal<readonly string[]>([]);

  readonly filter = computed<Filter>(() => ({
    families: this.shownFamilies.value,
    terms: parseSearch(this.search.value),
  }));
  /** What the list shows, oldest first. */
  readonly visible = computed(() =>
    select((this.pausedOn.value ?? this.log.value).entries, this.filter.value)
  );
  /** Events that arrived since the pause. */
  readonly arrivedSincePause = computed(() =>
    this.pausedOn.value === null ? 0 : this.log.value.received - this.pausedOn.value.received
  );
  readonly live = computed(() => this.connection.value.state === "live");

  /** What is wrong, gravest first; empty when all is well. */
  readonly concerns = computed<readonly Concern[]>(() => {
    const found: Concern[] = [];
    const status = this.status.value;
    if (status?.boot.rescue) {
      found.push({
        level: "bad",
        part: "boot",
        reason: "rescue mode: earlier boots died early, so only the essentials run",
      });
    }
    for (const { part, reason, since } of status?.degraded ?? []) {
      found.push({ level: "warn", part, reason, since });
    }
    for (const sensor of status?.sensors ?? []) {
      if (sensor.state !== "failed") continue;
      found.push({
        level: "warn",
        part: `sensor ${sensor.name}`,
        reason: sensor.error ?? "failed",
      });
    }
    for (const service of this.services.value ?? []) {
      if (service.state !== "failed") continue;
      found.push({
        level: "bad",
        part: `service ${service.name}`,
        reason: service.reason ?? "given up",
      });
    }
    for (const { kind, evidence, at } of this.incidents.value.values()) {
      found.push({ level: "warn", part: kind, reason: evidence, since: at });
    }
    return found.sort((a, b) => Number(b.level === "bad") - Number(a.level === "bad"));
  });

  /** Takes a fresh status in. */
  applyStatus(status: Status): void {
    batch(() => {
      this.status.value = status;
      if (status.sample !== null) this.sample.value = status.sample;
    });
  }

  /** Forgets what belonged to the boot before; the log and the history keep theirs. */
  startBoot(boot: string, previous: string | null, time: number, silentMs: number): void {
    batch(() => {
      if (previous !== null) {
        this.#record([bootEntry(boot, time, silentMs)]);
        this.rebooted.value = { at: time, silentMs };
      }
      this.processes.value = null;
      this.network.value = null;
      this.services.value = null;
      this.incidents.value = new Map();
      this.problems.value = {};
    });
  }

  /** Takes a batch from the stream in: the log, and what the events say about the machine. */
  ingest(items: readonly Item[], unreadable: number, now: number): void {
    batch(() => {
      const entries: Entry[] = [];
      for (const item of items) {
        if (item.kind === "gap") {
          entries.push(gapEntry(item.gap, now));
        } else if (item.kind === "event") {
          entries.push(eventEntry(item.event));
          this.#learn(item.event);
        }
      }
      if (entries.length > 0) this.#record(entries);
      if (unreadable > 0) this.unreadable.value += unreadable;
    });
  }

  #record(entries: readonly Entry[]): void {
    this.log.value = append(this.log.value, entries);
  }

  #learn(event: CloudEvent): void {
    const dot = event.type.indexOf(".");
    const family = dot < 0 ? event.type : event.type.slice(0, dot);
    if (event.type === "system.sampled") this.#learnSample(event);
    else if (family === "service") this.#learnService(event);
    else if (family === "incident") this.#learnIncident(event);
  }

  #learnSample(event: CloudEvent): void {
    const sample = event.data as MachineSample;
    if (!isSample(sample)) return void this.unreadable.value++;
    this.sample.value = sample;
    this.history.value = remember(this.history.value, sample, {
      boot: event.boot,
      sequence: event.sequence,
      time: Date.parse(event.time),
    });
  }

  #learnService(event: CloudEvent): void {
    const state = event.data as ServiceState;
    const known = this.services.value;
    if (known === null || typeof state?.name !== "string" || typeof state.state !== "string") {
      return;
    }
    const index = known.findIndex((service) => service.name === state.name);
    if (index >= 0) this.services.value = known.with(index, state);
    else if (known.length < keptServices) this.services.value = [...known, state];
  }

  /** What history says is open; of what it answered too early to know, the log has the newest. */
  applyIncidents(history: readonly CloudEvent[]): void {
    const last = history.at(-1)?.sequence ?? 0;
    const boot = this.status.value?.boot.id;
    batch(() => {
      this.incidents.value = new Map();
      for (const event of history) this.#learnIncident(event);
      for (const entry of this.log.value.entries) {
        if (entry.kind !== "event" || entry.family !== "incident") continue;
        if (entry.event.boot === boot && entry.event.sequence > last) {
          this.#learnIncident(entry.event);
        }
      }
    });
  }

  #learnIncident(event: CloudEvent): void {
    const data = event.data as { incident?: unknown; kind?: unknown; evidence?: unknown };
    if (typeof data?.incident !== "string") return;
    const next = new Map(this.incidents.value);
    if (event.type === "incident.opened") {
      next.set(data.incident, {
        kind: visible(String(data.kind)),
        evidence: visible(String(data.evidence)),
        at: Date.parse(event.time),
      });
      for (const id of [...next.keys()].slice(0, -keptIncidents)) next.delete(id);
    } else if (event.type === "incident.resolved") {
      next.delete(data.incident);
    }
    this.incidents.value = next;
  }

  /** Shows only these families, or (empty) every one but the quiet one. */
  toggleFamily(family: string): void {
    const next = new Set(this.shownFamilies.value);
    if (!next.delete(family)) next.add(family);
    this.shownFamilies.value = next;
  }

  /** Freezes the list on what it shows, or lets it go on. */
  togglePause(): void {
    this.pausedOn.value = this.pausedOn.value === null ? this.log.value : null;
  }

  addExchange(exchange: Exchange): void {
    this.exchanges.value = replaceById(this.exchanges.value, exchange, keptExchanges);
  }

  addRun(run: Run): void {
    this.runs.value = replaceById(this.runs.value, run, keptRuns);
  }

  setProblem(part: string, problem: Problem | undefined): void {
    this.problems.value = { ...this.problems.value, [part]: problem };
  }

  /** An error of the page itself: shown, never fatal. */
  addFault(error: unknown): void {
    const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error);
    if (this.faults.value.at(-1) === text) return;
    this.faults.value = [...this.faults.value, text].slice(-keptFaults);
  }
}

/** Enough of a sample's shape for every place that reads one. */
function isSample(value: unknown): value is MachineSample {
  const sample = value as Partial<MachineSample> | null | undefined;
  return typeof sample?.memory?.total === "number" && Array.isArray(sample.load) &&
    typeof sample.cpu?.busy === "number" && Array.isArray(sample.links) &&
    Array.isArray(sample.disks);
}

function replaceById<T extends { readonly id: number }>(
  list: readonly T[],
  item: T,
  keep: number,
): readonly T[] {
  const index = list.findIndex(({ id }) => id === item.id);
  return index >= 0 ? list.with(index, item) : [...list, item].slice(-keep);
}
