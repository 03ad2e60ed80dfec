/** The mind's loop, fed by hand. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { loadZod, schema } from "../../bus/schema.ts";
import { fromMind, type ToMind } from "./frames.ts";
import { live } from "./mind.ts";
import { stateOfTest } from "./testing.ts";

await loadZod();

async function fed(...input: (ToMind | string | Uint8Array)[]) {
  const out: Uint8Array[] = [];
  const faults: string[] = [];
  await live({
    input: ReadableStream.from(
      input.map((item) =>
        item instanceof Uint8Array
          ? item
          : new TextEncoder().encode(typeof item === "string" ? item : `${JSON.stringify(item)}\n`)
      ),
    ),
    write: (bytes) => {
      out.push(bytes);
      return Promise.resolve();
    },
    fault: (line) => faults.push(line),
  });
  const text = new TextDecoder().decode(await new Blob(out as BlobPart[]).arrayBuffer());
  const check = await schema(fromMind);
  const frames = text.split("\n").slice(0, -1).map((line) => check.parse(JSON.parse(line)));
  return { frames, faults };
}

const hello: ToMind = { type: "hello", mind: "cortex", boot: "abcdef01" };

Deno.test("live() greets, listens, answers and pongs within the contract", async () => {
  const { frames, faults } = await fed(
    hello,
    { type: "ask", id: 1, message: "memory?" },
    { type: "state", state: stateOfTest() },
    { type: "ask", id: 2, message: "what is using the memory?" },
    { type: "ping", n: 9 },
    { type: "verdict", proposal: "p", verdict: "deny", reason: "no" },
  );
  assert.deepEqual(faults, []);
  assert.deepEqual(frames.map(({ type }) => type), ["ready", "answer", "answer", "pong"]);
  assert.deepEqual(frames[0], { type: "ready", mind: "cortex", version: "survival/1" });
  assert.match(frames[1]?.type === "answer" ? frames[1].reply : "", /not been told/);
  const second = frames[2];
  assert(second?.type === "answer");
  assert.deepEqual([second.id, second.intent], [2, "memory"]);
  assert.match(second.reply, /^128 MB of 512 MB/);
});

Deno.test("live() skips what is no frame and goes on", async () => {
  const { frames, faults } = await fed(
    hello,
    "{\n",
    "null\n[]\n7\n",
    '{"type":"ask","id":"x"}\n',
    '{"type":"state","state":null}\n',
    new Uint8Array([0xff, 0xfe, 10]),
    "x".repeat(70_000),
    "y\n",
    '{"type":"later","x":1}\n',
    { type: "ping", n: 1 },
    '{"type":"ping","n":2}',
  );
  assert.deepEqual(frames.map(({ type }) => type), ["ready", "pong"]);
  assert.equal(faults.length, 8);
});

Deno.test("live() never ends by what it reads", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(fc.oneof(fc.uint8Array({ maxLength: 200 }), fc.json().map((text) => `${text}\n`))),
      async (chunks) => {
        const { frames } = await fed(...chunks, "\n", { type: "ping", n: 5 });
        assert.equal(frames.at(-1)?.type, "pong");
      },
    ),
  );
});

Deno.test("live() ends quietly when the core is gone", async () => {
  const faults: string[] = [];
  await live({
    input: ReadableStream.from([new TextEncoder().encode(`${JSON.stringify(hello)}\n`)]),
    write: () => Promise.reject(new Error("EPIPE")),
    fault: (line) => faults.push(line),
  });
  assert.deepEqual(faults, ["mind: EPIPE"]);
});
