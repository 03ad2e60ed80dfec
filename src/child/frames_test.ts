/** The frame codec against good, broken and hostile input. */
import assert from "node:assert/strict";
import fc from "fast-check";
import {
  encodeFrame,
  type Frame,
  type FrameCheck,
  FrameDecoder,
  type FrameFault,
  maxFrameBytes,
} from "./frames.ts";

interface Note {
  type: "note";
  text: string;
}

const check: FrameCheck<Note> = (value) => {
  const note = value as Partial<Note> | null;
  return note?.type === "note" && typeof note.text === "string"
    ? { ok: true, frame: { type: "note", text: note.text } }
    : { ok: false, fault: "type: expected note" };
};

function decoder(options: { perSecond?: number; burst?: number; now?: () => number } = {}) {
  return new FrameDecoder<Note>({ check, perSecond: 1e6, burst: 1e6, now: () => 0, ...options });
}

const encode = (text: string) => new TextEncoder().encode(text);
const kinds = (frames: Frame<Note>[]) =>
  frames.map((frame) => frame.ok ? frame.frame.text : frame.fault.kind);

Deno.test("FrameDecoder.push() answers what was encoded, however it is cut up", () => {
  fc.assert(
    fc.property(
      fc.array(fc.string({ unit: "binary", maxLength: 50 }), { maxLength: 6 }),
      fc.integer({ min: 1, max: 100 }),
      (texts, step) => {
        const lines = texts.map((text) => encodeFrame({ type: "note", text }) as Uint8Array);
        const bytes = new Uint8Array(lines.reduce((sum, line) => sum + line.length, 0));
        let at = 0;
        for (const line of lines) {
          bytes.set(line, at);
          at += line.length;
        }
        const reading = decoder();
        const seen: string[] = [];
        for (let i = 0; i < bytes.length; i += step) {
          seen.push(...kinds(reading.push(bytes.subarray(i, i + step))));
        }
        // JSON carries a lone surrogate as an escape; bytes never do.
        assert.deepEqual(seen, texts);
        assert.deepEqual(reading.end(), []);
      },
    ),
  );
});

Deno.test("FrameDecoder.push() survives any bytes: never throws, one verdict a line", () => {
  const bytes = fc.oneof(
    fc.uint8Array({ maxLength: 300 }),
    fc.string({ unit: "binary", maxLength: 100 }).map(encode),
    fc.json().map(encode),
    fc.constantFrom("\n", "{", "}\n", '{"type":"note","text":"x"}\n', "null\n", "[".repeat(99)).map(
      encode,
    ),
  );
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 12 }), (chunks) => {
      const reading = decoder();
      let lines = 0;
      let verdicts = 0;
      for (const chunk of chunks) {
        lines += chunk.filter((byte) => byte === 10).length;
        verdicts += reading.push(chunk).length;
      }
      assert.equal(verdicts, lines);
      assert(reading.end().length <= 1);
    }),
    { numRuns: 300 },
  );
});

Deno.test("FrameDecoder.push() tells each kind of fault and goes on after it", () => {
  const reading = decoder();
  const hostile = new Uint8Array([...encode('{"type":"note","text":"'), 0xff, ...encode('"}\n')]);
  assert.deepEqual(kinds(reading.push(hostile)), ["not_utf8"]);
  assert.deepEqual(kinds(reading.push(encode("{\n"))), ["not_json"]);
  assert.deepEqual(kinds(reading.push(encode("\n"))), ["not_json"]);
  assert.deepEqual(kinds(reading.push(encode('null\n"a"\n7\n'))), [
    "refused",
    "refused",
    "refused",
  ]);
  assert.deepEqual(kinds(reading.push(encode('{"type":"other"}\n'))), ["refused"]);
  assert.deepEqual(kinds(reading.push(encode('{"type":"note","text":"on"}\nrest'))), ["on"]);
  assert.deepEqual(kinds(reading.end()), ["unfinished"]);
  assert.deepEqual(kinds(reading.push(encode('{"type":"note","text":"again"}\n'))), ["again"]);
});

Deno.test("FrameDecoder.push() takes a line at the limit and refuses one byte more", () => {
  const empty = JSON.stringify({ type: "note", text: "" }).length;
  const line = (length: number) =>
    encode(`${JSON.stringify({ type: "note", text: "x".repeat(length) })}\n`);
  const fits = maxFrameBytes - 1 - empty;
  const reading = decoder();
  assert.equal(reading.push(line(fits))[0]?.ok, true);
  assert.deepEqual(kinds(reading.push(line(fits + 1))), ["too_long"]);
  assert.equal(reading.push(line(1))[0]?.ok, true);
});

Deno.test("FrameDecoder.push() skips an endless line without keeping it", () => {
  const reading = decoder();
  const chunk = new Uint8Array(65_536).fill(120);
  for (let i = 0; i < 100; i++) assert.deepEqual(reading.push(chunk), []);
  const [frame] = reading.push(encode('\n{"type":"note","text":"x"}\n'));
  assert(frame !== undefined && !frame.ok);
  assert.equal(frame.fault.detail, `${100 * 65_536} bytes, at most ${maxFrameBytes - 1}`);
});

Deno.test("FrameDecoder.push() answers a flood with one fault that counts it", () => {
  let now = 0;
  const reading = decoder({ perSecond: 10, burst: 2, now: () => now });
  const note = '{"type":"note","text":"x"}\n';
  const frames = reading.push(encode(note.repeat(50)));
  assert.deepEqual(kinds(frames), ["x", "x", "too_fast"]);
  assert.match((frames[2] as { fault: FrameFault }).fault.detail, /^48 frames over 10 a second$/);
  now = 100;
  assert.deepEqual(kinds(reading.push(encode(note))), ["x"]);
});

Deno.test("FrameDecoder.push() counts a flood of short frames without looking at each", () => {
  let looks = 0;
  const reading = decoder({ perSecond: 10, burst: 2, now: () => (looks++, 0) });
  looks = 0;
  const note = '{"type":"note","text":"x"}';
  const frames = reading.push(encode(`${note}\n${"\n".repeat(60_000)}{"ty`));
  assert.deepEqual(kinds(frames), ["x", "not_json", "too_fast"]);
  assert.match((frames[2] as { fault: FrameFault }).fault.detail, /^59999 frames over/);
  assert.ok(looks <= 3, `the clock was read ${looks} times`);
  const [unfinished] = reading.end();
  assert.match((unfinished as { fault: FrameFault }).fault.detail, /^4 bytes/);
});

Deno.test("encodeFrame() refuses what the other side would", () => {
  const fault = encodeFrame({ type: "note", text: "x".repeat(70_000) });
  assert(!(fault instanceof Uint8Array));
  assert.equal(fault.kind, "too_long");
  assert.equal(encodeFrame({ a: 1 }, 8) instanceof Uint8Array, true);
});
