/** Process events, on bytes a 6.18 kernel sent and on hostile ones. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { holds, hostileBytes } from "../../tests/kernel/harness.ts";
import {
  type ConnectorMessage,
  decodeConnector,
  decodeWaitStatus,
  encodeListen,
  SequenceGaps,
} from "./connector.ts";
import { Reader, Writer } from "./layout.ts";

const CN = "01000000 01000000";
const decode = (hex: string) => decodeConnector(Uint8Array.fromHex(hex.replaceAll(" ", "")));

Deno.test("decodeConnector() reads a fork", () => {
  assert.deepEqual(
    decode(
      `${CN} 01000000 00000000 28000000 01000000 01000000 128f326c1d020000` +
        "20200000 20200000 27200000 27200000 00000000 00000000",
    ),
    {
      cpu: 1,
      seq: 1,
      event: {
        kind: "fork",
        cpu: 1,
        monotonicUs: 2325392559,
        pid: 0x2027,
        tgid: 0x2027,
        parentPid: 0x2020,
        parentTgid: 0x2020,
      },
    },
  );
});

Deno.test("decodeConnector() reads an exec and the exit of a killed process", () => {
  const exec = decode(
    `${CN} 00000000 00000000 28000000 02000000 00000000 026a376c1d020000` +
      "27200000 27200000 00000000 00000000 00000000 00000000",
  );
  assert.deepEqual([(exec?.event as { kind: string }).kind, exec?.cpu, exec?.seq], ["exec", 0, 0]);
  const exit = decode(
    `${CN} 01000000 00000000 28000000 00000080 00000000 500b466c1d020000` +
      "27200000 27200000 09000000 11000000 20200000 20200000",
  );
  assert.deepEqual(exit?.event, {
    kind: "exit",
    cpu: 0,
    monotonicUs: 2325393836,
    pid: 0x2027,
    tgid: 0x2027,
    status: { signal: "SIGKILL", core: false },
    parentPid: 0x2020,
    parentTgid: 0x2020,
  });
});

Deno.test("decodeConnector() tells the answer to a subscription from an event", () => {
  const answer = decode(
    `${CN} 00000000 01000000 28000000 00000000 01000000 cd746e6a1d020000` + "00".repeat(24),
  );
  assert.equal(answer?.event, "answer");
});

Deno.test("decodeConnector() reads the other kinds", () => {
  const event = (what: number, ...words: number[]) => {
    const body = new Writer().u32(what).u32(0).u64(5000);
    for (const word of [7, 7, ...words]) body.u32(word);
    const bytes = body.zero(64 - body.length).finish();
    const message = new Writer().u32(1).u32(1).u32(9).u32(0).u16(bytes.byteLength).u16(0);
    return decodeConnector(message.bytes(bytes).finish())?.event;
  };
  const stamp = { cpu: 0, monotonicUs: 5, pid: 7, tgid: 7 };
  assert.deepEqual(event(0x4, 0, 1000), { kind: "uid", ...stamp, real: 0, effective: 1000 });
  assert.deepEqual(event(0x40, 5, 6), { kind: "gid", ...stamp, real: 5, effective: 6 });
  assert.deepEqual(event(0x80), { kind: "sid", ...stamp });
  assert.deepEqual(event(0x100, 3, 3), { kind: "ptrace", ...stamp, tracerPid: 3, tracerTgid: 3 });
  assert.deepEqual(event(0x200, 0x6c6c6568, 0x6f), { kind: "comm", ...stamp, comm: "hello" });
  assert.deepEqual(event(0x40000000, 2, 2), {
    kind: "coredump",
    ...stamp,
    parentPid: 2,
    parentTgid: 2,
  });
  assert.equal(event(0x20), "other");
});

Deno.test("decodeWaitStatus() tells code, signal and core", () => {
  assert.deepEqual(decodeWaitStatus(0x0700), { code: 7 });
  assert.deepEqual(decodeWaitStatus(9), { signal: "SIGKILL", core: false });
  assert.deepEqual(decodeWaitStatus(0x8b), { signal: "SIGSEGV", core: true });
});

/** The kernel's layout of a fork or exit, enough to encode what was decoded. */
function encode(message: ConnectorMessage, what: number): Uint8Array {
  const event = message.event as unknown as Record<string, number>;
  const body = new Writer().u32(what).u32(message.cpu).u64((event.monotonicUs ?? 0) * 1000);
  body.u32(event.parentPid ?? 0).u32(event.parentTgid ?? 0).u32(event.pid ?? 0).u32(
    event.tgid ?? 0,
  );
  const bytes = body.finish();
  return new Writer().u32(1).u32(1).u32(message.seq).u32(0).u16(bytes.byteLength).u16(0)
    .bytes(bytes).finish();
}

