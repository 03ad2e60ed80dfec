/**
 * Session: one person at one machine. Ties the token, the API and the stream to
 * the store, batches what arrives by animation frame, and decides when what is
 * not on the stream is fetched again.
 *
 * Owns every timer of the page but the stream's. Must never let a pending
 * batch grow without bound, however long the tab is hidden.
 */
import { createContext } from "preact";
import { useContext } from "preact/hooks";
import { parsePosition } from "../../bus/envelope.ts";
import { Api, describeProblem } from "./api.ts";
import type { Answer, Problem } from "./api.ts";
import { splitArgv } from "./argv.ts";
import type { Item } from "./item.ts";
import { findEvent } from "./log.ts";
import { Store } from "./store.ts";
import { Stream } from "./stream.ts";
import type { Head } from "./stream.ts";
import { forgetToken, keepToken, parseToken, takeToken } from "./token.ts";
import type { TokenHome } from "./token.ts";

/** A batch this large does not wait for the next frame. */
const batchMax = 4_000;
/** A hidden tab gets no animation frames; its batches go by this timer (ms). */
const hiddenFlush = 250;
const statusEvery = 10_000;
const processesEvery = 3_000;
const networkEvery = 30_000;
/** Events that change a panel come in bursts: wait this long (ms) for the burst to end. */
const settle = 250;
const commandTimeout = 30_000;

/** Events of incidents asked for: two or three tell of each. */
const incidentsMax = 1_000;

type Part = "status" | "processes" | "network" | "services" | "incidents";

export class Session {
  readonly store = new Store();
  readonly #api: Api;
  readonly #home: TokenHome;
  readonly #stream: Stream;
  #token: string | null = null;
  #pending: Item[] = [];
  #pendingUnreadable = 0;
  #cancelFlush: (() => void) | null = null;
  readonly #settling = new Set<Part>();
  readonly #loading = new Set<Part>();
  readonly #loadedAt = new Map<Part, number>();
  /** Panels on the screen whose data only polling can refresh. */
  readonly #watched = new Set<Part>();
  #heardWall: number | null = null;
  #nextId = 1;
  #command: AbortController | null = null;

