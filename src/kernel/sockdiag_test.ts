/** The inet_diag codec, on bytes a 6.18 kernel sent and on hostile ones. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { holds, hostileBytes } from "../../tests/kernel/harness.ts";
import { Reader, Writer } from "./layout.ts";
import { decodeTcpSocket, encodeTcpDestroy, encodeTcpDump, type TcpSocket } from "./sockdiag.ts";

const LISTENER = Uint8Array.fromHex(
  "020a0000" + "07e80000" + "00".repeat(32) + "00000000" + "0100000000000000" + "00000000" +
    "00000000" + "80000000" + "00000000" + "f1050000" + "0500080000000000",
);

Deno.test("decodeTcpSocket() reads the kernel's bytes", () => {
  assert.deepEqual(decodeTcpSocket(LISTENER), {
    family: 4,
    state: "listen",
    localAddress: "0.0.0.0",
    localPort: 2024,
    remoteAddress: "0.0.0.0",
    remotePort: 0,
    index: 0,
    cookie: 1n,
    receiveQueue: 0,
    sendQueue: 128,
    uid: 0,
    inode: 1521,
    expiresMs: 0,
  });
});

Deno.test("decodeTcpSocket() refuses short, foreign and unknown", () => {
  const patched = (at: number, value: number) => {
    const bytes = LISTENER.slice();
    bytes[at] = value;
    return bytes;
  };
  assert.equal(decodeTcpSocket(LISTENER.subarray(0, 71)), null);
  assert.equal(decodeTcpSocket(patched(0, 1)), null, "AF_UNIX");
  assert.equal(decodeTcpSocket(patched(1, 0)), null, "no state 0");
  assert.equal(decodeTcpSocket(patched(1, 99)), null, "no state 99");
});

/** struct inet_diag_msg, as net/ipv4/inet_diag.c fills it. */
function encode(socket: TcpSocket): Uint8Array {
  const request = new Reader(encodeTcpDestroy(socket) ?? new Uint8Array()).skip(8);
  const states = [, "established", "syn-sent", "syn-recv", "fin-wait-1", "fin-wait-2", "time-wait"];
  states.push("close", "close-wait", "last-ack", "listen", "closing", "new-syn-recv");
  return new Writer(72)
    .u8(socket.family === 4 ? 2 : 10).u8(states.indexOf(socket.state)).u16(0)
    .bytes(request.bytes(48))
    .u32(socket.expiresMs).u32(socket.receiveQueue).u32(socket.sendQueue).u32(socket.uid)
    .u32(socket.inode).finish();
}

Deno.test("decodeTcpSocket() decode → encode → decode is stable on hostile bytes", () => {
  const seen = { decoded: 0 };
  const body = fc.oneof(hostileBytes(96), fc.uint8Array({ minLength: 70, maxLength: 96 }));
  holds(
    fc.property(body, fc.constantFrom(2, 10), fc.nat(14), (bytes, family, state) => {
      const patched = new Uint8Array([family, state, ...bytes]);
      const socket = decodeTcpSocket(patched);
      if (socket === null) return;
      seen.decoded++;
      assert.deepEqual(decodeTcpSocket(encode(socket)), socket);
    }),
    2000,
  );
  assert.ok(seen.decoded > 0);
});

Deno.test("encodeTcpDump() asks by state and port", () => {
  const bytes = encodeTcpDump(6, ["syn-recv", "listen"], 80);
  assert.equal(bytes.byteLength, 56);
  assert.equal(bytes.subarray(0, 10).toHex(), "0a060000" + "08040000" + "0050");
  assert.equal(bytes.subarray(48).toHex(), "f".repeat(16), "no cookie");
});

Deno.test("encodeTcpDestroy() refuses addresses of another family", () => {
  const socket = decodeTcpSocket(LISTENER);
  assert.ok(socket !== null);
  assert.equal(encodeTcpDestroy({ ...socket, remoteAddress: "::1" }), null);
  assert.equal(encodeTcpDestroy({ ...socket, localAddress: "x" }), null);
});