Deno.test("decodeConnector() decode → encode → decode is stable", () => {
  const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
  holds(fc.property(u32, u32, fc.array(u32, { minLength: 6, maxLength: 6 }), (seq, cpu, words) => {
    const body = new Writer().u32(1).u32(cpu);
    for (const word of words) body.u32(word);
    const bytes = new Writer().u32(1).u32(1).u32(seq).u32(0).u16(body.length).u16(0)
      .bytes(body.finish()).finish();
    const decoded = decodeConnector(bytes);
    // Past 2^53 ns (104 days up) a number rounds to 2 ns: right to the µs, not bit for bit.
    if (decoded === null || (words[1] ?? 0) > 0x001f_ffff) return;
    assert.deepEqual(decodeConnector(encode(decoded, 1)), decoded);
  }));
});

Deno.test("decodeConnector() refuses short and foreign messages, and never throws", () => {
  assert.equal(decode(`${CN} 00000000 00000000 ffff0000`), null, "claims more than there is");
  assert.equal(decode(`${CN} 00000000 00000000 10000000 02000000 00000000` + "00".repeat(8)), null);
  assert.equal(decode("02000000 01000000 00000000 00000000 28000000" + "00".repeat(40)), null);
  holds(
    fc.property(hostileBytes(80), fc.boolean(), (bytes, headed) => {
      const head = Uint8Array.fromHex(CN.replaceAll(" ", ""));
      decodeConnector(headed ? new Uint8Array([...head, ...bytes]) : bytes);
    }),
    2000,
  );
});

Deno.test("encodeListen() is the 40 bytes of the kernel's header", () => {
  const bytes = encodeListen(true);
  const reader = new Reader(bytes);
  assert.deepEqual([bytes.byteLength, reader.u32(), reader.u16()], [40, 40, 3]);
  assert.equal(new DataView(bytes.buffer).getUint32(36, true), 1);
  assert.equal(new DataView(encodeListen(false).buffer).getUint32(36, true), 2);
});

Deno.test("SequenceGaps.skipped() counts per CPU, over the wrap and past a restart", () => {
  const gaps = new SequenceGaps();
  const told = [[0, 5], [0, 6], [1, 900], [0, 9], [1, 901], [0, 10]].map(([cpu = 0, seq = 0]) =>
    gaps.skipped(cpu, seq)
  );
  assert.deepEqual(told, [0, 0, 0, 2, 0, 0]);
  gaps.skipped(2, 0xffff_ffff);
  assert.equal(gaps.skipped(2, 0), 0);
  assert.equal(gaps.skipped(2, 3), 2);
  assert.equal(gaps.skipped(0, 2), 0, "the count began again");
});

Deno.test("SequenceGaps.skipped() adds up: told + lost = sent", () => {
  holds(
    fc.property(fc.array(fc.boolean(), { minLength: 1 }), fc.nat(0xffff_ffff), (kept, start) => {
      const gaps = new SequenceGaps();
      let told = 0;
      let lost = 0;
      kept.forEach((keep, index) => {
        if (!keep && index !== 0) return;
        lost += gaps.skipped(0, (start + index) >>> 0);
        told++;
      });
      const last = Math.max(0, kept.lastIndexOf(true));
      assert.equal(told + lost, last + 1);
    }),
  );
});
