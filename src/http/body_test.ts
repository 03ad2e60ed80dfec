import assert from "node:assert/strict";
import { BodyReader } from "./body.ts";

const limits = { bytes: 100, allBytes: 150, withinMs: 50 };

function post(body: BodyInit, headers: Record<string, string> = {}): Request {
  return new Request("http://localhost/", {
    method: "POST",
    headers: { "content-type": "application/json", ...headers },
    body,
  });
}

/** A body of which nothing more comes after `chunks`, and whether reading it was given up. */
function stuck(...chunks: string[]) {
  const state = { cancelled: false };
  const stream = new ReadableStream<Uint8Array>({
    start(controller) {
      for (const chunk of chunks) controller.enqueue(new TextEncoder().encode(chunk));
    },
    cancel() {
      state.cancelled = true;
    },
  });
  return { stream, state };
}

async function status(reader: BodyReader, request: Request): Promise<number> {
  const read = await reader.json(request);
  return "refusal" in read ? read.refusal.status : 200;
}

Deno.test("BodyReader.json() reads what fits and answers undefined for nothing", async () => {
  const reader = new BodyReader(limits);
  assert.deepEqual(await reader.json(post('{"a":1}')), { value: { a: 1 } });
  assert.deepEqual(await reader.json(post("")), { value: undefined });
  assert.equal(await status(reader, post(`"${"x".repeat(98)}"`)), 200);
});

Deno.test("BodyReader.json() reads the same however the body was cut", async () => {
  const reader = new BodyReader(limits);
  const text = `"${"é".repeat(40)}"`;
  for (let size = 1; size < 90; size += 11) {
    const bytes = new TextEncoder().encode(text);
    const stream = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) {
          controller.enqueue(bytes.slice(at, at + size));
        }
        controller.close();
      },
    });
    assert.deepEqual(await reader.json(post(stream)), { value: JSON.parse(text) });
  }
});

Deno.test("BodyReader.json() refuses more than it may hold, whatever Content-Length says", async () => {
  const reader = new BodyReader(limits);
  assert.equal(await status(reader, post("1", { "content-length": "101" })), 413);
  const { stream, state } = stuck(`"${"x".repeat(200)}`);
  assert.equal(await status(reader, post(stream, { "content-length": "5" })), 413);
  assert.equal(state.cancelled, true);
});

Deno.test("BodyReader.json() gives up a body that stops coming", async () => {
  const { stream, state } = stuck('{"a":');
  assert.equal(await status(new BodyReader(limits), post(stream)), 408);
  assert.equal(state.cancelled, true);
});

Deno.test("BodyReader.json() bounds what all bodies hold, and frees it again", async () => {
  const reader = new BodyReader(limits);
  const first = status(reader, post(stuck("x".repeat(90)).stream));
  await new Promise((resolve) => setTimeout(resolve, 10));
  assert.equal(await status(reader, post(`"${"y".repeat(90)}"`)), 503);
  assert.equal(await first, 408);
  assert.equal(await status(reader, post(`"${"y".repeat(90)}"`)), 200);
});

Deno.test("BodyReader.json() answers a body that breaks with 400", async () => {
  const stream = new ReadableStream({
    start: (controller) => controller.error(new TypeError("connection reset")),
  });
  assert.equal(await status(new BodyReader(limits), post(stream)), 400);
});
