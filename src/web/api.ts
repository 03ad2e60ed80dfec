/**
 * Api: the page's HTTP calls to `/api/v1`, each answered as a value.
 *
 * Owns the credential header, the deadline of each call and the reading of
 * RFC 9457 problem details. Must never reject: a refusal, a timeout and a dead
 * machine are all `{ok: false, problem}`.
 */
import type { CloudEvent } from "../../bus/envelope.ts";
import type { Degradation, SensorInfo } from "../../bus/machine.ts";
import type {
  BootPhase,
  ChatReply,
  ExecResult,
  LastStop,
  MachineSample,
  NetworkState,
  ProcessInfo,
  ServiceState,
} from "../../bus/shapes.ts";

/** `GET /api/v1/status`; milliseconds and bytes as in bus/shapes.ts. */
export interface Status {
  readonly boot: {
    readonly id: string;
    readonly kernel: string;
    readonly version: string;
    readonly hostname: string;
    readonly architecture: string;
    readonly attempt: number;
    readonly rescue: boolean;
    readonly last_stop: LastStop;
    readonly phases: readonly BootPhase[];
    readonly ready_ms: number | null;
    readonly kernel_ms: number;
  };
  readonly degraded: readonly Degradation[];
  readonly sample: MachineSample | null;
  /** Processes that are not kernel threads. */
  readonly userland: number;
  readonly sensors: readonly SensorInfo[];
  readonly clients: { readonly streams: number };
  /** `<boot>:<seq>` of the newest event. */
  readonly head: string;
}

/** RFC 9457. `status` 0 means that no answer came at all. */
export interface Problem {
  readonly title: string;
  readonly status: number;
  readonly detail: string;
  readonly errors: readonly string[];
}

export type Answer<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problem: Problem };

interface CallOptions {
  readonly method?: "GET" | "POST" | "DELETE";
  readonly body?: unknown;
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
  /** What the answer must have, so that a foreign one is a problem here and not in a panel. */
  readonly has?: Shape;
}

type Shape = Readonly<Record<string, "array" | "object" | "string">>;
const list = { items: "array" } as const;

/** One line for a person: what was refused and why. */
export function describeProblem(problem: Problem): string {
  const head = problem.status === 0 ? problem.title : `${problem.status} ${problem.title}`;
  const detail = problem.detail === "" || problem.detail === problem.title
    ? ""
    : `: ${problem.detail}`;
  const faults = problem.errors.length === 0 ? "" : ` (${problem.errors.join("; ")})`;
  return head + detail + faults;
}

/** Reads a problem body leniently: whatever a proxy or a crash put there, the status stays. */
export function readProblem(status: number, text: string): Problem {
  let body: Record<string, unknown> = {};
  try {
    const parsed: unknown = JSON.parse(text);
    if (typeof parsed === "object" && parsed !== null) body = parsed as Record<string, unknown>;
  } catch {
    body = { detail: text.slice(0, 200) };
  }
  return {
    title: typeof body.title === "string" ? body.title : "refused",
    status,
    detail: typeof body.detail === "string" ? body.detail : "",
    errors: Array.isArray(body.errors) ? body.errors.slice(0, 10).map(faultWords) : [],
  };
}

/** `{field, expected}` as the machine writes it, or whatever else is there. */
function faultWords(fault: unknown): string {
  if (typeof fault === "string") return fault;
  const { field, expected } = (fault ?? {}) as { field?: unknown; expected?: unknown };
  return typeof field === "string" && typeof expected === "string"
    ? `${field}: ${expected}`
    : JSON.stringify(fault);
}

/** The calls the page makes. `base` is the document's address; `fetch` is injectable for tests. */
export class Api {
  readonly #root: URL;
  readonly #token: () => string | null;
  readonly #fetch: typeof fetch;

  constructor(base: string, token: () => string | null, fetcher: typeof fetch = fetch) {
    this.#root = new URL("api/v1/", base);
    this.#token = token;
    // Called as a plain function: `fetch` refuses to run with a foreign `this`.
    this.#fetch = (input, init) => fetcher(input, init);
  }

  status(): Promise<Answer<Status>> {
    const has = { boot: "object", degraded: "array", sensors: "array", head: "string" } as const;
    return this.#call("status", { timeoutMs: 5_000, has });
  }

  processes(): Promise<Answer<{ items: ProcessInfo[] }>> {
    return this.#call("processes?limit=5000", { has: list });
  }