  constructor(base: string, home: TokenHome) {
    this.#home = home;
    this.#api = new Api(base, () => this.#token);
    this.#stream = new Stream({
      head: () => this.#head(),
      open: (after) => this.#api.openStream(after),
      now: () => performance.now(),
      delay: (ms, callback) => {
        const timer = setTimeout(callback, ms);
        return () => clearTimeout(timer);
      },
      random: Math.random,
    }, {
      connection: (connection) => this.store.connection.value = connection,
      boot: (boot, previous) => this.#boot(boot, previous),
      items: (items, unreadable) => this.#queue(items, unreadable),
      fault: (error) => this.store.addFault(error),
    });
  }

  /** Starts with the token of the address bar or of this tab, or asks for one. */
  begin(): void {
    setInterval(() => this.#tick(), 1_000);
    addEventListener("hashchange", () => this.#arrive());
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.#flush();
      this.#tick();
    });
    this.#arrive();
  }

  /** Takes the token of the address bar; a jump within the page brings none, and changes nothing. */
  #arrive(): void {
    const token = takeToken(this.#home);
    if (token !== null && token !== this.#token) this.#use(token);
    else if (this.#token === null) this.store.signIn.value = { reason: null };
  }

  /** Tries a pasted token or URL; answers what is wrong with it, or null. */
  signIn(text: string): string | null {
    const token = parseToken(text);
    if (token === null) return "This is neither a token nor a URL that ends in #token=…";
    keepToken(this.#home, token);
    this.#use(token);
    return null;
  }

  /** Forgets the token and closes the stream. */
  signOut(): void {
    forgetToken(this.#home);
    this.#token = null;
    this.#stream.stop();
    this.store.signIn.value = { reason: null };
  }

  /** Tries to connect at once. */
  reconnect(): void {
    this.#stream.retry();
  }

  #use(token: string): void {
    this.#token = token;
    this.store.signIn.value = null;
    this.#stream.start();
  }

  async #head(): Promise<Head> {
    const answer = await this.#api.status();
    if (!answer.ok) {
      const reason = describeProblem(answer.problem);
      if (answer.problem.status !== 401) return { status: "unreachable", reason };
      this.#refused(reason);
      return { status: "unauthorised", reason };
    }
    const position = parsePosition(answer.value.head);
    if (position === null) {
      return { status: "unreachable", reason: "status: head is not <boot>:<seq>" };
    }
    this.#loadedAt.set("status", performance.now());
    this.store.applyStatus(answer.value);
    return { status: "here", boot: position.boot, head: position.seq };
  }

  #refused(reason: string): void {
    forgetToken(this.#home);
    this.#token = null;
    this.store.signIn.value = { reason };
  }

  #boot(boot: string, previous: string | null): void {
    this.#flush();
    const now = Date.now();
    this.store.startBoot(boot, previous, now, this.#heardWall === null ? 0 : now - this.#heardWall);
    this.#loadedAt.clear();
    this.#reload("services", "network", "processes", "incidents");
  }

  // --- what arrives -------------------------------------------------------------

  #queue(items: readonly Item[], unreadable: number): void {
    this.#heardWall = Date.now();
    for (const item of items) this.#pending.push(item);
    this.#pendingUnreadable += unreadable;
    if (this.#pending.length >= batchMax) this.#flush();
    else this.#cancelFlush ??= this.#schedule();
  }

  /** Whichever comes first: the next frame, or a timer for a tab that gets none. */
  #schedule(): () => void {
    const frame = requestAnimationFrame(() => this.#flush());
    const timer = setTimeout(() => this.#flush(), hiddenFlush);
    return () => {
      cancelAnimationFrame(frame);
      clearTimeout(timer);
    };
  }

  #flush(): void {
    this.#cancelFlush?.();
    this.#cancelFlush = null;
    const items = this.#pending;
    const unreadable = this.#pendingUnreadable;
    if (items.length === 0 && unreadable === 0) return;
    this.#pending = [];
    this.#pendingUnreadable = 0;
    this.store.heardAt.value = performance.now();
    this.store.ingest(items, unreadable, Date.now());
    this.#follow(items);
  }

  /** Fetches again what these events say has changed. */
  #follow(items: readonly Item[]): void {
    for (const item of items) {
      if (item.kind === "gap") return this.#reload("status", "network", "services", "incidents");
      if (item.kind !== "event") continue;
      const { type } = item.event;
      if (/^(link|addr|route)\./.test(type)) this.#reload("network");
      else if (/^(boot|sensor)\.|^system\.(ready|degraded|recovered)$/.test(type)) {
        this.#reload("status");
      } else if (type === "action.finished" && removesService(item.event.data)) {
        this.#reload("services");
      }
    }
  }

  // --- what is fetched ------------------------------------------------------------

  /** Says whether a panel that needs polling is on the screen. */
  watch(part: Part, onScreen: boolean): void {
    if (onScreen) this.#watched.add(part);
    else this.#watched.delete(part);
    if (onScreen) this.#tick();
  }

  #tick(): void {
    this.store.now.value = performance.now();
    if (document.hidden || !this.store.live.value) return;
    this.#loadIfOlder("status", statusEvery);
    if (this.#watched.has("processes")) this.#loadIfOlder("processes", processesEvery);
    if (this.#watched.has("network")) this.#loadIfOlder("network", networkEvery);
    if (this.store.services.value === null) this.#loadIfOlder("services", processesEvery);
  }

  #loadIfOlder(part: Part, ms: number): void {
    const loadedAt = this.#loadedAt.get(part);
    if (loadedAt === undefined || performance.now() - loadedAt >= ms) void this.#load(part);
  }

  #reload(...parts: Part[]): void {
    for (const part of parts) {
      if (this.#settling.has(part)) continue;
      this.#settling.add(part);
      setTimeout(() => {
        this.#settling.delete(part);
        void this.#load(part);
      }, settle);
    }
  }

  async #load(part: Part): Promise<void> {
    if (this.#loading.has(part) || this.#token === null) return;
    this.#loading.add(part);
    try {
      this.store.setProblem(part, await this.#fetch(part));
    } catch (error) {
      this.store.addFault(error);
    } finally {
      this.#loading.delete(part);
      this.#loadedAt.set(part, performance.now());
    }
  }

  async #fetch(part: Part): Promise<Problem | undefined> {
    const { store } = this;
    switch (part) {
      case "status":
        return take(await this.#api.status(), (value) => store.applyStatus(value));
      case "processes":
        return take(await this.#api.processes(), ({ items }) => store.processes.value = items);
      case "network":
        return take(await this.#api.network(), (value) => store.network.value = value);
      case "services":
        return take(await this.#api.services(), ({ items }) => store.services.value = items);
      case "incidents": {
        const after = `${store.status.value?.boot.id}:0`;
        const answer = await this.#api.events(after, incidentsMax, "incident.*");
        return take(answer, ({ items }) => store.applyIncidents(items));
      }
    }
  }

  // --- what a person does -----------------------------------------------------------

  /** Shows the event that led to this one, from the log or else from the machine's history. */
  async showEvent(boot: string, sequence: number): Promise<string | null> {
    const held = findEvent(this.store.log.value, boot, sequence);
    if (held !== null) {
      this.store.selected.value = held.event;
      return null;
    }
    const answer = await this.#api.events(`${boot}:${Math.max(0, sequence - 1)}`, 1);
    if (!answer.ok) return describeProblem(answer.problem);
    const event = answer.value.items.find((found) => found.sequence === sequence);
    if (event === undefined) return `#${sequence} is no longer in the machine's history`;
    this.store.selected.value = event;
    return null;
  }

  /** Asks the mind; the answer lands in the store. */
  async ask(question: string): Promise<void> {
    const id = this.#nextId++;
    this.store.addExchange({ id, question, answer: null });
    const answer = await this.#api.chat(question);
    this.store.addExchange({ id, question, answer });
  }

  /** Runs a command line; answers why it cannot be read, or null. */
  run(line: string): string | null {
    const split = splitArgv(line);
    if (!split.ok) return split.reason;
    void this.#run(line, split.argv);
    return null;
  }

  /** Gives up on the running command: the machine ends it when the request goes. */
  cancelRun(): void {
    this.#command?.abort();
  }

  async #run(line: string, argv: readonly string[]): Promise<void> {
    const run = { id: this.#nextId++, line, startedAt: performance.now(), outcome: null };
    this.store.addRun(run);
    const command = new AbortController();
    this.#command = command;
    const outcome = await this.#api.exec(argv, commandTimeout, command.signal);
    if (this.#command === command) this.#command = null;
    this.store.addRun({ ...run, outcome });
  }

  /** Ends this boot in order. */
  power(verb: "poweroff" | "reboot"): Promise<Answer<unknown>> {
    return this.#api.power(verb);
  }

  async renewLease(): Promise<Answer<unknown>> {
    const answer = await this.#api.renewLease();
    this.#reload("network");
    return answer;
  }

  async service(name: string, verb: "start" | "stop" | "restart"): Promise<Answer<unknown>> {
    const answer = await this.#api.service(name, verb);
    this.#reload("services");
    return answer;
  }

  async declareService(name: string, line: string): Promise<Answer<unknown>> {
    const split = splitArgv(line);
    if (!split.ok) {
      return {
        ok: false,
        problem: { title: "not a command line", status: 0, detail: split.reason, errors: [] },
      };
    }
    const answer = await this.#api.declareService(name, split.argv);
    this.#reload("services");
    return answer;
  }
}

/** No event of the service itself says that it is no longer declared. */
function removesService(data: unknown): boolean {
  return (data as { kind?: unknown } | null)?.kind === "service.remove";
}

function take<T>(answer: Answer<T>, apply: (value: T) => void): Problem | undefined {
  if (!answer.ok) return answer.problem;
  apply(answer.value);
  return undefined;
}

const SessionContext = createContext<Session | null>(null);
export const SessionProvider = SessionContext.Provider;

/** The session the page was rendered with. */
export function useSession(): Session {
  const session = useContext(SessionContext);
  if (session === null) throw new Error("useSession: no session above this component");
  return session;
}
