import assert from "node:assert/strict";
import { Hosts, type Policy } from "./hosts.ts";
import { FakeMachine } from "./testing.ts";

function check(
  headers: Record<string, string>,
  policy: Partial<Policy> = {},
  url = `http://${headers.host ?? "localhost:8422"}/`,
) {
  const all = { hosts: ["localhost:8422", "box"], origins: ["https://dash.example"], ...policy };
  const request = { url, headers: new Headers(headers) } as Request;
  const verdict = new Hosts(all, new FakeMachine()).check(request);
  return verdict.ok ? 200 : verdict.status;
}

Deno.test("Hosts.check() takes listed hosts however they are written", () => {
  for (const host of ["localhost:8422", "LOCALHOST:8422", "localhost.:8422", "box", "box:80"]) {
    assert.equal(check({ host }), 200, host);
  }
});

Deno.test("Hosts.check() refuses every other host with 421", () => {
  for (
    const host of [
      "localhost",
      "localhost:80",
      "localhost:8423",
      "evil.example:8422",
      "localhost:8422.evil.example",
      "localhost:8422@evil.example",
      "127.0.0.1:8422",
      "10.0.2.15",
      "[::1]:8422",
      "",
      "a b",
      "box/",
      "x".repeat(300),
    ]
  ) assert.equal(check({ host }), 421, host);
  assert.equal(check({}), 421);
});

Deno.test("Hosts.check() refuses a target that names another host than Host", () => {
  assert.equal(check({ host: "box" }, {}, "http://evil.example/"), 421);
  assert.equal(check({ host: "box" }, {}, "http://box:80/"), 200);
  assert.equal(check({ host: "box" }, {}, "http://box@evil.example/"), 421);
});

Deno.test("Hosts.check() takes the machine's own address only when told to", () => {
  const ownAddresses = true;
  assert.equal(check({ host: "10.0.2.15" }), 421);
  assert.equal(check({ host: "10.0.2.15" }, { ownAddresses }), 200);
  assert.equal(check({ host: "10.0.2.15:8080" }, { ownAddresses }), 200);
  assert.equal(check({ host: "10.0.2.16" }, { ownAddresses }), 421);
  assert.equal(check({ host: "10.0.2.15:99999" }, { ownAddresses }), 421, "no port of TCP");
  assert.equal(check({ host: "eth0" }, { ownAddresses }), 421);
});

Deno.test("Hosts.check() takes listed origins and a page's own, and refuses others with 403", () => {
  const host = "localhost:8422";
  for (const origin of ["https://dash.example", "http://localhost:8422", "HTTPS://dash.example"]) {
    assert.equal(check({ host, origin }), 200, origin);
  }
  for (
    const origin of [
      "null",
      "",
      "http://dash.example",
      "https://dash.example.evil",
      "http://localhost",
      "http://box",
      "http://localhost:8422/x",
      "https://localhost:8422",
      "file://",
    ]
  ) assert.equal(check({ host, origin }), 403, origin);
});

Deno.test("Hosts() refuses a policy that lists no host name", () => {
  assert.throws(() => check({}, { hosts: ["http://localhost"] }), TypeError);
});
