/**
 * The mind's host, with the real mind in its real cage: Deno without permissions, as uid 990, in a
 * network namespace and a control group of its own. Needs root; elsewhere it says so and runs
 * nothing, and the guest's tests cover it.
 */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import type { Principal } from "../../bus/gate.ts";
import { loadZod } from "../../bus/schema.ts";
import { FakeTimers } from "../../src/child/fake_timers.ts";
import type { LinkLimits } from "../../src/child/link.ts";
import { spawnFault } from "../../src/child/program.ts";
import type { Child, Exit, Spawned } from "../../src/child/spawn.ts";
import {
  isThere,
  needGroups,
  needRoot,
  rig,
  testNeeding,
  until,
  withGroups,
} from "../../src/child/testing.ts";
import { MindHost, type MindHostOptions, type MindLaunch } from "./host.ts";
import type { MindView } from "./state.ts";
import { serviceOf, stateOfTest } from "./testing.ts";

await loadZod();

const person: Principal = { id: "person", kind: "human", lineage: "person", scopes: [] };
const busybox = "/bin/busybox";

/** A folder with the mind's bundle and a busybox that knows the user `mind`. */
interface Kit {
  readonly folder: string;
  readonly launch: MindLaunch;
}

/** Each call of this busybox sees an /etc/passwd of its own; the chain stays one process. */
const knowingBusybox = (folder: string) =>
  `#!${busybox} sh
exec ${busybox} unshare -m ${busybox} sh -c 'mount --bind ${folder}/passwd /etc/passwd &&
mount --bind ${folder}/group /etc/group && unset PWD SHLVL OLDPWD && exec ${busybox} "$@"' sh "$@"
`;

async function makeKit(): Promise<Kit> {
  const folder = await Deno.makeTempDir({ dir: "/tmp" });
  await Deno.chmod(folder, 0o755);
  const write = (name: string, text: string, mode = 0o644) =>
    Deno.writeTextFile(`${folder}/${name}`, text, { mode });
  await write("passwd", "root:x:0:0::/:/bin/sh\nmind:x:990:990::/:/bin/false\n");
  await write("group", "root:x:0:\nmind:x:990:\n");
  await write("busybox", knowingBusybox(folder), 0o755);
  const bundled = await new Deno.Command(Deno.execPath(), {
    args: [
      "bundle",
      "--quiet",
      "-o",
      `${folder}/mind.js`,
      new URL("mind.ts", import.meta.url).pathname,
    ],
  }).output();
  assert.equal(bundled.success, true, new TextDecoder().decode(bundled.stderr));
  await Deno.chmod(`${folder}/mind.js`, 0o644);
  // A runtime below somebody's home can not be run by another user: it is copied.
  let deno = Deno.execPath();
  if (!deno.startsWith("/usr/")) {
    deno = `${folder}/deno`;
    await Deno.copyFile(Deno.execPath(), deno);
    await Deno.chmod(deno, 0o755);
  }
  return {
    folder,
    launch: {
      argv: [
        deno,
        "run",
        "--no-prompt",
        "--no-remote",
        "--no-npm",
        "--no-config",
        "--no-lock",
        "--cached-only",
        "--v8-flags=--max-heap-size=32",
        `${folder}/mind.js`,
      ],
      env: { DENO_DIR: "/nonexistent", NO_COLOR: "1", HOME: "/" },
      user: "mind",
      uid: 990,
      tools: { busybox: `${folder}/busybox`, sh: "/bin/sh" },
    },
  };
}

const kit = Deno.uid() === 0 ? await makeKit() : null;
const hostNeed = needRoot ?? needGroups;
globalThis.addEventListener("unload", () => {
  if (kit !== null) Deno.removeSync(kit.folder, { recursive: true });
});

const state = stateOfTest();
const view: MindView = {
  boot: () => ({
    ...state.boot,
    lastStop: { kind: "clean" },
    phases: [],
    readyMs: 1,
    kernelMs: 1,
  }),
  degraded: () => state.degraded,
  sample: () => state.sample,
  processes: () => state.processes,
  network: () => state.network,
  sensors: () => [],
  services: () => state.services,
};

interface Hosted {
  readonly host: MindHost;
  readonly events: AnyEvent[];
  readonly types: () => string[];
  readonly ask: (message?: string) => ReturnType<MindHost["chat"]>;
  readonly reports: string[];
}

