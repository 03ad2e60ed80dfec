/** The one way to act: checked, proposed, decided, carried out, told. */
import assert from "node:assert/strict";
import { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import type { Principal } from "../../bus/gate.ts";
import type { ActKind, ActOutcome } from "../../bus/machine.ts";
import { loadZod, type SchemaFactory } from "../../bus/schema.ts";
import { parseScope, roleScopes, type Scope } from "../../bus/scopes.ts";
import type { ServiceState } from "../../bus/shapes.ts";
import { FakeTimers } from "../../src/child/fake_timers.ts";
import { FakeGroups, rig } from "../../src/child/testing.ts";
import { type Act, type ActTable, defineAct } from "./act.ts";
import { actTable, Hands, type HandsOptions } from "./acts.ts";
import type { RenewOutcome } from "./network.ts";
import type { ServiceOutcome } from "./service.ts";

await loadZod();

const admin: Principal = {
  id: "admin",
  kind: "human",
  lineage: "admin",
  scopes: roleScopes("admin"),
};

function holding(...scopes: string[]): Principal {
  return {
    id: "someone",
    kind: "human",
    lineage: "someone",
    scopes: scopes.map((text) => parseScope(text) as Scope),
  };
}

const running: ServiceState = {
  name: "web",
  argv: ["httpd"],
  state: "running",
  pid: 7,
  restarts: 0,
  backoff_ms: null,
  last_exit: null,
};

function handsOn(options: Partial<HandsOptions> = {}) {
  const on = rig();
  const bus = new Bus({
    boot: "abcdef0123456789",
    clock: { wall: () => 0, mono: () => 0 },
    ringBytes: 1 << 20,
    validate: true,
  });
  const events: AnyEvent[] = [];
  bus.subscribe(">", (event) => events.push(event));
  const calls: unknown[][] = [];
  let serviceOutcome: ServiceOutcome = { status: "done", state: running };
  let renewOutcome: RenewOutcome = { status: "done", leases: [] };
  let stopping = false;
  const service = (verb: string) => (subject: unknown, cause?: number) => {
    calls.push([verb, subject, cause]);
    return Promise.resolve(serviceOutcome);
  };
  const groups = new FakeGroups();
  const table = actTable({
    exec: { spawner: on.spawner, groups, timers: on.timers, report: on.report },
    services: {
      declare: service("declare"),
      remove: service("remove"),
      start: service("start"),
      stop: service("stop"),
      restart: service("restart"),
    },
    leases: {
      renew: (link, cause) => {
        calls.push(["renew", link, cause]);
        return Promise.resolve(renewOutcome);
      },
    },
    power: {
      stop: (how, reason, cause) => {
        calls.push(["stop", how, reason, cause]);
        const first = !stopping;
        stopping = true;
        return first;
      },
    },
  });
  const hands = new Hands({ bus, table, timers: on.timers, report: on.report, ...options });
  return {
    ...on,
    hands,
    events,
    calls,
    groups,
    table,
    types: () => events.map(({ type }) => type),
    answers: (service: ServiceOutcome, renew?: RenewOutcome) => {
      serviceOutcome = service;
      renewOutcome = renew ?? renewOutcome;
    },
  };
}

Deno.test("Hands.act() tells a chain of events, each the cause of the next", async () => {
  const { hands, events, types } = handsOn();
  const outcome = await hands.act(admin, "exec.run", { argv: ["/bin/busybox", "echo", "hi"] }, {
    reason: "to see",
    cause: 41,
  });
  assert(outcome.status === "done");
  const { action } = outcome;
  assert.deepEqual(types(), ["action.proposed", "action.allowed", "action.finished"]);
  assert.deepEqual(events.map(({ cause }) => cause), [41, events[0]?.seq, events[1]?.seq]);
  for (const event of events) {
    assert.equal(event.subject, action);
    assert.equal((event.data as { action: string }).action, action);
  }
  assert.deepEqual(events[0]?.data, {
    action,
    kind: "exec.run",
    principal: "admin",
    reason: "to see",
  });
  const { ok, summary } = events[2]?.data as { ok: boolean; summary: string };
  assert.deepEqual([ok, summary], [true, "/bin/busybox echo hi: exit 0"]);
});

Deno.test("Hands.act() names the field that is wrong and proposes nothing", async () => {
  const { hands, events } = handsOn();
  const faults = async (kind: string, args: unknown) => {
    const outcome = await hands.act(admin, kind as ActKind, args);
    return outcome.status === "invalid" ? outcome.faults.join("; ") : outcome.status;
  };
  assert.match(await faults("exec.run", {}), /^argv: /);
  assert.match(await faults("exec.run", { argv: [] }), /^argv: expected at least the program$/);
  assert.match(await faults("exec.run", { argv: [1] }), /^argv\.0: /);
  assert.match(await faults("exec.run", { argv: ["x"], timeout_ms: 0 }), /^timeout_ms: /);
  assert.match(await faults("exec.run", { argv: ["x"], shell: true }), /shell/);
  assert.match(await faults("exec.run", undefined), /^argv: /);
  assert.match(await faults("exec.run", "rm -rf /"), /^\(body\): /);
  assert.match(await faults("service.declare", { name: "A b", argv: ["x"] }), /^name: expected 1/);
  assert.match(await faults("service.stop", {}), /^name: /);
  assert.match(await faults("network.renew", { link: "x".repeat(16) }), /^link: /);
  assert.match(await faults("power.off", { now: true }), /now/);
  assert.match(await faults("no.such", {}), /^kind: no act is called "no\.such"/);
  assert.match(await faults("toString", {}), /^kind: /);
  assert.deepEqual(events, []);
});

Deno.test("Hands.act() runs nothing that its principal does not hold", async () => {
  const { hands, events, calls, groups, types } = handsOn();
  const cases: [ActKind, unknown, string][] = [
    ["exec.run", { argv: ["true"] }, "shell:exec:exec"],
    ["service.declare", { name: "web", argv: ["x"] }, "immune:service:declare"],
    ["service.remove", { name: "web" }, "immune:service:remove"],
    ["service.start", { name: "web" }, "immune:service:start"],
    ["service.stop", { name: "web" }, "immune:service:stop"],
    ["service.restart", { name: "web" }, "immune:service:restart"],
    ["network.renew", {}, "shell:network:renew"],
    ["power.off", {}, "shell:power:off"],
    ["power.reboot", {}, "shell:power:reboot"],
  ];
  const all = cases.map(([, , scope]) => scope);
  for (const [kind, args, scope] of cases) {
    const without = holding(...all.filter((one) => one !== scope));
    const denied = await hands.act(without, kind, args);
    assert(denied.status === "denied", `${kind}: ${denied.status}`);
    assert.equal(denied.reason, `${kind} needs ${scope}, which someone does not hold`);
    assert.deepEqual(types().splice(-2), ["action.proposed", "action.denied"]);
    assert.deepEqual([calls.length, groups.made.length], [0, 0]);
  }
  for (const [kind, args, scope] of cases) {
    const outcome = await hands.act(holding(scope), kind, args);
    assert(outcome.status === "done" || outcome.status === "conflict", `${kind}`);
  }
  // A wildcard never covers exec.
  const wide = await hands.act(holding("*:*:*"), "exec.run", { argv: ["true"] });
  assert.equal(wide.status, "denied");
  assert.equal(events.at(-1)?.type, "action.denied");
});

Deno.test("Hands.act() hands each act its arguments and the event that allowed it", async () => {
  const { hands, calls, events, answers } = handsOn();
  const lease = {
    link: "eth0",
    address: "10.0.2.15",
    prefix: 24,
    dns: [],
    server: "10.0.2.2",
    lease_s: 60,
    t1_s: 30,
    t2_s: 50,
  };
  answers({ status: "done", state: running }, { status: "done", leases: [lease] });
  const done = async (kind: ActKind, args: unknown) => {
    const outcome = await hands.act(admin, kind, args, { reason: "because" });
    assert(outcome.status === "done", JSON.stringify(outcome));
    const allowed = events.findLast(({ type }) => type === "action.allowed")?.seq;
    return [outcome.result, calls.at(-1), allowed, events.at(-1)?.data] as const;
  };
  const [state, call, cause, told] = await done("service.declare", {
    name: "web",
    argv: ["httpd"],
  });
  assert.deepEqual(state, running);
  assert.deepEqual(call, ["declare", { name: "web", argv: ["httpd"], restart: "always" }, cause]);
  assert.equal((told as { summary: string }).summary, "service web is running");
  const renewed = await done("network.renew", { link: "eth0" });
  assert.deepEqual(renewed[0], { leases: [lease] });
  assert.deepEqual(renewed[1], ["renew", "eth0", renewed[2]]);
  assert.equal((renewed[3] as { summary: string }).summary, "renewed eth0 10.0.2.15/24");
  assert.deepEqual((await done("network.renew", null))[1]?.[1], undefined);
  const off = await done("power.off", {});
  assert.deepEqual([off[0], off[1]], [{ how: "poweroff" }, [
    "stop",
    "poweroff",
    "because",
    off[2],
  ]]);
  const again = await hands.act(admin, "power.reboot", { reason: "mine" });
  assert.equal(again.status, "conflict");
  assert.deepEqual(calls.at(-1)?.slice(0, 3), ["stop", "reboot", "mine"]);
});

Deno.test("Hands.act() passes refusals on, each with its end told", async () => {
  const { hands, events, answers } = handsOn();
  const act = async (outcome: ServiceOutcome) => {
    answers(outcome, outcome.status === "done" ? undefined : outcome as RenewOutcome);
    return await hands.act(admin, "service.stop", { name: "web" });
  };
  const summary = () => events.at(-1)?.data as { ok: boolean; summary: string };
  assert.deepEqual(await act({ status: "not_found", reason: "none" }), {
    status: "not_found",
    reason: "none",
  });
  assert.deepEqual([summary().ok, summary().summary], [false, "none"]);
  assert.deepEqual(await act({ status: "conflict", reason: "busy" }), {
    status: "conflict",
    reason: "busy",
  });
  const failed = await act({ status: "failed", reason: "ENOSPC" });
  assert.deepEqual([failed.status, "action" in failed], ["failed", true]);
  const state = { ...running, state: "failed" as const, reason: "exec: ENOENT" };
  assert.equal((await act({ status: "done", state })).status, "done");
  assert.deepEqual([summary().ok, summary().summary], [
    false,
    "service web is failed: exec: ENOENT",
  ]);
});

/** A table with one act of our own in every place. */
function tableOf(act: Act): ActTable {
  return Object.fromEntries(
    Object.keys(handsOn().table).map((kind) => [kind, act]),
  ) as unknown as ActTable;
}

const none: SchemaFactory = (z) => z.object({}).strict();

Deno.test("Hands.act() answers a bug in an act as a failure, and reports it", async () => {
  const act = (run: Act["run"], scope = "shell:exec:exec") =>
    defineAct({ args: none, scope: () => scope, risk: () => "observe", lane: "work", run });
  for (
    const broken of [
      act(() => Promise.reject(new Error("boom"))),
      act(() => {
        throw new Error("boom");
      }),
    ]
  ) {
    const { hands, reports, types } = handsOn({ table: tableOf(broken) });
    const outcome = await hands.act(admin, "exec.run", {});
    assert(outcome.status === "failed");
    assert.equal(outcome.reason, "exec.run: boom");
    assert.equal(types().at(-1), "action.finished");
    assert.match(reports.join(), /^act exec\.run abcdef-1: boom$/);
  }
  const misdeclared = handsOn({ table: tableOf(act(() => Promise.reject(), "nonsense")) });
  assert.equal((await misdeclared.hands.act(admin, "exec.run", {})).status, "failed");
  assert.deepEqual(misdeclared.types(), []);
});

Deno.test("Hands.act() bounds how many run and wait, and never the power acts", async () => {
  const timers = new FakeTimers();
  const finish: (() => void)[] = [];
  const held = (lane: Act["lane"]) =>
    defineAct({
      args: none,
      scope: () => "shell:exec:exec",
      risk: () => "observe",
      lane,
      run: () =>
        new Promise((resolve) =>
          finish.push(() => resolve({ status: "done", result: null, ok: true, summary: "" }))
        ),
    });
  const table = { ...tableOf(held("work")), "power.off": held("none") };
  const { hands, types } = handsOn({ table, timers, atOnce: 2, waiting: 3 });
  const acts = Array.from({ length: 6 }, () => hands.act(admin, "exec.run", {}));
  const refused = await Promise.race(acts);
  assert.deepEqual(refused, { status: "conflict", reason: "exec.run: 3 acts wait already" });
  assert.equal(finish.length, 2);
  const power = hands.act(admin, "power.off", {});
  while (finish.length < 3) await Promise.resolve();
  finish.pop()?.();
  assert.equal((await power).status, "done");
  const outcomes = Promise.all(acts);
  let settled: ActOutcome[] | null = null;
  outcomes.then((all) => settled = all);
  while (settled === null) {
    finish.shift()?.();
    await Promise.resolve();
  }
  const done = (await outcomes).filter(({ status }) => status === "done");
  assert.equal(done.length, 5);
  assert.equal(types().filter((type) => type === "action.finished").length, 7);
});

Deno.test("Hands.act() does not begin for a caller who went away while it waited", async () => {
  let begun = 0;
  let finish = () => {};
  const table = tableOf(defineAct({
    args: none,
    scope: () => "shell:exec:exec",
    risk: () => "observe",
    lane: "work",
    run: () => {
      begun++;
      return new Promise((resolve) =>
        finish = () => resolve({ status: "done", result: null, ok: true, summary: "" })
      );
    },
  }));
  const { hands } = handsOn({ table, atOnce: 1 });
  const first = hands.act(admin, "exec.run", {});
  const controller = new AbortController();
  const second = hands.act(admin, "exec.run", {}, { signal: controller.signal });
  while (begun === 0) await Promise.resolve();
  controller.abort();
  assert.match(JSON.stringify(await second), /its caller went away/);
  finish();
  assert.equal((await first).status, "done");
  assert.equal(begun, 1);
});
