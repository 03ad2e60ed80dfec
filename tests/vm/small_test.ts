/**
 * A machine of 96 MB: the page, ten thousand events on one stream and the mind fit into it.
 */

import assert from "node:assert/strict";
import type { ChatReply } from "../../bus/shapes.ts";
import { Feed } from "./feed.ts";
import { endsWithoutFault, eventually, sharedGuest, sleep } from "./shared.ts";

const guest = sharedGuest({ memoryMb: 96, readyTimeoutMs: 120_000 });

const EVENTS = 10_000;
/**
 * Each makes three events: it is forked, execs and exits. So many a second at most, however fast the
 * host: beyond 2,000 events a second the sensor counts instead of telling each.
 */
const PROCESSES = 400;
/** What an open page asks for besides its stream of everything (src/web/session.ts). */
const PAGE_ASKS = ["status", "processes", "network", "services"];
const PAGE_ASKS_MS = 3000;
const STREAM_MS = 600_000;

async function assertNoOom(): Promise<void> {
  const log = await (await guest()).shell("dmesg");
  assert.match(log, /Linux version/);
  assert.doesNotMatch(log, /Out of memory|oom-kill|page allocation failure/);
}

Deno.test("in 96 MB the machine becomes ready, and all of its phases end well", async () => {
  const machine = await guest();
  const meminfo = await machine.json<Record<string, number>>("/api/v1/meminfo");
  assert.ok(meminfo.MemTotal! < 96 * 1_048_576, `${meminfo.MemTotal} bytes`);
  const phases = await eventually("the last phase", async () => {
    const { boot } = await machine.json<{ boot: { phases: { name: string; ok: boolean }[] } }>(
      "/api/v1/status",
    );
    return boot.phases.at(-1)?.name === "selftest" && boot.phases;
  }, 120_000);
  assert.deepEqual(phases.filter(({ ok }) => !ok), []);
});

Deno.test("in 96 MB the page and everything it loads is served", async () => {
  const { url } = await guest();
  const html = await (await fetch(`${url}/`)).text();
  const paths = [...html.matchAll(/(?:src|href)="(\/?[\w./-]+)"/g)].map(([, path]) => path ?? "");
  assert.ok(paths.some((path) => path.endsWith(".js")), html);
  for (const path of paths) {
    const asset = await fetch(new URL(path, `${url}/`));
    assert.equal(asset.status, 200, path);
    assert.ok((await asset.bytes()).length > 100, path);
  }
});

Deno.test(`in 96 MB, a page open, one stream takes ${EVENTS} events in order, without a gap`, async () => {
  const machine = await guest();
  await using page = await Feed.open(machine);
  let open = true;
  const asking = (async () => {
    for (; open; await sleep(PAGE_ASKS_MS)) {
      for (const part of PAGE_ASKS) await machine.json(`/api/v1/${part}`);
    }
  })();
  await using feed = await Feed.open(machine, { type: "process.*" });
  const script = `i=0; while [ $i -lt ${PROCESSES} ]; do /bin/true; i=$((i+1)); done`;
  const deadline = performance.now() + STREAM_MS;
  try {
    while (feed.events.length < EVENTS) {
      assert.ok(performance.now() < deadline, `${feed.events.length} events in ${STREAM_MS} ms`);
      const made = machine.exec(["/bin/sh", "-c", script], { timeout_ms: 300_000 });
      const [{ code }] = await Promise.all([made, sleep(1000)]);
      assert.equal(code, 0);
    }
  } finally {
    open = false;
    await asking;
  }
  assert.equal(page.closed, null, "the page's stream is still open");
  assert.equal(feed.closed, null, "the stream is still open");
  assert.deepEqual(feed.gaps, []);
  const sequences = feed.events.map(({ sequence }) => sequence);
  assert.ok(sequences.every((sequence, at) => at === 0 || sequence > sequences[at - 1]!));
  await assertNoOom();
});

Deno.test("in 96 MB the mind answers", async () => {
  const machine = await guest();
  const reply = await eventually(
    "an answer",
    () => machine.post<ChatReply>("/api/v1/chat", { message: "what is using the memory?" }),
    120_000,
    1000,
  );
  assert.equal(reply.intent, "memory");
  const [, total] = /MB of ([\d.]+) MB memory is in use/.exec(reply.reply) ?? [];
  assert.ok(Number(total) < 96, reply.reply);
  await assertNoOom();
});

endsWithoutFault("small", guest);
