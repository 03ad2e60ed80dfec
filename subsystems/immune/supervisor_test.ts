/** Services of real processes. */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import { loadZod } from "../../bus/schema.ts";
import type { ServiceSpec } from "../../bus/shapes.ts";
import type { TaskGroups } from "../../src/child/spawn.ts";
import {
  FakeGroups,
  isThere,
  needGroups,
  needRoot,
  rig,
  testNeeding,
  until,
  withGroups,
} from "../../src/child/testing.ts";
import { Incidents } from "./incidents.ts";
import type { Loaded, ServiceStore } from "./store.ts";
import { type ControlOutcome, Supervisor } from "./supervisor.ts";

await loadZod();

const sh = (script: string) => ["/bin/busybox", "sh", "-c", script];
const sleeper: ServiceSpec = {
  name: "sleeper",
  argv: ["/bin/busybox", "sleep", "1000"],
  restart: "always",
};

class MemoryStore implements ServiceStore {
  readonly files = new Map<string, unknown>();
  faults: string[] = [];
  refuses: string | null = null;

  load(): Promise<Loaded> {
    const specs = [...this.files].map(([file, value]) => ({ file, value }));
    return Promise.resolve({ specs, faults: this.faults });
  }
  save(spec: ServiceSpec): Promise<void> {
    if (this.refuses !== null) return Promise.reject(new Error(this.refuses));
    this.files.set(`${spec.name}.json`, spec);
    return Promise.resolve();
  }
  remove(name: string): Promise<void> {
    if (this.refuses !== null) return Promise.reject(new Error(this.refuses));
    this.files.delete(`${name}.json`);
    return Promise.resolve();
  }
}

