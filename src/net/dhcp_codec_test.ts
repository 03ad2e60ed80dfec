import assert from "node:assert/strict";
import fc from "fast-check";
import {
  addressBytes,
  decodeDhcp,
  type DhcpMessage,
  encodeDhcp,
  MessageType,
  Option,
  readReply,
} from "./dhcp_codec.ts";
import { answer } from "./fakes.ts";
import { formatIpv4 } from "./ip.ts";

const address = fc.integer({ min: 0, max: 0xffff_ffff }).map(formatIpv4);
const messages: fc.Arbitrary<DhcpMessage> = fc.record({
  op: fc.constantFrom("request", "reply"),
  xid: fc.integer({ min: 0, max: 0xffff_ffff }),
  secs: fc.integer({ min: 0, max: 0xffff }),
  broadcast: fc.boolean(),
  ciaddr: address,
  yiaddr: address,
  siaddr: address,
  giaddr: address,
  chaddr: fc.uint8Array({ minLength: 6, maxLength: 6 }),
  options: fc.array(
    fc.tuple(
      fc.integer({ min: 1, max: 254 }).filter((code) => code !== Option.overload),
      fc.uint8Array({ maxLength: 700 }),
    ),
    { maxLength: 8 },
  ).map((entries) => new Map(entries)),
}, { noNullPrototype: true });

function decoded(bytes: Uint8Array): DhcpMessage {
  const result = decodeDhcp(bytes);
  if (!result.ok) throw new Error(result.reason);
  return result.message;
}

/** A datagram with these bytes as its options, and others as file and sname. */
function datagram(
  options: readonly number[],
  file: readonly number[] = [],
  sname: readonly number[] = [],
): Uint8Array {
  const bytes = new Uint8Array(240 + options.length);
  bytes.set([2, 1, 6]);
  bytes.set(sname, 44);
  bytes.set(file, 108);
  bytes.set([0x63, 0x82, 0x53, 0x63], 236);
  bytes.set(options, 240);
  return bytes;
}

const request = decoded(datagram([255]));

Deno.test("decodeDhcp() undoes encodeDhcp(), long options included", () => {
  fc.assert(fc.property(messages, (message) => {
    const bytes = encodeDhcp(message);
    assert.ok(bytes.length >= 300, "BOOTP's minimum");
    assert.deepEqual(decoded(bytes), message);
  }));
});

Deno.test("decodeDhcp() never throws, and what it accepts it encodes again alike", () => {
  const noise = fc.oneof(
    fc.uint8Array({ maxLength: 600 }),
    fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 400 }).map((options) =>
      datagram(options)
    ),
    // A valid message with some bytes overwritten, cut anywhere.
    fc.tuple(
      messages,
      fc.array(fc.tuple(fc.nat(1000), fc.integer({ min: 0, max: 255 })), { maxLength: 12 }),
      fc.nat(2000),
    ).map(([message, changes, length]) => {
      const bytes = encodeDhcp(message);
      for (const [at, value] of changes) bytes[at % bytes.length] = value;
      return bytes.slice(0, length);
    }),
  );
  fc.assert(
    fc.property(noise, (bytes) => {
      readReply(bytes);
      const first = decodeDhcp(bytes);
      if (first.ok) assert.deepEqual(decoded(encodeDhcp(first.message)), first.message);
    }),
    { numRuns: 2000 },
  );
});

Deno.test("decodeDhcp() copies what it keeps", () => {
  const bytes = datagram([56, 2, 104, 105, 255]);
  const message = decoded(bytes);
  bytes.fill(0);
  assert.deepEqual(message.options.get(56), new Uint8Array([104, 105]));
});

Deno.test("decodeDhcp() skips pads and stops at end", () => {
  const { options } = decoded(datagram([0, 0, 53, 1, 2, 0, 255, 1, 99, 99]));
  assert.deepEqual([...options], [[53, new Uint8Array([2])]]);
});

Deno.test("decodeDhcp() accepts a field that ends without an end", () => {
  assert.deepEqual([...decoded(datagram([53, 1, 2])).options.keys()], [53]);
});

Deno.test("decodeDhcp() refuses lengths that run past their field", () => {
  for (
    const bytes of [
      datagram([53, 2, 1]),
      datagram([53]),
      datagram([6, 255, ...new Array<number>(254).fill(1)]),
      // 128 bytes of file: an option of 127 has no room after its two bytes of header.
      datagram([52, 1, 1, 255], [6, 127]),
      datagram([52, 1, 2, 255], [], [6, 63]),
    ]
  ) {
    const result = decodeDhcp(bytes);
    assert.equal(result.ok, false);
    assert.match(result.ok ? "" : result.reason, /runs past its field/);
  }
});