/** Runs a test with a host; whatever it does, nothing of the mind is left. */
async function hosted(
  options: Partial<MindHostOptions> & { script?: string },
  test: (on: Hosted) => Promise<void>,
): Promise<void> {
  if (kit === null) throw new Error("hosted() without root");
  const on = rig();
  await withGroups(on, async (groups, directory) => {
    const bus = new Bus({
      boot: "abcdef0123456789",
      clock: { wall: () => Date.now(), mono: () => 0 },
      ringBytes: 1 << 20,
      validate: true,
    });
    const events: AnyEvent[] = [];
    bus.subscribe("mind.*", (event) => events.push(event));
    const { script, ...rest } = options;
    const launch = script === undefined
      ? kit.launch
      : { ...kit.launch, argv: [busybox, "sh", "-c", script] };
    const host = new MindHost({
      bus,
      spawner: on.spawner,
      groups,
      timers: on.timers,
      report: on.report,
      launch,
      random: () => 0.5,
      wall: () => state.now,
      proc: { read: (path) => Deno.readTextFile(path), link: (path) => Deno.readLink(path) },
      view,
      ...rest,
    });
    try {
      await test({
        host,
        events,
        types: () => events.map(({ type }) => type),
        ask: (message = "what is using the memory?") => host.chat(person, message),
        reports: on.reports,
      });
    } finally {
      await host.stop();
    }
    await until(
      "its group to go",
      () => [...Deno.readDirSync(directory)].every((entry) => !entry.isDirectory),
    );
    assert.equal(on.own.size, 0);
  });
}

/** A mind in shell: `$id` is the question's, `ready` and `answer` are functions. */
const fakeMind = (on: { ask: string; ping?: string }) =>
  `ready() { echo '{"type":"ready","mind":"x","version":"1"}'; }
   answer() { echo "{\\"type\\":\\"answer\\",\\"id\\":$id,\\"reply\\":\\"yes\\",\\"intent\\":\\"x\\"}"; }
   while read -r line; do
     id=\${line##*\\"id\\":}; id=\${id%%,*}
     n=\${line##*\\"n\\":}; n=\${n%%\\}*}
     case "$line" in
       '{"type":"hello"'*) ready ;;
       '{"type":"ask"'*) ${on.ask} ;;
       '{"type":"ping"'*) ${on.ping ?? `echo "{\\"type\\":\\"pong\\",\\"n\\":$n}"`} ;;
     esac
   done`;

const quick: Partial<LinkLimits> = { readyMs: 5000, heartbeatMs: 20_000 };

testNeeding(
  hostNeed,
  "MindHost.chat() answers truly, from a mind the kernel shows to be caged",
  async () => {
    await hosted({}, async ({ host, events, types, ask, reports }) => {
      assert.equal(host.pid, null, "nobody asked yet");
      const outcome = await ask();
      assert(outcome.status === "answered", JSON.stringify([outcome, reports, events]));
      const { reply } = outcome;
      assert.match(reply.reply, /^128 MB of 512 MB memory is in use/);
      assert.deepEqual([reply.mode, reply.mind, reply.intent], ["survival", "cortex", "memory"]);
      assert.deepEqual(types(), ["mind.asked", "mind.started", "mind.caged", "mind.answered"]);
      assert.equal(events[3]?.cause, events[0]?.seq);
      const caged = events[2];
      assert(caged?.type === "mind.caged");
      const { cgroup, ...cage } = caged.data;
      assert.deepEqual(cage, {
        mind: "cortex",
        uid: 990,
        netns: true,
        no_new_privs: true,
        seccomp: 0,
      });
      assert.match(cgroup, /\/mind-cortex-1$/);
      const pid = host.pid ?? 0;
      assert.match(await Deno.readLink(`/proc/${pid}/exe`), /deno$/, "one process all along");
      const many = await Promise.all(["is it healthy?", "what is running?", "help"].map(ask));
      assert.deepEqual(many.map((one) => one.status === "answered" && one.reply.intent), [
        ...["health", "processes", "help"],
      ]);
      assert.deepEqual(reports, []);
    });
  },
);

testNeeding(hostNeed, "MindHost.chat() refuses what is no question", async () => {
  await hosted({}, async ({ host, events, ask }) => {
    for (const message of ["", "   ", "x".repeat(4001)]) {
      const outcome = await ask(message);
      assert(outcome.status === "invalid");
      assert.deepEqual(outcome.faults, ["message: expected 1–4000 characters"]);
    }
    assert.equal((await host.chat(person, 7 as unknown as string)).status, "invalid");
    assert.deepEqual(events, []);
  });
});

testNeeding(
  hostNeed,
  "MindHost brings a killed mind back, and who asks meanwhile is answered",
  async () => {
    await hosted({}, async ({ host, types, ask }) => {
      await ask();
      const pid = host.pid ?? 0;
      const from = performance.now();
      Deno.kill(pid, "SIGKILL");
      await until("its end", () => types().includes("mind.exited"));
      assert.equal(host.pid, null);
      assert.equal((await ask()).status, "answered");
      assert(performance.now() - from < 2000, `${performance.now() - from} ms`);
      assert(host.pid !== pid && !isThere(pid));
    });
  },
);

