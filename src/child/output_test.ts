/** One stream, read to its end or to where its reader lets go of it. */
import assert from "node:assert/strict";
import { settle } from "./fake_timers.ts";
import { Output } from "./output.ts";
import { rig } from "./testing.ts";

function outputOf(stream: ReadableStream<Uint8Array>) {
  const { timers, report, reports } = rig();
  const told: string[] = [];
  const output = new Output(stream, {
    timers,
    report,
    onChunk: (chunk) => void told.push(`${chunk.length} bytes`),
    onEnd: () => told.push("end"),
  });
  return { output, told, reports };
}

const streamOf = (start: (controller: ReadableStreamDefaultController<Uint8Array>) => void) =>
  new ReadableStream<Uint8Array>({ start });

Deno.test("Output tells of the end of a stream once, be it cancelled after it or not", async () => {
  const { output, told, reports } = outputOf(streamOf((controller) => {
    controller.enqueue(new Uint8Array(3));
    controller.close();
  }));
  await output.done;
  output.cancel();
  await settle();
  assert.deepEqual(told, ["3 bytes", "end"]);
  assert.deepEqual(reports, []);
});

Deno.test("Output.cancel() ends what another process holds open: what was counted is told", async () => {
  const { output, told, reports } = outputOf(streamOf((controller) => {
    controller.enqueue(new Uint8Array(3));
  }));
  await settle();
  output.cancel();
  assert.deepEqual(told, ["3 bytes", "end"]);
  output.cancel();
  await output.done;
  assert.deepEqual(told, ["3 bytes", "end"]);
  assert.deepEqual(reports, []);
});

Deno.test("Output reports a stream that breaks, and ends it", async () => {
  const { output, told, reports } = outputOf(streamOf((controller) => {
    controller.error(new Error("EIO"));
  }));
  await output.done;
  assert.deepEqual(told, ["end"]);
  assert.deepEqual(reports, ["read child output: EIO"]);
});
