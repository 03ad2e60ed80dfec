/**
 * PID 1 after the guard: run the boot phases, wait for a reason to stop, stop
 * in order.
 *
 * Owns the life of the process from import to power-off. It must never return
 * on PID 1: that would be the kernel's panic.
 */
import { guard } from "./guard.ts";
import { bootPhases, runPhases, shutdownPhases } from "./phases.ts";
import { Core } from "./wiring.ts";

/** What a boot phase under way may still take once a stop is wanted. */
const rowGraceMs = 5000;

/** Boots, serves, and powers off. Resolves only when prewarming the code cache. */
export async function main(): Promise<void> {
  const { startedAt } = guard();
  if (Deno.env.get("OSYM_PREWARM") === "1") {
    const { prewarm } = await import("./prewarm.ts");
    return await prewarm();
  }
  const core = new Core(guard());
  const booted = runPhases(
    bootPhases,
    core,
    startedAt,
    (phase) => core.phaseDone(phase),
    () => core.stopWanted,
  );
  // A stop may be asked for while a late row still runs: it gets a moment to end, no more.
  const stop = await core.stopRequested;
  await Promise.race([booted, core.timers.sleep(rowGraceMs)]);
  core.stopping(stop);
  const stopStarted = performance.now();
  await runPhases(shutdownPhases, core, stopStarted, (phase) => core.stopPhaseDone(phase));
  await core.powerOff(stop);
}