testNeeding(
  hostNeed,
  "MindHost kills a mind that is mute, babbles or spins, and starts it again",
  async () => {
    const cases: [string, Partial<MindHostOptions>, RegExp][] = [
      [fakeMind({ ask: ":" }), { askMs: 50 }, /^no answer within 50 ms$/],
      [fakeMind({ ask: "echo nonsense" }), {}, /^not_json: "nonsense"$/],
      [fakeMind({ ask: `echo '{"type":"answer","id":1}'` }), {}, /^refused: reply/],
      [fakeMind({ ask: `echo '{"type":"exec","argv":["x"]}'` }), {}, /^refused: /],
      [fakeMind({ ask: `id=77; answer` }), {}, /^answer to request 77, which was never made$/],
      [fakeMind({ ask: "while :; do answer; done" }), {}, /^too_fast: /],
      [
        fakeMind({ ask: "while :; do :; done" }),
        { link: { ...quick, heartbeatMs: 30, pongMs: 50 } },
        /^no pong within 50 ms$/,
      ],
    ];
    for (const [script, options, fault] of cases) {
      await hosted({ script, ...options }, async ({ events, types, ask }) => {
        const outcome = await ask();
        assert(
          outcome.status === "unavailable" || fault.test("too_fast: "),
          JSON.stringify(outcome),
        );
        await until("misbehaviour", () => types().includes("mind.misbehaved"));
        const misbehaved = events.find(({ type }) => type === "mind.misbehaved");
        assert.match((misbehaved?.data as { fault: string }).fault, fault);
        await until("the next life", () => types().filter((t) => t === "mind.started").length > 1);
        const exited = events.find(({ type }) => type === "mind.exited");
        assert.match((exited?.data as { reason: string }).reason, /\(SIGKILL\)$/);
      });
    }
  },
);

testNeeding(
  hostNeed,
  "MindHost.chat() turns away who asks while it is full, and the mind lives",
  async () => {
    const reason = "x".repeat(160);
    const services = Array.from(
      { length: 48 },
      () => serviceOf({ argv: [reason, reason], reason }),
    );
    await hosted({ view: { ...view, services: () => services } }, async ({ ask, types }) => {
      assert.equal((await ask()).status, "answered");
      const outcomes = await Promise.all(Array.from({ length: 60 }, () => ask()));
      assert.equal(outcomes.filter(({ status }) => status === "answered").length, 8);
      for (const outcome of outcomes) {
        if (outcome.status !== "unavailable") continue;
        assert.equal(outcome.reason, "the mind has as many questions open as it may");
      }
      assert.equal(types().includes("mind.misbehaved"), false);
    });
  },
);

testNeeding(hostNeed, "MindHost denies every proposal", async () => {
  const script = fakeMind({
    ask: `echo '{"type":"proposal","proposal":"p1","kind":"exec.run","args":{},"reason":"r"}'; ` +
      `read -r verdict; case "$verdict" in *'"p1","verdict":"deny"'*) answer ;; esac`,
  });
  await hosted({ script }, async ({ ask, types }) => {
    assert.equal((await ask()).status, "answered");
    assert.equal(types().includes("mind.misbehaved"), false);
  });
});

testNeeding(hostNeed, "MindHost runs no mind whose cage is open", async () => {
  if (kit === null) throw new Error("hosted() without root");
  const open = `#!${busybox} sh
case "$1" in unshare) shift 4; exec "$@" ;; *) exec ${kit.folder}/busybox "$@" ;; esac
`;
  await Deno.writeTextFile(`${kit.folder}/open`, open, { mode: 0o755 });
  const launch = { ...kit.launch, tools: { busybox: `${kit.folder}/open`, sh: "/bin/sh" } };
  await hosted({ launch }, async ({ host, events, ask, types }) => {
    const outcome = await ask();
    assert(outcome.status === "unavailable");
    assert.match(outcome.reason, /its cage is open: it is in our network namespace/);
    await until("its end", () => types().includes("mind.exited"));
    assert.equal(host.pid, null);
    const caged = events.find(({ type }) => type === "mind.caged");
    assert.equal((caged?.data as { netns: boolean }).netns, false);
    await new Promise((resolve) => setTimeout(resolve, 300));
    assert.equal(
      types().filter((type) => type === "mind.started").length,
      1,
      "nor again by itself",
    );
  });
});

testNeeding(
  hostNeed,
  "MindHost says why there is no mind, and backs off from one that ends at once",
  async () => {
    await hosted({ script: "exit 3" }, async ({ ask, types }) => {
      const outcome = await ask();
      assert.deepEqual(outcome, { status: "unavailable", reason: "the mind is not there: exit 3" });
      await until(
        "three lives",
        () => types().filter((type) => type === "mind.exited").length >= 3,
      );
      assert.equal(types().includes("mind.misbehaved"), false);
    });
    const missing = { busybox: "/no/busybox", sh: "/bin/sh" };
    await hosted({ launch: { ...kit!.launch, tools: missing } }, async ({ ask, types }) => {
      const reason = 'the mind is not there: exec "/no/busybox": ENOENT';
      assert.deepEqual(await ask(), { status: "unavailable", reason });
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.deepEqual(types(), ["mind.asked"], "not repeated by itself");
      assert.deepEqual(await ask(), { status: "unavailable", reason });
    });
  },
);

