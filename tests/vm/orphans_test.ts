/**
 * PID 1 buries every orphan and tells every caller the truth about its own child, both at once.
 *
 * 2,000 orphans end under PID 1 while commands with known exit codes run beside them.
 */

import assert from "node:assert/strict";
import {
  endsWithoutFault,
  eventSince,
  eventually,
  head,
  history,
  long,
  sharedGuest,
} from "./shared.ts";

const guest = sharedGuest();

const ORPHANS = 2000;
/** All 500 run in the self-test too, where they cost less (tests/selftest/children.ts). */
const COMMANDS = long ? 500 : 120;
/** PID 1 runs eight at once; more only wait there. */
const AT_ONCE = 8;
/** No command's exit code, so that the orphans can be told apart in the events. */
const ORPHAN_CODE = 77;
const CODES = 64;

/** Processes in /proc whose state is Z. */
async function zombies(): Promise<string> {
  return await (await guest()).shell(
    "for p in /proc/[0-9]*; do grep -l '^State:.Z' $p/status; done 2>/dev/null; true",
  );
}

Deno.test(`${ORPHANS} orphans beside ${COMMANDS} commands: no zombie, no wrong status`, async () => {
  const machine = await guest();
  const since = await head(machine);
  // Each inner shell leaves a child that outlives it, and PID 1 becomes that child's parent.
  const script = `i=0; while [ $i -lt ${ORPHANS} ]; do i=$((i+1)); ` +
    `( ( usleep 50000; exit ${ORPHAN_CODE} ) & ); done; sleep 1`;
  const storm = machine.exec(["/bin/sh", "-c", script], { timeout_ms: 300_000 });

  const wrong: unknown[] = [];
  let next = 0;
  const worker = async () => {
    for (let n = next++; n < COMMANDS; n = next++) {
      const wanted = n % CODES;
      const { code, signal, stdout } = await machine.exec([
        "/bin/sh",
        "-c",
        `echo ${n}; exit ${wanted}`,
      ]);
      if (code !== wanted || signal !== null || stdout !== `${n}\n`) {
        wrong.push({ n, code, signal, stdout });
      }
    }
  };
  const [made] = await Promise.all([storm, ...Array.from({ length: AT_ONCE - 1 }, worker)]);
  assert.equal(made.code, 0);
  assert.deepEqual(wrong, []);
  assert.ok(next >= COMMANDS);

  const reaped = await eventually(
    "every orphan to be reaped",
    async () => {
      const { items, lost } = await history(machine, "process.reaped", since);
      assert.equal(lost, 0);
      const ours = items.filter(({ data }) => data.code === ORPHAN_CODE);
      return ours.length >= ORPHANS && ours;
    },
    60_000,
    1000,
  );
  assert.equal(reaped.length, ORPHANS);
  assert.equal(new Set(reaped.map(({ id }) => id)).size, ORPHANS);
  // One that ended just now is one for a moment; none may stay one.
  await eventually("no zombie", async () => await zombies() === "");
});

Deno.test("an orphan's end by a signal is told as one", async () => {
  const machine = await guest();
  const since = await head(machine);
  // The command waits until it is gone: what is left of a command is killed with its group.
  const pid = Number(
    await machine.shell(`
      ( sh -c 'echo $$; usleep 200000; kill -SEGV $$' > /tmp/orphan & )
      while ! [ -s /tmp/orphan ]; do usleep 20000; done
      read -r pid < /tmp/orphan; rm /tmp/orphan; echo $pid
      while kill -0 $pid; do usleep 20000; done 2>/dev/null`),
  );
  const reaped = await eventSince(
    machine,
    since,
    "process.reaped",
    ({ data }) => data.pid === pid,
  );
  assert.deepEqual(reaped.data, { pid, code: null, signal: "SIGSEGV" });
});

endsWithoutFault("orphans", guest);
