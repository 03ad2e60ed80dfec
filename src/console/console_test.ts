import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { Principal } from "../../bus/gate.ts";
import type { ActKind, ActOutcome, BootInfo, ChatOutcome, Machine } from "../../bus/machine.ts";
import { roleScopes } from "../../bus/scopes.ts";
import type { ExecResult, MachineSample, ServiceState } from "../../bus/shapes.ts";
import { Console } from "./console.ts";

const principal: Principal = {
  id: "console",
  kind: "human",
  lineage: "console",
  scopes: roleScopes("admin"),
};

const boot: BootInfo = {
  id: "0123456789abcdef",
  kernel: "6.12.117",
  version: "1.0.0",
  hostname: "box",
  architecture: "x86_64",
  attempt: 2,
  rescue: false,
  lastStop: { kind: "panic", text: "Oops\x1b[2J" },
  phases: [],
  readyMs: 1900,
  kernelMs: 800,
};

const sample: MachineSample = {
  memory: {
    total: 512 * 2 ** 20,
    available: 400 * 2 ** 20,
    free: 0,
    cached: 0,
    swap_total: 0,
    swap_free: 0,
  },
  load: [0.1, 0.05, 0.01],
  cpu: { busy: 0.12, user: 0, system: 0, iowait: 0, count: 2 },
  processes: 14,
  disks: [{ mount: "/data", total: 2 ** 30, free: 2 ** 29, inodes: 1, inodes_free: 1 }],
  links: [],
  uptime_s: 192,
};

const service: ServiceState = {
  name: "dns",
  argv: ["/bin/dnsd", "-p", "a b"],
  state: "running",
  pid: 212,
  restarts: 3,
  backoff_ms: null,
  last_exit: { code: null, signal: "SIGKILL" },
};

function execResult(fields: Partial<ExecResult>): ExecResult {
  return {
    action: "a1",
    pid: 300,
    code: 0,
    signal: null,
    stdout: "",
    stderr: "",
    truncated: { stdout: 0, stderr: 0 },
    timed_out: false,
    ms: 12,
    ...fields,
  };
}

/** Lets a promise chain of a few links settle. */
async function settle(): Promise<void> {
  for (let turn = 0; turn < 20; turn++) await null;
}

class Bench {
  out = "";
  readonly writes: number[] = [];
  readonly acts: { kind: ActKind; args: unknown; principal: string; signal?: AbortSignal }[] = [];
  readonly asked: string[] = [];
  readonly reports: string[] = [];
  act: (kind: ActKind) => Promise<ActOutcome> = () =>
    Promise.resolve({ status: "done", action: "a1", result: execResult({}) });
  chat: () => Promise<ChatOutcome> = () =>
    Promise.resolve({ status: "unavailable", reason: "the mind has not been started yet" });
  sampled: MachineSample | null = sample;
  services: ServiceState[] = [service];
  degraded: { part: string; reason: string; since: number }[] = [];
  token: string | null = null;
  booted = boot;
  readonly bus = new Bus({
    boot: boot.id,
    clock: { wall: () => Date.UTC(2025, 0, 1, 12, 34, 56, 789), mono: () => 0 },
    ringBytes: 1 << 20,
  });
  readonly source = this.bus.source("test", [">"]);
  readonly alarms: { ms: number; run: () => void }[] = [];
  #console: Console | null = null;