testNeeding(hostNeed, "MindHost.stop() ends the mind for good, whatever it was doing", async () => {
  await hosted({}, async ({ host, ask, types }) => {
    const asking = ask();
    await until("a start", () => types().includes("mind.started"));
    await host.stop();
    assert.equal((await asking).status, "unavailable");
    host.start();
    assert.equal((await ask()).status, "unavailable");
    assert.equal(types().filter((type) => type === "mind.started").length, 1);
  });
});

/** A child on paper: says what a test has it say, and ends when its exit is let go. */
function paperChild(says: string) {
  const { promise: exit, resolve: end } = Promise.withResolvers<Exit>();
  const stream = (text: string) =>
    new ReadableStream<Uint8Array>({
      start: (controller) => {
        if (text !== "") controller.enqueue(new TextEncoder().encode(`${text}\n`));
      },
    });
  const child: Child = {
    pid: 4_194_305,
    group: null,
    exit,
    exited: false,
    stdin: {
      write: () => Promise.resolve(true),
      close: () => Promise.resolve(),
      destroy: () => {},
    },
    stdout: stream(says),
    stderr: stream(""),
    signal: () => true,
    kill: () => Promise.resolve(),
  };
  return { child, end };
}

function hostOf(child: Child) {
  const timers = new FakeTimers();
  const bus = new Bus({
    boot: "abcdef0123456789",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
    validate: true,
  });
  const types: string[] = [];
  bus.subscribe("mind.*", ({ type }) => types.push(type));
  // One life is all a paper child has.
  const lives: Spawned[] = [{ ok: true, child }];
  const over: Spawned = { ok: false, fault: spawnFault("exec", "mind", "ENOENT") };
  const gone = () => Promise.reject(Object.assign(new Error("ENOENT"), { code: "ENOENT" }));
  const host = new MindHost({
    bus,
    view,
    spawner: { spawn: () => Promise.resolve(lives.shift() ?? over) },
    groups: null,
    timers,
    report: (where, error) => assert.fail(`${where}: ${error}`),
    proc: { read: gone, link: gone },
    wall: () => 0,
  });
  return { host, timers, types };
}

const readyFrame = '{"type":"ready","mind":"x","version":"1"}';

Deno.test("MindHost runs no mind of which the kernel shows nothing while it lives", async () => {
  const { child, end } = paperChild(readyFrame);
  const { host, timers, types } = hostOf({
    ...child,
    kill: () => Promise.resolve(end({ code: null, signal: "SIGKILL" })),
  });
  const asking = host.chat(person, "memory?");
  await until("its start", () => types.includes("mind.started"));
  await timers.advance(5000);
  assert.deepEqual(await asking, {
    status: "unavailable",
    reason: "the mind is not there: its cage can not be seen: ENOENT",
  });
  await host.stop();
});

Deno.test("MindHost takes a mind that is gone when it is looked at for one that ended", async () => {
  const { child, end } = paperChild(readyFrame);
  const { host, timers, types } = hostOf(child);
  const asking = host.chat(person, "memory?");
  await until("its start", () => types.includes("mind.started"));
  end({ code: 3, signal: null });
  await timers.advance(500);
  assert.deepEqual(await asking, {
    status: "unavailable",
    reason: "the mind is not there: exit 3",
  });
  assert.equal(types.includes("mind.misbehaved"), false);
  const stopping = host.stop();
  await timers.advance(5000);
  await stopping;
});

Deno.test("MindHost.stop() is not held up by a mind the kernel does not let go of", async () => {
  const { host, timers, types } = hostOf(paperChild("").child);
  const asking = host.chat(person, "memory?");
  await until("its start", () => types.includes("mind.started"));
  const stopping = host.stop();
  assert.deepEqual(await asking, { status: "unavailable", reason: "the system is stopping" });
  await timers.advance(3000);
  await stopping;
});

Deno.test("the mind's bundle holds nothing of the core", async () => {
  if (kit === null) throw new Error("hosted() without root");
  const bundle = await Deno.readTextFile(`${kit.folder}/mind.js`);
  assert(bundle.length < 60_000, `${bundle.length} characters`);
  for (const foreign of ["zod", "Deno.Command", "dlopen", "readFile", "fetch(", "cgroup"]) {
    assert.equal(bundle.includes(foreign), false, foreign);
  }
});
