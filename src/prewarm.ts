/**
 * Prewarming: what the image build runs, at the paths the machine will use, so
 * that V8's code cache holds what a boot loads. It touches no kernel interface.
 */
import { loadZod } from "../bus/schema.ts";

/** Imports what PID 1 imports, early and late, and ends. */
export async function prewarm(): Promise<void> {
  await Promise.all([
    import("./wiring.ts"),
    import("./http/app.ts"),
    import("./http/server.ts"),
    import("./http/auth.ts"),
    import("../subsystems/cortex/host.ts"),
    import("./console/console.ts"),
    loadZod(),
  ]);
}