  get console(): Console {
    this.#console ??= new Console({
      tty: {
        write: (text) => {
          this.out += text;
          this.writes.push(text.length);
        },
      },
      echo: true,
      machine: this.#machine(),
      bus: this.bus,
      principal,
      after: (ms, run) => {
        const alarm = { ms, run };
        this.alarms.push(alarm);
        return () => void this.alarms.splice(this.alarms.indexOf(alarm), 1);
      },
      report: (where, error) => this.reports.push(`${where}: ${error}`),
      token: this.token,
    });
    return this.#console;
  }

  /** Types a line and answers what was written after its echo. */
  async enter(line: string): Promise<string> {
    this.console.start();
    this.out = "";
    this.type(`${line}\r`);
    await settle();
    assert.ok(this.out.startsWith(`${line}\r\n`), "echoed");
    return this.out.slice(line.length + 2).replace(/osym> $/, "").replaceAll("\r\n", "\n");
  }

  type(text: string): void {
    this.console.input(new TextEncoder().encode(text));
  }

  #machine(): Machine {
    return {
      boot: () => this.booted,
      degraded: () => this.degraded,
      sample: () => this.sampled,
      meminfo: () => ({}),
      processes: () => [
        ...Array.from({ length: 24 }, (_, index) => ({
          pid: 100 + index,
          ppid: 1,
          comm: index === 0 ? "evil\x1b[31m" : `task${index}`,
          state: "S",
          uid: 0,
          threads: 1,
          rss: (24 - index) * 2 ** 20,
          cpu: 0.25,
          started_s: 1,
          kernel: false,
        })),
        {
          pid: 2,
          ppid: 0,
          comm: "kthreadd",
          state: "S",
          uid: 0,
          threads: 1,
          rss: 0,
          cpu: 0,
          started_s: 0,
          kernel: true,
        },
      ],
      network: () => ({
        hostname: "box",
        links: [
          {
            index: 1,
            link: "lo",
            up: true,
            carrier: true,
            mtu: 65536,
            addresses: [{ address: "127.0.0.1", prefix: 8 }],
          },
          {
            index: 2,
            link: "eth0",
            mac: "52:54:00:12:34:56",
            up: true,
            carrier: true,
            mtu: 1500,
            addresses: [{ address: "10.0.2.15", prefix: 24 }],
          },
        ],
        routes: [{ destination: "0.0.0.0/0", gateway: "10.0.2.2", link: "eth0" }],
        leases: [{
          link: "eth0",
          address: "10.0.2.15",
          prefix: 24,
          dns: ["10.0.2.3"],
          server: "10.0.2.2",
          lease_s: 86_400,
          t1_s: 1,
          t2_s: 2,
        }],
        dns: ["10.0.2.3"],
      }),
      hardware: () => ({ cpus: [], memory_bytes: 0, devices: [], watchdog: null }),
      sensors: () => [
        { name: "kmsg", state: "running", events: 1, gaps: 0 },
        { name: "psi", state: "failed", events: 0, gaps: 0, error: "ENOENT" },
      ],
      services: () => this.services,
      act: (who, kind, args, about) => {
        this.acts.push({
          kind,
          args,
          principal: who.id,
          ...(about?.signal === undefined ? {} : { signal: about.signal }),
        });
        return this.act(kind);
      },
      chat: (_, message) => {
        this.asked.push(message);
        return this.chat();
      },
    };
  }
}

Deno.test("Console.start() tells who this is, where, what is missing, and how to get help", () => {
  const bench = new Bench();
  bench.degraded = [{ part: "data", reason: "no disk\x1b[2J", since: 0 }];
  bench.token = "secret-token";
  bench.console.start();
  assert.equal(
    bench.out.replaceAll("\r\n", "\n"),
    `
osymbiote 1.0.0 on box: linux 6.12.117 (x86_64), ready in 1.9 s
address 10.0.2.15 (eth0)
degraded: data: no disk\\x1b[2J
token, shown this once: secret-token
type "help" for what this console understands

osym> `,
  );
  const before = bench.out;
  bench.console.start();
  assert.equal(bench.out, before, "once");
});

Deno.test("Console says nothing before start() and after close()", () => {
  const bench = new Bench();
  bench.type("status\r");
  assert.equal(bench.out, "");
  bench.console.start();
  bench.console.close();
  bench.out = "";
  bench.type("status\r");
  bench.source.publish("link.removed", { index: 2, link: "eth0" });
  assert.equal(bench.out, "");
});

Deno.test("Console status shows the machine as it is", async () => {
  const bench = new Bench();
  assert.equal(
    await bench.enter("status"),
    `system     osymbiote 1.0.0 on box, linux 6.12.117
boot       0123456789abcdef, attempt 2
before     panic: Oops\\x1b[2J
ready      after 1.9 s, the kernel took 800 ms before
up         3 min 12 s
memory     400 MiB of 512 MiB available
cpu        12 % of 2, load 0.10 0.05 0.01
processes  14
disk       /data 512 MiB of 1.0 GiB free
sensor     psi failed: ENOENT
service    dns running
degraded   nothing
`,
  );
  bench.sampled = null;
  bench.booted = { ...boot, readyMs: null };
  bench.degraded = [{ part: "network", reason: "no lease yet", since: 0 }];
  const text = await bench.enter("status");
  assert.match(text, /\nsample +none taken yet\n/);
  assert.match(text, /\nready +not yet\n/);
  assert.match(text, /\ndegraded +network: no lease yet\n/);
});

