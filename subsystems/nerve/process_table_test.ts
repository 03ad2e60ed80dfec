import assert from "node:assert/strict";
import type { Proc, ProcessStat } from "../../src/kernel/proc.ts";
import { ProcessTable } from "./process_table.ts";

/** A /proc of processes by pid; one whose status is gone ends between the two readings of its row. */
function tableOf(processes: Map<number, { stat: Partial<ProcessStat>; uid: number | null }>) {
  const proc = {
    pids: () => [...processes.keys()],
    processStat: (pid: number) => ({ pid, comm: "x", state: "S", ...processes.get(pid)!.stat }),
    processStatus: (pid: number) => {
      const { uid } = processes.get(pid)!;
      return uid === null ? null : { uid };
    },
  };
  return new ProcessTable(proc as unknown as Proc, () => Promise.resolve());
}

Deno.test("ProcessTable.scan() leaves out who ends while its row is read: it is not root's", async () => {
  const table = tableOf(
    new Map([[7, { stat: {}, uid: 1000 }], [8, { stat: {}, uid: null }]]),
  );
  await table.scan();
  assert.deepEqual(table.list().map(({ pid, uid }) => [pid, uid]), [[7, 1000]]);
  assert.equal(table.size, 1);
});

Deno.test("ProcessTable.scan() reads the credentials of a process anew each time", async () => {
  const processes = new Map([[7, { stat: { startTicks: 5 }, uid: 0 }]]);
  const table = tableOf(processes);
  await table.scan();
  processes.get(7)!.uid = 1000;
  await table.scan();
  assert.equal(table.list()[0]?.uid, 1000);
});
