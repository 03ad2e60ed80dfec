import assert from "node:assert/strict";
import fc from "fast-check";
import { LineEditor } from "./line.ts";

class Bench {
  out = "";
  readonly lines: string[] = [];
  interrupts = 0;
  readonly editor: LineEditor;
  onLine = (_: string) => {};

  constructor(echo = true) {
    this.editor = new LineEditor({
      write: (text) => this.out += text,
      prompt: "> ",
      echo,
      onLine: (line) => {
        this.lines.push(line);
        this.onLine(line);
      },
      onInterrupt: () => this.interrupts++,
    });
  }

  type(text: string): this {
    this.editor.feed(new TextEncoder().encode(text));
    return this;
  }
}

Deno.test("LineEditor.feed() echoes what is typed and hands on lines", () => {
  const bench = new Bench().type("status\r");
  assert.deepEqual(bench.lines, ["status"]);
  assert.equal(bench.out, "status\r\n");
});

Deno.test("LineEditor.feed() takes CR, LF and CR LF as one end of line each", () => {
  assert.deepEqual(new Bench().type("a\rb\nc\r\nd\r").lines, ["a", "b", "c", "d"]);
  assert.deepEqual(new Bench().type("a\r").type("\nb\n").lines, ["a", "b"]);
  assert.deepEqual(new Bench().type("\n\n").lines, ["", ""]);
});

Deno.test("LineEditor.feed() rubs out whole characters", () => {
  assert.deepEqual(new Bench().type("ab\x7fc\bd\r").lines, ["ad"]);
  const wide = new Bench().type("aü😀\x7f");
  assert.equal(wide.out, "aü😀\r\x1b[K> aü");
  assert.deepEqual(wide.type("\x7f\x7f\x7f\x7fok\r").lines, ["ok"]);
  assert.equal(new Bench().type("a\x7f").out, "a\b \b");
});

Deno.test("LineEditor.feed() puts characters together that arrive in pieces", () => {
  const bench = new Bench();
  for (const byte of new TextEncoder().encode("é日😀\r")) bench.editor.feed(new Uint8Array([byte]));
  assert.deepEqual(bench.lines, ["é日😀"]);
});

Deno.test("LineEditor.feed() clears on ^U, gives up on ^C, ignores ^D and other controls", () => {
  const bench = new Bench().type("abc\x15de\x04\x00\x01\x1a\t\r");
  assert.deepEqual(bench.lines, ["de"]);
  bench.type("half\x03whole\r");
  assert.deepEqual([bench.lines.at(-1), bench.interrupts], ["whole", 1]);
});

Deno.test("LineEditor.feed() goes through history with the arrows and keeps the draft", () => {
  const up = "\x1b[A", down = "\x1bOB";
  const bench = new Bench().type("one\rtwo\rtwo\r\r");
  assert.deepEqual(bench.type(`draft${up}\r`).lines.at(-1), "two");
  assert.deepEqual(bench.type(`${up}${up}\r`).lines.at(-1), "one", "repeats are kept once");
  assert.deepEqual(
    bench.type(`${up}${up}${up}${up}${up}\r`).lines.at(-1),
    "one",
    "stops at the first",
  );
  assert.deepEqual(bench.type(`draft${up}${up}${down}${down}${down}!\r`).lines.at(-1), "draft!");
  assert.deepEqual(bench.type(`${up}${up}x\r`).lines.at(-1), "onex");
});

Deno.test("LineEditor.feed() swallows escape sequences it does not know", () => {
  assert.deepEqual(new Bench().type("a\x1b[C\x1b[3~\x1b[1;5D\x1bOP\x1bxb\r").lines, ["ab"]);
  assert.deepEqual(new Bench().type("a\x1b[\rb\x1b\rc\r").lines, ["a", "b", "c"]);
  const bench = new Bench().type("a\x1b[12\x03b\r");
  assert.deepEqual([bench.lines, bench.interrupts], [["b"], 1]);
});

Deno.test("LineEditor.feed() bounds a line in bytes and rings", () => {
  const bench = new Bench().type("ü".repeat(3000)).type("x\r");
  assert.equal(bench.lines[0], "ü".repeat(2048));
  assert.ok(bench.out.includes("\x07"));
});

Deno.test("LineEditor.feed() does not echo where the kernel does", () => {
  const bench = new Bench(false).type("status\n");
  assert.deepEqual([bench.lines, bench.out], [["status"], ""]);
});

Deno.test("LineEditor.pause() keeps what is typed for later, but for ^C", () => {
  const bench = new Bench();
  bench.onLine = (line) => line === "slow" && bench.editor.pause();
  bench.type("slow\rfast\r");
  assert.deepEqual(bench.lines, ["slow"]);
  bench.type("more\r");
  bench.editor.resume();
  assert.deepEqual(bench.lines, ["slow", "fast", "more"]);
  bench.type("slow\rdropped\r\x03kept\r");
  assert.equal(bench.interrupts, 1);
  bench.editor.resume();
  assert.deepEqual(bench.lines.slice(3), ["slow", "kept"]);
  bench.type("slow\r").type("x".repeat(10_000));
  bench.editor.resume();
  bench.type("\r");
  assert.equal(bench.lines.at(-1)!.length, 4096);
});

Deno.test("LineEditor.above() keeps the line being typed below", () => {
  const bench = new Bench().type("sta");
  bench.out = "";
  bench.editor.above("event\r\n");
  assert.equal(bench.out, "\r\x1b[Kevent\r\n> sta");
});

Deno.test("LineEditor.feed() survives noise, and no control sequence gets into a line", () => {
  fc.assert(fc.property(fc.array(fc.uint8Array({ maxLength: 64 })), (chunks) => {
    const bench = new Bench();
    for (const chunk of chunks) bench.editor.feed(chunk);
    bench.type("\r\r");
    for (const line of bench.lines) {
      // deno-lint-ignore no-control-regex
      assert.ok(!/[\x00-\x1f\x7f-\x9f]/.test(line));
    }
  }));
});

Deno.test("LineEditor.feed() agrees with a plain model of typing", () => {
  const key = fc.oneof(
    { weight: 8, arbitrary: fc.constantFrom("a", "b", " ", "ü", "😀") },
    { weight: 2, arbitrary: fc.constantFrom("\x7f", "\x15", "\r", "\x1b[C", "\x04") },
  );
  fc.assert(fc.property(fc.array(key), fc.array(fc.nat(7)), (keys, cuts) => {
    const wanted: string[] = [];
    let line: string[] = [];
    for (const one of keys) {
      if (one === "\x7f") line.pop();
      else if (one === "\x15") line = [];
      else if (one === "\r") wanted.push(line.join("")), line = [];
      else if (one.length === 1 && one >= " " || one === "😀") line.push(one);
    }
    const bench = new Bench();
    const bytes = new TextEncoder().encode(keys.join(""));
    for (let at = 0, turn = 0; at < bytes.length; turn++) {
      const length = (cuts[turn % Math.max(1, cuts.length)] ?? 3) + 1;
      bench.editor.feed(bytes.subarray(at, at + length));
      at += length;
    }
    assert.deepEqual(bench.lines, wanted);
  }));
});
