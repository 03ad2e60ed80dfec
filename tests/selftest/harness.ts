/**
 * What the self-tests share inside the machine: a real reactor, waiting, scripts.
 *
 * Each self-test is bundled into one file and run there by `deno test`, as root, beside PID 1. It
 * imports nothing but Deno's own modules, src/kernel and src/child. Deadlines are generous: an
 * emulated processor may be shared with a whole boot.
 */

import assert from "node:assert/strict";
import { type Libc, openLibc } from "../../src/kernel/libc.ts";
import { Reactor } from "../../src/kernel/reactor.ts";

export const libc: Libc = openLibc();

/** Fails the test when something of ours reports an error. */
export function failOn(where: string, error: unknown): never {
  assert.fail(`${where}: ${error}`);
}

/** Runs a test with a reactor; what is reported meanwhile fails it. */
export async function withReactor(test: (reactor: Reactor) => Promise<void>): Promise<void> {
  const reports: string[] = [];
  const reactor = new Reactor(libc, (where, error) => void reports.push(`${where}: ${error}`));
  const running = reactor.run();
  try {
    await test(reactor);
  } finally {
    await reactor.close();
    await running;
  }
  assert.deepEqual(reports, []);
}

/** Waits until `done()` answers true; fails after `deadlineMs` with what `seen()` says. */
export async function until(
  done: () => boolean,
  seen: () => unknown = () => "",
  deadlineMs = 60_000,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  while (!done()) {
    if (performance.now() > deadline) {
      assert.fail(`not so after ${deadlineMs} ms: ${Deno.inspect(seen())}`);
    }
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Starts a shell script. */
export function shell(
  script: string,
  streams: { stdin?: "piped" | "null"; stdout?: "piped" | "null" } = {},
): Deno.ChildProcess {
  const { stdin = "null", stdout = "null" } = streams;
  return new Deno.Command("/bin/sh", { args: ["-c", script], stdin, stdout, stderr: "null" })
    .spawn();
}

/** A folder below /tmp, gone after the test. */
export async function withFolder(test: (folder: string) => Promise<void>): Promise<void> {
  const folder = await Deno.makeTempDir({ prefix: "selftest-" });
  try {
    await test(folder);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
}
