/** The routing netlink codec, on bytes a 6.18 kernel sent and on hostile ones. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { FakeNetlink, holds, hostileBytes } from "../../tests/kernel/harness.ts";
import { Writer } from "./layout.ts";
import { decodeAttributes, encodeMessage, type NetlinkMessage, putAttribute } from "./netlink.ts";
import {
  addressBytes,
  addressText,
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  decodeRtMessage,
  encodeAddress,
  encodeDump,
  encodeLinkState,
  encodeRoute,
  macBytes,
  macText,
  RTM,
  Rtnl,
} from "./rtnetlink.ts";

const bytes = (hex: string) => Uint8Array.fromHex(hex.replaceAll(" ", ""));
const noBytes = new Uint8Array();

const LOOPBACK = bytes(
  "00000403 01000000 49000100 00000000" + "07000300 6c6f0000" + "08000d00 e8030000" +
    "05001000 00000000" + "08000400 00000100" + "0a000100 00000000 00000000" +
    "cc001700 1206000000000000 1306000000000000 cd40600000000000 ce40600000000000" +
    "0100000000000000 0200000000000000 0300000000000000 0400000000000000" + "00".repeat(136),
);

Deno.test("decodeLink() reads the kernel's bytes", () => {
  assert.deepEqual(decodeLink(LOOPBACK), {
    index: 1,
    name: "lo",
    hardware: 772,
    flags: 0x10049,
    up: true,
    carrier: true,
    loopback: true,
    state: "unknown",
    mtu: 65536,
    mac: "00:00:00:00:00:00",
    kind: null,
    stats: {
      rxPackets: 0x612,
      txPackets: 0x613,
      rxBytes: 0x6040cd,
      txBytes: 0x6040ce,
      rxErrors: 1,
      txErrors: 2,
      rxDropped: 3,
      txDropped: 4,
    },
  });
});

Deno.test("decodeLink() refuses what has no name, no index or a torn attribute", () => {
  assert.equal(decodeLink(LOOPBACK.subarray(0, 16)), null, "no name");
  assert.equal(decodeLink(LOOPBACK.subarray(0, 15)), null, "no header");
  assert.equal(decodeLink(LOOPBACK.subarray(0, 28)), null, "torn");
  const nameless = LOOPBACK.slice();
  nameless[4] = 0;
  assert.equal(decodeLink(nameless), null, "index 0");
});

Deno.test("decodeLink() survives statistics that are too short", () => {
  const writer = new Writer().bytes(LOOPBACK.subarray(0, 24));
  putAttribute(writer, 23, new Uint8Array(63));
  assert.equal(decodeLink(writer.finish())?.stats, null);
});

Deno.test("decodeAddress() reads the kernel's bytes", () => {
  const payload = bytes(
    "02188000 04000000 08000100 c0000202 08000200 c0000202 08000400 c00002ff" +
      "09000300 6574683000 000000 08000800 80000000 14000600 ffffffff ffffffff 17000000 17000000",
  );
  assert.deepEqual(decodeAddress(payload), {
    index: 4,
    family: 4,
    address: "192.0.2.2",
    prefix: 24,
    scope: "global",
    broadcast: "192.0.2.255",
    label: "eth0",
    permanent: true,
    validSeconds: null,
  });
  const [family, prefix] = [payload.slice(), payload.slice()];
  family[0] = 10;
  assert.equal(decodeAddress(family), null, "an IPv4 address of family IPv6");
  prefix[1] = 33;
  assert.equal(decodeAddress(prefix), null, "a prefix past the address");
});

Deno.test("decodeRoute() reads the kernel's bytes", () => {
  const defaultRoute = bytes(
    "02000000 fe030001 00000000 08000f00 fe000000 08000500 c0000201 08000400 04000000",
  );
  assert.deepEqual(decodeRoute(defaultRoute), {
    family: 4,
    destination: null,
    prefix: 0,
    gateway: "192.0.2.1",
    index: 4,
    source: null,
    metric: 0,
    table: 254,
    protocol: 3,
    scope: 0,
    type: 1,
  });
  const onLink = bytes(
    "02180000 fe02fd01 00000000 08000f00 fe000000 08000100 c0000200 08000700 c0000202" +
      "08000400 04000000",
  );
  const { destination, prefix, gateway, source } = decodeRoute(onLink) ?? {};
  assert.deepEqual([destination, prefix, gateway, source], ["192.0.2.0", 24, null, "192.0.2.2"]);
});

Deno.test("decodeNeighbour() reads the kernel's bytes", () => {
  const payload = bytes(
    "02000000 04000000 04000001 08000100 c0000201 0a000200 02fc00000005 0000",
  );
  assert.deepEqual(decodeNeighbour(payload), {
    index: 4,
    family: 4,
    address: "192.0.2.1",
    mac: "02:fc:00:00:00:05",
    state: "stale",
  });
});

const message = (type: number, payload: Uint8Array): NetlinkMessage => ({
  type,
  flags: 0,
  seq: 0,
  pid: 0,
  payload,
});

Deno.test("decodeRtMessage() tells malformed from other", () => {
  assert.equal(
    (decodeRtMessage(message(RTM.NEWLINK, LOOPBACK)) as { kind: string }).kind,
    "link.new",
  );
  assert.equal(
    (decodeRtMessage(message(RTM.DELLINK, LOOPBACK)) as { kind: string }).kind,
    "link.del",
  );
  assert.equal(decodeRtMessage(message(RTM.NEWLINK, noBytes)), "malformed");
  assert.equal(decodeRtMessage(message(RTM.NEWROUTE, noBytes)), "malformed");
  assert.equal(decodeRtMessage(message(RTM.NEWNEIGH, noBytes)), "malformed");
  assert.equal(decodeRtMessage(message(RTM.NEWROUTE, new Uint8Array(12).fill(128))), "other");
  assert.equal(decodeRtMessage(message(999, LOOPBACK)), "other");
});

Deno.test("decodeRtMessage() takes a port that leaves its bridge for no link that is gone", () => {
  const AF_BRIDGE = 7;
  const port = LOOPBACK.slice();
  port[0] = AF_BRIDGE;
  for (const type of [RTM.NEWLINK, RTM.DELLINK]) {
    assert.equal(decodeRtMessage({ type, flags: 0, seq: 0, pid: 0, payload: port }), "other");
  }
});

/** A subscription whose socket holds what the test puts in. */
function subscribed() {
  const netlink = new FakeNetlink();
  const told: string[] = [];
  const rtnl = new Rtnl(netlink.libc, netlink.reactor, () => {});
  rtnl.subscribe({
    onMessage: (message) => told.push(message.kind),
    onOverflow: () => told.push("overflow"),
  });
  return { inbox: netlink.inbox, told, turn: () => netlink.turn() };
}