Deno.test("Console run proposes exec.run as the console and shows what came of it", async () => {
  const bench = new Bench();
  bench.act = () =>
    Promise.resolve({
      status: "done",
      action: "a1",
      result: execResult({ stdout: "a\tb\nred\x1b[31m", stderr: "oops\r\n", code: 3 }),
    });
  assert.equal(
    await bench.enter(`run sh -c 'echo "x y"'`),
    "a\tb\nred\\x1b[31m\noops\nexit 3\n",
  );
  assert.deepEqual(bench.acts.map(({ kind, args, principal }) => ({ kind, args, principal })), [{
    kind: "exec.run",
    args: { argv: ["sh", "-c", 'echo "x y"'] },
    principal: "console",
  }]);
});

Deno.test("Console run says how a command ended when it did not end well", async () => {
  const bench = new Bench();
  for (
    const [fields, text] of [
      [{}, ""],
      [{ code: null, signal: "SIGSEGV" }, "ended by SIGSEGV\n"],
      [{ timed_out: true, code: null, signal: "SIGKILL", ms: 30_000 }, "stopped after 30 s\n"],
      [{ stdout: "x", truncated: { stdout: 7, stderr: 0 } }, "x\n… 7 bytes were dropped\n"],
    ] as const
  ) {
    bench.act = () => Promise.resolve({ status: "done", action: "a1", result: execResult(fields) });
    assert.equal(await bench.enter("run x"), text);
  }
  bench.act = () =>
    Promise.resolve({
      status: "done",
      action: "a1",
      result: execResult({ stdout: "😀".repeat(100_000) }),
    });
  const long = await bench.enter("run x");
  assert.match(long, /… 134464 more characters not shown\n$/);
  assert.ok(Math.max(...bench.writes) <= 4097, "in pieces the tty can take");
  assert.ok(!long.includes("\\u{d8"), "no character is split");
});

Deno.test("Console run bounds what is written, not what it stands for", async () => {
  const bench = new Bench();
  const binary = "\x00\x1b\ufffd".repeat(50_000);
  const result = execResult({ stdout: binary, stderr: binary });
  bench.act = () => Promise.resolve({ status: "done", action: "a1", result });
  const text = await bench.enter("run cat /bin/busybox");
  // The tty holds 256 KiB: more would push the beginning out, uncounted.
  const bytes = new TextEncoder().encode(text).length;
  assert.ok(bytes <= 250_000, `${bytes} bytes`);
  assert.equal(text.match(/more characters not shown/g)?.length, 2);
  assert.ok(!/\\(x[0-9a-f]?)?\n/.test(text), "no escape is split");
});

Deno.test("Console shows every way an act can be refused", async () => {
  const bench = new Bench();
  for (
    const [outcome, text] of [
      [{ status: "denied", action: "a", reason: "console needs x" }, "denied: console needs x\n"],
      [
        { status: "invalid", faults: ["argv: too long", "cwd: no"] },
        "not understood: argv: too long; cwd: no\n",
      ],
      [{ status: "failed", action: "a", reason: 'exec "x": ENOENT' }, 'failed: exec "x": ENOENT\n'],
      [{ status: "not_found", reason: "no such service" }, "no such service\n"],
      [{ status: "conflict", reason: "busy" }, "busy\n"],
    ] as const
  ) {
    bench.act = () => Promise.resolve(outcome);
    assert.equal(await bench.enter("run x"), text);
  }
});

Deno.test("Console refuses lines it can not split, and says where", async () => {
  const bench = new Bench();
  assert.equal(await bench.enter("run echo 'a"), "run: the ' at column 6 is not closed\n");
  assert.equal(await bench.enter("run"), "usage: run PROGRAM [ARGUMENT…]\n");
  assert.equal(bench.acts.length, 0);
});

