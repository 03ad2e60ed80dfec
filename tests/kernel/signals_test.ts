/**
 * Signals that are pending together, delivered to a real process with the runtime's own handlers.
 */
import assert from "node:assert/strict";
import { Signal } from "../../src/kernel/signals.ts";

/** All that PID 1 has handlers for; the first two are the runtime's own, on a small stack. */
const listened = [
  "SIGHUP",
  "SIGINT",
  "SIGUSR1",
  "SIGUSR2",
  "SIGTERM",
  "SIGCHLD",
  "SIGPWR",
] as const;
const together = ["SIGSEGV", "SIGBUS", ...listened] as const;

const program = `
import { openLibc } from "${new URL("../../src/kernel/libc.ts", import.meta.url)}";
import { keepHandlersApart } from "${new URL("../../src/kernel/signals.ts", import.meta.url)}";
const heard = new Set();
for (const name of ${JSON.stringify(listened)}) {
  Deno.addSignalListener(name, () => {
    heard.add(name);
    if (heard.size === ${listened.length}) Deno.exit(0);
  });
}
if (Deno.args[0] === "apart") keepHandlersApart(openLibc());
Deno.stdout.writeSync(new Uint8Array([10]));
setTimeout(() => Deno.exit(3), 20_000);
`;

const libc = Deno.dlopen("libc.so.6", {
  // int tgkill(pid_t tgid, pid_t tid, int sig);
  tgkill: { parameters: ["i32", "i32", "i32"], result: "i32" },
});

/** How a process ends whose main thread is stopped, sent every signal, and continued. */
async function sentTogether(how: "apart" | "as they are"): Promise<Deno.CommandStatus> {
  const child = new Deno.Command(Deno.execPath(), {
    args: ["run", "-A", "--quiet", "--no-check", "--ext=ts", "-", how],
    stdin: "piped",
    stdout: "piped",
    stderr: "null",
  }).spawn();
  const writer = child.stdin.getWriter();
  await writer.write(new TextEncoder().encode(program));
  await writer.close();
  const reader = child.stdout.getReader();
  await reader.read();
  child.kill("SIGSTOP");
  for (const name of together) libc.symbols.tgkill(child.pid, child.pid, Signal[name]);
  child.kill("SIGCONT");
  const status = await child.status;
  await reader.cancel();
  return status;
}

Deno.test("keepHandlersApart() lets a process live through signals that were pending together", async () => {
  const { code, signal } = await sentTogether("apart");
  assert.deepEqual([code, signal], [0, null]);
});

Deno.test("a process whose handlers are as they are does not: this is what it is for", async () => {
  const { signal } = await sentTogether("as they are");
  assert.equal(signal, "SIGSEGV");
});
