/**
 * The serial conversation: commands in, answers and live events out.
 *
 * Owns what a person at the machine can ask and do. It acts only by proposing
 * through the machine, like everyone; it must never block, throw into whoever
 * feeds it, or let untrusted text reach the terminal unescaped.
 */
import type { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import type { Principal } from "../../bus/gate.ts";
import type { ActKind, ActOutcome, Machine } from "../../bus/machine.ts";
import type { ExecResult } from "../../bus/shapes.ts";
import { compileTopics } from "../../bus/topics.ts";
import { joinArgv, splitArgv } from "./argv.ts";
import { LineEditor } from "./line.ts";
import {
  cut,
  escapeLine,
  escapeText,
  formatBytes,
  formatDuration,
  formatShare,
  nearest,
  table,
} from "./render.ts";

/** Where the conversation is shown; it takes text without waiting and drops what it can not hold. */
export interface Tty {
  write(text: string): void;
}

export interface ConsoleOptions {
  readonly tty: Tty;
  /** False when the tty is in canonical mode and the kernel echoes and edits. */
  readonly echo: boolean;
  readonly machine: Machine;
  readonly bus: Pick<Bus, "subscribe">;
  readonly principal: Principal;
  /** Calls back once in `ms`; answers how to call that off. */
  after(ms: number, callback: () => void): () => void;
  /** Takes errors that would otherwise end in a callback. Must not throw. */
  report(where: string, error: unknown): void;
  /** A token made at this boot because nobody launched the machine: shown once. */
  readonly token?: string | null | undefined;
}

interface Command {
  readonly usage: string;
  readonly about: string;
  /** `rest` is the line after the command's name, as typed. */
  run(argv: readonly string[], rest: string): void | Promise<void>;
}

const prompt = "osym> ";
/** Events shown in a second: what a person can just follow and a serial line can carry. */
const eventsPerSecond = 20;
const windowMs = 1000;
/** Characters of an event's data shown. */
const eventWidth = 240;
/**
 * Characters written of a command's output: 64 KiB are six seconds at 115,200 baud. At three bytes
 * each both streams still fit the tty's queue, which would drop their beginning.
 */
const maxOutput = 65_536;
const maxErrors = 16_384;
/** Written at once: the tty drops whole writes. */
const chunk = 4096;
const processRows = 20;

export class Console {
  readonly #options: ConsoleOptions;
  readonly #editor: LineEditor;
  readonly #commands: ReadonlyMap<string, Command>;
  #started = false;
  #abort: AbortController | null = null;
  #unfollow: (() => void) | null = null;
  #shown = 0;
  #skipped = 0;
  #cancelWindow: (() => void) | null = null;

  constructor(options: ConsoleOptions) {
    this.#options = options;
    this.#commands = new Map(Object.entries(this.#table()));
    this.#editor = new LineEditor({
      write: (text) => options.tty.write(text),
      prompt,
      echo: options.echo,
      onLine: (line) => this.#line(line),
      onInterrupt: () => this.interrupt(),
    });
  }

  /** Shows the banner and the first prompt. */
  start(): void {
    if (this.#started) return;
    this.#started = true;
    this.#guard("console banner", () => {
      this.#write(`\r\n${terminal(`${this.#banner()}\n`)}\r\n`);
      this.#editor.show();
    });
  }

  /** Takes typed bytes. Never throws. */
  input(bytes: Uint8Array): void {
    if (this.#started) this.#guard("console input", () => this.#editor.feed(bytes));
  }

  /** ^C: stops the command that runs, else the events that are shown. Never throws. */
  interrupt(): void {
    if (this.#abort !== null) {
      this.#write("^C\r\n");
      this.#abort.abort();
    } else if (this.#unfollow !== null) {
      this.#follow(null);
      this.#editor.above(terminal("events off\n"));
    } else {
      this.#editor.show();
    }
  }

  /** The terminal is gone: stop what was for it. Idempotent. */
  close(): void {
    this.#started = false;
    this.#abort?.abort();
    this.#follow(null);
  }

  // --- lines -----------------------------------------------------------------------------

  #line(line: string): void {
    const typed = line.trim();
    const name = typed.split(/\s/, 1)[0]!;
    const rest = typed.slice(name.length).trimStart();
    if (name === "") return this.#editor.show();
    const work = this.#execute(name, rest);
    if (work === null) return this.#editor.show();
    this.#editor.pause();
    work.catch((error) => {
      this.#options.report(`console ${name}`, error);
      this.#say(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    }).finally(() => {
      this.#abort = null;
      if (this.#started) this.#editor.resume();
    }).catch((error) => this.#options.report(`console ${name}`, error));
  }

  /** Runs a command; answers its promise when it goes on. */
  #execute(name: string, rest: string): Promise<void> | null {
    const command = this.#commands.get(name);
    if (command === undefined) {
      const near = nearest(name, [...this.#commands.keys()]);
      const hint = near === null
        ? `to run a program: run ${cut(name, 40)}`
        : `did you mean ${near}?`;
      this.#say(`no command "${cut(name, 40)}"; ${hint} (see help)`);
      return null;
    }
    // A question is prose: its apostrophes are not quotes.
    const split = name === "ask" ? { ok: true as const, argv: [] } : splitArgv(rest);
    if (!split.ok) {
      this.#say(`${name}: ${split.reason}`);
      return null;
    }
    try {
      return command.run(split.argv, rest) ?? null;
    } catch (error) {
      this.#options.report(`console ${name}`, error);
      this.#say(`${name}: ${error instanceof Error ? error.message : String(error)}`);
      return null;
    }
  }

  #table(): Record<string, Command> {
    const act = (kind: ActKind, done: string) => (argv: readonly string[]) =>
      argv.length > 0 ? this.#usage(argv) : this.#act(kind, {}, () => done);
    return {
      status: {
        usage: "status",
        about: "how the machine is",
        run: () => this.#say(this.#status()),
      },
      events: {
        usage: "events [PATTERN…|off]",
        about: "show events as they happen: events process.*",
        run: (argv) => this.#events(argv),
      },
      run: {
        usage: "run PROGRAM [ARGUMENT…]",
        about: "run a command; ^C stops it",
        run: (argv) =>
          argv.length === 0 ? this.#say("usage: run PROGRAM [ARGUMENT…]") : this.#run(argv),
      },
      ask: {
        usage: "ask WORDS…",
        about: "ask the mind in plain words",
        run: (_, rest) => rest === "" ? this.#say("usage: ask WORDS…") : this.#ask(rest),
      },
      services: {
        usage: "services [start|stop|restart NAME]",
        about: "list services, or change one",
        run: (argv) => this.#services(argv),
      },
      network: {
        usage: "network",
        about: "links, addresses, routes, leases",
        run: () => this.#say(this.#network()),
      },
      ps: {
        usage: "ps [all]",
        about: `the ${processRows} largest processes, or all`,
        run: (argv) => this.#say(this.#processes(argv[0] === "all")),
      },
      poweroff: {
        usage: "poweroff",
        about: "stop everything in order and power off",
        run: act("power.off", "powering off"),
      },
      reboot: {
        usage: "reboot",
        about: "stop everything in order and start again",
        run: act("power.reboot", "rebooting"),
      },
      help: { usage: "help", about: "this list", run: () => this.#say(this.#help()) },
    };
  }

  #usage(argv: readonly string[]): void {
    this.#say(`"${cut(argv.join(" "), 40)}": this command takes nothing after its name`);
  }

  #help(): string {
    const commands = [...this.#commands.values()];
    return table(["command", ""], commands.map(({ usage, about }) => [usage, about]));
  }

  // --- acts ------------------------------------------------------------------------------

  async #run(argv: readonly string[]): Promise<void> {
    await this.#act("exec.run", { argv }, (result) => execText(result as ExecResult));
  }

  async #act(kind: ActKind, args: unknown, text: (result: unknown) => string): Promise<void> {
    const { machine, principal } = this.#options;
    const { signal } = this.#abort = new AbortController();
    const reason = "typed at the console";
    const outcome = await machine.act(principal, kind, args, { reason, signal });
    this.#say(outcome.status === "done" ? text(outcome.result) : refusal(outcome));
  }

  async #ask(message: string): Promise<void> {
    const { machine, principal } = this.#options;
    const { signal } = this.#abort = new AbortController();
    // An answer can not be called off; a person can stop waiting for it.
    const gone = new Promise<null>((resolve) =>
      signal.addEventListener("abort", () => resolve(null))
    );
    const outcome = await Promise.race([machine.chat(principal, message), gone]);
    if (outcome === null) return this.#say("no longer waiting for an answer");
    switch (outcome.status) {
      case "answered": {
        const { reply, mode, ms } = outcome.reply;
        return this.#say(`${reply}\n(${mode}, ${formatDuration(ms / 1000)})`);
      }
      case "invalid":
        return this.#say(`not asked: ${outcome.faults.join("; ")}`);
      case "unavailable":
        return this.#say(`nobody to ask: ${outcome.reason}`);
    }
  }

  #services(argv: readonly string[]): void | Promise<void> {
    const [verb, name, ...more] = argv;
    if (verb === undefined) return this.#say(this.#serviceTable());
    if ((verb !== "start" && verb !== "stop" && verb !== "restart") || !name || more.length > 0) {
      return this.#say("usage: services [start|stop|restart NAME]");
    }
    return this.#act(`service.${verb}`, { name }, () => {
      const state = this.#options.machine.services().find((service) => service.name === name);
      return `${name}: ${state?.state ?? "done"}`;
    });
  }

  // --- events ----------------------------------------------------------------------------

  #events(argv: readonly string[]): void {
    if (argv.length === 1 && argv[0] === "off") {
      const was = this.#unfollow !== null;
      this.#follow(null);
      return this.#say(was ? "events off" : "no events are shown");
    }
    const patterns = argv.length === 0 ? [">"] : argv;
    const topics = compileTopics(patterns);
    if (!topics.ok) return this.#say(topics.reason);
    this.#follow(patterns);
    this.#say(`events ${patterns.join(" ")}; ^C or "events off" ends it`);
  }

  #follow(patterns: readonly string[] | null): void {
    this.#unfollow?.();
    this.#cancelWindow?.();
    this.#unfollow = this.#cancelWindow = null;
    this.#shown = this.#skipped = 0;
    if (patterns === null) return;
    this.#unfollow = this.#options.bus.subscribe(patterns, (event) => this.#event(event));
  }

  #event(event: AnyEvent): void {
    this.#cancelWindow ??= this.#options.after(windowMs, () => this.#nextWindow());
    if (this.#shown >= eventsPerSecond) {
      this.#skipped++;
      return;
    }
    this.#shown++;
    this.#editor.above(terminal(`${eventText(event)}\n`));
  }

  #nextWindow(): void {
    this.#cancelWindow = null;
    this.#shown = 0;
    const skipped = this.#skipped;
    this.#skipped = 0;
    if (skipped > 0) this.#editor.above(terminal(`… ${skipped} more events not shown\n`));
  }

  // --- views -----------------------------------------------------------------------------

  #banner(): string {
    const { machine, token } = this.#options;
    const boot = machine.boot();
    const { links } = machine.network();
    const addresses = links.flatMap(({ link, addresses }) =>
      link === "lo" ? [] : addresses.map(({ address }) => `${address} (${link})`)
    );
    const ready = boot.readyMs === null
      ? "not ready yet"
      : `ready in ${formatDuration(boot.readyMs / 1000)}`;
    return [
      `osymbiote ${boot.version} on ${boot.hostname}: linux ${boot.kernel} (${boot.architecture}), ${ready}`,
      ...(boot.rescue ? ["rescue: only what is needed to look around runs"] : []),
      addresses.length === 0 ? "no address yet" : `address ${addresses.join(", ")}`,
      ...machine.degraded().map(({ part, reason }) => `degraded: ${part}: ${reason}`),
      ...(token === null || token === undefined ? [] : [`token, shown this once: ${token}`]),
      'type "help" for what this console understands',
    ].join("\n");
  }

  #status(): string {
    const { machine } = this.#options;
    const boot = machine.boot();
    const sample = machine.sample();
    const rows: [string, string][] = [
      ["system", `osymbiote ${boot.version} on ${boot.hostname}, linux ${boot.kernel}`],
      ["boot", `${boot.id}, attempt ${boot.attempt}${boot.rescue ? ", rescue" : ""}`],
      ["before", [boot.lastStop.kind, boot.lastStop.text].filter(Boolean).join(": ")],
      [
        "ready",
        boot.readyMs === null
          ? "not yet"
          : `after ${formatDuration(boot.readyMs / 1000)}, the kernel took ${
            formatDuration(boot.kernelMs / 1000)
          } before`,
      ],
    ];
    if (sample === null) rows.push(["sample", "none taken yet"]);
    else {
      const { memory, cpu, load, disks } = sample;
      rows.push(
        ["up", formatDuration(sample.uptime_s)],
        [
          "memory",
          `${formatBytes(memory.available)} of ${formatBytes(memory.total)} available`,
        ],
        [
          "cpu",
          `${formatShare(cpu.busy)} of ${cpu.count}, load ${
            load.map((value) => value.toFixed(2)).join(" ")
          }`,
        ],
        ["processes", String(sample.processes)],
        ...disks.map((disk): [string, string] => [
          "disk",
          `${disk.mount} ${formatBytes(disk.free)} of ${formatBytes(disk.total)} free`,
        ]),
      );
    }
    const failed = machine.sensors().filter((sensor) => sensor.state !== "running");
    for (const { name, state, error } of failed) {
      rows.push(["sensor", [`${name} ${state}`, error].filter(Boolean).join(": ")]);
    }
    for (const { name, state } of machine.services()) rows.push(["service", `${name} ${state}`]);
    const degraded = machine.degraded();
    if (degraded.length === 0) rows.push(["degraded", "nothing"]);
    for (const { part, reason } of degraded) rows.push(["degraded", `${part}: ${reason}`]);
    const width = Math.max(...rows.map(([name]) => name.length));
    return rows.map(([name, value]) => `${name.padEnd(width)}  ${escapeLine(value)}`).join("\n");
  }

  #network(): string {
    const { links, routes, leases, dns } = this.#options.machine.network();
    const parts = [
      table(
        ["link", "state", "mac", "addresses"],
        links.map((link) => [
          link.link,
          !link.up ? "off" : link.carrier ? "up" : "no carrier",
          link.mac ?? "",
          link.addresses.map(({ address, prefix }) => `${address}/${prefix}`).join(" "),
        ]),
      ),
    ];
    if (routes.length > 0) {
      const rows = routes.map((route) => [
        route.destination,
        route.gateway ?? "",
        route.link ?? "",
      ]);
      parts.push(table(["route", "by", "link"], rows));
    }
    if (leases.length > 0) {
      const rows = leases.map((lease) => [
        `${lease.address}/${lease.prefix}`,
        lease.link,
        lease.server,
        lease.lease_s >= 0xffff_ffff ? "for ever" : formatDuration(lease.lease_s),
      ]);
      parts.push(table(["lease", "link", "server", "time"], rows));
    }
    parts.push(`name servers: ${dns.length === 0 ? "none" : dns.join(" ")}`);
    return parts.join("\n\n");
  }

  #processes(all: boolean): string {
    const processes = this.#options.machine.processes().filter((one) => all || !one.kernel)
      .toSorted((one, other) => other.rss - one.rss || one.pid - other.pid);
    const rows = (all ? processes : processes.slice(0, processRows)).map((one) => [
      String(one.pid),
      String(one.ppid),
      String(one.uid),
      one.state,
      formatShare(one.cpu),
      formatBytes(one.rss),
      String(one.threads),
      one.comm,
    ]);
    const right = ["pid", "ppid", "uid", "cpu", "memory", "threads"];
    const heading = ["pid", "ppid", "uid", "state", "cpu", "memory", "threads", "name"];
    const missing = processes.length - rows.length;
    return table(heading, rows, right) + (missing > 0 ? `\n… ${missing} more (ps all)` : "");
  }

  #serviceTable(): string {
    const services = this.#options.machine.services();
    if (services.length === 0) return "no services are declared";
    return table(
      ["service", "state", "pid", "restarts", "last exit", "command"],
      services.map((service) => [
        service.name,
        [service.state, service.reason].filter(Boolean).join(": "),
        service.pid === null ? "" : String(service.pid),
        String(service.restarts),
        service.last_exit === null
          ? ""
          : service.last_exit.signal ?? String(service.last_exit.code),
        cut(joinArgv(service.argv), 60),
      ]),
      ["pid", "restarts"],
    );
  }

  // --- writing ---------------------------------------------------------------------------

  #say(text: string): void {
    if (!this.#started || text === "") return;
    this.#write(terminal(text.endsWith("\n") ? text : `${text}\n`));
  }

  #write(text: string): void {
    for (let at = 0; at < text.length;) {
      let end = Math.min(text.length, at + chunk);
      // Never between the halves of a surrogate pair.
      if (end < text.length && /[\ud800-\udbff]/.test(text[end - 1]!)) end++;
      this.#options.tty.write(text.slice(at, end));
      at = end;
    }
  }

  #guard(where: string, run: () => void): void {
    try {
      run();
    } catch (error) {
      this.#options.report(where, error);
    }
  }
}

