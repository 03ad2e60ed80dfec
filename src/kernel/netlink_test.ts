/** The netlink codec and socket. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, hostileBytes } from "../../tests/kernel/harness.ts";
import { Errno, type ErrnoName } from "./errno.ts";
import { Writer } from "./layout.ts";
import {
  decodeAck,
  decodeAttributes,
  decodeMessages,
  encodeMessage,
  type NetlinkMessage,
  NetlinkSocket,
  NLM_F,
  NLMSG,
  putAttribute,
  putNested,
} from "./netlink.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });
const u16 = fc.integer({ min: 0, max: 0xffff });
const message: fc.Arbitrary<NetlinkMessage> = fc.record({
  type: u16,
  flags: u16,
  seq: u32,
  pid: u32,
  payload: fc.uint8Array({ maxLength: 40 }),
});

function join(parts: Uint8Array[]): Uint8Array {
  const writer = new Writer();
  for (const part of parts) writer.bytes(part);
  return writer.finish();
}

Deno.test("decodeMessages() reads the kernel's bytes", () => {
  // An acknowledgement as the kernel sends it: 36 bytes, NLMSG_ERROR with 0 and the request's head.
  const bytes = Uint8Array.fromHex(
    "2400000002000001" + "07000000d2040000" + "00000000" + "2000000010000500" + "0700000000000000",
  );
  const { messages, error } = decodeMessages(bytes);
  assert.equal(error, null);
  assert.equal(messages.length, 1);
  const [ack] = messages;
  assert.deepEqual([ack?.type, ack?.flags, ack?.seq, ack?.pid], [NLMSG.ERROR, 0x100, 7, 1234]);
  assert.deepEqual(ack && decodeAck(ack), { errno: 0, text: null });
});

Deno.test("decodeMessages() undoes encodeMessage() for many in one datagram", () => {
  holds(fc.property(fc.array(message, { maxLength: 6 }), (messages) => {
    const decoded = decodeMessages(join(messages.map(encodeMessage)));
    assert.equal(decoded.error, null);
    assert.deepEqual(
      decoded.messages.map((each) => ({ ...each, payload: [...each.payload] })),
      messages.map((each) => ({ ...each, payload: [...each.payload] })),
    );
  }));
});

Deno.test("decodeMessages() decode → encode → decode is stable on hostile bytes", () => {
  holds(
    fc.property(hostileBytes(), (bytes) => {
      const { messages, error } = decodeMessages(bytes);
      assert.ok(messages.length <= bytes.byteLength / 16);
      if (bytes.byteLength % 4 !== 0 && messages.length === 0) assert.notEqual(error, null);
      const again = decodeMessages(join(messages.map(encodeMessage)));
      assert.deepEqual(again, { messages, error: null });
    }),
    2000,
  );
});

Deno.test("decodeMessages() answers the good ones before a bad one", () => {
  const good = encodeMessage({ type: 1, flags: 0, seq: 1, pid: 0, payload: new Uint8Array(4) });
  for (const length of [0, 15, 17, 0xffff_ffff]) {
    const bad = new Writer().u32(length).zero(12).finish();
    const { messages, error } = decodeMessages(join([good, bad]));
    assert.equal(messages.length, 1, String(length));
    assert.match(error ?? "", /claims|need/);
  }
  assert.equal(decodeMessages(join([good, new Uint8Array(3)])).error, "need 4 bytes at 20 of 23");
});

Deno.test("decodeAttributes() undoes putAttribute() and drops flag bits", () => {
  const writer = new Writer();
  putAttribute(writer, 3, new Uint8Array([1, 2, 3, 4, 5]));
  putNested(writer, 9, (inner) => putAttribute(inner, 1, new Uint8Array([7])));
  putAttribute(writer, 3, new Uint8Array([6]));
  const { attributes, error } = decodeAttributes(writer.finish());
  assert.equal(error, null);
  assert.deepEqual([...attributes.keys()], [3, 9]);
  assert.deepEqual([...attributes.get(3) ?? []], [6], "the last of a repeated type");
  const inner = decodeAttributes(attributes.get(9) ?? new Uint8Array());
  assert.deepEqual([...inner.attributes.get(1) ?? []], [7]);
});

Deno.test("decodeAttributes() ends on hostile bytes", () => {
  holds(
    fc.property(hostileBytes(), (bytes) => {
      const { attributes } = decodeAttributes(bytes);
      for (const value of attributes.values()) assert.ok(value.byteLength <= bytes.byteLength - 4);
    }),
    2000,
  );
  const zero = decodeAttributes(new Uint8Array(8));
  assert.deepEqual([zero.attributes.size, zero.error], [0, "attribute at 0 claims 0 bytes"]);
});

Deno.test("decodeAck() reads the kernel's words past a capped or whole request", () => {
  const words = new Writer();
  putAttribute(words, 1, new TextEncoder().encode("Device not up\0"));
  const head = (capped: boolean) => {
    const writer = new Writer().i32(-Errno.ENETDOWN).u32(28).zero(12);
    return (capped ? writer : writer.zero(12)).bytes(words.finish()).finish();
  };
  const ack = (flags: number, payload: Uint8Array) =>
    decodeAck({ type: NLMSG.ERROR, flags, seq: 0, pid: 0, payload });
  const told = { errno: Errno.ENETDOWN, text: "Device not up" };
  assert.deepEqual(ack(NLM_F.CAPPED | NLM_F.ACK_TLVS, head(true)), told);
  assert.deepEqual(ack(NLM_F.ACK_TLVS, head(false)), told);
  assert.deepEqual(ack(0, head(false)), { errno: Errno.ENETDOWN, text: null });
  assert.equal(ack(0, new Uint8Array(19)), null);
  holds(fc.property(u16, hostileBytes(), (flags, payload) => {
    ack(flags, payload);
  }));
});

/** One scripted answer of recvfrom. */
type Received = ErrnoName | { from: number; bytes: number[] } | { from: number; length: number };

