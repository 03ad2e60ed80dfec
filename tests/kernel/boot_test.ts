/**
 * The first file of PID 1 as PID 1 of a pid namespace, where the end of the machine is the end of
 * that namespace: the kernel kills its first process with SIGHUP for a restart (reboot(2)).
 */
import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { all, kernelTest, readable, unshareable } from "./harness.ts";

const NAMESPACES = ["--pid", "--fork", "--kill-child", "--mount"];

kernelTest(
  "a PID 1 that can not load the system says why on the console, and restarts the machine",
  all(unshareable(...NAMESPACES), readable("/dev/console")),
  async () => {
    const folder = await Deno.makeTempDir({ prefix: "osym-boot-" });
    try {
      // Alone: what it imports is not there.
      const boot = `${folder}/boot.js`;
      await Deno.copyFile(fileURLToPath(import.meta.resolve("../../src/boot.js")), boot);
      await Deno.writeTextFile(`${folder}/console`, "");
      const { signal, code, stderr } = await new Deno.Command("unshare", {
        args: [
          ...NAMESPACES,
          ...["sh", "-c", 'mount --bind "$1" /dev/console && exec "$2" run -A --no-config "$3"'],
          ...["sh", `${folder}/console`, Deno.execPath(), boot],
        ],
        env: { NO_COLOR: "1" },
      }).output();
      const said = await Deno.readTextFile(`${folder}/console`);
      assert.match(said, /^osymbiote: cannot start: .*main\.js/m);
      assert.match(said, /^restarting in 5 s$/m);
      // unshare(1) ends as its child did.
      assert.deepEqual([signal, code], ["SIGHUP", 129], new TextDecoder().decode(stderr));
    } finally {
      await Deno.remove(folder, { recursive: true });
    }
  },
);
