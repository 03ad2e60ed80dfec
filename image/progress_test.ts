import assert from "node:assert/strict";
import { Progress, type ProgressSink, withProgress } from "./progress.ts";

function sink(terminal: boolean): ProgressSink & { text: string } {
  return {
    terminal,
    text: "",
    write(text) {
      this.text += text;
    },
  };
}

Deno.test("Progress.update() redraws one line on a terminal", () => {
  const out = sink(true);
  const progress = new Progress("Building", out);
  progress.update(0.5);
  progress.done("made");
  assert.ok(out.text.includes(`\r\x1b[KBuilding ${"█".repeat(12)}${"░".repeat(12)} 50 %`));
  assert.ok(out.text.endsWith("\r\x1b[KBuilding: made (0.0 s)\n"));
});

Deno.test("Progress.update() writes a plain line per tenth elsewhere", () => {
  const out = sink(false);
  const progress = new Progress("Building", out);
  for (let i = 0; i <= 100; i++) progress.update(i / 100);
  progress.done();
  const lines = out.text.trim().split("\n");
  assert.equal(lines.length, 12);
  assert.ok(!out.text.includes("\r") && !out.text.includes("\x1b"));
});

Deno.test("withProgress() says that a task failed and throws its error", async () => {
  const out = sink(false);
  const failing = withProgress("Building", () => Promise.reject(new Error("no")), undefined, out);
  await assert.rejects(failing, /no/);
  assert.match(out.text, /\nBuilding: failed after 0\.0 s\n$/);
});