Deno.test("decodeDhcp() reads overloaded file and sname, in that order", () => {
  const { options } = decoded(
    datagram([56, 1, 65, 52, 1, 3, 255], [56, 1, 66, 255], [56, 1, 67, 3, 4, 10, 0, 2, 2]),
  );
  assert.deepEqual(options.get(56), new Uint8Array([65, 66, 67]));
  assert.deepEqual(options.get(3), new Uint8Array([10, 0, 2, 2]));
  assert.equal(options.has(52), false);
  // Not overloaded: file holds a name, whatever it looks like.
  assert.equal(decoded(datagram([255], [56, 1, 66, 255])).options.size, 0);
});

Deno.test("decodeDhcp() refuses impossible overloads", () => {
  for (const option of [[52, 1, 0], [52, 1, 4], [52, 2, 1, 1], [52, 0], [52, 1, 1, 52, 1, 1]]) {
    const result = decodeDhcp(datagram([...option, 255]));
    assert.match(result.ok ? "" : result.reason, /overload/);
  }
});

Deno.test("decodeDhcp() refuses what is not DHCP over Ethernet", () => {
  const short = decodeDhcp(new Uint8Array(239));
  assert.match(short.ok ? "" : short.reason, /239 bytes are too few/);
  for (
    const [at, value, reason] of [
      [0, 3, /op 3/],
      [1, 6, /not Ethernet/],
      [2, 16, /not Ethernet/],
      [236, 0, /magic cookie/],
    ] as const
  ) {
    const bytes = datagram([53, 1, 2, 255]);
    bytes[at] = value;
    const result = decodeDhcp(bytes);
    assert.match(result.ok ? "" : result.reason, reason);
  }
});

Deno.test("encodeDhcp() refuses options no message carries", () => {
  for (const code of [0, 52, 255]) {
    const options = new Map([[code, new Uint8Array(1)]]);
    assert.throws(() => encodeDhcp({ ...request, options }), RangeError);
  }
  assert.throws(() => encodeDhcp({ ...request, chaddr: new Uint8Array(5) }), RangeError);
  assert.throws(() => encodeDhcp({ ...request, ciaddr: "10.0.0.256" }), RangeError);
});

Deno.test("readReply() reads what a client needs", () => {
  const read = readReply(answer(request, {
    type: "ack",
    routers: ["10.0.2.2", "10.0.2.4"],
    dns: ["10.0.2.3"],
    t1S: 100,
    t2S: 200,
    leaseS: 300,
    text: "hi\x1b[2J",
  }));
  assert.ok(read.ok);
  const { chaddr, ...rest } = read.reply;
  assert.deepEqual(chaddr, new Uint8Array(6));
  assert.deepEqual(rest, {
    type: "ack",
    xid: 0,
    yiaddr: "10.0.2.15",
    server: "10.0.2.2",
    netmask: "255.255.255.0",
    routers: ["10.0.2.2", "10.0.2.4"],
    dns: ["10.0.2.3"],
    leaseS: 300,
    t1S: 100,
    t2S: 200,
    text: "hi?[2J",
  });
});

Deno.test("readReply() refuses options of impossible lengths", () => {
  const type = [53, 1, MessageType.offer];
  for (
    const option of [
      [51, 3, 0, 0, 1],
      [51, 0],
      [54, 5, 10, 0, 2, 2, 9],
      [1, 2, 255, 255],
      [3, 0],
      [6, 6, 1, 1, 1, 1, 2, 2],
      // Sent twice, a value of fixed length becomes one of twice the length (RFC 3396).
      [53, 1, MessageType.ack],
    ]
  ) {
    const read = readReply(datagram([...type, ...option, 255]));
    assert.match(read.ok ? "" : read.reason, /^option \d+ of \d+ bytes$/, option.join(" "));
  }
});

Deno.test("readReply() refuses a client's message and a missing type", () => {
  const fromClient = readReply(encodeDhcp({ ...request, op: "request" }));
  assert.match(fromClient.ok ? "" : fromClient.reason, /client's message/);
  const untyped = readReply(datagram([54, 4, ...addressBytes("10.0.2.2"), 255]));
  assert.match(untyped.ok ? "" : untyped.reason, /not an offer, ack or nak/);
});
