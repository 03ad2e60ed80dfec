import assert from "node:assert/strict";
import fc from "fast-check";
import { parseStaticAddress } from "./static_address.ts";

Deno.test("parseStaticAddress() reads address, gateway and name servers", () => {
  assert.deepEqual(parseStaticAddress("10.0.2.15/24"), {
    address: "10.0.2.15",
    prefix: 24,
    dns: [],
  });
  assert.deepEqual(parseStaticAddress("10.0.2.15/24,gw=10.0.2.2,dns=10.0.2.3,dns=9.9.9.9"), {
    address: "10.0.2.15",
    prefix: 24,
    gateway: "10.0.2.2",
    dns: ["10.0.2.3", "9.9.9.9"],
  });
});

Deno.test("parseStaticAddress() names what is wrong", () => {
  for (
    const [value, fault] of [
      ["", /expected <address>\/<prefix>/],
      ["10.0.2.15", /expected <address>/],
      ["10.0.2.0/24", /network's own address/],
      ["127.0.0.1/8", /not an address a host may have/],
      ["10.0.2.15/24,gw=", /"gw=": expected gw=/],
      ["10.0.2.15/24,gw=127.0.0.1", /expected gw=/],
      ["10.0.2.15/24,gw=10.0.2.15", /the address itself/],
      ["10.0.2.15/24,gw=10.0.2.2,gw=10.0.2.3", /second gateway/],
      ["10.0.2.15/24,mtu=9000", /"mtu=9000": expected/],
      ["10.0.2.15/24,", /"": expected/],
    ] as const
  ) {
    const parsed = parseStaticAddress(value);
    assert.equal(typeof parsed, "string", value);
    assert.match(parsed as string, fault);
  }
});

Deno.test("parseStaticAddress() never throws", () => {
  fc.assert(fc.property(fc.string(), (text) => {
    parseStaticAddress(text);
    parseStaticAddress(`10.0.2.15/24,${text}`);
  }));
});
