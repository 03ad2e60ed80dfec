/** The caging command, run for real where this host lets root do so. */
import assert from "node:assert/strict";
import { cagedArgv } from "./cage.ts";
import { capturedText, runToEnd } from "./run.ts";
import { needRoot, rig, testNeeding } from "./testing.ts";

const busybox = "/bin/busybox";

/** Runs `argv` with an /etc/passwd that knows the user `mind`, for it alone. */
async function runCaged(argv: readonly string[]) {
  const folder = await Deno.makeTempDir({ dir: "/tmp" });
  await Deno.writeTextFile(
    `${folder}/passwd`,
    "root:x:0:0::/:/bin/sh\nmind:x:990:990::/:/bin/false\n",
  );
  await Deno.writeTextFile(`${folder}/group`, "root:x:0:\nmind:x:990:\n");
  const inside = "mount --bind $0/passwd /etc/passwd && mount --bind $0/group /etc/group && " +
    'unset SHLVL PWD OLDPWD && exec "$@"';
  const on = rig();
  const spawned = await on.spawner.spawn({
    argv: [
      busybox,
      "unshare",
      "-m",
      busybox,
      "sh",
      "-c",
      inside,
      folder,
      ...cagedArgv("mind", argv),
    ],
    env: { A: "b" },
  });
  assert(spawned.ok);
  const { timers, report } = on;
  const options = { timers, report, timeoutMs: 10_000, maxBytes: 65_536 };
  const ended = await runToEnd(spawned.child, options);
  await Deno.remove(folder, { recursive: true });
  return {
    pid: spawned.child.pid,
    exit: ended.exit,
    out: capturedText(ended.stdout),
    err: capturedText(ended.stderr),
  };
}

testNeeding(
  needRoot,
  "cagedArgv() is one process from the first exec to the program's exit",
  async () => {
    const script = 'echo "$$ $0 $*"; readlink /proc/$$/exe; exit 7';
    const { pid, out, exit, err } = await runCaged([
      busybox,
      "sh",
      "-c",
      script,
      "-c",
      "--v8",
      "-s",
    ]);
    assert.equal(err, "");
    const [line, exe] = out.trim().split("\n");
    assert.equal(line, `${pid} -c --v8 -s`, "the program's options are its own");
    assert.match(exe ?? "", /busybox$/);
    assert.deepEqual(exit, { code: 7, signal: null });
  },
);

testNeeding(
  needRoot,
  "cagedArgv() gives the user nothing but its uid, its environment and a downed lo",
  async () => {
    const script = "id -u; id -G; env; grep -E '^(CapEff|CapPrm|CapInh|CapAmb|NoNewPrivs)' " +
      "/proc/self/status; cat /proc/net/dev | tail -n +3 | cut -d: -f1; readlink /proc/self/ns/net; " +
      "readlink /proc/self/ns/ipc; readlink /proc/self/ns/uts";
    const { out, err } = await runCaged([
      busybox,
      "sh",
      "-c",
      `exec 2>&1; unset PWD SHLVL; ${script}`,
    ]);
    assert.equal(err, "");
    const lines = out.trim().split("\n").map((line) => line.trim());
    assert.deepEqual(lines.slice(0, 2), ["990", "990"]);
    assert.deepEqual(lines.slice(2, 4).sort(), ["A=b", "PATH=/bin:/sbin:/usr/bin:/usr/sbin"]);
    assert.deepEqual(lines.slice(4, 9).map((line) => line.replace(/\s+/, " ")), [
      "CapInh: 0000000000000000",
      "CapPrm: 0000000000000000",
      "CapEff: 0000000000000000",
      "CapAmb: 0000000000000000",
      "NoNewPrivs: 1",
    ]);
    assert.equal(lines[9], "lo");
    for (const [i, name] of ["net", "ipc", "uts"].entries()) {
      assert.notEqual(lines[10 + i], await Deno.readLink(`/proc/self/ns/${name}`));
    }
  },
);