Deno.test("Rtnl.subscribe() tells of an overflow when all that is older than it has been read", () => {
  const { inbox, told, turn } = subscribed();
  const message = (type: number) =>
    encodeMessage({ type, flags: 0, seq: 0, pid: 0, payload: LOOPBACK });
  inbox.push(message(RTM.NEWLINK), "ENOBUFS");
  // More than one turn takes: what was queued before the loss is older than any dump after it.
  for (let i = 0; i < 600; i++) inbox.push(message(RTM.DELLINK));
  assert.equal(turn(), "more");
  assert.deepEqual(told, ["link.new"]);
  turn();
  inbox.push(message(RTM.NEWLINK));
  turn();
  assert.deepEqual(told, ["link.new", "overflow", "link.new"]);
});

Deno.test("decodeRtMessage() never throws on hostile bytes", () => {
  const types = fc.constantFrom(...Object.values(RTM), 0, 65535);
  const header = fc.constantFrom(
    "020000000100000001000000",
    "0a80000002000000fe0302010000000049000100",
  );
  const attributes = fc.array(fc.tuple(fc.nat(30), hostileBytes(24)), { maxLength: 6 });
  holds(
    fc.property(types, header, attributes, hostileBytes(), (type, start, parts, tail) => {
      const writer = new Writer().bytes(bytes(start)).align();
      for (const [kind, value] of parts) putAttribute(writer, kind, value);
      for (const payload of [writer.finish(), writer.bytes(tail).finish(), tail]) {
        decodeRtMessage(message(type, payload));
      }
    }),
    3000,
  );
});

const ipv4 = fc.tuple(fc.nat(255), fc.nat(255), fc.nat(255), fc.nat(255)).map((b) => b.join("."));
const ipv6 = fc.uint8Array({ minLength: 16, maxLength: 16 }).chain((all) =>
  // Runs of zeros are what "::" is about.
  fc.tuple(fc.nat(16), fc.nat(16)).map(([from, to]) =>
    all.map((b, i) => i >= from && i < to ? 0 : b)
  )
);

Deno.test("addressText() writes RFC 5952", () => {
  const text = (hex: string) => addressText(bytes(hex));
  assert.equal(text("0a00020f"), "10.0.2.15");
  assert.equal(text("00".repeat(16)), "::");
  assert.equal(text("00".repeat(15) + "01"), "::1");
  assert.equal(text("20010db8000000000000000000000001"), "2001:db8::1");
  assert.equal(text("20010db8000000010001000100010001"), "2001:db8:0:1:1:1:1:1", "one group stays");
  assert.equal(text("20010000000000010000000000000001"), "2001:0:0:1::1", "the longest run");
  assert.equal(text("20010db8000000000001000000000001"), "2001:db8::1:0:0:1", "the first of two");
  assert.equal(text("fe80000000000000000000000000"), null, "14 bytes");
});

