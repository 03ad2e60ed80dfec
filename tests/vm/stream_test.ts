/**
 * Streams lose nothing in silence, and no client, broken or hostile, costs the machine its voice.
 */

import assert from "node:assert/strict";
import { Feed, FeedRefused } from "./feed.ts";
import { hostile, malformedFrames, malformedRequests } from "./malformed.ts";
import type { Guest } from "./guest.ts";
import {
  type ApiEvent,
  endsWithoutFault,
  eventSince,
  eventually,
  head,
  history,
  portOf,
  rawExchange,
  sharedGuest,
  sleep,
} from "./shared.ts";

const guest = sharedGuest();

/** Makes three events for each of `files`: created, modified, deleted. */
async function makeEvents(machine: Guest, files: number): Promise<void> {
  const script = `i=0; while [ $i -lt ${files} ]; do echo > /tmp/e; rm /tmp/e; i=$((i+1)); done`;
  await machine.shell(script);
}

/** A program for the guest's own Deno: connections that never send a whole request. */
function halfOpen(count: number): string {
  return `
    const half = new TextEncoder().encode("GET /healthz HTTP/1.1\\r\\nHost: localhost\\r\\n");
    const lives = [];
    const live = async (connection) => {
      const opened = performance.now();
      const buffer = new Uint8Array(512);
      try { while (await connection.read(buffer) !== null); } catch { /* a reset is an end */ }
      return { opened, closed: performance.now() };
    };
    for (let i = 0; i < ${count}; i++) {
      const connection = await Deno.connect({ port: 80 });
      // Half of them say nothing at all.
      if (i % 2 === 0) await connection.write(half);
      lives.push(live(connection));
    }
    console.log(JSON.stringify(await Promise.all(lives)));`;
}

Deno.test("a WebSocket opens by its subprotocols, says hello and carries events as they happen", async () => {
  const machine = await guest();
  await using feed = await Feed.open(machine);
  assert.equal(feed.protocol, "osym.v1");
  const [hello] = feed.items;
  assert.ok(hello?.kind === "hello");
  assert.equal(await head(machine).then((id) => id.split(":")[0]), hello.boot);
  const words = crypto.randomUUID();
  await machine.shell(`echo ${words} > /dev/kmsg`);
  const { event } = await feed.event("kernel.logged", ({ data }) => data.text === words);
  assert.equal(event.specversion, "1.0");
  assert.equal(event.id, `${hello.boot}:${event.sequence}`);
  assert.equal(event.source, "osym://nerve/kmsg");
});

Deno.test("a WebSocket without a valid credential is refused", async () => {
  const machine = await guest();
  const wrong = machine.token.startsWith("A")
    ? `B${machine.token.slice(1)}`
    : `A${machine.token.slice(1)}`;
  for (
    const protocols of [["osym.v1"], ["osym.v1", `osym.token.${wrong}`], ["osym.v1", "osym.token."]]
  ) {
    await assert.rejects(Feed.open(machine, { protocols }), FeedRefused);
  }
  await assert.rejects(Feed.open(machine, { ticket: "x".repeat(43) }), FeedRefused);
});

Deno.test("a ticket opens one stream, once", async () => {
  const machine = await guest();
  const { ticket } = await machine.post<{ ticket: string }>("/api/v1/stream/ticket", {});
  {
    await using feed = await Feed.open(machine, { ticket });
    assert.equal(feed.items[0]?.kind, "hello");
  }
  await assert.rejects(Feed.open(machine, { ticket }), FeedRefused);
});

Deno.test("the filter by type is the server's, and an unknown pattern is refused", async () => {
  const machine = await guest();
  await using feed = await Feed.open(machine, { type: "file.*,kernel.>" });
  await makeEvents(machine, 1);
  await feed.event("file.modified");
  assert.ok(feed.events.every(({ type }) => /^(file|kernel)\./.test(type)));
  await assert.rejects(Feed.open(machine, { type: "not..a.pattern" }), FeedRefused);
});

Deno.test("a stream resumes after a cut without loss and without a duplicate", async () => {
  const machine = await guest();
  const all: ApiEvent[] = [];
  let after = await head(machine);
  const first = Number(after.split(":")[1]);
  for (let round = 0; round < 4; round++) {
    // Some come while nobody listens, some while the stream is open.
    await makeEvents(machine, 15);
    await using feed = await Feed.open(machine, { after });
    await makeEvents(machine, 15);
    const target = Number((await head(machine)).split(":")[1]);
    await feed.wait("the newest", (item) => item.kind === "event" && item.event.sequence >= target);
    assert.deepEqual(feed.gaps, []);
    const taken = feed.events;
    all.push(...taken);
    after = taken.at(-1)?.id ?? after;
  }
  assert.ok(all.length > 200);
  const sequences = all.map(({ sequence }) => sequence);
  const expected = Array.from({ length: all.length }, (_, index) => first + 1 + index);
  assert.deepEqual(sequences, expected, "every event once, in order");
});

