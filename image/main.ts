/**
 * `./run.sh`: the commands a person gives, and what they print.
 *
 * Owns the command table and the words shown; the work is done by the files beside it. A mistake
 * of the user's is one line on standard error and exit status 2, a failure is 1.
 */

import { join } from "node:path";
import { OUT } from "./paths.ts";
import { ensureImage, lockBuild } from "./build.ts";
import { CommandError, HostError } from "./host.ts";
import { buildStripped, type Kernel } from "./kernel.ts";
import { Launcher, type LauncherObserver, type LauncherOptions, type Ready } from "./launcher.ts";
import { QemuStartError } from "./machine.ts";
import { type BootOptions, OptionError, optionHelp, parseBootOptions } from "./options.ts";
import { archOf, chooseKernel, prepare } from "./prepare.ts";
import type { Decision, LastStop } from "./relaunch.ts";
import { complain, print, readKeys, restoreTerminal, writeError, writeOut } from "./terminal.ts";

const HELP = `OSymbiote: a machine whose PID 1 is an agent.

  ./run.sh [options]          build what is stale, boot, and stay in the console
  ./run.sh build [--kernel …] build the image only
  ./run.sh kernel             build the stripped kernel (about 7 minutes on two cores)
  ./run.sh test [unit|kernel|vm|web] [--long]
  ./run.sh bench [--json]     measure the boot against its floor
  ./run.sh clean              remove build products (kernels stay in the cache)
  ./run.sh ok                 the gate before every commit

Options of a boot:
${optionHelp()}
`;

/** How much of the console is held back at most while the machine boots. */
const HELD_BYTES = 1 << 20;

/** Runs one command line. Returns the exit status. */
export async function main(argv: readonly string[]): Promise<number> {
  const [command, ...rest] = argv;
  if (argv.includes("--help") || command === "help") {
    print(HELP);
    return 0;
  }
  switch (command) {
    case "boot":
      return await boot(parseBootOptions(rest));
    case "build":
      return await build(parseBootOptions(rest));
    case "kernel":
      return await kernel(parseBootOptions(rest));
    case "clean":
      return await clean(rest);
    default:
      throw new OptionError(`${command ?? "(nothing)"}: unknown command; see ./run.sh --help`);
  }
}

async function build(options: BootOptions): Promise<number> {
  const chosen = await chooseKernel(options);
  const image = await ensureImage(chosen);
  print(`root image  ${image.root}${image.rebuilt ? "" : " (up to date)"}\n`);
  print(`manifest    ${image.manifest}\n`);
  print(`kernel      ${chosen.kind} ${chosen.version}\n`);
  print(`PID 1       ${image.layout.why}\n`);
  return 0;
}

async function kernel(options: BootOptions): Promise<number> {
  const built = await buildStripped(archOf(options));
  print(`stripped kernel ${built.version}: ${built.path}\n`);
  return 0;
}

async function clean(rest: readonly string[]): Promise<number> {
  if (rest.length > 0) throw new OptionError(`${rest[0]}: clean takes no options`);
  using _lock = await lockBuild();
  for await (const { name } of Deno.readDir(OUT)) {
    // The data disk is the machine's memory, not a build product; the lock is being held.
    if (name.startsWith("data.img") || name === "lock") continue;
    await Deno.remove(join(OUT, name), { recursive: true });
  }
  print("build products removed; .out/data.img (the machine's memory) is kept\n");
  return 0;
}

async function boot(options: BootOptions): Promise<number> {
  const { launch, kernel } = await prepare(options);
  return options.headless
    ? await headless(launch, options)
    : await interactive(launch, options, kernel);
}

/** Stays until SIGTERM or SIGINT, then powers off; a second signal quits at once. */
async function headless(launch: LauncherOptions, options: BootOptions): Promise<number> {
  let announced = false;
  const launcher: Launcher = new Launcher(launch, {
    onReady(ready) {
      const line = JSON.stringify({
        url: launcher.url,
        token: launcher.token,
        page: launcher.pageUrl,
        ready_ms: Math.round(ready.readyMs),
        http_ms: ready.httpMs === null ? null : Math.round(ready.httpMs),
        qemu_pid: launcher.machine?.pid ?? null,
        phases: Object.fromEntries(ready.phases.map((phase) => [phase.name, phase.ms])),
      });
      if (options.json && !announced) writeOut(new TextEncoder().encode(line + "\n"));
      else complain(`ready after ${Math.round(ready.readyMs)} ms: ${launcher.url ?? ""}`);
      announced = true;
    },
    onStop: (decision) => complain(stopMessage(decision)),
    ...(options.verbose ? { onSerial: writeError } : {}),
  });
  const forget = onSignals(launcher, () => undefined);
  try {
    return exitStatus(await launcher.run());
  } finally {
    forget();
  }
}

