/** A link to real children, good and bad. */
import assert from "node:assert/strict";
import type { FrameCheck } from "./frames.ts";
import { ChildLink, type Incoming, type LinkEvent, type LinkLimits } from "./link.ts";
import { isThere, rig, until } from "./testing.ts";

interface Said extends Incoming {
  readonly text?: string;
}
type Told = { type: "hello" } | { type: "ping"; n: number } | {
  type: "ask";
  id: number;
  text: string;
};

const check: FrameCheck<Said> = (value) => {
  const frame = value as Said | null;
  return typeof frame?.type === "string"
    ? { ok: true, frame }
    : { ok: false, fault: "type: expected a word" };
};

/** A child in shell that answers as told per frame: `$n` and `$id` are the frame's. */
function childScript(on: { hello?: string; ping?: string; ask?: string; first?: string }): string {
  return `${on.first ?? ""}
    while read -r line; do
      n=\${line##*\\"n\\":}; n=\${n%%\\}*}; id=\${line##*\\"id\\":}; id=\${id%%,*}
      case "$line" in
        *'"hello"'*) ${on.hello ?? `echo '{"type":"ready"}'`} ;;
        *'"ping"'*) ${on.ping ?? `echo "{\\"type\\":\\"pong\\",\\"n\\":$n}"`} ;;
        *'"ask"'*) ${
    on.ask ?? `echo "{\\"type\\":\\"answer\\",\\"id\\":$id,\\"text\\":\\"yes\\"}"`
  } ;;
      esac
    done`;
}

async function linked(script: string, limits: Partial<LinkLimits> = {}) {
  const on = rig();
  const spawned = await on.spawner.spawn({
    argv: ["/bin/busybox", "sh", "-c", script],
    stdin: "piped",
  });
  assert(spawned.ok);
  const events: LinkEvent<Said>[] = [];
  const link = new ChildLink<Said, Told>({
    child: spawned.child,
    timers: on.timers,
    report: on.report,
    check,
    hello: { type: "hello" },
    ping: (n) => ({ type: "ping", n }),
    on: (event) => events.push(event),
    limits,
  });
  return { ...on, child: spawned.child, link, events };
}

const ask = (link: ChildLink<Said, Told>, text = "?", ms = 5000) =>
  link.request((id) => ({ type: "ask", id, text }), ms);

/** Waits for the end of a life and answers its reason; nothing may be left of it. */
async function endOf({ link, events, child, own }: Awaited<ReturnType<typeof linked>>) {
  await link.ended;
  const last = events.at(-1);
  assert.equal(last?.kind, "exited");
  assert.equal(events.filter(({ kind }) => kind === "exited").length, 1);
  assert.equal(isThere(child.pid), false);
  assert.equal(own.size, 0);
  return last.kind === "exited" ? last.reason : "";
}

Deno.test("ChildLink greets, asks, correlates and kills", async () => {
  const on = await linked(childScript({}));
  assert.equal((await ask(on.link)).ok, false, "nobody is asked before ready");
  await until("ready", () => on.link.ready);
  const replies = await Promise.all([1, 2, 3].map((n) => ask(on.link, String(n))));
  assert.deepEqual(
    replies.map((reply) => reply.ok && reply.frame),
    [1, 2, 3].map((id) => ({
      type: "answer",
      id,
      text: "yes",
    })),
  );
  const from = performance.now();
  await on.link.kill("no longer wanted");
  assert.equal(await endOf(on), "no longer wanted (SIGKILL)");
  assert(performance.now() - from < 250);
  assert.equal(on.link.send({ type: "hello" }), false);
  assert.deepEqual(on.reports, []);
});

Deno.test("ChildLink tells of an end by itself, and settles what was open", async () => {
  const on = await linked(childScript({ ask: "exit 4" }));
  await until("ready", () => on.link.ready);
  const [first, second] = await Promise.all([ask(on.link), ask(on.link)]);
  for (const reply of [first, second]) {
    assert.deepEqual(reply, { ok: false, why: "ended", detail: "exit 4" });
  }
  assert.equal(await endOf(on), "exit 4");
});

Deno.test("ChildLink kills a child that is not ready in time", async () => {
  const on = await linked(childScript({ hello: ":" }), { readyMs: 50 });
  assert.equal(await endOf(on), "not ready within 50 ms (SIGKILL)");
  assert.deepEqual(on.events.map(({ kind }) => kind), ["misbehaved", "exited"]);
});

Deno.test("ChildLink keeps a child that answers its heartbeat", async () => {
  const on = await linked(childScript({}), { heartbeatMs: 10, pongMs: 2000 });
  await until("ready", () => on.link.ready);
  await new Promise((resolve) => setTimeout(resolve, 150));
  assert.equal(on.link.ready, true);
  await on.link.kill("done");
  assert.equal(await endOf(on), "done (SIGKILL)");
});

Deno.test("ChildLink kills a child that spins and does not answer its heartbeat", async () => {
  const on = await linked(childScript({ ping: "while :; do :; done" }), {
    heartbeatMs: 10,
    pongMs: 60,
  });
  assert.equal(await endOf(on), "no pong within 60 ms (SIGKILL)");
});

