import assert from "node:assert/strict";
import fc from "fast-check";
import {
  BACKOFF_MS,
  decide,
  deriveLastStop,
  GIVE_UP_AFTER,
  HOLD_MS,
  INITIAL_STATE,
  type LastStop,
  type RelaunchState,
  RESCUE_AFTER,
  type StopEvidence,
  type StopKind,
} from "./relaunch.ts";

/** Nothing was seen: QEMU is simply gone. */
const NOTHING: StopEvidence = {
  shutdownReason: null,
  panicked: false,
  watchdog: false,
  stopping: null,
  stopped: false,
  panicLine: null,
  exit: { code: 0, signal: null },
  stderr: "",
  boot: null,
  quitByLauncher: false,
  heldMs: null,
};

const PANIC = "Kernel panic - not syncing: Attempted to kill init! exitcode=0x0000000b";
const POWER_OFF = { stopping: { how: "poweroff", reason: "power button" }, stopped: true };
const REBOOT = { stopping: { how: "reboot", reason: "asked by admin" }, stopped: true };

const STOPS: [string, Partial<StopEvidence>, LastStop][] = [
  [
    "an orderly power-off",
    { ...POWER_OFF, shutdownReason: "guest-shutdown" },
    { kind: "clean", text: "power button" },
  ],
  [
    "a power-off that could not unmount everything",
    { ...POWER_OFF, stopped: false, shutdownReason: "guest-shutdown" },
    { kind: "clean", text: "power button" },
  ],
  [
    "an orderly reboot",
    { ...REBOOT, shutdownReason: "guest-reset" },
    { kind: "reboot", text: "asked by admin" },
  ],
  [
    "a panic that QEMU reported",
    { panicked: true, panicLine: PANIC, shutdownReason: "guest-reset" },
    { kind: "panic", text: PANIC },
  ],
  [
    "a panic on a machine without pvpanic",
    { panicLine: PANIC, shutdownReason: "guest-reset" },
    { kind: "panic", text: PANIC },
  ],
  ["a panic without a console", { panicked: true, shutdownReason: "guest-reset" }, {
    kind: "panic",
  }],
  [
    "a panic during an orderly stop",
    { ...POWER_OFF, stopped: false, panicked: true, shutdownReason: "guest-reset" },
    { kind: "panic" },
  ],
  [
    "somebody printing a panic before an orderly stop",
    { ...POWER_OFF, panicLine: PANIC, shutdownReason: "guest-shutdown" },
    { kind: "clean", text: "power button" },
  ],
  ["a watchdog reset", { watchdog: true, shutdownReason: "guest-reset" }, { kind: "watchdog" }],
  [
    "a reset nobody announced",
    { shutdownReason: "guest-reset" },
    { kind: "cut", text: "guest-reset, unannounced" },
  ],
  [
    "a killed QEMU",
    { exit: { code: null, signal: "SIGKILL" } },
    { kind: "cut", text: "QEMU was killed by SIGKILL" },
  ],
  [
    "a QEMU that was asked to end by a signal",
    { shutdownReason: "host-signal" },
    { kind: "cut", text: "host-signal" },
  ],
  [
    "a QEMU that failed",
    { exit: { code: 1, signal: null }, stderr: "disk full\n" },
    { kind: "cut", text: "QEMU exited with 1: disk full" },
  ],
  [
    "a power-off that took too long",
    { stopping: POWER_OFF.stopping, quitByLauncher: true, shutdownReason: "host-qmp-quit" },
    { kind: "cut", text: "the launcher quit without waiting" },
  ],
];

for (const [what, evidence, expected] of STOPS) {
  Deno.test(`deriveLastStop() recognises ${what}`, () => {
    assert.deepEqual(deriveLastStop({ ...NOTHING, ...evidence }), expected);
  });
}

Deno.test("deriveLastStop() names the boot that ended", () => {
  assert.equal(deriveLastStop({ ...NOTHING, boot: "b7" }).boot, "b7");
});

/** Runs a sequence of ends through `decide()` as the launcher does. */
function run(ends: Partial<StopEvidence>[]) {
  let state: RelaunchState = INITIAL_STATE;
  const decisions = [];
  for (const end of ends) {
    const decision = decide(state, { ...NOTHING, ...end });
    decisions.push(decision);
    if (decision.action !== "relaunch") break;
    state = { early: decision.early, last: decision.last };
  }
  return decisions;
}

const EARLY = { panicked: true, shutdownReason: "guest-reset", heldMs: 5000 };
const HELD = { ...EARLY, heldMs: HOLD_MS };

Deno.test("decide() ends after a power-off and relaunches after everything else", () => {
  for (const [what, evidence, { kind }] of STOPS) {
    const decision = decide(INITIAL_STATE, { ...NOTHING, ...evidence });
    assert.equal(decision.action, kind === "clean" ? "end" : "relaunch", what);
  }
});

Deno.test("decide() goes to rescue after three early deaths and gives up after five", () => {
  const decisions = run(Array(9).fill(EARLY));
  assert.deepEqual(
    decisions.map((decision) =>
      decision.action === "relaunch" ? [decision.early, decision.rescue] : decision.action
    ),
    [[1, false], [2, false], [RESCUE_AFTER, true], [4, true], "give_up"],
  );
});

Deno.test("decide() doubles the pause with every early death", () => {
  const delays = run(Array(4).fill(EARLY)).map((decision) =>
    decision.action === "relaunch" ? decision.delayMs : null
  );
  const { first } = BACKOFF_MS;
  assert.deepEqual(delays, [first, first * 2, first * 4, first * 8]);
});

Deno.test("decide() forgets early deaths when a boot held", () => {
  const decisions = run([EARLY, EARLY, HELD, EARLY]);
  assert.deepEqual(
    decisions.map((decision) => decision.action === "relaunch" && decision.early),
    [1, 2, 0, 1],
  );
});

Deno.test("decide() does not count an orderly reboot of a ready boot", () => {
  const reboot = { ...REBOOT, shutdownReason: "guest-reset", heldMs: 100 };
  const decisions = run([EARLY, reboot, reboot, reboot, EARLY]);
  assert.deepEqual(
    decisions.map((decision) => decision.action === "relaunch" && decision.early),
    [1, 1, 1, 1, 2],
  );
});

Deno.test("decide() counts a reboot that never became ready", () => {
  const reboot = { ...REBOOT, shutdownReason: "guest-reset" };
  assert.equal(run(Array(9).fill(reboot)).at(-1)?.action, "give_up");
});

Deno.test("decide() lets no endless series of early deaths go on", () => {
  const kinds: StopKind[] = ["panic", "watchdog", "cut"];
  fc.assert(fc.property(
    fc.array(fc.record({ kind: fc.constantFrom(...kinds), heldMs: fc.nat(HOLD_MS - 1) }), {
      minLength: GIVE_UP_AFTER,
      maxLength: GIVE_UP_AFTER,
    }),
    (ends) => {
      const decisions = run(ends.map(({ kind, heldMs }) => ({
        heldMs,
        panicked: kind === "panic",
        watchdog: kind === "watchdog",
        ...(kind === "cut" ? {} : { shutdownReason: "guest-reset" }),
      })));
      const rescues = decisions.filter((decision) =>
        decision.action === "relaunch" && decision.rescue
      );
      return decisions.length === GIVE_UP_AFTER && decisions.at(-1)?.action === "give_up" &&
        rescues.length === GIVE_UP_AFTER - RESCUE_AFTER;
    },
  ));
});
