/**
 * Mock: a machine that is only its HTTP edge, for developing and testing the
 * page without a guest: the API's routes with plausible data, the stream with
 * resume, and the mishaps a test wants (gaps, drops, reboots).
 *
 * Every event it emits is checked against the catalogue, so that it can not
 * drift from what a real machine says. `deno run -A tests/web/mock.ts` serves a
 * machine that leads a busy life of its own.
 */
import { z } from "zod";
import { toCloudEvent } from "../../bus/envelope.ts";
import type { CloudEvent } from "../../bus/envelope.ts";
import { catalogue } from "../../bus/events.ts";
import type { EventData, EventType } from "../../bus/events.ts";
import type {
  BootPhase,
  ChatReply,
  ExecResult,
  MachineSample,
  NetworkState,
  ProcessInfo,
  ServiceState,
} from "../../bus/shapes.ts";
import { matches } from "../../bus/topics.ts";
import { pagePolicy } from "../../src/http/headers.ts";
import type { Status } from "../../src/web/api.ts";

const webRoot = new URL("../../src/web/", import.meta.url);
const statics: Readonly<Record<string, string>> = {
  "/": "text/html; charset=utf-8",
  "/style.css": "text/css; charset=utf-8",
  "/icon.svg": "image/svg+xml",
};

let bundled: Promise<Uint8Array<ArrayBuffer>> | null = null;

/** The page's script as the image build makes it; built once per process. */
export function bundlePage(): Promise<Uint8Array<ArrayBuffer>> {
  return bundled ??= (async () => {
    const output = await Deno.makeTempFile({ suffix: ".js" });
    try {
      const { success, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["bundle", "--quiet", "--platform", "browser", "--minify", "-o", output, "main.tsx"],
        cwd: webRoot,
        stdin: "null",
      }).output();
      if (!success) throw new Error(`bundle main.tsx: ${new TextDecoder().decode(stderr)}`);
      return await Deno.readFile(output);
    } finally {
      await Deno.remove(output);
    }
  })();
}

const KiB = 1024;
const MiB = 1024 * KiB;

function randomHex(bytes: number): string {
  return crypto.getRandomValues(new Uint8Array(bytes)).toHex();
}

interface Stream {
  readonly socket: WebSocket;
  pending: unknown[];
}

export interface MockOptions {
  /** 0 (default): any free one. */
  readonly port?: number;
  /** Whether it samples itself each second. Default: yes. */
  readonly sampling?: boolean;
}

/** A request that reached the API, for a test to look at. */
export interface Asked {
  readonly method: string;
  readonly path: string;
  readonly body: unknown;
}

export class Mock implements AsyncDisposable {
  token = "mock-" + randomHex(24);
  bootId = randomHex(8);
  hostname = "osym";
  readonly asked: Asked[] = [];
  readonly services: ServiceState[] = [
    service("dns", ["/bin/dnsd", "-v", "-c", "/etc/dnsd.conf"], 143),
    service("telemetry", ["/usr/bin/telemetry", "--interval", "10"], 151),
  ];
  readonly extraProcesses: ProcessInfo[] = [];
  degraded: { part: string; reason: string; since: number }[] = [];
  lastStop: Status["boot"]["last_stop"] = { kind: "clean" };
  /** Answers of `POST exec`; a test may put its own in. */
  exec: (argv: string[]) => Partial<ExecResult> = pretendExec;
  /** What `GET status` says on top of, or instead of, the truth. */
  statusOverride: Partial<Record<keyof Status, unknown>> = {};
  #port: number;
  #server: Deno.HttpServer<Deno.NetAddr> | null = null;
  #streams = new Set<Stream>();
  #history: CloudEvent[] = [];
  #sequence = 0;
  #bootedAt = Date.now() - 192_000;
  #sampling: boolean;
  #timer: ReturnType<typeof setInterval> | null = null;
  #flushTimer: ReturnType<typeof setTimeout> | null = null;
  #phases: BootPhase[] = bootPhases();
  #busy = 0.06;
  #used = 141 * MiB;
  #rx = 5_412_331;
  #tx = 812_201;

  private constructor(options: MockOptions) {
    this.#port = options.port ?? 0;
    this.#sampling = options.sampling ?? true;
  }

  /** Starts serving; the machine has just booted and has its boot's events in its history. */
  static async start(options: MockOptions = {}): Promise<Mock> {
    const mock = new Mock(options);
    await bundlePage();
    await mock.up();
    mock.#emitBoot();
    return mock;
  }