Deno.test("Console keeps what is typed during a command, and ^C stops the command", async () => {
  const bench = new Bench();
  let finish = (_: ActOutcome) => {};
  bench.act = () => new Promise((resolve) => finish = resolve);
  await bench.enter("run sleep 100");
  assert.ok(!bench.out.includes("osym>"), "no prompt while it runs");
  bench.type("services\r");
  assert.ok(!bench.out.includes("dns"));
  finish({ status: "done", action: "a1", result: execResult({}) });
  await settle();
  assert.match(bench.out, /osym> services\r\n[^]*dns/);

  await bench.enter("run sleep 100");
  bench.type("never\r\x03");
  assert.equal(bench.acts[1]!.signal!.aborted, true);
  assert.match(bench.out, /\^C\r\n$/);
  finish({
    status: "done",
    action: "a1",
    result: execResult({ code: null, signal: "SIGTERM" }),
  });
  await settle();
  assert.match(bench.out, /ended by SIGTERM\r\nosym> $/);
  assert.ok(!bench.out.includes("never"));
});

Deno.test("Console ask passes the words on as they are, and ^C stops waiting", async () => {
  const bench = new Bench();
  assert.equal(
    await bench.enter('ask  what\'s "eating" the memory? '),
    "nobody to ask: the mind has not been started yet\n",
  );
  assert.deepEqual(bench.asked, [`what's "eating" the memory?`]);
  bench.chat = () =>
    Promise.resolve({
      status: "answered",
      reply: {
        reply: "postgres\nand\x07 you",
        mode: "survival",
        mind: "m",
        intent: "memory",
        ms: 12,
      },
    });
  assert.equal(await bench.enter("ask x"), "postgres\nand\\x07 you\n(survival, 12 ms)\n");
  bench.chat = () => Promise.resolve({ status: "invalid", faults: ["message: too long"] });
  assert.equal(await bench.enter("ask x"), "not asked: message: too long\n");
  assert.equal(await bench.enter("ask"), "usage: ask WORDS…\n");
  bench.chat = () => new Promise(() => {});
  await bench.enter("ask x");
  bench.type("\x03");
  await settle();
  assert.match(bench.out, /\^C\r\nno longer waiting for an answer\r\nosym> $/);
});

Deno.test("Console services lists and changes services", async () => {
  const bench = new Bench();
  assert.equal(
    await bench.enter("services"),
    `service  state    pid  restarts  last exit  command
dns      running  212         3  SIGKILL    /bin/dnsd -p 'a b'
`,
  );
  assert.equal(await bench.enter("services restart dns"), "dns: running\n");
  assert.deepEqual(bench.acts.at(-1)!.kind, "service.restart");
  assert.deepEqual(bench.acts.at(-1)!.args, { name: "dns" });
  for (const line of ["services restart", "services kill dns", "services stop dns now"]) {
    assert.equal(await bench.enter(line), "usage: services [start|stop|restart NAME]\n");
  }
  assert.equal(bench.acts.length, 1);
  bench.services = [];
  assert.equal(await bench.enter("services"), "no services are declared\n");
});

Deno.test("Console network shows links, routes, leases and name servers", async () => {
  assert.equal(
    await new Bench().enter("network"),
    `link  state  mac                addresses
lo    up                        127.0.0.1/8
eth0  up     52:54:00:12:34:56  10.0.2.15/24

route      by        link
0.0.0.0/0  10.0.2.2  eth0

lease         link  server    time
10.0.2.15/24  eth0  10.0.2.2  1 d

name servers: 10.0.2.3
`,
  );
});

