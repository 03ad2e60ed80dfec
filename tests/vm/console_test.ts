/**
 * The serial console: a conversation with the machine that nothing typed at it can end.
 */

import assert from "node:assert/strict";
import { type Guest, GuestTimeout } from "./guest.ts";
import { eventSince, eventually, faults, head, sharedGuest } from "./shared.ts";

const guest = sharedGuest();

const WAIT_MS = 60_000;
const GARBAGE_BYTES = 64 * 1024;

async function ask(line: string, pattern: RegExp | string): Promise<RegExpExecArray> {
  return await (await talking(await guest())).console.ask(line, pattern, WAIT_MS);
}

/** Waits until the console has its prompt: it opens some time after readiness. */
async function talking(machine: Guest): Promise<Guest> {
  await machine.waitUntil(
    "the console's prompt",
    () => machine.console.text.includes("osym> ") || undefined,
    WAIT_MS,
  );
  return machine;
}

async function bootId(): Promise<string> {
  return (await (await guest()).json<{ boot: { id: string } }>("/api/v1/status")).boot.id;
}

Deno.test("the banner says what runs, and help lists the commands", async () => {
  const machine = await talking(await guest());
  assert.match(machine.console.text, /osymbiote \S+ on osymbiote: linux \S+ \(\S+\), ready in /);
  assert.match(machine.console.text, /^address .*\b10\.0\.2\.15 \(eth0\)/m);
  const [text] = await ask("help", /command[\s\S]*?help +this list/);
  for (const name of ["status", "events", "run", "ask", "poweroff", "reboot"]) {
    assert.match(text, new RegExp(`^${name}\\b`, "m"), name);
  }
});

Deno.test("status tells the same boot as the API", async () => {
  const [, id] = await ask("status", /boot +(\w+), attempt 1/);
  assert.equal(id, await bootId());
});

Deno.test("run shows output, exit code and signal; ^C stops it; it is an act like any other", async () => {
  const machine = await guest();
  const since = await head(machine);
  await ask("run /bin/sh -c 'echo one; echo two >&2; exit 3'", /\none\r*\ntwo\r*\nexit 3\r*\n/);
  await ask("run /bin/sh -c 'kill -SEGV $$'", "ended by SIGSEGV");
  await ask("run /bin/no-such-program", /exec "\/bin\/no-such-program": ENOENT/);
  await ask("run 'unclosed", /run: the ' at column 1 is not closed/);
  await eventSince(
    machine,
    since,
    "action.allowed",
    ({ data }) => data.kind === "exec.run" && data.principal === "console",
  );
  await machine.console.write("run /bin/sleep 1000");
  await eventSince(machine, since, "process.execed", ({ data }) => data.comm === "sleep", WAIT_MS);
  await machine.machine.writeSerial(new Uint8Array([3]));
  await machine.console.read(/\^C[\s\S]*osym> /, WAIT_MS);
  await eventually("sleep to be gone", async () => {
    return await machine.shell("ps -o args | grep '[s]leep 1000' || true") === "";
  });
});

Deno.test("ask is answered in plain words", async () => {
  await ask("ask what's using the memory?", /MB memory is in use[\s\S]*\(survival, /);
  await ask("ask", "usage: ask");
});

Deno.test("events shows what happens, filtered, until it is switched off", async () => {
  const machine = await guest();
  await ask("events service.*", /events service\.\*/);
  await machine.post("/api/v1/services", { name: "watched", argv: ["/bin/sleep", "1000"] });
  await machine.console.read(/service\.declared watched/, WAIT_MS);
  await machine.console.read(/service\.started watched/, WAIT_MS);
  await ask("events off", "events off");
  const seen = machine.console.text.length;
  const gone = await machine.api("/api/v1/services/watched", { method: "DELETE" });
  await gone.body?.cancel();
  await ask("run /bin/echo later", "later");
  assert.doesNotMatch(machine.console.text.slice(seen), /service\.stopped/);
  await ask("events nonsense..*", /nonsense/);
});

Deno.test("an unknown command is told, with the nearest one", async () => {
  await ask("statsu", 'no command "statsu"; did you mean status?');
  await ask("xyzzy", /no command "xyzzy"/);
});

Deno.test("hostile output reaches the terminal escaped", async () => {
  const machine = await guest();
  const seen = machine.console.text.length;
  const shown = "\\x1b]0;owned\\x07\\x1b[2J\\u{202e}end";
  await ask("run printf '\\033]0;owned\\007\\033[2J\\342\\200\\256end\\n'", shown);
  // Of the console's own there is one sequence: erase the line.
  const raw = machine.console.text.slice(seen).replaceAll("\x1b[K", "").replaceAll("\x1b[2K", "");
  assert.equal(raw.includes("\x1b"), false, JSON.stringify(raw));
});

Deno.test("garbage typed at it, 64 KiB of any bytes, leaves PID 1 alive and the console in use", async () => {
  const machine = await talking(await guest());
  const id = await bootId();
  const random = new Uint8Array(GARBAGE_BYTES);
  crypto.getRandomValues(random);
  // Random letters are never a command; one that powers off would be a bad joke all the same.
  const storms: [string, Uint8Array][] = [
    ["random bytes", random],
    [
      "escape sequences",
      repeated("\x1b[1;2;3;4;5A\x1b[B\x1bO\x1b]0;t\x07\x1b[999999999999D\x9b31m"),
    ],
    [
      "invalid UTF-8",
      repeated(new Uint8Array([0xc3, 0x28, 0xf0, 0x9f, 0xff, 0xfe, 0xed, 0xa0, 0x80])),
    ],
    ["one endless line", repeated("x")],
    ["empty lines and deletions", repeated("\r\n\x7f\b\x15\x04\x1a\x1c")],
    ["wide and combining characters", repeated("\u{1f469}\u200d\u{1f4bb}e\u0301\u202eabc")],
  ];
  for (const [name, bytes] of storms) {
    for (let at = 0; at < bytes.length; at += 4096) {
      await machine.machine.writeSerial(bytes.slice(at, at + 4096));
    }
    // ^C empties whatever line was begun.
    await machine.machine.writeSerial(new Uint8Array([3, 13]));
    const word = `alive-after-${name.replaceAll(/\W/g, "-")}`;
    // It still works through what was typed: asked again until its answer is in sight.
    for (let tries = 1;; tries++) {
      await machine.machine.writeSerial(new Uint8Array([3]));
      try {
        await machine.console.ask(`run /bin/echo ${word}`, new RegExp(`\\n${word}`), 20_000);
        break;
      } catch (error) {
        if (!(error instanceof GuestTimeout) || tries === 6) throw error;
      }
    }
    assert.equal(await bootId(), id, name);
  }
  assert.deepEqual(await faults(machine), []);
});

Deno.test("poweroff at the console ends the machine in order", async () => {
  const machine = await talking(await guest());
  assert.deepEqual(await faults(machine), []);
  await machine.console.write("poweroff");
  const outcome = await machine.ends();
  assert.equal(outcome.last.kind, "clean");
  assert.match(outcome.last.text ?? "", /console/);
  assert.equal(machine.events("system.stopped").at(-1)?.data.clean, true);
});

/** Fills `GARBAGE_BYTES` with a pattern. */
function repeated(pattern: string | Uint8Array): Uint8Array {
  const bytes = typeof pattern === "string" ? new TextEncoder().encode(pattern) : pattern;
  const filled = new Uint8Array(GARBAGE_BYTES);
  for (let at = 0; at < filled.length; at += bytes.length) {
    filled.set(bytes.subarray(0, filled.length - at), at);
  }
  return filled;
}
