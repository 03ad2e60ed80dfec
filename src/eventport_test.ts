import assert from "node:assert/strict";
import { EventPort } from "./eventport.ts";
import type { LibcSymbols } from "./kernel/libc.ts";
import type { BootTimers } from "./kernel/timers.ts";

/** A port whose reader takes nothing until told to. */
function setUp() {
  const taken: string[] = [];
  const host = { reads: false };
  const alarms: (() => void)[] = [];
  const write = (_fd: number, bytes: Uint8Array) => {
    if (!host.reads) return -1;
    taken.push(new TextDecoder().decode(bytes));
    return bytes.length;
  };
  const sym = { open: () => 3, close: () => 0, write } as unknown as LibcSymbols;
  const timers = { set: (run: () => void) => alarms.push(run) } as unknown as BootTimers;
  const port = new EventPort({ sym, errno: () => 11 }, timers, "/dev/null");
  const read = () => {
    host.reads = true;
    for (const alarm of alarms.splice(0)) alarm();
  };
  return { port, taken, read, host };
}

Deno.test("EventPort.write() counts every line a full backlog refused, before the next one", () => {
  const { port, taken, read } = setUp();
  // 257 lines of 1,020 bytes leave 4 of the 256 KiB: room for a short line, not for the count.
  const line = "x".repeat(1019);
  for (let i = 0; i < 300; i++) port.write(line);
  port.write("y");
  read();
  port.write("last");
  const lines = taken.join("").trimEnd().split("\n");
  const dropped = lines.filter((text) => text.startsWith("{"))
    .reduce((sum, text) => sum + (JSON.parse(text) as { dropped: number }).dropped, 0);
  const kept = lines.filter((text) => !text.startsWith("{")).length;
  assert.equal(kept + dropped, 302);
  assert.equal(lines.at(-1), "last");
});

Deno.test("EventPort.write() after close() does not reach a reused descriptor", () => {
  const { port, taken, host } = setUp();
  host.reads = true;
  port.write("before");
  port.close();
  port.write("after");
  assert.deepEqual(taken, ["before\n"]);
});
