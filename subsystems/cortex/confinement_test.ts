/** What the kernel shows of a cage. */
import assert from "node:assert/strict";
import { type Confinement, confinementOf, missing, type ProcView } from "./confinement.ts";

const status = (about: Record<string, string> = {}) =>
  Object.entries({
    Name: "deno",
    Uid: "990\t990\t990\t990",
    CapInh: "0000000000000000",
    CapPrm: "0000000000000000",
    CapEff: "0000000000000000",
    CapBnd: "000001ffffffffff",
    CapAmb: "0000000000000000",
    NoNewPrivs: "1",
    Seccomp: "0",
    Seccomp_filters: "0",
    ...about,
  }).map(([key, value]) => `${key}:\t${value}\n`).join("");

function proc(about: Record<string, string> = {}, text = status()): ProcView {
  const files: Record<string, string> = {
    "/proc/7/status": text,
    "/proc/7/cgroup": "12:pids:/x\n0::/tasks/mind-1\n",
    "/proc/self/ns/net": "net:[1]",
    "/proc/7/ns/net": "net:[2]",
    ...about,
  };
  const get = (path: string) =>
    files[path] === undefined
      ? Promise.reject(Object.assign(new Error(path), { code: "ENOENT" }))
      : Promise.resolve(files[path]);
  return { read: get, link: get };
}

Deno.test("confinementOf() reads users, namespaces, capabilities and group", async () => {
  const found = await confinementOf(7, proc());
  assert.deepEqual(found, {
    uids: [990, 990, 990, 990],
    netns: true,
    no_new_privs: true,
    seccomp: 0,
    capabilities: 0n,
    cgroup: "/tasks/mind-1",
  });
  assert.deepEqual(missing(found, 990, "/tasks/mind-1"), []);
  assert.deepEqual(missing(found, 990, null), []);
});

Deno.test("missing() names everything that is open", async () => {
  const faults = async (view: ProcView) =>
    missing(await confinementOf(7, view), 990, "/tasks/mind-1");
  assert.deepEqual(await faults(proc({}, status({ Uid: "990\t0\t990\t990" }))), [
    "its users are 990 0 990 990, expected 990",
  ]);
  assert.deepEqual(await faults(proc({ "/proc/7/ns/net": "net:[1]" })), [
    "it is in our network namespace",
  ]);
  assert.deepEqual(await faults(proc({}, status({ NoNewPrivs: "0" }))), [
    "it may gain privileges by exec",
  ]);
  for (const kind of ["CapEff", "CapPrm", "CapInh", "CapAmb"]) {
    assert.deepEqual(await faults(proc({}, status({ [kind]: "0000000000200000" }))), [
      "it holds capabilities 0x200000",
    ]);
  }
  assert.deepEqual(await faults(proc({ "/proc/7/cgroup": "1:x:/\n" })), [
    'it is in cgroup "", expected /tasks/mind-1',
  ]);
  const nothing: Confinement = {
    uids: [],
    netns: false,
    no_new_privs: false,
    seccomp: 0,
    capabilities: 1n,
    cgroup: "",
  };
  assert.equal(missing(nothing, 990, "/x").length, 5);
});

Deno.test("confinementOf() rejects when the process is gone or /proc reads otherwise", async () => {
  await assert.rejects(confinementOf(8, proc()), { code: "ENOENT" });
  const torn = status().replace(/NoNewPrivs.*\n/, "");
  await assert.rejects(confinementOf(7, proc({}, torn)), /no NoNewPrivs/);
  await assert.rejects(confinementOf(7, proc({}, status({ CapEff: "zz" }))), SyntaxError);
});