  network(): Promise<Answer<NetworkState>> {
    const has = { links: "array", routes: "array", leases: "array", dns: "array" } as const;
    return this.#call("network", { has });
  }

  services(): Promise<Answer<{ items: ServiceState[] }>> {
    return this.#call("services", { has: list });
  }

  /** Up to `limit` events after the position, of the types a pattern matches. */
  events(after: string, limit: number, type = ">"): Promise<Answer<{ items: CloudEvent[] }>> {
    const query = new URLSearchParams({ after, limit: String(limit), type });
    return this.#call(`events?${query}`, { has: list });
  }

  renewLease(): Promise<Answer<unknown>> {
    return this.#call("network/renew", { method: "POST", body: {}, timeoutMs: 30_000 });
  }

  service(name: string, verb: "start" | "stop" | "restart"): Promise<Answer<unknown>> {
    return this.#call(`services/${encodeURIComponent(name)}/${verb}`, {
      method: "POST",
      body: {},
      timeoutMs: 30_000,
    });
  }

  declareService(name: string, argv: readonly string[]): Promise<Answer<unknown>> {
    return this.#call("services", { method: "POST", body: { name, argv } });
  }

  /** Ends this boot in order. */
  power(verb: "poweroff" | "reboot"): Promise<Answer<unknown>> {
    return this.#call(`power/${verb}`, { method: "POST", body: {} });
  }

  exec(
    argv: readonly string[],
    timeoutMs: number,
    signal?: AbortSignal,
  ): Promise<Answer<ExecResult>> {
    return this.#call("exec", {
      method: "POST",
      body: { argv, timeout_ms: timeoutMs },
      // The machine keeps the deadline; ours only catches a machine that is gone.
      timeoutMs: timeoutMs + 5_000,
      ...(signal === undefined ? {} : { signal }),
    });
  }

  chat(message: string): Promise<Answer<ChatReply>> {
    return this.#call("chat", { method: "POST", body: { message }, timeoutMs: 60_000 });
  }

  /** Opens the stream; throws SyntaxError for a token that no subprotocol can carry. */
  openStream(after: string): WebSocket {
    const url = new URL("stream", this.#root);
    url.protocol = url.protocol === "https:" ? "wss:" : "ws:";
    url.searchParams.set("after", after);
    return new WebSocket(url, ["osym.v1", `osym.token.${this.#token() ?? ""}`]);
  }

  async #call<T>(path: string, options: CallOptions = {}): Promise<Answer<T>> {
    const { method = "GET", body, timeoutMs = 10_000, signal, has = {} } = options;
    const deadline = AbortSignal.timeout(timeoutMs);
    const headers: Record<string, string> = {
      accept: "application/json",
      authorization: `Bearer ${this.#token() ?? ""}`,
    };
    if (body !== undefined) headers["content-type"] = "application/json";
    try {
      const response = await this.#fetch(new URL(path, this.#root), {
        method,
        headers,
        body: body === undefined ? null : JSON.stringify(body),
        signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
        cache: "no-store",
        credentials: "omit",
        redirect: "error",
      });
      const text = await response.text();
      if (!response.ok) return { ok: false, problem: readProblem(response.status, text) };
      const value: unknown = text === "" ? null : JSON.parse(text);
      const fault = shapeFault(value, has);
      if (fault !== null) throw new SyntaxError(fault);
      return { ok: true, value: value as T };
    } catch (error) {
      return { ok: false, problem: noAnswer(error, deadline.aborted, timeoutMs, path) };
    }
  }
}

function shapeFault(value: unknown, has: Shape): string | null {
  for (const [key, want] of Object.entries(has)) {
    const found = (value as Record<string, unknown> | null)?.[key];
    const kind = Array.isArray(found) ? "array" : found === null ? "null" : typeof found;
    if (kind !== want) return `expected ${key} to be ${want}, got ${kind}`;
  }
  return null;
}

function noAnswer(error: unknown, expired: boolean, timeoutMs: number, path: string): Problem {
  const name = path.split("?")[0]!;
  const none = { status: 0, errors: [] };
  if (expired) {
    return { ...none, title: "no answer", detail: `${name}: none within ${timeoutMs / 1000} s` };
  }
  if (error instanceof DOMException && error.name === "AbortError") {
    return { ...none, title: "cancelled", detail: "" };
  }
  if (error instanceof SyntaxError) {
    return { ...none, title: "unreadable answer", detail: `${name}: ${error.message}` };
  }
  return { ...none, title: "unreachable", detail: `${name}: the machine does not answer` };
}