function fakeSocket(received: Received[], refuse: string[] = []) {
  const log: string[] = [];
  let errno = 0;
  const fail = (name: ErrnoName) => {
    errno = Errno[name as keyof typeof Errno];
    return -1;
  };
  const step = (name: string) => {
    log.push(name);
    return refuse.includes(name) ? fail("EPERM") : 0;
  };
  const libc = fakeLibc({
    socket: () => step("socket") < 0 ? -1 : 9,
    bind: () => step("bind"),
    getsockname: (_fd, address) => {
      new DataView((address as Uint8Array<ArrayBuffer>).buffer).setUint32(4, 4242, true);
      return 0;
    },
    setsockopt: (_fd, level, option) => step(`setsockopt ${level} ${option}`),
    getsockopt: (_fd, _level, _option, value) => {
      new DataView((value as Uint8Array<ArrayBuffer>).buffer).setUint32(0, 425_984, true);
      return 0;
    },
    sendto: () => step("sendto"),
    recvfrom: (_fd, buffer, _size, _flags, from) => {
      const next = received.shift() ?? "EAGAIN";
      if (typeof next === "string") return fail(next);
      new DataView((from as Uint8Array<ArrayBuffer>).buffer).setUint32(4, next.from, true);
      if ("length" in next) return next.length;
      (buffer as Uint8Array<ArrayBuffer>).set(next.bytes);
      return next.bytes.length;
    },
    close: () => step("close"),
  }, () => errno);
  return { libc, log };
}

function drainAll(socket: NetlinkSocket, limit?: number) {
  const seen: (string | number[])[] = [];
  const answer = socket.drain({
    onDatagram: (datagram) => seen.push([...datagram]),
    onOverflow: () => seen.push("overflow"),
  }, limit);
  return { seen, answer };
}

Deno.test("NetlinkSocket.drain() takes the kernel's datagrams only", () => {
  const { libc } = fakeSocket([
    { from: 0, bytes: [1] },
    { from: 777, bytes: [2] },
    "EINTR",
    { from: 0, bytes: [3] },
  ]);
  const socket = new NetlinkSocket(libc, { protocol: 0 });
  assert.deepEqual(drainAll(socket), { seen: [[1], [3]], answer: undefined });
  assert.deepEqual([socket.foreign, socket.portId], [1, 4242]);
});

Deno.test("NetlinkSocket.drain() tells of an overflow and reads on", () => {
  const { libc } = fakeSocket(["ENOBUFS", { from: 0, bytes: [1] }, { from: 0, length: 70_000 }]);
  const socket = new NetlinkSocket(libc, { protocol: 0 });
  assert.deepEqual(drainAll(socket).seen, ["overflow", [1], "overflow"]);
  assert.equal(socket.truncated, 1);
});

Deno.test("NetlinkSocket.drain() stops at its limit, a flood of foreign datagrams included", () => {
  const flood = Array.from({ length: 10 }, () => ({ from: 777, bytes: [1] }));
  const socket = new NetlinkSocket(fakeSocket(flood).libc, { protocol: 0 });
  assert.deepEqual(drainAll(socket, 4), { seen: [], answer: "more" });
  assert.equal(socket.foreign, 4);
});

Deno.test("NetlinkSocket.drain() throws what it cannot explain", () => {
  const socket = new NetlinkSocket(fakeSocket(["EBADF"]).libc, { protocol: 0 });
  assert.throws(() => drainAll(socket), { message: "recvfrom netlink: EBADF" });
});

Deno.test("NetlinkSocket falls back to SO_RCVBUF and says what it got", () => {
  const { libc, log } = fakeSocket([], ["setsockopt 1 33"]);
  const socket = new NetlinkSocket(libc, { protocol: 0 });
  assert.ok(log.includes("setsockopt 1 8"));
  assert.equal(socket.receiveBufferBytes, 425_984);
});

Deno.test("NetlinkSocket leaves nothing open when a step is refused", () => {
  for (const step of ["bind", "setsockopt 270 1"]) {
    const { libc, log } = fakeSocket([], [step]);
    assert.throws(() => new NetlinkSocket(libc, { protocol: 0, groups: [1] }), { code: "EPERM" });
    assert.equal(log.at(-1), "close", step);
  }
});

Deno.test("NetlinkSocket.send() after close() does not reach a reused descriptor", () => {
  const { libc, log } = fakeSocket([]);
  const socket = new NetlinkSocket(libc, { protocol: 0 });
  socket.close();
  socket.close();
  assert.throws(() => socket.send(new Uint8Array(16)), { code: "EBADF" });
  assert.ok(!log.includes("sendto"));
  assert.equal(log.filter((entry) => entry === "close").length, 1);
  assert.deepEqual(drainAll(socket), { seen: [], answer: undefined });
});