Deno.test("addressBytes() undoes addressText()", () => {
  holds(fc.property(ipv4, (address) => {
    assert.equal(addressText(addressBytes(address) ?? noBytes), address);
  }));
  holds(fc.property(ipv6, (all) => {
    assert.deepEqual([...addressBytes(addressText(all) ?? "") ?? []], [...all]);
  }));
  assert.deepEqual(addressText(addressBytes("::ffff:10.0.2.15") ?? noBytes), "::ffff:a00:20f");
});

Deno.test("addressBytes() refuses what is not one address", () => {
  const bad = ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "010.1.1.1", "1.2.3.x", " 1.2.3.4", "::1::"];
  bad.push(":", ":::", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "1:2:3:4::5:6:7:8", "12345::", "::g");
  bad.push("::1.2.3", "1.2.3.4::", "fe80::1%eth0");
  for (const text of bad) assert.equal(addressBytes(text), null, text);
  holds(fc.property(fc.string(), (text) => {
    addressBytes(text);
  }));
});

Deno.test("macBytes() undoes macText()", () => {
  assert.equal(macText(bytes("525400123456")), "52:54:00:12:34:56");
  assert.deepEqual([...macBytes("52:54:00:12:34:56") ?? []], [0x52, 0x54, 0, 0x12, 0x34, 0x56]);
  assert.equal(macText(noBytes), null);
  for (const text of ["", "52:54:00:12:34", "52:54:00:12:34:5g", "5254.0012.3456"]) {
    assert.equal(macBytes(text), null, text);
  }
});

Deno.test("encodeAddress() is what decodeAddress() reads", () => {
  holds(
    fc.property(ipv4, fc.nat(32), fc.integer({ min: 1, max: 1000 }), (address, prefix, index) => {
      const request = encodeAddress({ index, address, prefix, broadcast: "10.0.2.255" }, true);
      const decoded = decodeAddress(request?.payload ?? noBytes);
      assert.deepEqual(
        [
          decoded?.address,
          decoded?.prefix,
          decoded?.index,
          decoded?.broadcast,
          decoded?.validSeconds,
        ],
        [address, prefix, index, "10.0.2.255", null],
      );
    }),
  );
  const leased = encodeAddress(
    { index: 2, address: "10.0.2.15", prefix: 24, validSeconds: 90 },
    true,
  );
  assert.equal(decodeAddress(leased?.payload ?? noBytes)?.validSeconds, 90);
});

Deno.test("encodeAddress() refuses what the kernel could misread", () => {
  const base = { index: 2, address: "10.0.2.15", prefix: 24 };
  for (
    const wrong of [{ address: "10.0.2" }, { prefix: 33 }, { prefix: -1 }, { prefix: 1.5 }, {
      broadcast: "x",
    }]
  ) {
    assert.equal(encodeAddress({ ...base, ...wrong }, true), null, JSON.stringify(wrong));
  }
});

Deno.test("encodeRoute() clears the host bits and picks the scope", () => {
  const onLink = encodeRoute({ index: 2, destination: "10.0.2.99", prefix: 24 }, true);
  const decoded = decodeRoute(onLink?.payload ?? noBytes);
  assert.deepEqual([decoded?.destination, decoded?.scope, decoded?.index], ["10.0.2.0", 253, 2]);
  const gateway = encodeRoute({ index: 2, gateway: "10.0.2.2", metric: 100 }, true);
  const defaultRoute = decodeRoute(gateway?.payload ?? noBytes);
  assert.deepEqual(
    [defaultRoute?.destination, defaultRoute?.gateway, defaultRoute?.scope, defaultRoute?.metric],
    [null, "10.0.2.2", 0, 100],
  );
  assert.equal(
    decodeRoute(encodeRoute({ index: 2, family: 6 }, true)?.payload ?? noBytes)?.family,
    6,
  );
});

Deno.test("encodeRoute() refuses mixed families and prefixes without an address", () => {
  const refused = [
    { index: 2, destination: "10.0.0.0", prefix: 8, gateway: "fe80::1" },
    { index: 2, family: 6 as const, gateway: "10.0.2.2" },
    { index: 2, prefix: 8 },
    { index: 2, destination: "10.0.0.0", prefix: 40 },
    { index: 2, gateway: "gateway" },
  ];
  for (const request of refused) assert.equal(encodeRoute(request, true), null);
});

Deno.test("encodeLinkState() changes IFF_UP and nothing else", () => {
  assert.equal(encodeLinkState(3, true).payload.toHex(), "00000000030000000100000001000000");
  assert.equal(encodeLinkState(3, false).payload.toHex(), "00000000030000000000000001000000");
});

Deno.test("encodeDump() sends each family's own header, all zeros", () => {
  for (const [what, length] of [["link", 16], ["addr", 8], ["route", 12], ["neigh", 12]] as const) {
    const { payload } = encodeDump(what);
    assert.deepEqual([payload.byteLength, payload.every((byte) => byte === 0)], [length, true]);
    assert.equal(decodeAttributes(payload.subarray(length)).attributes.size, 0);
  }
});
