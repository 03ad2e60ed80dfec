/** Device events. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { holds, hostileBytes } from "../../tests/kernel/harness.ts";
import { decodeUevent, type Uevent } from "./uevent.ts";

const encode = (text: string) => new TextEncoder().encode(text);
/** What lib/kobject_uevent.c does. */
const encodeUevent = (event: Uevent) =>
  encode(
    `${event.action}@${event.devpath}\0` +
      [...event.properties].map(([key, value]) => `${key}=${value}\0`).join(""),
  );

Deno.test("decodeUevent() reads the kernel's bytes", () => {
  const event = decodeUevent(encode(
    "add@/devices/virtual/net/veth0\0ACTION=add\0DEVPATH=/devices/virtual/net/veth0\0" +
      "SUBSYSTEM=net\0INTERFACE=veth0\0IFINDEX=7\0SEQNUM=1234\0",
  ));
  assert.deepEqual(
    [event?.action, event?.devpath, event?.subsystem, event?.seqnum],
    ["add", "/devices/virtual/net/veth0", "net", 1234],
  );
  assert.equal(event?.properties.get("IFINDEX"), "7");
});

Deno.test("decodeUevent() refuses udev's rebroadcast and other text", () => {
  for (const text of ["libudev\0\xfe\xed", "", "add@", "add@relative\0A=1\0", "ADD@/x\0", "@/x"]) {
    assert.equal(decodeUevent(encode(text)), null, JSON.stringify(text));
  }
});

Deno.test("decodeUevent() keeps odd properties apart", () => {
  const event = decodeUevent(encode("change@/a\0=x\0noequals\0K=a=b\0SEQNUM=-5\0LAST=1"));
  assert.deepEqual([...event?.properties ?? []], [["K", "a=b"], ["SEQNUM", "-5"], ["LAST", "1"]]);
  assert.equal(event?.seqnum, null);
});

Deno.test("decodeUevent() bounds the properties of a hostile datagram", () => {
  const many = Array.from({ length: 5000 }, (_, index) => `K${index}=1\0`).join("");
  assert.equal(decodeUevent(encode(`add@/a\0${many}`))?.properties.size, 128);
});

Deno.test("decodeUevent() decode → encode → decode is stable on hostile bytes", () => {
  holds(
    fc.property(hostileBytes(), fc.boolean(), (bytes, headed) => {
      const head = encode("add@/x\0");
      const event = decodeUevent(headed ? new Uint8Array([...head, ...bytes]) : bytes);
      if (event !== null) assert.deepEqual(decodeUevent(encodeUevent(event)), event);
    }),
    1000,
  );
});
