/** The watchdog, on a faked device. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import { Watchdog } from "./watchdog.ts";

function fake(...writes: Parameters<Script["fn"]>) {
  const script = new Script();
  const requests: bigint[] = [];
  const libc = fakeLibc({
    open: () => 9,
    write: script.fn(...writes),
    close: () => 0,
    ioctl: (_fd, request, argument) => {
      requests.push(BigInt(request));
      const view = new DataView((argument as Uint8Array<ArrayBuffer>).buffer);
      if (BigInt(request) === 0xc0045706n) view.setInt32(0, view.getInt32(0, true) + 1, true);
      if (BigInt(request) === 0x80045702n) view.setInt32(0, 0x20, true);
      return BigInt(request) === 0x80045707n ? script.fn("ENOTTY")() : 0;
    },
  }, script.errno);
  return { watchdog: new Watchdog(libc), requests, script };
}

Deno.test("Watchdog speaks the kernel's ioctls", () => {
  const { watchdog, requests } = fake(1);
  assert.equal(watchdog.setTimeout(30), 31, "the device's choice");
  assert.equal(watchdog.causedLastReset(), true);
  watchdog.keepAlive();
  assert.throws(() => watchdog.timeout(), {
    message: "ioctl WDIOC_GETTIMEOUT on /dev/watchdog: ENOTTY",
  });
  assert.deepEqual(requests, [0xc0045706n, 0x80045702n, 0x80045705n, 0x80045707n]);
});

Deno.test("Watchdog.disarm() says V once, and throws when it was not heard", () => {
  const { watchdog, script } = fake(1);
  watchdog.disarm();
  watchdog.disarm();
  assert.equal(script.calls.length, 1);
  assert.deepEqual(script.calls[0]?.[1], new Uint8Array([0x56]));
  assert.throws(() => fake("EIO").watchdog.disarm(), {
    message: 'write "V" to /dev/watchdog: EIO',
  });
});