  get url(): string {
    return `http://localhost:${this.#port}`;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  get head(): number {
    return this.#sequence;
  }

  /** Serves again on the port it had. */
  up(): Promise<void> {
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#server = Deno.serve({
      hostname: "127.0.0.1",
      port: this.#port,
      onListen: ({ port }) => {
        this.#port = port;
        resolve();
      },
    }, (request) => this.#answer(request));
    if (this.#sampling) this.#timer = setInterval(() => this.sample(), 1_000);
    return promise;
  }

  /** Falls off the network: streams end, the port is closed. */
  async down(): Promise<void> {
    if (this.#timer !== null) clearInterval(this.#timer);
    if (this.#flushTimer !== null) clearTimeout(this.#flushTimer);
    this.#timer = this.#flushTimer = null;
    this.dropStreams();
    await this.#server?.shutdown();
    this.#server = null;
  }

  /** Comes back as another boot: new id, numbers from 1, the history gone. */
  async reboot(lastStop: Status["boot"]["last_stop"] = { kind: "reboot" }): Promise<void> {
    await this.down();
    this.bootId = randomHex(8);
    this.#sequence = 0;
    this.#history = [];
    this.#bootedAt = Date.now() - 2_100;
    this.lastStop = lastStop;
    this.#phases = bootPhases();
    await this.up();
    this.#emitBoot();
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.down();
  }

  /** Closes every stream; the port stays open. */
  dropStreams(): void {
    for (const { socket } of this.#streams) socket.close();
    this.#streams.clear();
  }

  /** Publishes an event; throws when it is not what the catalogue says. */
  emit<T extends EventType>(
    type: T,
    data: EventData<T>,
    more: { subject?: string; cause?: number; source?: string; time?: number } = {},
  ): number {
    catalogue[type].schema(z).parse(data);
    const seq = ++this.#sequence;
    const time = more.time ?? Date.now();
    this.#send(
      toCloudEvent({
        seq,
        boot: this.bootId,
        type,
        source: more.source ?? `nerve.${type.split(".")[0]}`,
        time,
        mono: (time - this.#bootedAt) * 1_000,
        data,
        ...(more.subject === undefined ? {} : { subject: more.subject }),
        ...(more.cause === undefined ? {} : { cause: more.cause }),
      }),
    );
    return seq;
  }

  /** What happened and no stream was told: only the history has it. */
  unheard<T extends EventType>(type: T, data: EventData<T>): void {
    const streams = this.#streams;
    this.#streams = new Set();
    this.emit(type, data);
    this.#streams = streams;
  }

  /** Publishes many process events at once, without checking each. */
  storm(count: number): void {
    const time = Date.now();
    for (let i = 0; i < count; i++) {
      const seq = ++this.#sequence;
      const pid = 1_000 + seq % 31_000;
      this.#send(
        toCloudEvent(
          {
            seq,
            boot: this.bootId,
            type: "process.forked",
            source: "nerve.connector",
            time,
            mono: (time - this.#bootedAt) * 1_000,
            data: { pid, ppid: 1 },
          },
        ),
      );
    }
  }

  /** Tells every stream that it lost `count` events. */
  gap(count: number, reason = "this client reads too slowly"): void {
    const from = this.#sequence + 1;
    this.#sequence += count;
    this.sendRaw({ gap: { from, to: this.#sequence, count, reason } });
  }

  /** Sends anything at all. */
  sendRaw(item: unknown): void {
    for (const stream of this.#streams) stream.pending.push(item);
    this.#flushTimer ??= setTimeout(() => this.#flush(), 5);
  }

  /** Takes one reading of a machine that idles with a purpose. */
  sample(time = Date.now()): MachineSample {
    const wander = (value: number, by: number, low: number, high: number) =>
      Math.min(high, Math.max(low, value + (Math.random() - 0.5) * by));
    this.#busy = Math.random() < 0.06 ? 0.2 + Math.random() * 0.5 : wander(
      this.#busy * 0.8,
      0.05,
      0.01,
      0.9,
    );
    this.#used = wander(this.#used, 4 * MiB, 96 * MiB, 300 * MiB);
    const rx_rate = Math.random() < 0.2 ? Math.random() * 90 * KiB : Math.random() * 3 * KiB;
    const tx_rate = rx_rate * 0.2 + Math.random() * 9 * KiB;
    this.#rx += rx_rate;
    this.#tx += tx_rate;
    const sample = this.#reading(rx_rate, tx_rate);
    this.emit("system.sampled", sample, { source: "nerve.sampler", time });
    return sample;
  }

  /** Puts past samples into the history, one a second. */
  prefill(seconds: number): void {
    const now = Date.now();
    for (let ago = seconds; ago > 0; ago--) {
      this.sample(now - ago * 1_000);
      this.#sequence += Math.floor(Math.random() * 4);
    }
  }

  #reading(rx_rate: number, tx_rate: number): MachineSample {
    const total = 482 * MiB;
    return {
      memory: {
        total,
        available: Math.round(total - this.#used),
        free: Math.round(total - this.#used - 60 * MiB),
        cached: 60 * MiB,
        swap_total: 0,
        swap_free: 0,
      },
      load: [this.#busy * 1.4, 0.12, 0.05],
      cpu: {
        busy: this.#busy,
        user: this.#busy * 0.6,
        system: this.#busy * 0.35,
        iowait: this.#busy * 0.05,
        count: 2,
      },
      processes: 47,
      disks: [
        { mount: "/", total: 101 * MiB, free: 0, inodes: 1_200, inodes_free: 0 },
        { mount: "/data", total: 480 * MiB, free: 431 * MiB, inodes: 30_720, inodes_free: 30_655 },
        { mount: "/tmp", total: 241 * MiB, free: 240 * MiB, inodes: 61_000, inodes_free: 60_984 },
      ],
      links: [
        { link: "lo", rx_bytes: 0, tx_bytes: 0, rx_rate: 0, tx_rate: 0 },
        {
          link: "eth0",
          rx_bytes: Math.round(this.#rx),
          tx_bytes: Math.round(this.#tx),
          rx_rate,
          tx_rate,
        },
      ],
      uptime_s: (Date.now() - this.#bootedAt) / 1_000,
    };
  }

  #send(event: CloudEvent): void {
    this.#history.push(event);
    if (this.#history.length > 100_000) this.#history.splice(0, 10_000);
    this.sendRaw(event);
  }

  #flush(): void {
    this.#flushTimer = null;
    for (const stream of this.#streams) {
      const { socket, pending } = stream;
      stream.pending = [];
      if (socket.readyState !== WebSocket.OPEN) continue;
      for (let i = 0; i < pending.length; i += 50) {
        socket.send(JSON.stringify(pending.slice(i, i + 50)));
      }
    }
  }

  #emitBoot(): void {
    this.emit("boot.started", {
      kernel: "6.12.117",
      version: "1.0.0-alpha.1",
      machine: "x86_64",
      attempt: 1,
      rescue: false,
      last_stop: this.lastStop,
    }, { source: "core.boot" });
    const down = this.emit("link.added", { index: 2, link: "eth0", mac: "52:54:00:12:34:56" });
    const up = this.emit("link.up", { index: 2, link: "eth0", mac: "52:54:00:12:34:56" }, {
      cause: down,
    });
    const asked = this.emit("addr.lease_requested", { link: "eth0", mode: "discover" }, {
      cause: up,
      source: "core.dhcp",
    });
    const leased = this.emit("addr.leased", lease(), { cause: asked, source: "core.dhcp" });
    this.emit("addr.added", { index: 2, link: "eth0", address: "10.0.2.15", prefix: 24 }, {
      cause: leased,
    });
    this.emit("route.added", { destination: "default", gateway: "10.0.2.2", link: "eth0" }, {
      cause: leased,
    });
    for (const phase of this.#phases.slice(1)) {
      this.emit("boot.phase", phase, { source: "core.phases" });
    }
    for (const sensor of sensorNames) {
      this.emit("sensor.started", { sensor }, { source: "nerve.host" });
    }
    this.emit("system.ready", { ms: 623, kernel_ms: 1_204, port: 80, degraded: [] }, {
      source: "core.phases",
    });
    for (const state of this.services) {
      this.emit("service.started", state, { source: "immune.supervisor" });
    }
    this.emit("kernel.logged", {
      level: 6,
      facility: 0,
      sequence: 412,
      text: "virtio_net virtio0 eth0: renamed from virtio0",
    });
    this.emit("kernel.logged", {
      level: 4,
      facility: 0,
      sequence: 413,
      text: "process 'busybox' launched with NULL argv: empty string added",
    });
  }

  // --- HTTP ---------------------------------------------------------------------------

  async #answer(request: Request): Promise<Response> {
    const url = new URL(request.url);
    if (!url.pathname.startsWith("/api/v1/")) return await this.#static(url.pathname);
    if (!this.#knows(request)) {
      return problem(401, "Unauthorized", "the credential is missing or not valid");
    }
    const path = url.pathname.slice("/api/v1/".length);
    if (path === "stream") return this.#stream(request, url);
    const body = request.method === "POST" ? await request.json() : null;
    this.asked.push({ method: request.method, path, body });
    return this.#route(request.method, path, url, body as Record<string, unknown> | null);
  }

  async #static(pathname: string): Promise<Response> {
    const headers = { "content-security-policy": pagePolicy(`localhost:${this.#port}`) };
    if (pathname === "/app.js") {
      const type = { ...headers, "content-type": "text/javascript; charset=utf-8" };
      return new Response(await bundlePage(), { headers: type });
    }
    const contentType = statics[pathname];
    if (contentType === undefined) return new Response("no such file", { status: 404 });
    const file = pathname === "/" ? "index.html" : pathname.slice(1);
    const text = await Deno.readTextFile(new URL(file, webRoot));
    return new Response(text, { headers: { ...headers, "content-type": contentType } });
  }

  #knows(request: Request): boolean {
    const protocols = request.headers.get("sec-websocket-protocol")?.split(/,\s*/) ?? [];
    return request.headers.get("authorization") === `Bearer ${this.token}` ||
      protocols.includes(`osym.token.${this.token}`);
  }

  #route(method: string, path: string, url: URL, body: Record<string, unknown> | null): Response {
    switch (`${method} ${path}`) {
      case "GET status":
        return Response.json(this.#status());
      case "GET processes":
        return Response.json({ items: [...processes(), ...this.extraProcesses] });
      case "GET network":
        return Response.json(network(this.hostname));
      case "GET services":
        return Response.json({ items: this.services });
      case "GET events":
        return Response.json({ items: this.#after(url.searchParams) });
      case "POST network/renew":
        this.emit("addr.renewed", lease(), { source: "core.dhcp" });
        return Response.json({ leases: [lease()] });
      case "POST power/reboot":
        setTimeout(() => this.reboot(), 50);
        return Response.json({});
      case "POST exec":
        return Response.json(this.#exec(body?.argv as string[]));
      case "POST chat":
        return Response.json(pretendChat(String(body?.message)));
      case "POST services":
        return this.#declare(String(body?.name), body?.argv as string[]);
    }
    const act = /^services\/([^/]+)\/(restart|stop|start)$/.exec(path);
    if (method === "POST" && act !== null) return this.#act(act[1]!, act[2]!);
    return problem(404, "Not Found", `no route ${method} ${url.pathname}`);
  }

  #after(query: URLSearchParams): CloudEvent[] {
    const [boot, seq] = (query.get("after") ?? "").split(":");
    if (boot !== this.bootId) return [];
    const limit = Number(query.get("limit") ?? 100);
    const wanted = query.get("type") ?? ">";
    return this.#history
      .filter(({ sequence, type }) => sequence > Number(seq) && matches(wanted, type))
      .slice(0, limit);
  }

  #status(): Status {
    const status: Status = {
      boot: {
        id: this.bootId,
        kernel: "6.12.117",
        version: "1.0.0-alpha.1",
        hostname: this.hostname,
        architecture: "x86_64",
        attempt: 1,
        rescue: false,
        last_stop: this.lastStop,
        phases: this.#phases,
        ready_ms: 623,
        kernel_ms: 593,
      },
      degraded: this.degraded,
      sample: this.#reading(412, 2_210),
      userland: 4,
      sensors: sensorNames.map((name, index) => ({
        name,
        state: "running",
        events: [412, 88, 1_932, 17, 192][index]!,
        gaps: 0,
      })),
      clients: { streams: this.#streams.size },
      head: `${this.bootId}:${this.#sequence}`,
    };
    return { ...status, ...this.statusOverride } as Status;
  }

  #exec(argv: string[]): ExecResult {
    const action = `a-${this.#sequence}`;
    const pid = 300 + this.#sequence % 1_000;
    const allowed = this.emit("action.allowed", {
      action,
      kind: "exec.run",
      principal: "launch",
      reason: "admin",
    }, { source: "core.gate" });
    const execed = this.emit("process.execed", {
      pid,
      comm: argv[0]!.slice(0, 15),
      exe: `/bin/${argv[0]}`,
      uid: 0,
      cgroup: "/tasks/exec",
    }, { cause: allowed, source: "nerve.connector" });
    const result: ExecResult = {
      action,
      pid,
      code: 0,
      signal: null,
      stdout: "",
      stderr: "",
      truncated: { stdout: 0, stderr: 0 },
      timed_out: false,
      ms: 11.4,
      ...this.exec(argv),
    };
    this.emit("process.exited", {
      pid,
      ppid: 1,
      comm: argv[0]!.slice(0, 15),
      code: result.code,
      signal: result.signal,
    }, { cause: execed, source: "nerve.connector" });
    return result;
  }

  #declare(name: string, argv: string[]): Response {
    const state = service(name, argv, 400 + this.services.length);
    this.services.push(state);
    this.emit("service.started", state, { source: "immune.supervisor" });
    return Response.json(state, { status: 201 });
  }

  #act(name: string, verb: string): Response {
    const found = this.services.find((candidate) => candidate.name === name);
    if (found === undefined) return problem(404, "Not Found", `no service "${name}"`);
    if (verb === "stop") {
      Object.assign(found, { state: "stopped", pid: null });
      this.emit("service.stopped", found, { source: "immune.supervisor" });
    } else {
      Object.assign(found, {
        state: "running",
        pid: (found.pid ?? 143) + 1,
        restarts: found.restarts + (verb === "restart" ? 1 : 0),
      });
      this.emit("service.started", found, { source: "immune.supervisor" });
    }
    return Response.json(found);
  }

  #stream(request: Request, url: URL): Response {
    const { socket, response } = Deno.upgradeWebSocket(request, { protocol: "osym.v1" });
    const stream: Stream = { socket, pending: [] };
    const [boot, seq] = (url.searchParams.get("after") ?? "").split(":");
    socket.onopen = () => {
      socket.send(JSON.stringify([{ hello: { boot: this.bootId, head: this.#sequence } }]));
      this.#streams.add(stream);
      stream.pending = boot === this.bootId
        ? this.#history.filter(({ sequence }) => sequence > Number(seq))
        : [{ gap: { from: null, to: null, count: null, reason: "unknown boot" } }];
      this.#flush();
    };
    socket.onclose = () => this.#streams.delete(stream);
    socket.onerror = () => this.#streams.delete(stream);
    return response;
  }
}

function problem(status: number, title: string, detail: string): Response {
  return Response.json({ type: "about:blank", title, status, detail }, {
    status,
    headers: { "content-type": "application/problem+json" },
  });
}

const sensorNames = ["kmsg", "rtnetlink", "connector", "uevent", "sampler"];

function service(name: string, argv: string[], pid: number): ServiceState {
  return {
    name,
    argv,
    state: "running",
    pid,
    restarts: 0,
    backoff_ms: null,
    last_exit: null,
  };
}

function lease() {
  return {
    link: "eth0",
    address: "10.0.2.15",
    prefix: 24,
    router: "10.0.2.2",
    dns: ["10.0.2.3"],
    server: "10.0.2.2",
    lease_s: 86_400,
    t1_s: 43_200,
    t2_s: 75_600,
  };
}

function network(hostname: string): NetworkState {
  return {
    hostname,
    links: [
      {
        index: 1,
        link: "lo",
        up: true,
        carrier: true,
        mtu: 65_536,
        addresses: [{ address: "127.0.0.1", prefix: 8 }],
      },
      {
        index: 2,
        link: "eth0",
        mac: "52:54:00:12:34:56",
        up: true,
        carrier: true,
        mtu: 1_500,
        addresses: [{ address: "10.0.2.15", prefix: 24 }, {
          address: "fe80::5054:ff:fe12:3456",
          prefix: 64,
        }],
      },
      {
        index: 3,
        link: "eth1",
        mac: "52:54:00:12:34:57",
        up: true,
        carrier: false,
        mtu: 1_500,
        addresses: [],
      },
    ],
    routes: [
      { destination: "default", gateway: "10.0.2.2", link: "eth0" },
      { destination: "10.0.2.0/24", link: "eth0" },
    ],
    leases: [lease()],
    dns: ["10.0.2.3"],
  };
}

function bootPhases(): BootPhase[] {
  const rows: [name: string, ms: number][] = [
    ["guard", 12.2],
    ["mount", 31.5],
    ["sysctls", 4.1],
    ["identity", 6.3],
    ["modules", 0.4],
    ["network", 44.8],
    ["nerve", 121.6],
    ["http", 214.9],
    ["ready", 1.8],
    ["data", 188.3],
    ["immune", 36.4],
    ["cortex", 92.7],
    ["console", 8.5],
  ];
  let at = 185.5;
  const phases: BootPhase[] = [{ name: "runtime", at: -611, ms: 611, ok: true }];
  for (const [name, ms] of rows) {
    phases.push({ name, at, ms, ok: true });
    at += ms;
  }
  return phases;
}

function processes(): ProcessInfo[] {
  const user = (pid: number, ppid: number, comm: string, rss: number, threads = 1) => ({
    pid,
    ppid,
    comm,
    state: "S",
    uid: comm === "mind" ? 901 : 0,
    threads,
    rss,
    cpu: Math.random() * (pid === 1 ? 0.06 : 0.004),
    started_s: pid === 1 ? 0 : 2 + pid / 100,
    kernel: false,
  });
  const names = ["kthreadd", "rcu_preempt", "kworker/0:1", "ksoftirqd/0", "kswapd0", "jbd2/vda-8"];
  const kernel = Array.from({ length: 43 }, (_, index): ProcessInfo => ({
    pid: index + 2,
    ppid: index === 0 ? 0 : 2,
    comm: names[index] ?? `kworker/u4:${index}`,
    state: "I",
    uid: 0,
    threads: 1,
    rss: 0,
    cpu: 0,
    started_s: 0,
    kernel: true,
  }));
  return [
    user(1, 0, "deno", 68.4 * MiB, 9),
    user(131, 1, "mind", 37.1 * MiB, 7),
    user(143, 1, "dnsd", 1.2 * MiB),
    user(151, 1, "telemetry", 0.9 * MiB),
    ...kernel,
  ];
}

function pretendExec(argv: string[]): Partial<ExecResult> {
  switch (argv[0]) {
    case "echo":
      return { stdout: argv.slice(1).join(" ") + "\n" };
    case "uname":
      return { stdout: "Linux osym 6.12.117 #1 SMP PREEMPT_DYNAMIC x86_64 GNU/Linux\n" };
    case "false":
      return { code: 1 };
    case "ls":
      return {
        stdout:
          "total 0\nlr-x------ 1 0 0 64 0 -> /dev/null\nl-wx------ 1 0 0 64 1 -> pipe:[8812]\n" +
          "l-wx------ 1 0 0 64 2 -> pipe:[8813]\n",
      };
    default:
      return { code: 127, stderr: `exec "${argv[0]}": ENOENT\n` };
  }
}

function pretendChat(message: string): ChatReply {
  const memory = /memory|uses/i.test(message);
  return {
    reply: memory
      ? "141 MiB of 482 MiB are in use.\nMost of it: deno (pid 1) 68.4 MiB, mind (pid 131) " +
        "37.1 MiB, dnsd (pid 143) 1.2 MiB."
      : "I can not tell. I know about memory, CPU, disk, network, processes, uptime and health.",
    mode: "survival",
    mind: "mind-1",
    intent: memory ? "memory" : "unknown",
    ms: 3.2,
  };
}

/** What a machine does all day. */
function live(mock: Mock): void {
  const names = ["sh", "ls", "cat", "sleep", "grep", "ps", "awk"];
  let pid = 500;
  setInterval(() => {
    const comm = names[Math.floor(Math.random() * names.length)]!;
    pid++;
    const forked = mock.emit("process.forked", { pid, ppid: 143 }, { source: "nerve.connector" });
    const execed = mock.emit("process.execed", {
      pid,
      comm,
      exe: "/bin/busybox",
      uid: 0,
      cgroup: "/tasks/dns",
    }, { cause: forked, source: "nerve.connector" });
    const code = Math.random() < 0.1 ? null : 0;
    mock.emit("process.exited", {
      pid,
      ppid: 143,
      comm,
      code,
      signal: code === null ? "SIGKILL" : null,
    }, { cause: execed, source: "nerve.connector" });
    if (Math.random() < 0.3) {
      mock.emit("file.modified", { path: `/data/dns/zone-${pid % 7}.db`, directory: false });
    }
    if (Math.random() < 0.1) {
      mock.emit("service.output", { service: "dns", stream: "stdout", line: `query ${pid} A ok` });
    }
  }, 900);
}

if (import.meta.main) {
  const mock = await Mock.start({ port: Number(Deno.args[0] ?? 0) });
  mock.prefill(240);
  live(mock);
  console.log(`${mock.url}/#token=${mock.token}`);
}
