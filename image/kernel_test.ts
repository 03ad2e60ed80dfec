import assert from "node:assert/strict";
import { join } from "node:path";
import { configHash, configLines, findStripped, lostLines } from "./kernel.ts";

const FRAGMENT = `# why
CONFIG_NET=y
CONFIG_LOCALVERSION="-osym"
# CONFIG_MODULES is not set
CONFIG_IO_URING=n
CONFIG_BPF=n
`;

Deno.test("configLines() leaves comments out", () => {
  assert.deepEqual(configLines(FRAGMENT), [
    ...["CONFIG_NET=y", 'CONFIG_LOCALVERSION="-osym"', "CONFIG_IO_URING=n", "CONFIG_BPF=n"],
  ]);
});

Deno.test("lostLines() accepts a configuration that has every line", () => {
  const config = 'CONFIG_NET=y\nCONFIG_LOCALVERSION="-osym"\n# CONFIG_IO_URING is not set\n';
  assert.deepEqual(lostLines(FRAGMENT, config), []);
});

Deno.test("lostLines() names each line that Kconfig dropped or changed", () => {
  const config = "\nCONFIG_NET=m\nCONFIG_BPF=y\n";
  assert.deepEqual(lostLines(FRAGMENT, config), [
    ...["CONFIG_NET=y", 'CONFIG_LOCALVERSION="-osym"', "CONFIG_BPF=n"],
  ]);
});

Deno.test("findStripped() takes the newest build, and none that was interrupted", async () => {
  const cache = await Deno.makeTempDir();
  const before = Deno.env.get("XDG_CACHE_HOME");
  Deno.env.set("XDG_CACHE_HOME", cache);
  try {
    const build = async (version: string) => {
      const name = `${await configHash("x86_64")}-${version}`;
      await Deno.mkdir(join(cache, "osymbiote/kernel", name), { recursive: true });
    };
    for (const version of ["6.12.117-1.build", "6.12.117-1.new"]) await build(version);
    assert.equal(await findStripped("x86_64"), null);
    for (const version of ["6.12.9-1", "6.12.48-1"]) await build(version);
    assert.equal((await findStripped("x86_64"))?.version, "6.12.48-1");
  } finally {
    if (before === undefined) Deno.env.delete("XDG_CACHE_HOME");
    else Deno.env.set("XDG_CACHE_HOME", before);
    await Deno.remove(cache, { recursive: true });
  }
});
