/** Keys. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, hostileBytes, Script } from "../../tests/kernel/harness.ts";
import {
  decodeKeyEvents,
  findPowerButtons,
  hasCapability,
  KEY_POWER,
  type KeyEvent,
  KeyReader,
} from "./evdev.ts";
import { Writer } from "./layout.ts";

const STATES = ["released", "pressed", "repeated"];
const encode = (events: readonly KeyEvent[]) => {
  const writer = new Writer();
  for (const { code, state } of events) {
    writer.zero(16).u16(1).u16(code).i32(STATES.indexOf(state));
    // EV_SYN ends each report.
    writer.zero(24);
  }
  return writer.finish();
};

Deno.test("decodeKeyEvents() reads keys and skips what is not", () => {
  const pressed: KeyEvent = { code: KEY_POWER, state: "pressed" };
  assert.deepEqual(decodeKeyEvents(encode([pressed])), [pressed]);
  assert.deepEqual(decodeKeyEvents(new Writer().zero(16).u16(2).u16(116).i32(1).finish()), []);
  assert.deepEqual(decodeKeyEvents(new Writer().zero(16).u16(1).u16(116).i32(7).finish()), []);
});

Deno.test("decodeKeyEvents() decode → encode → decode is stable on hostile bytes", () => {
  holds(
    fc.property(hostileBytes(), (bytes) => {
      const events = decodeKeyEvents(bytes);
      assert.ok(events.length <= bytes.byteLength / 24);
      assert.deepEqual(decodeKeyEvents(encode(events)), events);
    }),
    1000,
  );
});

Deno.test("hasCapability() counts bits from the last word", () => {
  assert.equal(hasCapability("10000000000000 0\n", KEY_POWER), true);
  assert.equal(hasCapability("10000000000000 0\n", 115), false);
  assert.equal(hasCapability("10000000000000", KEY_POWER), false, "one word is bits 0–63");
  for (const text of ["", "zz", "0x1 0x1", "11111111111111111 0"]) {
    assert.equal(hasCapability(text, KEY_POWER), false, text);
  }
});

Deno.test("findPowerButtons() finds devices by their keys", () => {
  const root = Deno.makeTempDirSync();
  const device = (entry: string, keys: string) => {
    Deno.mkdirSync(`${root}/${entry}/device/capabilities`, { recursive: true });
    Deno.writeTextFileSync(`${root}/${entry}/device/capabilities/key`, keys);
    Deno.writeTextFileSync(`${root}/${entry}/device/name`, "Power Button\n");
  };
  device("event0", "10000000000000 0\n");
  device("event1", "1\n");
  device("mouse0", "10000000000000 0\n");
  Deno.mkdirSync(`${root}/event2`);
  assert.deepEqual(findPowerButtons(root), [{ path: "/dev/input/event0", name: "Power Button" }]);
  assert.deepEqual(findPowerButtons(`${root}/none`), []);
  Deno.removeSync(root, { recursive: true });
});

Deno.test("KeyReader.drain() throws when its device is unplugged", () => {
  const script = new Script();
  const keys = encode([{ code: 116, state: "pressed" }]);
  const libc = fakeLibc({
    open: () => 9,
    close: () => 0,
    read: script.fn((...args) => {
      (args[1] as Uint8Array).set(keys);
      return keys.byteLength;
    }, "ENODEV"),
  }, script.errno);
  const reader = new KeyReader(libc, "/dev/input/event0");
  const seen: KeyEvent[] = [];
  assert.throws(() => reader.drain((event) => seen.push(event)), {
    message: "read /dev/input/event0: ENODEV",
  });
  assert.deepEqual(seen, [{ code: 116, state: "pressed" }]);
});
