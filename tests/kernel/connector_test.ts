/** Process events of this host, and what a slow reader loses. */
import assert from "node:assert/strict";
import { ProcessConnector, type ProcessEvent } from "../../src/kernel/connector.ts";
import { openLibc } from "../../src/kernel/libc.ts";
import { Reactor } from "../../src/kernel/reactor.ts";
import { all, capability, kernelTest, type Need, nothing, program, until } from "./harness.ts";

const libc = openLibc();

/** The subscription answers ECONNREFUSED outside the initial network namespace. */
const connector: Need = () => {
  try {
    new ProcessConnector(libc).close();
    return null;
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
};
const need = all(capability("CAP_NET_ADMIN"), program("taskset"), connector);

async function withConnector(
  test: (events: ProcessEvent[], lost: number[]) => Promise<void>,
  receiveBufferBytes?: number,
): Promise<void> {
  const reactor = new Reactor(libc, (where, error) => assert.fail(`${where}: ${error}`));
  const running = reactor.run();
  const source = new ProcessConnector(libc, { receiveBufferBytes });
  const events: ProcessEvent[] = [];
  const lost: number[] = [];
  const registration = reactor.add(source.fd, ["read"], () =>
    source.drain({
      onEvent: (event) => events.push(event),
      onLost: (count) => lost.push(count),
      onOverflow: () => lost.push(-1),
    }));
  try {
    await test(events, lost);
    assert.equal(source.malformed, 0);
  } finally {
    registration.remove();
    source.close();
    await reactor.close();
    await running;
  }
}

kernelTest(
  "ProcessConnector tells fork, exec, exit and its signal",
  need,
  () =>
    withConnector(async (events) => {
      const child = new Deno.Command("sh", { args: ["-c", "exec sleep 60"] }).spawn();
      await until(() => events.some((event) => event.kind === "exec" && event.tgid === child.pid));
      child.kill("SIGKILL");
      await child.status;
      const of = (kind: ProcessEvent["kind"]) =>
        events.find((event) => event.kind === kind && event.tgid === child.pid);
      await until(() => of("exit") !== undefined);
      const exit = of("exit");
      assert.deepEqual(exit?.kind === "exit" && exit.status, { signal: "SIGKILL", core: false });
      const fork = of("fork");
      assert.equal(fork?.kind === "fork" && fork.parentTgid, Deno.pid);
      assert.ok((exit?.monotonicUs ?? 0) >= (fork?.monotonicUs ?? Infinity));
    }),
);

kernelTest(
  "ProcessConnector loses nothing of 2,000 processes while JavaScript is blocked",
  need,
  () =>
    withConnector(async (events, lost) => {
      const { success } = new Deno.Command("sh", {
        args: ["-c", "i=0; while [ $i -lt 2000 ]; do (exit 3); i=$((i+1)); done"],
      }).outputSync();
      assert.ok(success);
      const exits = () =>
        events.filter((event) =>
          event.kind === "exit" && "code" in event.status && event.status.code === 3
        ).length;
      await until(() => exits() >= 2000);
      assert.deepEqual(lost, []);
    }),
);

kernelTest(
  "ProcessConnector counts what a small buffer lost, CPU by CPU",
  need,
  () =>
    withConnector(async (events, lost) => {
      const onEachCpu = () => {
        for (let cpu = 0; cpu < navigator.hardwareConcurrency; cpu++) {
          const args = ["-c", String(cpu), "sh", "-c", "(:); (:)"];
          assert.ok(new Deno.Command("taskset", { args }).outputSync().success);
        }
      };
      // A CPU's count begins with its first event.
      onEachCpu();
      await until(() =>
        new Set(events.map(({ cpu }) => cpu)).size === navigator.hardwareConcurrency
      );
      // JavaScript is blocked while the kernel overflows the buffer.
      const storm = "i=0; while [ $i -lt 2000 ]; do (:); i=$((i+1)); done";
      new Deno.Command("sh", { args: ["-c", storm] }).outputSync();
      await until(() => lost.includes(-1));
      onEachCpu();
      const counted = () =>
        lost.filter((count) => count > 0).reduce((sum, count) => sum + count, 0);
      await until(() => events.length + counted() >= 4000);
      assert.ok(counted() > 1000, `${counted()} lost, ${events.length} told`);
    }, 16 * 1024),
);

kernelTest("ProcessConnector.close() is safe twice", all(need, nothing), () => {
  const source = new ProcessConnector(libc);
  source.close();
  source.close();
});
