/**
 * The service table, searched exhaustively: every reachable state under every policy, with a model
 * of what the supervisor would have going (a spawn, a process, a timer).
 */
import assert from "node:assert/strict";
import {
  declared,
  type Effect,
  next,
  type RestartPolicy,
  type Service,
  type ServiceEvent,
} from "./service.ts";

const policies: readonly RestartPolicy[] = ["always", "on-failure", "never"];

/** What is going on in the world, by the effects asked for and the events that answered them. */
interface World {
  readonly spawning: boolean;
  readonly process: boolean;
  readonly timer: boolean;
  readonly forgotten: boolean;
}
const idle: World = { spawning: false, process: false, timer: false, forgotten: false };

const wishes: readonly ServiceEvent[] = [
  { type: "start" },
  { type: "stop" },
  { type: "restart" },
  { type: "remove" },
];
const spawnEnds: readonly ServiceEvent[] = [
  { type: "spawned" },
  { type: "spawn_failed", permanent: true, reason: "exec: ENOENT", roll: 0.5 },
  { type: "spawn_failed", permanent: false, reason: "spawn: EAGAIN", roll: 0.5 },
];
const exits: readonly ServiceEvent[] = [true, false].flatMap((ok) =>
  [10, 60_000].map((ranMs) => ({ type: "exited", ok, how: "exit", ranMs, roll: 0.5 } as const))
);
const timer: ServiceEvent = { type: "timer" };

function feasible(world: World): ServiceEvent[] {
  if (world.forgotten) return [];
  return [
    ...wishes,
    ...(world.spawning ? spawnEnds : []),
    ...(world.process ? exits : []),
    ...(world.timer ? [timer] : []),
  ];
}

function infeasible(world: World): ServiceEvent[] {
  return [
    ...(world.forgotten ? wishes : []),
    ...(world.spawning ? [] : spawnEnds),
    ...(world.process ? [] : exits),
    ...(world.timer ? [] : [timer]),
  ];
}

/** The world after an event and the effects that answered it; throws where they contradict it. */
function after(world: World, event: ServiceEvent, effects: readonly Effect[]): World {
  let { spawning, process, timer, forgotten } = world;
  if (event.type === "spawned") [spawning, process] = [false, true];
  if (event.type === "spawn_failed") spawning = false;
  if (event.type === "exited") process = false;
  if (event.type === "timer") timer = false;
  for (const effect of effects) {
    switch (effect.do) {
      case "spawn":
        assert(!spawning && !process && !timer, "a second process");
        spawning = true;
        break;
      case "terminate":
        assert(process, "terminate without a process");
        break;
      case "arm":
        assert(!timer && effect.ms > 0 && effect.ms <= 60_000);
        timer = true;
        break;
      case "disarm":
        assert(timer, "disarm without a timer");
        timer = false;
        break;
      case "forget":
        assert(!spawning && !process && !timer, "forgotten while something goes on");
        forgotten = true;
        break;
      case "publish":
        break;
    }
  }
  return { spawning, process, timer, forgotten };
}

interface Node {
  readonly service: Service;
  readonly world: World;
}

function key({ service: { phase, failures }, world }: Node): string {
  const then = "then" in phase ? phase.then : "";
  return JSON.stringify([phase.at, then, Math.min(failures, 3), world]);
}

/** Every state that can be reached, with a way to it. */
function reachable(policy: RestartPolicy): Node[] {
  const first: Node = { service: declared, world: idle };
  const seen = new Map([[key(first), first]]);
  const queue = [first];
  for (let node = queue.shift(); node !== undefined; node = queue.shift()) {
    for (const event of feasible(node.world)) {
      const step = next(node.service, event, policy);
      assert(step !== null, `${event.type} in ${key(node)}: no cell`);
      const to = { service: step.service, world: after(node.world, event, step.effects) };
      if (seen.has(key(to))) continue;
      seen.set(key(to), to);
      queue.push(to);
    }
  }
  return [...seen.values()];
}

Deno.test("next() has a cell for whatever can happen, and none for what cannot", () => {
  for (const policy of policies) {
    const nodes = reachable(policy);
    const phases = new Set(
      nodes.map(({ service: { phase } }) =>
        "then" in phase ? `${phase.at} ${phase.then}` : phase.at
      ),
    );
    assert.equal(phases.size, policy === "never" ? 11 : 12, [...phases].join());
    for (const { service, world } of nodes) {
      for (const event of infeasible(world)) {
        assert.equal(next(service, event, policy), null, `${event.type} in ${service.phase.at}`);
      }
    }
  }
});

