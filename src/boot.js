/**
 * The first file PID 1 runs, before anything that could throw.
 *
 * Owns the guards a process needs to survive being PID 1 under Deno: signal
 * listeners (an unhandled TERM, INT or HUP aborts the runtime, and PID 1's end
 * is a kernel panic), the last catch of errors and rejections, and /proc
 * (without it `Deno.execPath()` panics, and bundled packages call it on
 * import). Then it imports the rest.
 *
 * It must have no dependencies, never remove a listener, and never let an
 * error out: what fails here ends in `lastResort()`.
 */

/** What happened before the system could listen; wiring.ts takes it over. */
const guard = {
  startedAt: performance.now(),
  signals: /** @type {string[]} */ ([]),
  faults: /** @type {{ where: string, error: unknown }[]} */ ([]),
  onSignal: /** @type {((signal: string) => void) | null} */ (null),
  onFault: /** @type {((where: string, error: unknown) => void) | null} */ (null),
};

// SIGUSR1 too: the runtime installs one handler per signal, once, so that what wiring.ts puts in its
// place stays; otherwise the one that opens the inspector would come later.
for (const signal of ["SIGTERM", "SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGPWR"]) {
  Deno.addSignalListener(signal, () => {
    if (guard.onSignal !== null) guard.onSignal(signal);
    else if (guard.signals.length < 64) guard.signals.push(signal);
  });
}

function fault(where, error) {
  if (guard.onFault !== null) guard.onFault(where, error);
  else if (guard.faults.length < 64) guard.faults.push({ where, error });
}
addEventListener("error", (event) => {
  event.preventDefault();
  fault("uncaught error", event.error ?? event.message);
});
addEventListener("unhandledrejection", (event) => {
  event.preventDefault();
  fault("unhandled rejection", event.reason);
});

Object.defineProperty(globalThis, Symbol.for("osymbiote.guard"), { value: guard });

/** Kept for good: the call reads them on another thread. */
const mountWords = ["proc", "/proc", ""].map((word) => new TextEncoder().encode(`${word}\0`));

/**
 * mount(2) of /proc by FFI; EBUSY (already there) is as good. On the pool, because a call from
 * this thread would have a trampoline compiled for it first.
 */
async function mountProc() {
  const library = Deno.dlopen("libc.so.6", {
    mount: {
      parameters: ["buffer", "buffer", "buffer", "usize", "buffer"],
      result: "i32",
      nonblocking: true,
    },
  });
  const nosuidNodevNoexec = 2n | 4n | 8n;
  const [proc, target, none] = mountWords;
  await library.symbols.mount(proc, target, proc, nosuidNodevNoexec, none);
}

/**
 * The system could not be loaded at all: say why where a person can see it,
 * then restart the machine; the launcher counts such attempts and stops them.
 */
async function lastResort(error) {
  const reason = error instanceof Error ? (error.stack ?? error.message) : String(error);
  try {
    Deno.writeTextFileSync(
      "/dev/console",
      `\nosymbiote: cannot start: ${reason}\nrestarting in 5 s\n`,
    );
  } catch (_unwritable) {
    console.error(`osymbiote: cannot start: ${reason}`);
  }
  const wait = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
  await wait(5000);
  const library = Deno.dlopen("libc.so.6", {
    sync: { parameters: [], result: "void", nonblocking: true },
    reboot: { parameters: ["i32"], result: "i32" },
  });
  // A disk that never answers must not keep the machine from its restart.
  await Promise.race([library.symbols.sync(), wait(5000)]);
  library.symbols.reboot(0x01234567); // LINUX_REBOOT_CMD_RESTART
}

try {
  if (Deno.pid === 1) await mountProc();
  const { main } = await import("./main.js");
  await main();
} catch (error) {
  if (Deno.pid === 1) await lastResort(error);
  else throw error;
}
