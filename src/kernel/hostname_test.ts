/** Names of machine and kernel. */
import assert from "node:assert/strict";
import { fakeLibc, Script } from "../../tests/kernel/harness.ts";
import { setHostname, uname } from "./hostname.ts";
import { openLibc } from "./libc.ts";

Deno.test("uname() agrees with this runtime", () => {
  const names = uname(openLibc());
  assert.deepEqual([names.system, names.hostname, names.release, names.machine], [
    "Linux",
    Deno.hostname(),
    Deno.osRelease(),
    Deno.build.arch,
  ]);
});

Deno.test("setHostname() passes bytes without a NUL, and names what was refused", () => {
  const script = new Script();
  const libc = fakeLibc({ sethostname: script.fn(0, "EPERM") }, script.errno);
  setHostname(libc, "osym");
  assert.deepEqual(script.calls[0], [new TextEncoder().encode("osym"), 4n]);
  assert.throws(() => setHostname(libc, "x"), { message: 'sethostname "x": EPERM' });
});
