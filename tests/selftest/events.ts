/** Files, processes and the kernel's log, as the kernel of this machine tells of them. */

import assert from "node:assert/strict";
import { ProcessConnector, type ProcessEvent } from "../../src/kernel/connector.ts";
import { IN, Inotify } from "../../src/kernel/inotify.ts";
import { Kmsg, type KmsgRecord } from "../../src/kernel/kmsg.ts";
import { parsePressure, PressureTrigger } from "../../src/kernel/psi.ts";
import { getSysctl, setSysctl } from "../../src/kernel/sysctl.ts";
import { libc, shell, until, withFolder, withReactor } from "./harness.ts";

Deno.test("Inotify tells a storm of 2,000 changes, each once and in order", () =>
  withFolder((folder) =>
    withReactor(async (reactor) => {
      const inotify = new Inotify(libc);
      inotify.add(folder, IN.CREATE | IN.DELETE);
      const seen: string[] = [];
      let overflows = 0;
      const registration = reactor.add(inotify.fd, ["read"], () =>
        inotify.drain({
          onEvent: ({ mask, name }) => seen.push(`${mask & IN.CREATE ? "+" : "-"}${name}`),
          onOverflow: () => overflows++,
        }));
      const told: string[] = [];
      for (let i = 0; i < 1000; i++) {
        Deno.writeTextFileSync(`${folder}/f${i}`, "");
        Deno.removeSync(`${folder}/f${i}`);
        told.push(`+f${i}`, `-f${i}`);
      }
      await until(() => seen.length >= told.length, () => [seen.length, overflows]);
      assert.deepEqual(seen, told);
      assert.equal(overflows, 0);
      registration.remove();
      inotify.close();
    })
  ));

Deno.test("Inotify tells an overflow once, after the queue's worth", () =>
  withFolder((folder) =>
    withReactor(async (reactor) => {
      const name = "fs/inotify/max_queued_events";
      const before = getSysctl(name);
      const limit = 200;
      setSysctl(name, limit);
      try {
        assert.equal(getSysctl(name), String(limit));
        const inotify = new Inotify(libc);
        inotify.add(folder, IN.CREATE | IN.DELETE);
        const seen: string[] = [];
        let overflows = 0;
        const registration = reactor.add(inotify.fd, ["read"], () =>
          inotify.drain({
            onEvent: (event) => seen.push(event.name),
            onOverflow: () => overflows++,
          }));
        // Synchronous: the loop can not drain in between.
        for (let i = 0; i < limit; i++) {
          Deno.writeTextFileSync(`${folder}/f`, "");
          Deno.removeSync(`${folder}/f`);
        }
        await until(() => overflows > 0, () => seen.length);
        assert.deepEqual([seen.length, overflows], [limit, 1]);
        Deno.writeTextFileSync(`${folder}/after`, "");
        await until(() => seen.at(-1) === "after");
        registration.remove();
        inotify.close();
      } finally {
        setSysctl(name, before);
      }
    })
  ));

Deno.test("ProcessConnector tells fork, exec, exit code and signal, beside PID 1's own ear", () =>
  withReactor(async (reactor) => {
    const connector = new ProcessConnector(libc, { receiveBufferBytes: 4 << 20 });
    const events: ProcessEvent[] = [];
    let lost = 0;
    const registration = reactor.add(connector.fd, ["read"], () =>
      connector.drain({
        onEvent: (event) => events.push(event),
        onLost: (count) => lost += count,
        onOverflow: () => lost += 1,
      }));
    const killed = shell("exec sleep 1000");
    const of = (pid: number, kind: ProcessEvent["kind"]) =>
      events.find((event) => event.kind === kind && event.tgid === pid);
    await until(() => of(killed.pid, "exec") !== undefined, () => events.slice(-5));
    killed.kill("SIGKILL");
    await killed.status;
    await until(() => of(killed.pid, "exit") !== undefined);
    const exit = of(killed.pid, "exit");
    assert.deepEqual(exit?.kind === "exit" && exit.status, { signal: "SIGKILL", core: false });
    const fork = of(killed.pid, "fork");
    assert.equal(fork?.kind === "fork" && fork.parentTgid, Deno.pid);

    const many = 500;
    const storm = shell(`i=0; while [ $i -lt ${many} ]; do (exit 93); i=$((i+1)); done`);
    await storm.status;
    const exits = () =>
      events.filter((event) =>
        event.kind === "exit" && "code" in event.status && event.status.code === 93
      );
    await until(() => exits().length >= many, () => [exits().length, lost]);
    assert.equal(exits().length, many);
    assert.ok(exits().every((event) => event.kind === "exit" && event.parentTgid === storm.pid));
    assert.deepEqual([lost, connector.malformed], [0, 0]);
    registration.remove();
    connector.close();
  }));

Deno.test("Kmsg reads the log from its start and a line that was just written", () =>
  withReactor(async (reactor) => {
    const kmsg = new Kmsg(libc, "start");
    const records: KmsgRecord[] = [];
    let lost = 0;
    const registration = reactor.add(
      kmsg.fd,
      ["read"],
      () =>
        kmsg.drain({
          onRecord: (record) => records.push(record),
          onLost: (count) => lost += count,
        }),
    );
    const text = `selftest ${crypto.randomUUID()} é`;
    Deno.writeTextFileSync("/dev/kmsg", `<6>${text}\n`);
    await until(() => records.some((record) => record.text === text), () => records.length);
    assert.ok(records.some((record) => record.text.startsWith("Linux version ")));
    const own = records.find((record) => record.text === text);
    assert.deepEqual([own?.facility, own?.level], [1, "info"]);
    assert.ok(records.every(({ seq }, at) => at === 0 || seq === records[at - 1]!.seq + 1));
    assert.deepEqual([kmsg.malformed, lost], [0, 0]);
    registration.remove();
    kmsg.close();
  }));

Deno.test("PressureTrigger opens for memory, cpu and io, and a bad window is EINVAL", () =>
  withReactor((reactor) => {
    for (const name of ["memory", "cpu", "io"]) {
      const path = `/proc/pressure/${name}`;
      assert.ok(parsePressure(Deno.readTextFileSync(path)) !== null, path);
      const trigger = new PressureTrigger(libc, path, {
        kind: "some",
        stallUs: 400_000,
        windowUs: 500_000,
      });
      const registration = reactor.add(trigger.fd, ["priority"], () => {});
      assert.ok(registration.active);
      registration.remove();
      trigger.close();
      assert.throws(
        () => new PressureTrigger(libc, path, { kind: "some", stallUs: 2, windowUs: 1 }),
        { code: "EINVAL" },
      );
    }
    return Promise.resolve();
  }));