/** Text as a terminal in raw mode wants it: escaped, lines ended by CR LF. */
function terminal(text: string): string {
  return escapeText(text).replaceAll("\n", "\r\n");
}

function refusal(outcome: Exclude<ActOutcome, { status: "done" }>): string {
  switch (outcome.status) {
    case "invalid":
      return `not understood: ${outcome.faults.join("; ")}`;
    case "denied":
      return `denied: ${outcome.reason}`;
    case "not_found":
    case "conflict":
      return outcome.reason;
    case "failed":
      return `failed: ${outcome.reason}`;
  }
}

/** What a command printed, and how it ended when that was not well. */
function execText(result: ExecResult): string {
  const parts = [
    streamText(result.stdout, result.truncated.stdout, maxOutput),
    streamText(result.stderr, result.truncated.stderr, maxErrors),
  ];
  if (result.timed_out) parts.push(`stopped after ${formatDuration(result.ms / 1000)}\n`);
  else if (result.signal !== null) parts.push(`ended by ${result.signal}\n`);
  else if (result.code !== 0) parts.push(`exit ${result.code}\n`);
  return parts.join("");
}

/** An escape or a surrogate pair of which the end was cut off. */
const halfCharacter = /(?:\\(?:x[0-9a-f]?|u\{[0-9a-f]*)?|[\ud800-\udbff])$/;

/**
 * @param lost bytes the core itself had to drop
 * @param limit characters shown, a control character being as many as its escape
 */
function streamText(text: string, lost: number, limit: number): string {
  if (text === "") return "";
  const safe = escapeText(text);
  const shown = safe.length <= limit ? safe : safe.slice(0, limit).replace(halfCharacter, "");
  const missing = safe.length - shown.length;
  const notes = [
    ...(missing > 0 ? [`… ${missing} more characters not shown`] : []),
    ...(lost > 0 ? [`… ${lost} bytes were dropped`] : []),
  ].map((note) => `${note}\n`);
  return `${shown}${shown.endsWith("\n") ? "" : "\n"}${notes.join("")}`;
}

/** One event on one line: time of day, type, subject, `key=value` of its data. */
function eventText(event: AnyEvent): string {
  const time = new Date(event.time).toISOString().slice(11, 23);
  const fields = Object.entries(event.data).map(([key, value]) => `${key}=${valueText(value)}`);
  const subject = event.subject === undefined ? [] : [event.subject];
  const data = cut(escapeLine([...subject, ...fields].join(" ")), eventWidth);
  return `${time} ${event.type} ${data}`;
}

function valueText(value: unknown): string {
  if (typeof value === "string") return /^[^\s"=]+$/.test(value) ? value : JSON.stringify(value);
  return JSON.stringify(value) ?? "undefined";
}