Deno.test("Console ps shows the largest processes, and all on request", async () => {
  const bench = new Bench();
  const lines = (await bench.enter("ps")).trimEnd().split("\n");
  assert.equal(lines.length, 22);
  assert.match(lines[1]!, /^ *100 +1 +0 +S +25 % +24\.0 MiB +1 +evil\\x1b\[31m$/);
  assert.equal(lines.at(-1), "… 4 more (ps all)");
  const all = await bench.enter("ps all");
  assert.equal(all.trimEnd().split("\n").length, 26);
  assert.match(all, /kthreadd/);
});

Deno.test("Console poweroff and reboot are proposed like any act", async () => {
  const bench = new Bench();
  assert.equal(await bench.enter("poweroff"), "powering off\n");
  assert.equal(await bench.enter("reboot"), "rebooting\n");
  assert.match(await bench.enter("reboot now"), /takes nothing after its name/);
  assert.deepEqual(bench.acts.map(({ kind, args }) => [kind, args]), [
    ["power.off", {}],
    ["power.reboot", {}],
  ]);
});

Deno.test("Console suggests a command for what it does not know", async () => {
  const bench = new Bench();
  assert.equal(
    await bench.enter("stauts"),
    'no command "stauts"; did you mean status? (see help)\n',
  );
  assert.equal(
    await bench.enter("ls -l"),
    'no command "ls"; to run a program: run ls (see help)\n',
  );
  assert.equal(await bench.enter(""), "");
  assert.equal(await bench.enter("   "), "");
  const help = await bench.enter("help");
  for (
    const name of [
      "status",
      "events",
      "run",
      "ask",
      "services",
      "network",
      "ps",
      "poweroff",
      "reboot",
    ]
  ) {
    assert.match(help, new RegExp(`^${name}\\b`, "m"));
  }
  assert.match(await bench.enter("__proto__"), /no command "__proto__"/);
});

Deno.test("Console events shows what matches, above the line being typed", async () => {
  const bench = new Bench();
  assert.match(await bench.enter("events process.* link.>"), /^events process\.\* link\.>; \^C/);
  bench.type("sta");
  bench.out = "";
  bench.source.publish("process.execed", { pid: 7, comm: "a b\x1b[31m" }, { subject: "pid 7" });
  bench.source.publish("clock.stepped", { by_ms: 1 });
  assert.equal(
    bench.out,
    '\r\x1b[K12:34:56.789 process.execed pid 7 pid=7 comm="a b\\u001b[31m"\r\nosym> sta',
  );
  bench.type("\x15");
  assert.equal(await bench.enter("events off"), "events off\n");
  assert.equal(await bench.enter("events off"), "no events are shown\n");
  bench.out = "";
  bench.source.publish("process.execed", { pid: 8 });
  assert.equal(bench.out, "");
});

Deno.test("Console events refuses a pattern that can match nothing", async () => {
  const bench = new Bench();
  assert.match(await bench.enter("events nonsense.*"), /matches no event type/);
  assert.match(await bench.enter("events A..b"), /expected dotted lower-case tokens/);
});

Deno.test("Console events shows twenty a second and counts the rest", async () => {
  const bench = new Bench();
  await bench.enter("events");
  bench.out = "";
  for (let i = 0; i < 150; i++) bench.source.publish("process.forked", { pid: i, ppid: 1 });
  assert.equal(bench.out.match(/process\.forked/g)!.length, 20);
  assert.equal(bench.alarms.length, 1);
  bench.alarms.shift()!.run();
  assert.match(bench.out, /… 130 more events not shown\r\n/);
  bench.source.publish("process.forked", { pid: 999, ppid: 1 });
  assert.match(bench.out, /pid=999/);
  bench.type("\x03");
  assert.equal(bench.alarms.length, 0);
  assert.match(bench.out, /events off/);
});

Deno.test("Console shows events without a prompt while a command runs", async () => {
  const bench = new Bench();
  await bench.enter("events");
  let finish = (_: ActOutcome) => {};
  bench.act = () => new Promise((resolve) => finish = resolve);
  await bench.enter("run x");
  bench.out = "";
  bench.source.publish("link.removed", { index: 2, link: "eth0" });
  assert.equal(bench.out, "12:34:56.789 link.removed index=2 link=eth0\r\n");
  bench.type("\x03");
  assert.match(bench.out, /\^C\r\n$/, "^C is for the command first");
  finish({ status: "done", action: "a1", result: execResult({}) });
});

Deno.test("Console survives a machine that throws or rejects, and says so", async () => {
  const bench = new Bench();
  bench.act = () => Promise.reject(new Error("hands broke\x1b"));
  assert.equal(await bench.enter("run x"), "run: hands broke\\x1b\n");
  bench.act = () => {
    throw new Error("at once");
  };
  assert.equal(await bench.enter("poweroff"), "poweroff: at once\n");
  bench.booted = null as unknown as BootInfo;
  assert.match(await bench.enter("status"), /^status: /);
  assert.equal(bench.reports.length, 3);
  assert.match(bench.out, /osym> $/, "and the conversation goes on");
});

Deno.test("Console.close() stops what was for the terminal", async () => {
  const bench = new Bench();
  await bench.enter("events");
  bench.act = () => new Promise(() => {});
  await bench.enter("run sleep 100");
  bench.console.close();
  assert.equal(bench.acts[0]!.signal!.aborted, true);
  bench.out = "";
  bench.source.publish("link.removed", { index: 2, link: "eth0" });
  assert.equal(bench.out, "");
});
