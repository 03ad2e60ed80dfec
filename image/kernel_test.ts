import assert from "node:assert/strict";
import { configLines, lostLines } from "./kernel.ts";

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
