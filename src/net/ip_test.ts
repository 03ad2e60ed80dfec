import assert from "node:assert/strict";
import fc from "fast-check";
import {
  broadcastOf,
  classfulPrefix,
  formatIpv4,
  hostFault,
  isUnicast,
  netmaskOf,
  parseCidr,
  parseIpv4,
  prefixOf,
  sameNetwork,
} from "./ip.ts";

const u32 = fc.integer({ min: 0, max: 0xffff_ffff });

Deno.test("parseIpv4() undoes formatIpv4() for every address", () => {
  fc.assert(fc.property(u32, (value) => parseIpv4(formatIpv4(value)) === value));
  assert.equal(parseIpv4("255.255.255.255"), 0xffff_ffff);
});

Deno.test("parseIpv4() refuses what inet_pton refuses", () => {
  for (const text of ["", "1.2.3", "1.2.3.4.5", "256.1.1.1", "01.2.3.4", "1.2.3.4 ", "a.b.c.d"]) {
    assert.equal(parseIpv4(text), null, text);
  }
});

Deno.test("prefixOf() undoes netmaskOf() and refuses holes", () => {
  for (let prefix = 0; prefix <= 32; prefix++) assert.equal(prefixOf(netmaskOf(prefix)), prefix);
  for (const mask of ["255.0.255.0", "0.255.255.255", "255.255.255.1"]) {
    assert.equal(prefixOf(parseIpv4(mask)!), null, mask);
  }
});

Deno.test("parseCidr() takes an address and a prefix, nothing else", () => {
  assert.deepEqual(parseCidr("10.0.2.15/24"), { address: "10.0.2.15", prefix: 24 });
  for (
    const text of ["10.0.2.15", "10.0.2.15/33", "10.0.2.15/024", "10.0.2.15/", "x/8", "1.2.3.4/8/8"]
  ) {
    assert.equal(parseCidr(text), null, text);
  }
});

Deno.test("sameNetwork() compares the network part only", () => {
  const one = parseIpv4("10.0.2.15")!;
  assert.equal(sameNetwork(one, parseIpv4("10.0.2.254")!, 24), true);
  assert.equal(sameNetwork(one, parseIpv4("10.0.3.15")!, 24), false);
  assert.equal(sameNetwork(one, parseIpv4("200.1.1.1")!, 0), true);
});

Deno.test("broadcastOf() answers null where a network has none", () => {
  assert.equal(broadcastOf("10.0.2.15", 24), "10.0.2.255");
  assert.equal(broadcastOf("128.1.2.3", 1), "255.255.255.255");
  assert.equal(broadcastOf("10.0.2.15", 31), null);
  assert.equal(broadcastOf("nonsense", 24), null);
});

Deno.test("hostFault() refuses what no host may have", () => {
  for (
    const [address, prefix] of [
      ["0.0.0.0", 24],
      ["0.1.2.3", 8],
      ["127.0.0.1", 8],
      ["169.254.3.4", 16],
      ["224.0.0.1", 4],
      ["255.255.255.255", 24],
      ["10.0.2.0", 24],
      ["10.0.2.255", 24],
      ["10.0.2.15", 0],
      ["10.0.2.15", 33],
      ["10.0.2", 24],
    ] as const
  ) assert.notEqual(hostFault(address, prefix), null, `${address}/${prefix}`);
  for (
    const [address, prefix] of [
      ["10.0.2.15", 24],
      ["10.0.2.0", 31],
      ["10.0.2.1", 32],
      ["192.0.2.0", 16],
      ["223.255.255.254", 24],
    ] as const
  ) assert.equal(hostFault(address, prefix), null, `${address}/${prefix}`);
});

Deno.test("isUnicast() agrees with hostFault() on a /32", () => {
  fc.assert(
    fc.property(u32, (value) => isUnicast(value) === (hostFault(formatIpv4(value), 32) === null)),
  );
});

Deno.test("classfulPrefix() knows classes A, B and C", () => {
  const of = (text: string) => classfulPrefix(parseIpv4(text)!);
  assert.deepEqual([of("10.0.0.1"), of("172.16.0.1"), of("192.168.0.1")], [8, 16, 24]);
});
