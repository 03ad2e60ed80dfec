/** Signals to processes. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import { kill, killAll, pidfdOpen, pidfdSendSignal } from "./process.ts";

Deno.test("kill() refuses pids that mean more than one process", () => {
  const script = new Script();
  const libc = fakeLibc({ kill: script.fn(0) });
  for (const pid of [0, -1, NaN, 1.5]) {
    assert.throws(() => kill(libc, pid, "SIGKILL"), { code: "EINVAL" }, String(pid));
  }
  assert.equal(script.calls.length, 0);
  assert.equal(kill(libc, -42, "SIGTERM"), true);
  assert.deepEqual(script.calls, [[-42, 15]]);
});

Deno.test("kill() and killAll() answer false when nobody is there", () => {
  const libc = (name: "ESRCH" | "EPERM") => {
    const script = new Script();
    return fakeLibc({ kill: script.fn(name) }, script.errno);
  };
  assert.equal(kill(libc("ESRCH"), 42, 9), false);
  assert.equal(killAll(libc("ESRCH"), "SIGTERM"), false);
  assert.throws(() => kill(libc("EPERM"), 42, "SIGTERM"), { message: "kill 42 SIGTERM: EPERM" });
  assert.throws(() => killAll(libc("EPERM"), 9), { message: "kill everyone 9: EPERM" });
});

Deno.test("pidfds are ENOSYS where the C library lacks them, false when the process has ended", () => {
  const absent = fakeLibc({ pidfd_open: null as never, pidfd_send_signal: null as never });
  assert.throws(() => pidfdOpen(absent, 42), { message: "pidfd_open 42: ENOSYS" });
  assert.throws(() => pidfdSendSignal(absent, 9, 15), { code: "ENOSYS" });
  const script = new Script();
  const gone = fakeLibc(
    { pidfd_open: script.fn("ESRCH"), pidfd_send_signal: script.fn("ESRCH") },
    script.errno,
  );
  assert.equal(pidfdOpen(gone, 42), null);
  assert.equal(pidfdSendSignal(gone, 9, "SIGKILL"), false);
});