Deno.test("next() keeps every phase true to what is going on", () => {
  for (const policy of policies) {
    for (const { service: { phase }, world } of reachable(policy)) {
      const expected: World = {
        spawning: phase.at === "starting",
        process: phase.at === "running" || phase.at === "stopping",
        timer: phase.at === "backoff",
        forgotten: phase.at === "removed",
      };
      assert.deepEqual(world, expected, phase.at);
    }
  }
});

/** Lets the world take its course: starts succeed, processes end when told to, timers ring. */
function runOn(node: Node, event: ServiceEvent, policy: RestartPolicy): Node {
  let told = false;
  let now: ServiceEvent | null = event;
  for (let steps = 0; now !== null; steps++) {
    assert(steps < 10, "it does not settle");
    const step = next(node.service, now, policy);
    assert(step !== null);
    node = { service: step.service, world: after(node.world, now, step.effects) };
    told ||= step.effects.some((effect) => effect.do === "terminate");
    const stopping: boolean = node.service.phase.at === "stopping";
    now = node.world.spawning
      ? { type: "spawned" }
      : stopping && (told || node.world.process)
      ? { type: "exited", ok: true, how: "SIGTERM", ranMs: 10, roll: 0.5 }
      : node.world.timer
      ? timer
      : null;
  }
  return node;
}

Deno.test("next() leads every state to what is wished", () => {
  for (const policy of policies) {
    for (const node of reachable(policy)) {
      if (node.service.phase.at === "removed") continue;
      const { phase } = node.service;
      const leaving = "then" in phase && phase.then === "remove";
      const at = (event: ServiceEvent) => runOn(node, event, policy).service.phase.at;
      assert.equal(at({ type: "remove" }), "removed");
      assert.equal(at({ type: "stop" }), leaving ? "removed" : "stopped");
      assert.equal(at({ type: "start" }), leaving ? "removed" : "running");
      assert.equal(at({ type: "restart" }), leaving ? "removed" : "running");
    }
  }
});

const exited = (ok: boolean, ranMs = 10): ServiceEvent => ({
  type: "exited",
  ok,
  how: ok ? "exit 0" : "SIGSEGV",
  ranMs,
  roll: 0.5,
});

function walk(policy: RestartPolicy, ...events: ServiceEvent[]): Service {
  return events.reduce<Service>((service, event) => {
    const step = next(service, event, policy);
    assert(step !== null, event.type);
    return step.service;
  }, declared);
}

const up: ServiceEvent[] = [{ type: "start" }, { type: "spawned" }];

Deno.test("next() restarts by policy", () => {
  assert.equal(walk("always", ...up, exited(true)).phase.at, "backoff");
  assert.equal(walk("always", ...up, exited(false)).phase.at, "backoff");
  assert.equal(walk("on-failure", ...up, exited(true)).phase.at, "stopped");
  assert.equal(walk("on-failure", ...up, exited(false)).phase.at, "backoff");
  assert.equal(walk("never", ...up, exited(true)).phase.at, "stopped");
  const failed = walk("never", ...up, exited(false));
  assert.deepEqual(failed.phase, {
    at: "failed",
    reason: "SIGSEGV, and its policy is never to restart",
  });
});

Deno.test("next() waits longer after each failure, and little again after a stable minute", () => {
  const life = (
    ranMs: number,
  ): ServiceEvent[] => [timer, { type: "spawned" }, exited(false, ranMs)];
  const waits: number[] = [];
  const events = [...up, exited(false)];
  for (const ranMs of [10, 10, 60_000, 10]) {
    const { phase } = walk("always", ...events);
    if (phase.at === "backoff") waits.push(phase.ms);
    events.push(...life(ranMs));
  }
  const last = walk("always", ...events);
  assert.deepEqual(waits, [100, 200, 400, 100]);
  assert.equal(last.restarts, 4);
});

Deno.test("next() gives up where starting again cannot help, and starts afresh when told to", () => {
  const wrong: ServiceEvent = { type: "spawn_failed", permanent: true, reason: "ENOENT", roll: 0 };
  const given = walk("always", { type: "start" }, wrong);
  assert.deepEqual(given.phase, { at: "failed", reason: "ENOENT" });
  assert.equal(walk("always", { type: "start" }, wrong, ...up).phase.at, "running");
  const lacking: ServiceEvent = { ...wrong, permanent: false, reason: "EAGAIN" };
  assert.equal(walk("always", { type: "start" }, lacking).phase.at, "backoff");
});
