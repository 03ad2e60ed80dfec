/** Kernel parameters. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { holds } from "../../tests/kernel/harness.ts";
import { getSysctl, setSysctl, sysctlPath } from "./sysctl.ts";

Deno.test("sysctlPath() takes dots, or slashes when a part holds a dot", () => {
  assert.equal(sysctlPath("net.ipv4.ip_forward"), "/proc/sys/net/ipv4/ip_forward");
  assert.equal(
    sysctlPath("net/ipv4/conf/eth0.5/rp_filter"),
    "/proc/sys/net/ipv4/conf/eth0.5/rp_filter",
  );
});

Deno.test("sysctlPath() never leaves /proc/sys", () => {
  for (
    const name of ["", "..", "a/../b", "a//b", "/etc/passwd", "a.", "kernel/\0", "a/./b", "a/ b"]
  ) {
    assert.equal(sysctlPath(name), null, JSON.stringify(name));
  }
  holds(fc.property(fc.string(), (name) => {
    const path = sysctlPath(name);
    if (path !== null) {
      assert.equal(new URL(`file://${path}`).pathname.startsWith("/proc/sys/"), true);
    }
  }));
});

Deno.test("setSysctl() writes what getSysctl() reads, and names what is missing", () => {
  const root = Deno.makeTempDirSync();
  Deno.mkdirSync(`${root}/vm`);
  Deno.writeTextFileSync(`${root}/vm/swappiness`, "60\n");
  setSysctl("vm.swappiness", 10, root);
  assert.equal(getSysctl("vm.swappiness", root), "10");
  assert.throws(() => setSysctl("vm.none", 1, root), { message: "sysctl vm.none=1: ENOENT" });
  assert.throws(() => getSysctl("vm.none", root), { message: "sysctl vm.none: ENOENT" });
  assert.throws(() => getSysctl("../x", root), TypeError);
  Deno.removeSync(root, { recursive: true });
});
