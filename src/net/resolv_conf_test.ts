import assert from "node:assert/strict";
import { renderResolvConf, ResolvConf } from "./resolv_conf.ts";

Deno.test("renderResolvConf() names each server once, three at most", () => {
  assert.match(renderResolvConf([]), /^# [^\n]*\n$/);
  assert.match(
    renderResolvConf(["10.0.2.3", "10.0.2.3", "1.1.1.1", "9.9.9.9", "8.8.8.8"]),
    /\nnameserver 10\.0\.2\.3\nnameserver 1\.1\.1\.1\nnameserver 9\.9\.9\.9\n$/,
  );
});

Deno.test("ResolvConf.write() replaces the file whole and leaves no temporary one", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const file = new ResolvConf(`${directory}/resolv.conf`);
    const writes = Array.from({ length: 20 }, (_, index) => file.write([`10.0.0.${index + 1}`]));
    assert.deepEqual(await Promise.all(writes), writes.map(() => ({ ok: true })));
    assert.match(await Deno.readTextFile(`${directory}/resolv.conf`), /nameserver 10\.0\.0\.20\n$/);
    assert.deepEqual(Array.from(Deno.readDirSync(directory), (entry) => entry.name), [
      "resolv.conf",
    ]);
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});

Deno.test("ResolvConf.write() answers a fault where it can not write, and tries again", async () => {
  const directory = await Deno.makeTempDir();
  try {
    const file = new ResolvConf(`${directory}/run/resolv.conf`);
    const refused = await file.write(["10.0.2.3"]);
    assert.equal(refused.ok, false);
    assert.match(refused.ok ? "" : refused.reason, /^write ".*resolv\.conf": /);
    await Deno.mkdir(`${directory}/run`);
    assert.deepEqual(await file.write(["10.0.2.3"]), { ok: true });
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
