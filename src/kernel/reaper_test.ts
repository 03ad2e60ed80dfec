/** Reaping, against a modelled kernel. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, hostileBytes } from "../../tests/kernel/harness.ts";
import { Errno } from "./errno.ts";
import type { ExitStatus } from "./process.ts";
import { decodeSiginfo, Reaper, SWEEP_LIMIT } from "./reaper.ts";

/** Children in the kernel's order; a status makes one a zombie. */
class Children {
  readonly list: { pid: number; status: number | null }[] = [];
  readonly stolen: number[] = [];
  own = new Set<number>();
  errno = 0;
  calls = 0;

  readonly libc = fakeLibc({
    waitid: (idType, id, info, options) => {
      this.calls++;
      const match = this.list.filter(({ pid }) => idType === 0 || pid === id);
      if (match.length === 0) {
        this.errno = Errno.ECHILD;
        return -1;
      }
      const zombie = match.find(({ status }) => status !== null);
      if (zombie === undefined) return 0;
      const view = new DataView((info as Uint8Array<ArrayBuffer>).buffer);
      const status = zombie.status ?? 0;
      view.setInt32(8, status < 0 ? 2 : 1, true);
      view.setInt32(16, zombie.pid, true);
      view.setInt32(24, Math.abs(status), true);
      if ((options & 0x0100_0000) === 0) {
        this.list.splice(this.list.indexOf(zombie), 1);
        if (this.own.has(zombie.pid)) this.stolen.push(zombie.pid);
      }
      return 0;
    },
  }, () => this.errno);

  reaper(onOrphan: (pid: number, status: ExitStatus) => void, report = assert.fail as () => void) {
    return new Reaper(
      this.libc,
      (pid) => this.own.has(pid),
      onOrphan,
      report,
      () => this.list.map(({ pid }) => pid),
    );
  }
}

Deno.test("decodeSiginfo() tells codes, signals and cores", () => {
  const info = (code: number, pid: number, status: number) => {
    const bytes = new Uint8Array(128);
    const view = new DataView(bytes.buffer);
    view.setInt32(8, code, true);
    view.setInt32(16, pid, true);
    view.setInt32(24, status, true);
    return decodeSiginfo(bytes);
  };
  assert.deepEqual(info(1, 42, 7), { pid: 42, status: { code: 7 } });
  assert.deepEqual(info(2, 42, 15), { pid: 42, status: { signal: "SIGTERM", core: false } });
  assert.deepEqual(info(3, 42, 11), { pid: 42, status: { signal: "SIGSEGV", core: true } });
  assert.equal(info(1, 0, 0), null, "nobody ended");
  holds(fc.property(hostileBytes(), (bytes) => {
    decodeSiginfo(bytes);
  }));
});

Deno.test("Reaper.sweep() reaps every foreign zombie and no own one, in any order", () => {
  const child = fc.tuple(fc.boolean(), fc.option(fc.integer({ min: -15, max: 255 })));
  holds(fc.property(fc.array(child, { maxLength: 30 }), (spec) => {
    const children = new Children();
    spec.forEach(([own, status], index) => {
      children.list.push({ pid: index + 1, status });
      if (own) children.own.add(index + 1);
    });
    const orphans: number[] = [];
    const reaped = children.reaper((pid) => orphans.push(pid)).sweep();
    const expected = spec.flatMap(([own, status], index) =>
      !own && status !== null ? [index + 1] : []
    );
    assert.deepEqual(orphans.sort((a, b) => a - b), expected);
    assert.equal(reaped, expected.length);
    assert.deepEqual(children.stolen, []);
  }));
});

Deno.test("Reaper.sweep() answers 0 without children", () => {
  assert.equal(new Children().reaper(() => {}).sweep(), 0);
});

Deno.test("Reaper.sweep() bounds a storm", () => {
  const children = new Children();
  for (let pid = 1; pid <= 300; pid++) children.list.push({ pid, status: 0 });
  const reaper = children.reaper(() => {});
  assert.deepEqual([reaper.sweep(), reaper.sweep(), reaper.sweep()], [SWEEP_LIMIT, 44, 0]);
  assert.equal(reaper.reaped, 300);
});

Deno.test("Reaper.sweep() reports what throws and reaps on", () => {
  const children = new Children();
  children.list.push({ pid: 1, status: 0 }, { pid: 2, status: 0 });
  const reports: string[] = [];
  const reaper = new Reaper(
    children.libc,
    () => false,
    (pid) => {
      throw new Error(`orphan ${pid}`);
    },
    (where, error) => reports.push(`${where}: ${(error as Error).message}`),
  );
  assert.equal(reaper.sweep(), 2);
  assert.deepEqual(reports, ["reaper: orphan 1", "reaper: orphan 2"]);
});

Deno.test("Reaper.sweep() reports a waitid that fails", () => {
  const reports: string[] = [];
  const libc = fakeLibc({ waitid: () => -1 }, () => Errno.EFAULT);
  new Reaper(libc, () => false, () => {}, (_where, error) => reports.push(String(error))).sweep();
  assert.deepEqual(reports, ["SysError: waitid 0: EFAULT"]);
});
