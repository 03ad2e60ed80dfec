/**
 * Prewarming: what the image build runs, at the paths the machine will use, so
 * that V8's code cache holds what boot needs. It touches no kernel interface.
 */

/** Imports what PID 1 imports, and ends. */
export async function prewarm(): Promise<void> {
  await import("./wiring.ts");
}