Deno.test("a position of a boot that is not this one answers a gap, then what there is", async () => {
  const machine = await guest();
  await using feed = await Feed.open(machine, { after: `${"0123456789abcdef".repeat(2)}:7` });
  const item = await feed.wait("gap", ({ kind }) => kind === "gap");
  assert.ok(item.kind === "gap");
  assert.match(item.gap.reason, /not this boot/);
  const { event } = await feed.event("boot.started");
  assert.ok(event.sequence < 50, "history from its beginning");
  const { gap } = await machine.json<{ gap?: { reason: string } }>(
    `/api/v1/events?after=${"0123456789abcdef".repeat(2)}:7&limit=1`,
  );
  assert.match(gap?.reason ?? "", /not this boot/);
});

Deno.test("server-sent events carry the same, and resume by Last-Event-ID", async () => {
  const machine = await guest();
  const open = async (headers: Record<string, string> = {}) => {
    const abort = new AbortController();
    const answer = await machine.api("/api/v1/events/stream?type=file.*", {
      headers,
      signal: abort.signal,
    });
    assert.equal(answer.status, 200);
    assert.match(answer.headers.get("content-type") ?? "", /^text\/event-stream/);
    const reader = answer.body!.pipeThrough(new TextDecoderStream()).getReader();
    let text = "";
    const until = async (pattern: RegExp) => {
      // Ends the read that waits, too.
      const timer = setTimeout(() => void close(), 30_000);
      try {
        while (!pattern.test(text)) {
          const { value, done } = await reader.read();
          if (done) throw new Error(`the stream ended before ${pattern}: ${text}`);
          text += value;
        }
      } finally {
        clearTimeout(timer);
      }
      return text;
    };
    const close = async () => {
      // The pipe's rejection is what was asked for.
      await reader.cancel().catch(() => undefined);
      abort.abort();
    };
    return { until, close };
  };
  const one = await open();
  await one.until(/event: hello\nid: [0-9a-f]{32}:\d+\ndata: \{"boot"/);
  await makeEvents(machine, 1);
  const text = await one.until(/^id: .*\ndata: .*"file\.deleted".*\n\n/m);
  await one.close();
  const [, id = ""] = [...text.matchAll(/^id: (\S+)$/gm)].at(-1) ?? [];
  assert.match(id, /^[0-9a-f]{32}:\d+$/);

  await machine.shell("echo > /tmp/while-away");
  const two = await open({ "last-event-id": id });
  const more = await two.until(/"file\.modified"/);
  await two.close();
  const paths = [...more.matchAll(/^data: (\{.*"specversion".*\})$/gm)].map((match) =>
    (JSON.parse(match[1] ?? "") as ApiEvent).data.path
  );
  assert.deepEqual([...new Set(paths)], ["/tmp/while-away"], "what came meanwhile, nothing before");
});

Deno.test("a client that never reads is cut off and counted, and others notice nothing", async () => {
  const machine = await guest();
  const port = portOf(machine);
  // Enough that no buffer between here and there can hold it.
  await machine.shell("echo on > /proc/sys/kernel/printk_devkmsg");
  const line = "x".repeat(900);
  const flood = `i=0; while [ $i -lt 2500 ]; do echo ${line} > /dev/kmsg; i=$((i+1)); done`;
  const since = await head(machine);
  await machine.exec(["/bin/sh", "-c", flood], { timeout_ms: 120_000 });
  await using other = await Feed.open(machine, { type: "file.*" });

  const deaf: Deno.TcpConn[] = [];
  // Several, each with all of it again: the host alone may keep some megabytes for one.
  for (let i = 0; i < 3; i++) {
    const connection = await Deno.connect({ hostname: "127.0.0.1", port });
    await connection.write(new TextEncoder().encode([
      `GET /api/v1/stream?after=${since} HTTP/1.1`,
      `Host: localhost:${port}`,
      `Authorization: Bearer ${machine.token}`,
      "Connection: Upgrade",
      "Upgrade: websocket",
      "Sec-WebSocket-Version: 13",
      `Sec-WebSocket-Key: ${btoa("0123456789abcdef")}`,
      "",
      "",
    ].join("\r\n")));
    deaf.push(connection);
  }
  let over = false;
  const flooding = (async () => {
    while (!over) await machine.exec(["/bin/sh", "-c", flood], { timeout_ms: 120_000 });
  })();
  const dropped = await eventSince(machine, since, "http.client_dropped", () => true, 120_000)
    .finally(() => over = true);
  await flooding;
  assert.match(String(dropped.data.client), /^websocket \d+ \(token:launch\)$/);
  assert.match(String(dropped.data.reason), /read nothing/);
  assert.ok(Number(dropped.data.lost) > 0);
  for (const connection of deaf) connection.close();
  await makeEvents(machine, 1);
  await other.event("file.modified");
  assert.deepEqual(other.gaps, []);
});

Deno.test("a header of 10 MB is refused, and the server lives", async () => {
  const machine = await guest();
  const port = portOf(machine);
  const before = await machine.json<{ boot: { id: string } }>("/api/v1/status");
  const big = "a".repeat(10 << 20);
  for (
    const request of [
      `GET /healthz HTTP/1.1\r\nHost: localhost:${port}\r\nX-Big: ${big}\r\n\r\n`,
      `GET /${big} HTTP/1.1\r\nHost: localhost:${port}\r\n\r\n`,
    ]
  ) {
    const answer = await rawExchange(port, request, 60_000);
    assert.ok(answer.closed, "the connection was ended");
    assert.ok(answer.status === null || answer.status >= 400, `${answer.status}`);
  }
  const many = "X-A: b\r\n".repeat(100_000);
  const answer = await rawExchange(
    port,
    `GET /healthz HTTP/1.1\r\nHost: localhost:${port}\r\n${many}\r\n`,
    60_000,
  );
  assert.ok(answer.status === null || answer.status >= 400, `${answer.status}`);
  const after = await machine.json<{ boot: { id: string } }>("/api/v1/status");
  assert.equal(after.boot.id, before.boot.id);
});

Deno.test("1,000 half-open connections are reaped within 15 s and counted; requests still work", async () => {
  const machine = await guest();
  const since = await head(machine);
  const count = 1000;
  // From inside: QEMU's own network takes seconds to open so many from the host.
  const opening = machine.exec(["/bin/deno", "run", "-A", "--no-prompt", "-"], {
    stdin: halfOpen(count),
    env: { DENO_DIR: "/tmp/deno", NO_COLOR: "1" },
    timeout_ms: 120_000,
  });
  let over = false;
  let answers = 0;
  const asking = (async () => {
    while (!over) {
      assert.deepEqual(await (await machine.api("/healthz")).json(), { status: "alive" });
      answers++;
      await sleep(200);
    }
  })();
  const { stdout, stderr, code } = await opening.finally(() => over = true);
  await asking;
  assert.equal(code, 0, stderr);
  assert.ok(answers > 10, `${answers} answers meanwhile`);
  const lives = JSON.parse(stdout) as { opened: number; closed: number }[];
  assert.equal(lives.length, count);
  const lengths = lives.map(({ opened, closed }) => closed - opened).sort((a, b) => a - b);
  const [shortest = 0, longest = 0] = [lengths[0], lengths.at(-1)];
  assert.ok(shortest > 3000, `one was refused after ${shortest} ms: others were given time`);
  assert.ok(longest < 15_000, `one stood for ${longest} ms`);
  const lastOpened = Math.max(...lives.map(({ opened }) => opened));
  const together = lives.filter(({ closed }) => closed > lastOpened).length;
  assert.ok(together > count / 4, `${together} at once`);
  let reaped = 0;
  await eventSince(machine, since, "http.reaped", ({ data }) => {
    reaped += Number(data.count);
    return reaped >= count;
  });
  const connections = await machine.shell("grep -c ':0050 .* 01 ' /proc/net/tcp || true");
  assert.ok(Number(connections) < 20, `${connections} connections left`);
});

Deno.test("malformed requests and frames are refused one by one, and the server lives", async () => {
  const machine = await guest();
  const port = portOf(machine);
  const requests = malformedRequests(port, machine.token);
  const frames = malformedFrames();
  assert.ok(requests.length + frames.length >= 50);
  const silent: string[] = [];
  const run = async ({ name, bytes }: { name: string; bytes: Uint8Array | string }) => {
    const answer = await rawExchange(port, bytes, 4000);
    if (answer.status !== null && answer.status < 400) silent.push(`${name}: ${answer.status}`);
  };
  await hostile(requests, run);
  assert.deepEqual(silent, []);

  const handshake = [
    "GET /api/v1/stream?type=file.* HTTP/1.1",
    `Host: localhost:${port}`,
    `Authorization: Bearer ${machine.token}`,
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    `Sec-WebSocket-Key: ${btoa("0123456789abcdef")}`,
    "",
    "",
  ].join("\r\n");
  const open: string[] = [];
  await hostile(frames, async ({ name, bytes, ends }) => {
    const prefix = new TextEncoder().encode(handshake);
    const data = new Uint8Array(prefix.length + bytes.length);
    data.set(prefix);
    data.set(bytes, prefix.length);
    // Where the end is the claim it is waited for; where none is, a while shows it.
    const answer = await rawExchange(port, data, ends ? 30_000 : 4000);
    assert.equal(answer.status, 101, name);
    if (ends && !answer.closed) open.push(name);
  });
  assert.deepEqual(open, [], "each ended its own stream");
  assert.deepEqual(await (await machine.api("/healthz")).json(), { status: "alive" });
  await eventually("all streams to be gone", async () => {
    const { clients } = await machine.json<{ clients: { streams: number } }>("/api/v1/status");
    return clients.streams === 0;
  }, 60_000);
  const { items } = await history(machine, "system.fault,http.failed");
  assert.deepEqual(items, []);
});

endsWithoutFault("stream", guest);
