/** The UDP socket, on a faked library. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import type { ErrnoName } from "./errno.ts";
import { encodeSockaddrIn, UdpSocket } from "./udp.ts";

Deno.test("encodeSockaddrIn() lays out port and address in network order", () => {
  assert.equal(encodeSockaddrIn("10.0.2.15", 68)?.toHex(), "020000440a00020f0000000000000000");
  assert.equal(encodeSockaddrIn("::1", 68), null);
  assert.equal(encodeSockaddrIn("localhost", 68), null);
});

function fake(options: { refuse?: number; received?: (ErrnoName | number[] | number)[] }) {
  const script = new Script();
  const log: string[] = [];
  const receive = (options.received ?? []).map((each) =>
    Array.isArray(each)
      ? (...args: unknown[]) => {
        (args[1] as Uint8Array).set(each);
        (args[4] as Uint8Array).set(encodeSockaddrIn("10.0.2.2", 67) ?? []);
        return each.length;
      }
      : each
  );
  const libc = fakeLibc({
    socket: () => 9,
    bind: () => 0,
    setsockopt: (fd, level, option) => {
      log.push(`option ${option}`);
      return script.fn(option === options.refuse ? "EPERM" : 0)(fd, level);
    },
    sendto: script.fn("ENETDOWN"),
    recvfrom: script.fn(...receive, "EAGAIN"),
    close: () => {
      log.push("close");
      return 0;
    },
  }, script.errno);
  return { libc, log };
}

Deno.test("UdpSocket closes itself when its link is refused", () => {
  const { libc, log } = fake({ refuse: 25 });
  assert.throws(() => new UdpSocket(libc, { port: 68, device: "eth0" }), {
    message: "setsockopt SO_BINDTODEVICE eth0: EPERM",
  });
  assert.deepEqual(log, ["option 2", "option 6", "option 25", "close"]);
});

Deno.test("UdpSocket.send() answers refusals as values", () => {
  const socket = new UdpSocket(fake({}).libc, { port: 68 });
  const send = (address: string) => socket.send(new Uint8Array(1), address, 67);
  assert.deepEqual(send("255.255.255.255"), { ok: false, error: "ENETDOWN", text: null });
  assert.deepEqual(send("nowhere"), { ok: false, error: "EINVAL", text: null });
  socket.close();
  socket.close();
  assert.deepEqual(send("255.255.255.255"), { ok: false, error: "EBADF", text: null });
});

Deno.test("UdpSocket.drain() passes over errors of earlier sends and counts what is too long", () => {
  const { libc } = fake({ received: ["ECONNREFUSED", "ENETDOWN", [1, 2], 9000, [3]] });
  const socket = new UdpSocket(libc, { port: 68 });
  const got: string[] = [];
  socket.drain((datagram, from) => got.push(`${datagram} ${from.address}:${from.port}`));
  assert.deepEqual(got, ["1,2 10.0.2.2:67", "3 10.0.2.2:67"]);
  assert.equal(socket.truncated, 1);
});

Deno.test("UdpSocket.drain() stops at its bound", () => {
  const { libc } = fake({ received: new Array(100).fill([1]) });
  assert.equal(new UdpSocket(libc, { port: 68 }).drain(() => {}), "more");
});