/** Boots, shows how, and joins the terminal to the guest's console. */
async function interactive(
  launch: LauncherOptions,
  options: BootOptions,
  kernel: Kernel,
): Promise<number> {
  const { machine } = launch.machine;
  print(`Booting ${machine}, ${kernel.kind} kernel ${kernel.version}, ${launch.machine.accel}…\n`);
  // The console is held back until the boot has been summed up; a boot that hangs shows it, and
  // so does one that says more than anybody would want to be held.
  let held: Uint8Array[] | null = options.verbose ? null : [];
  let heldBytes = 0;
  const release = () => {
    for (const bytes of held ?? []) writeOut(bytes);
    held = null;
    heldBytes = 0;
  };
  let patience: ReturnType<typeof setTimeout> | undefined;
  const observer: LauncherObserver = {
    onLaunch(_machine, attempt, rescue) {
      if (rescue) print("This is a rescue boot: the last ones did not hold.\n");
      else if (attempt > 1) print(`Attempt ${attempt}.\n`);
      clearTimeout(patience);
      patience = setTimeout(release, 20_000);
    },
    onSerial(bytes) {
      if (held === null) return writeOut(bytes);
      held.push(bytes.slice());
      heldBytes += bytes.length;
      if (heldBytes > HELD_BYTES) release();
    },
    onReady(ready) {
      clearTimeout(patience);
      print(readyMessage(ready, launcher));
      release();
    },
    onStop(decision, tail) {
      clearTimeout(patience);
      if (held && decision.action !== "end") print(tail.join("\n") + "\n");
      held = options.verbose ? null : [];
      heldBytes = 0;
      print(`\n${stopMessage(decision)}\n`);
    },
  };
  const launcher: Launcher = new Launcher(launch, observer);
  const forget = onSignals(launcher, print);
  // Standard input may end (a script); the machine goes on. Its error must not stop it either.
  readKeys((bytes) => void launcher.machine?.writeSerial(bytes)).catch((error) => {
    complain(`read the terminal: ${error.message}`);
  });
  try {
    const outcome = await launcher.run();
    restoreTerminal();
    return exitStatus(outcome);
  } finally {
    clearTimeout(patience);
    restoreTerminal();
    forget();
  }
}

/**
 * The first signal presses the power button, the second pulls the plug. A terminal that is closed
 * hangs up more than once, its shell and the kernel both, and nobody meant a second press by it.
 */
function onSignals(launcher: Launcher, say: (text: string) => void): () => void {
  let pressed = false;
  const press = () => {
    if (pressed) return;
    pressed = true;
    say("\nPowering off (once more to quit now)…\n");
    void launcher.stop();
  };
  const pressOrQuit = () => pressed ? void launcher.quit() : press();
  const listeners = { SIGINT: pressOrQuit, SIGTERM: pressOrQuit, SIGHUP: press } as const;
  const names = Object.keys(listeners) as (keyof typeof listeners)[];
  for (const name of names) Deno.addSignalListener(name, listeners[name]);
  return () => {
    for (const name of names) Deno.removeSignalListener(name, listeners[name]);
  };
}

function exitStatus(outcome: Awaited<ReturnType<Launcher["run"]>>): number {
  // A machine that had to be unplugged is no clean end, and was said so when it stopped.
  if (outcome.kind === "ended") return outcome.last.kind === "clean" ? 0 : 1;
  complain(
    `Giving up: ${outcome.early} boots in a row did not hold; the last one ended by ` +
      `${describeStop(outcome.last)}. The last lines of its console:`,
  );
  complain(outcome.serialTail.join("\n"));
  return 1;
}

/** What a stop was, for people. */
export function describeStop(last: LastStop): string {
  return last.text ? `${last.kind} (${last.text})` : last.kind;
}

function stopMessage(decision: Decision): string {
  const what = `The machine stopped: ${describeStop(decision.last)}.`;
  if (decision.action !== "relaunch") return what;
  const wait = decision.delayMs > 0 ? ` in ${(decision.delayMs / 1000).toFixed(1)} s` : "";
  return `${what} Starting it again${wait}${decision.rescue ? " in rescue mode" : ""}.`;
}

/** The URL and the boot timeline. */
function readyMessage(ready: Ready, launcher: Launcher): string {
  const lines = [""];
  const ms = (n: number): string => `${Math.round(n)} ms`.padStart(9);
  // PID 1 counts from its first statement (ms) and from the kernel's start (kernel_ms).
  const kernelMs = Number(ready.data.kernel_ms ?? 0);
  const firmwareMs = ready.readyMs - Number(ready.data.ms ?? ready.readyMs) - kernelMs;
  lines.push(`${ms(Math.max(0, firmwareMs))}  QEMU and firmware`);
  lines.push(`${ms(kernelMs)}  kernel and runtime`);
  for (const phase of ready.phases) {
    const note = phase.ok ? "" : `  FAILED: ${phase.error ?? "no reason given"}`;
    lines.push(`${ms(phase.ms)}  ${phase.name}${note}`);
  }
  lines.push(`${ms(ready.readyMs)}  ready`);
  if (ready.httpMs !== null) lines.push(`${ms(ready.httpMs)}  first answer over HTTP`);
  const degraded = Array.isArray(ready.data.degraded) ? ready.data.degraded : [];
  if (degraded.length > 0) lines.push(`          degraded: ${degraded.join(", ")}`);
  if (launcher.pageUrl) lines.push("", `  ${launcher.pageUrl}`);
  return lines.join("\n") + "\n\n";
}

/** A failure in the words of whoever caused it; the stack only for what should not happen. */
function explain(error: unknown): { text: string; status: number } {
  if (error instanceof OptionError) return { text: error.message, status: 2 };
  if (error instanceof CommandError) {
    const log = error.log === null ? "" : `\nThe whole log: ${error.log}`;
    return { text: error.message + log, status: 1 };
  }
  if (error instanceof HostError || error instanceof QemuStartError) {
    return { text: error.message, status: 1 };
  }
  if (error instanceof Error) return { text: error.stack ?? error.message, status: 1 };
  return { text: String(error), status: 1 };
}

if (import.meta.main) {
  try {
    Deno.exit(await main(Deno.args));
  } catch (error) {
    restoreTerminal();
    const { text, status } = explain(error);
    complain(text);
    Deno.exit(status);
  }
}
