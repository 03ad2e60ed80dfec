import assert from "node:assert/strict";
import fc from "fast-check";
import { Bus } from "../../bus/bus.ts";
import { loadZod } from "../../bus/schema.ts";
import { launchPrincipal, Refusals, ticketLifetimeMs, Tokens } from "./auth.ts";
import { sha256Hex } from "./sha256.ts";
import { bootId, ManualClock, token } from "./testing.ts";

function tokens(clock = new ManualClock()): Tokens {
  const made = new Tokens(clock);
  made.admit(sha256Hex(token), launchPrincipal());
  return made;
}

function request(headers: Record<string, string>, path = "/api/v1/stream"): Request {
  return new Request(`http://localhost:8422${path}`, { headers });
}

Deno.test("Tokens.admit() refuses what is no SHA-256", () => {
  for (const hash of ["", "abc", "G".repeat(64), "A".repeat(64)]) {
    assert.throws(() => tokens().admit(hash, launchPrincipal()), TypeError);
  }
});

Deno.test("Tokens.authenticate() takes the token as a bearer, whatever the scheme's case", () => {
  for (const scheme of ["Bearer", "bearer", "BEARER"]) {
    const who = tokens().authenticate(request({ authorization: `${scheme} ${token}` }));
    assert.ok(who.ok);
    assert.equal(who.principal.id, "token:launch");
  }
});

Deno.test("Tokens.authenticate() refuses every other Authorization, and reads no further", () => {
  const carried = { "sec-websocket-protocol": `osym.v1, osym.token.${token}` };
  for (
    const authorization of [
      "",
      "Bearer",
      `Basic ${btoa("a:b")}`,
      `Bearer ${token}x`,
      `Bearer ${token.slice(1)}`,
      `Bearer ${token} ${token}`,
      `Bearer ${"x".repeat(100_000)}`,
      `Bearer ${sha256Hex(token)}`,
    ]
  ) {
    assert.equal(tokens().authenticate(request({ authorization, ...carried }), true).ok, false);
  }
});

Deno.test("Tokens.authenticate() takes a subprotocol's token on streams only", () => {
  const headers = { "sec-websocket-protocol": `osym.v1, osym.token.${token}` };
  assert.equal(tokens().authenticate(request(headers), true).ok, true);
  assert.equal(tokens().authenticate(request(headers), false).ok, false);
  const twice = `osym.v1, osym.token.${token}, osym.token.${token}`;
  assert.equal(
    tokens().authenticate(request({ "sec-websocket-protocol": twice }), true).ok,
    false,
  );
});

Deno.test("Tokens.authenticate() takes nothing from the query but a ticket", () => {
  for (const name of ["token", "access_token", "authorization", "ticket"]) {
    const who = tokens().authenticate(request({}, `/api/v1/stream?${name}=${token}`), true);
    assert.equal(who.ok, false, name);
  }
});

Deno.test("Tokens.issueTicket() opens one stream once, within its time", () => {
  const clock = new ManualClock();
  const all = tokens(clock);
  const open = (ticket: string, stream = true) =>
    all.authenticate(request({}, `/api/v1/stream?ticket=${ticket}`), stream).ok;
  const { ticket } = all.issueTicket(launchPrincipal());
  assert.match(ticket, /^[\w-]{43}$/);
  assert.equal(open(ticket, false), false);
  assert.equal(open(ticket), true);
  assert.equal(open(ticket), false);
  const late = all.issueTicket(launchPrincipal()).ticket;
  clock.ms += ticketLifetimeMs;
  assert.equal(open(late), false);
});

Deno.test("Tokens.issueTicket() keeps a bounded number", () => {
  const all = tokens();
  const first = all.issueTicket(launchPrincipal()).ticket;
  for (let i = 0; i < 300; i++) all.issueTicket(launchPrincipal());
  assert.equal(all.authenticate(request({}, `/s?ticket=${first}`), true).ok, false);
});

Deno.test("Refusals.note() tells every refusal exactly once, in few events", async () => {
  await loadZod();
  fc.assert(
    fc.property(
      fc.array(fc.record({ wait: fc.integer({ min: 0, max: 9_000 }), kind: fc.nat(3) })),
      (steps) => {
        const clock = new ManualClock();
        const bus = new Bus({ boot: bootId, clock, ringBytes: 1 << 20, validate: true });
        const refusals = new Refusals(bus.source("http", ["auth.refused"]), clock);
        let told = 0;
        let events = 0;
        bus.subscribe("auth.refused", (event) => {
          if (event.type !== "auth.refused") return;
          told += event.data.count;
          events++;
        });
        let elapsed = 0;
        for (const { wait, kind } of steps) {
          clock.ms += wait;
          elapsed += wait;
          refusals.note(401, `reason ${kind}`, "/x");
        }
        refusals.flush(true);
        assert.equal(told, steps.length);
        assert.ok(events <= 4 * (2 + elapsed / 5_000), `${events} events in ${elapsed} ms`);
      },
    ),
  );
});