Deno.test("ChildLink kills at the first word outside the contract", async () => {
  const cases: [Parameters<typeof childScript>[0], RegExp][] = [
    [{ hello: "echo hello" }, /^not_json: "hello"/],
    [{ hello: "echo '[1]'" }, /^refused: type: expected a word/],
    [{ hello: `printf '{"type":"\\377"}\\n'` }, /^not_utf8/],
    [{ hello: `echo '{"type":"answer","id":1}'` }, /^answer before ready/],
    [{ hello: `echo '{"type":"ready"}'; echo '{"type":"ready"}'` }, /^ready a second time/],
    [{ hello: `echo '{"type":"ready"}'; echo '{"type":"pong","n":1}'` }, /^pong 1 where none/],
    [{ ping: `echo '{"type":"pong","n":77}'` }, /^pong 77 where 1 was awaited/],
    [{ hello: `echo '{"type":"ready"}'; echo '{"type":"answer","id":9}'` }, /request 9, which/],
    [{ hello: "head -c 70000 /dev/zero | tr '\\000' x; echo" }, /^too_long: 70000 bytes/],
    [{ first: `yes '{"type":"ready"}'` }, /^(too_fast|ready a second time)/],
  ];
  for (const [script, reason] of cases) {
    const on = await linked(childScript(script), { heartbeatMs: 20 });
    assert.match(await endOf(on), reason);
    assert.equal(on.events.filter(({ kind }) => kind === "misbehaved").length, 1);
    assert.deepEqual(on.reports, []);
  }
});

Deno.test("ChildLink takes an endless line no faster than any flood", async () => {
  const on = await linked("exec /bin/busybox dd if=/dev/zero bs=65536", { readyMs: 400 });
  await new Promise((resolve) => setTimeout(resolve, 300));
  const io = await Deno.readTextFile(`/proc/${on.child.pid}/io`);
  const written = Number(/^wchar: (\d+)$/m.exec(io)?.[1]);
  assert(written < 8 << 20, `${written} bytes in 300 ms`);
  assert.equal(await endOf(on), "not ready within 400 ms (SIGKILL)");
});

Deno.test("ChildLink kills a child that does not read", async () => {
  const on = await linked(`echo '{"type":"ready"}'; sleep 100`);
  await until("ready", () => on.link.ready);
  const text = "x".repeat(60_000);
  for (let i = 0; i < 8; i++) on.link.send({ type: "ask", id: 1, text });
  assert.match(await endOf(on), /^does not read: \d+ bytes wait for it/);
});

Deno.test("ChildLink.request() is bounded in number, time and size", async () => {
  const on = await linked(childScript({ ask: ":" }), { open: 2 });
  await until("ready", () => on.link.ready);
  const slow = [ask(on.link, "a", 50), ask(on.link, "b", 50)];
  const third = await ask(on.link, "c");
  assert.equal(!third.ok && third.why, "busy");
  for (const reply of await Promise.all(slow)) assert.equal(!reply.ok && reply.why, "late");
  const long = await ask(on.link, "x".repeat(70_000));
  assert.equal(!long.ok && long.why, "too_long");
  assert.equal(on.link.ready, true, "a late answer is the host's to judge");
  await on.link.kill("done");
  await endOf(on);
  assert.match(on.reports.join(), /^frame to \d+: too_long/);
});

Deno.test("ChildLink drops an answer that comes after its deadline", async () => {
  const script = childScript({
    ask: `(sleep 0.15; echo "{\\"type\\":\\"answer\\",\\"id\\":$id}") &`,
  });
  const on = await linked(script);
  await until("ready", () => on.link.ready);
  const reply = await ask(on.link, "?", 30);
  assert.equal(!reply.ok && reply.why, "late");
  await new Promise((resolve) => setTimeout(resolve, 250));
  assert.equal(on.link.ready, true);
  await on.link.kill("done");
  await endOf(on);
});

Deno.test("ChildLink hands on frames that are no answers, and stderr in capped lines", async () => {
  const script = childScript({
    first: "echo complaint >&2; head -c 2000 /dev/zero | tr '\\000' y >&2; echo >&2; " +
      "i=0; while [ $i -lt 100 ]; do echo $i >&2; i=$((i+1)); done",
    ask: `echo '{"type":"note","text":"by the way"}'; exit 0`,
  });
  const on = await linked(script);
  await until("ready", () => on.link.ready);
  await ask(on.link);
  await endOf(on);
  const notes = on.events.flatMap((event) => event.kind === "frame" ? [event.frame.text] : []);
  assert.deepEqual(notes, ["by the way"]);
  const lines = on.events.flatMap((event) => event.kind === "stderr" ? [event] : []);
  assert.equal(lines[0]?.line, "complaint");
  assert.deepEqual([lines[1]?.line.length, lines[1]?.cut], [512, 1488]);
  const shown = lines.filter(({ line }) => line !== "").length;
  const lost = lines.reduce((sum, line) => sum + line.lost, 0);
  assert.equal(shown + lost, 102, "every line is shown or counted");
  assert(shown < 40);
});

Deno.test("ChildLink is not held by a pipe that outlives the child", async () => {
  const on = await linked(
    childScript({ hello: 'setsid sleep 2 & echo \'{"type":"ready"}\'; exit 0' }),
  );
  const from = performance.now();
  assert.equal(await endOf(on), "exit 0");
  assert(performance.now() - from < 1500);
});

Deno.test("ChildLink survives a handler that throws", async () => {
  const on = rig();
  const spawned = await on.spawner.spawn({
    argv: ["/bin/busybox", "sh", "-c", childScript({})],
    stdin: "piped",
  });
  assert(spawned.ok);
  const link = new ChildLink<Said, Told>({
    child: spawned.child,
    timers: on.timers,
    report: on.report,
    check,
    hello: { type: "hello" },
    ping: (n) => ({ type: "ping", n }),
    on: () => {
      throw new Error("handler");
    },
  });
  await until("ready", () => link.ready);
  await link.kill("done");
  await link.ended;
  assert.equal(on.reports.length, 2);
});