function supervised(groups: TaskGroups | null = new FakeGroups(), on = rig()) {
  const bus = new Bus({
    boot: "abcdef0123456789",
    clock: { wall: () => Date.now(), mono: () => 0 },
    ringBytes: 1 << 20,
    validate: true,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  const store = new MemoryStore();
  const supervisor = new Supervisor({
    bus,
    spawner: on.spawner,
    groups,
    store,
    incidents: new Incidents(bus, on.timers),
    timers: on.timers,
    report: on.report,
    random: () => 0.5,
  });
  const types = (about = "service.") =>
    events.flatMap(({ type }) =>
      type.startsWith(about) && type !== "service.output" ? [type.split(".")[1]] : []
    );
  const close = async () => {
    await supervisor.shutdown(10_000);
    assert.equal(on.own.size, 0);
    assert.deepEqual(on.reports, []);
  };
  return { ...on, bus, events, store, supervisor, types, close };
}

function stateIn(outcome: ControlOutcome) {
  assert(outcome.status === "done", JSON.stringify(outcome));
  return outcome.state;
}

Deno.test("Supervisor.declare() starts a service and keeps it on disk", async () => {
  const { supervisor, store, types, close } = supervised();
  const state = stateIn(await supervisor.declare(sleeper));
  assert.equal(state.state, "running");
  assert.equal(isThere(state.pid ?? 0), true);
  assert.deepEqual(supervisor.get("sleeper"), state);
  assert.deepEqual(supervisor.list(), [state]);
  assert.equal(supervisor.get("other"), null);
  assert.deepEqual(types(), ["declared", "started"]);
  assert.deepEqual([...store.files.values()], [sleeper]);
  await close();
});

Deno.test("Supervisor brings a killed service back, each event the cause of the next", async () => {
  const { supervisor, events, types, close } = supervised();
  const { pid } = stateIn(await supervisor.declare(sleeper));
  const from = performance.now();
  Deno.kill(pid ?? 0, "SIGKILL");
  await until("running again", () => (supervisor.get("sleeper")?.restarts ?? 0) === 1);
  await until("a new pid", () => supervisor.get("sleeper")?.state === "running");
  const ms = performance.now() - from;
  assert(ms < 1000, `${ms} ms`);
  const state = supervisor.get("sleeper");
  assert.notEqual(state?.pid, pid);
  assert.deepEqual(state?.last_exit, { code: null, signal: "SIGKILL" });
  assert.deepEqual(types(), ["declared", "started", "exited", "restarting", "started"]);
  const chain = events.filter(({ type }) => type.startsWith("service."));
  for (let i = 1; i < chain.length; i++) assert.equal(chain[i]?.cause, chain[i - 1]?.seq);
  const restarting = chain[3]?.data as { state: string; backoff_ms: number };
  assert.deepEqual([restarting.state, restarting.backoff_ms], ["backoff", 100]);
  await close();
});

Deno.test("Supervisor backs off from a service that keeps ending", async () => {
  const { supervisor, close } = supervised();
  await supervisor.declare({ name: "flaky", argv: sh("exit 9"), restart: "always" });
  await until("two restarts", () => (supervisor.get("flaky")?.restarts ?? 0) >= 2);
  await until("backoff", () => supervisor.get("flaky")?.state === "backoff");
  const state = supervisor.get("flaky");
  assert.deepEqual(state?.last_exit, { code: 9, signal: null });
  assert((state?.backoff_ms ?? 0) > 200);
  assert.equal(stateIn(await supervisor.stop("flaky")).state, "stopped");
  await close();
});

Deno.test("Supervisor restarts by policy only", async () => {
  const { supervisor, close } = supervised();
  await supervisor.declare({ name: "once", argv: sh("exit 0"), restart: "on-failure" });
  await supervisor.declare({ name: "never", argv: sh("exit 1"), restart: "never" });
  await until("ends", () => supervisor.list().every(({ state }) => state !== "running"));
  assert.equal(supervisor.get("once")?.state, "stopped");
  assert.equal(supervisor.get("never")?.state, "failed");
  assert.match(supervisor.get("never")?.reason ?? "", /^exit 1, and its policy/);
  await close();
});

Deno.test("Supervisor tells a wrong program apart and does not repeat it", async () => {
  const { supervisor, types, close } = supervised();
  const state = stateIn(
    await supervisor.declare({ name: "wrong", argv: ["/no/such"], restart: "always" }),
  );
  assert.deepEqual([state.state, state.reason, state.pid], [
    "failed",
    'exec "/no/such": ENOENT',
    null,
  ]);
  assert.deepEqual(types(), ["declared", "failed"]);
  const fixed = stateIn(await supervisor.declare({ ...sleeper, name: "wrong" }));
  assert.equal(fixed.state, "running");
  assert.equal(fixed.reason, undefined);
  await close();
});

Deno.test("Supervisor retries what only the moment refused", async () => {
  const groups = new FakeGroups();
  const { supervisor, close } = supervised(groups);
  groups.failing.create = "EAGAIN";
  const state = stateIn(await supervisor.declare(sleeper));
  assert.equal(state.state, "backoff");
  groups.failing.create = undefined;
  await until("running", () => supervisor.get("sleeper")?.state === "running");
  await close();
});

Deno.test("Supervisor stops, starts and restarts on request", async () => {
  const { supervisor, types, close } = supervised();
  const first = stateIn(await supervisor.declare(sleeper)).pid ?? 0;
  const stopped = stateIn(await supervisor.stop("sleeper", 1));
  assert.deepEqual([stopped.state, stopped.pid], ["stopped", null]);
  assert.equal(isThere(first), false);
  assert.equal(stateIn(await supervisor.stop("sleeper")).state, "stopped");
  const second = stateIn(await supervisor.start("sleeper")).pid ?? 0;
  assert.equal(stateIn(await supervisor.start("sleeper")).pid, second);
  const third = stateIn(await supervisor.restart("sleeper")).pid ?? 0;
  assert(third !== second && isThere(third) && !isThere(second));
  assert.equal(supervisor.get("sleeper")?.restarts, 0, "only its own restarts count");
  assert.deepEqual(types(), [
    ...["declared", "started", "exited", "stopped"],
    ...["started", "exited", "started"],
  ]);
  await close();
});

Deno.test("Supervisor.declare() changes nothing when told the same, and restarts when told other", async () => {
  const { supervisor, types, close } = supervised();
  const { pid } = stateIn(await supervisor.declare(sleeper));
  const same = stateIn(await supervisor.declare({ ...sleeper, argv: [...sleeper.argv], env: {} }));
  assert.equal(same.pid, pid);
  const other = stateIn(
    await supervisor.declare({ ...sleeper, argv: ["/bin/busybox", "sleep", "2000"] }),
  );
  assert.notEqual(other.pid, pid);
  assert.deepEqual(other.argv.at(-1), "2000");
  assert.deepEqual(types(), ["declared", "started", "declared", "exited", "started"]);
  await close();
});

Deno.test("Supervisor.remove() ends and forgets, on disk too", async () => {
  const { supervisor, store, close } = supervised();
  const { pid } = stateIn(await supervisor.declare(sleeper));
  assert.equal(stateIn(await supervisor.remove("sleeper")).state, "stopped");
  assert.equal(isThere(pid ?? 0), false);
  assert.equal(supervisor.get("sleeper"), null);
  assert.equal(store.files.size, 0);
  assert.deepEqual(await supervisor.remove("sleeper"), {
    status: "not_found",
    reason: 'service "sleeper": never declared',
  });
  assert.equal((await supervisor.start("sleeper")).status, "not_found");
  await close();
});

Deno.test("Supervisor answers acts that race each other", async () => {
  const { supervisor, store, close } = supervised();
  const outcomes = await Promise.all([
    supervisor.declare(sleeper),
    supervisor.declare({ ...sleeper, cwd: "/tmp" }),
    supervisor.stop("sleeper"),
    supervisor.remove("sleeper"),
    supervisor.declare(sleeper),
    supervisor.restart("sleeper"),
  ]);
  for (const outcome of outcomes) {
    assert(["done", "not_found", "conflict"].includes(outcome.status), JSON.stringify(outcome));
  }
  await until("rest", () => {
    const state = supervisor.get("sleeper")?.state;
    return state === undefined || state === "running" || state === "stopped";
  });
  assert.equal(store.files.size, supervisor.list().length, "disk and memory agree");
  await close();
});

Deno.test("Supervisor takes acts from those it tells of its own", async () => {
  const { supervisor, bus, types, close } = supervised();
  let acts = 0;
  bus.subscribe(["service.exited", "service.restarting"], ({ type }) => {
    if (acts++ < 2) {
      void (type === "service.exited" ? supervisor.restart : supervisor.stop)
        .call(supervisor, "sleeper");
    }
  });
  const { pid } = stateIn(await supervisor.declare(sleeper));
  Deno.kill(pid ?? 0, "SIGKILL");
  await until("stopped", () => types().includes("stopped"));
  await until("rest", () => supervisor.get("sleeper")?.state === "stopped");
  assert.equal(supervisor.get("sleeper")?.pid, null);
  await close();
});

testNeeding(
  needGroups,
  "Supervisor kills the whole of a service that ignores SIGTERM",
  async () => {
    const on = rig();
    await withGroups(on, async (groups, directory) => {
      // The real five seconds, made short.
      const timers = {
        ...on.timers,
        set: (run: () => void, ms: number) => on.timers.set(run, ms / 50),
      };
      const { supervisor, events } = supervised(groups, { ...on, timers });
      const script =
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$; sleep 1000' & wait; wait";
      await supervisor.declare({ name: "deaf", argv: sh(script), restart: "always" });
      await until("output", () => events.some(({ type }) => type === "service.output"));
      const line = events.find((event) => event.type === "service.output");
      const pid = Number(line?.type === "service.output" ? line.data.line : 0);
      assert.equal(isThere(pid), true);
      const state = stateIn(await supervisor.stop("deaf"));
      assert.deepEqual([state.state, state.last_exit], ["stopped", {
        code: null,
        signal: "SIGKILL",
      }]);
      assert.equal(isThere(pid), false);
      assert.deepEqual([...Deno.readDirSync(directory)].filter((entry) => entry.isDirectory), []);
      assert.deepEqual(on.reports, []);
    });
  },
);

testNeeding(needGroups, "Supervisor leaves nothing of one life to the next", async () => {
  const on = rig();
  await withGroups(on, async (groups) => {
    const { supervisor, events, close } = supervised(groups, on);
    await supervisor.declare({
      name: "parent",
      argv: sh("setsid sleep 1000 & echo $!; wait"),
      restart: "always",
    });
    const children = () =>
      events.flatMap((event) => event.type === "service.output" ? [Number(event.data.line)] : []);
    await until("its child", () => children().length === 1);
    Deno.kill(supervisor.get("parent")?.pid ?? 0, "SIGKILL");
    await until("the next life", () => children().length === 2);
    assert.deepEqual(children().map(isThere), [false, true]);
    await close();
    assert.equal(isThere(children()[1]!), false);
  });
});

Deno.test("Supervisor tells what a service prints, cut and counted", async () => {
  const { supervisor, events, close } = supervised();
  const script = "echo one; echo two >&2; head -c 2000 /dev/zero | tr '\\000' x; echo; " +
    "i=0; while [ $i -lt 300 ]; do echo $i; i=$((i+1)); done";
  await supervisor.declare({ name: "loud", argv: sh(script), restart: "never" });
  await until("its end", () => supervisor.get("loud")?.state === "stopped");
  const lines = events.flatMap((event) => event.type === "service.output" ? [event.data] : []);
  assert.deepEqual(lines.find(({ stream }) => stream === "stderr")?.line, "two");
  const out = lines.filter(({ stream }) => stream === "stdout").map(({ line }) => line);
  assert.equal(out[0], "one");
  assert.match(out[1] ?? "", /^x{1024}… \(\+976 bytes\)$/);
  const lost = events.reduce(
    (sum, event) => sum + (event.type === "bus.gap" ? event.data.count ?? 0 : 0),
    0,
  );
  assert.equal(out.length + lost, 302, "every line is told or counted");
  assert(lost > 150);
  const gap = events.find(({ type }) => type === "bus.gap");
  assert.deepEqual((gap?.data as { source: string }).source, "service.loud");
  await close();
});

Deno.test("Supervisor.load() starts what is on disk and tells of what is damaged", async () => {
  const { supervisor, store, events, close } = supervised();
  store.files.set("sleeper.json", sleeper);
  store.files.set("bad.json", { name: "bad", argv: [] });
  store.files.set("else.json", { ...sleeper, name: "other" });
  store.faults = ["torn.json: Unexpected end of JSON input"];
  await supervisor.load(7);
  await until("running", () => supervisor.get("sleeper")?.state === "running");
  assert.equal(supervisor.list().length, 1);
  const evidence = events.flatMap((event) =>
    event.type === "incident.opened" ? [event.data.evidence] : []
  );
  assert.deepEqual(evidence.map((text) => text.split(":")[0]), [
    "torn.json",
    "bad.json",
    "else.json",
  ]);
  assert.match(evidence[1]!, /^bad\.json: argv/);
  await close();
});

Deno.test("Supervisor.declare() starts nothing that it cannot keep", async () => {
  const { supervisor, store, events, close } = supervised();
  store.refuses = 'write "/data/services/sleeper.json": ENOSPC';
  assert.deepEqual(await supervisor.declare(sleeper), { status: "failed", reason: store.refuses });
  assert.deepEqual([supervisor.list(), events], [[], []]);
  await close();
});

Deno.test("Supervisor.shutdown() stops everything and starts nothing again", async () => {
  const { supervisor, store, close } = supervised();
  await supervisor.declare(sleeper);
  await supervisor.declare({ name: "flaky", argv: sh("exit 1"), restart: "always" });
  await supervisor.shutdown(10_000, 3);
  assert.deepEqual(supervisor.list().map(({ state }) => state), ["stopped", "stopped"]);
  assert.equal((await supervisor.start("sleeper")).status, "conflict");
  assert.equal((await supervisor.declare({ ...sleeper, name: "new" })).status, "conflict");
  assert.equal(store.files.size, 2, "what was declared is declared still");
  await close();
});

Deno.test("Supervisor.shutdown() holds for what was being declared or loaded meanwhile", async () => {
  const { supervisor, store, types, close } = supervised();
  const disk = Promise.withResolvers<void>();
  let saving = false;
  store.save = () => {
    saving = true;
    return disk.promise;
  };
  store.load = async () => {
    await disk.promise;
    return { specs: [{ file: "old.json", value: { ...sleeper, name: "old" } }], faults: [] };
  };
  const declaring = [sleeper, { ...sleeper, name: "next" }].map((spec) => supervisor.declare(spec));
  const loading = supervisor.load();
  await until("the first save", () => saving);
  await supervisor.shutdown(10);
  disk.resolve();
  const [first, next] = await Promise.all(declaring);
  await loading;
  assert.equal(stateIn(first!).state, "stopped");
  assert.equal(next?.status, "conflict");
  assert.deepEqual(supervisor.list().map(({ state }) => state), ["stopped", "stopped"]);
  assert.equal(types().includes("started"), false);
  await close();
});

Deno.test("Supervisor.declare() takes no more services than it said, however they come", async () => {
  const { supervisor, close } = supervised();
  const specs = Array.from(
    { length: 270 },
    (_, i): ServiceSpec => ({ name: `s${i}`, argv: ["/no/such"], restart: "never" }),
  );
  const outcomes = await Promise.all(specs.map((spec) => supervisor.declare(spec)));
  assert.equal(outcomes.filter(({ status }) => status === "conflict").length, 14);
  assert.equal(supervisor.list().length, 256);
  await close();
});

Deno.test("Supervisor.load() keeps what was declared before the disk was there", async () => {
  const { supervisor, store, events, close } = supervised();
  const save = store.save.bind(store);
  store.files.set("sleeper.json", { ...sleeper, cwd: "/tmp" });
  store.save = () => Promise.resolve();
  await supervisor.declare(sleeper);
  await supervisor.declare({ ...sleeper, name: "other" });
  store.save = (spec) => spec.name === "other" ? Promise.reject(new Error("ENOSPC")) : save(spec);
  await supervisor.load();
  assert.deepEqual([...store.files], [["sleeper.json", sleeper]]);
  const opened = events.flatMap((e) => e.type === "incident.opened" ? [e.data.evidence] : []);
  assert.deepEqual(opened, ["other.json: ENOSPC"]);
  await close();
});

testNeeding(needRoot, "Supervisor runs a service as its user", async () => {
  const { supervisor, events, close } = supervised(null);
  await supervisor.declare({ name: "user", argv: sh("id -u; id -g"), uid: 1234, restart: "never" });
  await until("its end", () => supervisor.get("user")?.state === "stopped");
  const lines = events.flatMap((e) => e.type === "service.output" ? [e.data.line] : []);
  assert.deepEqual(lines, ["1234", "1234"]);
  await close();
});
