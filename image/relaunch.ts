/**
 * Why a machine stopped, and what to do about it: the launcher's policy as pure functions.
 *
 * Owns `last_stop`, the count of boots that did not hold, backoff, rescue and giving up. Reads no
 * clock and starts nothing.
 */

/** How the boot before ended (`none`: this launcher's first); handed on through fw_cfg. */
export type StopKind = "none" | "clean" | "reboot" | "panic" | "watchdog" | "cut";

/** What the next boot is told. `text` explains the kind (a panic's first line); `boot` is its id. */
export interface LastStop {
  kind: StopKind;
  text?: string;
  boot?: string;
}

/** Everything the launcher saw of one QEMU process, from start to end. */
export interface StopEvidence {
  /** QMP SHUTDOWN's `reason`, e.g. guest-shutdown, guest-reset, host-qmp-quit; null: none seen. */
  shutdownReason: string | null;
  /** QMP GUEST_PANICKED was seen. */
  panicked: boolean;
  /** QMP WATCHDOG was seen. */
  watchdog: boolean;
  /** `system.stopping`, when the guest announced an orderly stop. */
  stopping: { how: string; reason: string } | null;
  /** `system.stopped` was seen: /data was unmounted. */
  stopped: boolean;
  /** "Kernel panic - not syncing: …" from the serial tail. */
  panicLine: string | null;
  /** How the QEMU process itself ended. */
  exit: { code: number | null; signal: string | null };
  /** QEMU's own last words on stderr. */
  stderr: string;
  /** The boot id the guest gave in its events. */
  boot: string | null;
  /** The launcher asked QEMU to quit (timeout of a power-off, second Ctrl-C). */
  quitByLauncher: boolean;
  /** Time from `system.ready` to the end, ms; null when it was never ready. */
  heldMs: number | null;
}

/** The reason a boot ended, most telling evidence first. */
export function deriveLastStop(evidence: StopEvidence): LastStop {
  const stop = (kind: StopKind, text?: string): LastStop => ({
    kind,
    ...(text === undefined ? {} : { text }),
    ...(evidence.boot === null ? {} : { boot: evidence.boot }),
  });
  const { stopping, shutdownReason } = evidence;
  // The serial console is not the kernel's alone: after an orderly stop its text proves nothing.
  if (evidence.panicked || (evidence.panicLine !== null && !evidence.stopped)) {
    return stop("panic", evidence.panicLine ?? undefined);
  }
  if (evidence.watchdog) return stop("watchdog");
  if (shutdownReason?.startsWith("guest-")) {
    // Down without a word: a triple fault, or somebody forced it.
    if (stopping === null) return stop("cut", `${shutdownReason}, unannounced`);
    return stop(shutdownReason === "guest-reset" ? "reboot" : "clean", stopping.reason);
  }
  if (evidence.quitByLauncher) return stop("cut", "the launcher quit without waiting");
  const { signal, code } = evidence.exit;
  if (signal) return stop("cut", `QEMU was killed by ${signal}`);
  if (shutdownReason) return stop("cut", shutdownReason);
  const words = evidence.stderr.trim();
  return stop("cut", `QEMU exited with ${code}${words ? `: ${words}` : ""}`);
}

/** What the launcher remembers between boots. */
export interface RelaunchState {
  /** Boots in a row that never held for `HOLD_MS`. */
  early: number;
  last: LastStop;
}

/** What to do after a stop. */
export type Decision =
  | { action: "end"; last: LastStop }
  | { action: "relaunch"; last: LastStop; early: number; rescue: boolean; delayMs: number }
  | { action: "give_up"; last: LastStop; early: number };

/** A boot that ran this long after `system.ready` counts as good, ms. */
export const HOLD_MS = 60_000;
/** After this many early deaths the next boots are rescue boots. */
export const RESCUE_AFTER = 3;
/** After this many early deaths nothing is started any more. */
export const GIVE_UP_AFTER = 5;
/** First and longest pause before a relaunch, ms; each early death doubles it. */
export const BACKOFF_MS = { first: 250, longest: 30_000 } as const;

/** The state before the first boot. */
export const INITIAL_STATE: RelaunchState = { early: 0, last: { kind: "none" } };

/**
 * The decision after a boot ended. A power-off ends the launcher, whoever asked for it. An
 * orderly reboot of a boot that became ready is somebody's wish and counts for nothing; every
 * other end before `HOLD_MS` is an early death.
 */
export function decide(state: RelaunchState, evidence: StopEvidence): Decision {
  const last = deriveLastStop(evidence);
  if (last.kind === "clean") return { action: "end", last };
  if (last.kind === "reboot" && evidence.heldMs !== null) {
    const early = evidence.heldMs >= HOLD_MS ? 0 : state.early;
    return { action: "relaunch", last, early, rescue: early >= RESCUE_AFTER, delayMs: 0 };
  }
  const early = (evidence.heldMs ?? 0) >= HOLD_MS ? 0 : state.early + 1;
  if (early >= GIVE_UP_AFTER) return { action: "give_up", last, early };
  const delayMs = early === 0
    ? 0
    : Math.min(BACKOFF_MS.longest, BACKOFF_MS.first * 2 ** (early - 1));
  return { action: "relaunch", last, early, rescue: early >= RESCUE_AFTER, delayMs };
}
