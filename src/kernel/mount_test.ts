/** Mounts: flags, mountinfo, statfs. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { fakeLibc, holds, hostileBytes, Script } from "../../tests/kernel/harness.ts";
import { BlockingCalls } from "./blocking.ts";
import { textOf, Writer } from "./layout.ts";
import {
  decodeStatfs,
  mount,
  mountDevice,
  parseMountinfo,
  statfs,
  umount,
  umountDevice,
} from "./mount.ts";

Deno.test("mount() passes names and flags, and names what was refused", () => {
  const script = new Script();
  const libc = fakeLibc({ mount: script.fn(0, "EBUSY") }, script.errno);
  const request = {
    source: "proc",
    target: "/proc",
    type: "proc",
    flags: ["nosuid", "nodev", "noexec"],
    data: "hidepid=2",
  } as const;
  mount(libc, request);
  const [source, target, type, flags, data] = script.calls[0] ?? [];
  assert.deepEqual([source, target, type, data].map((each) => textOf(each as Uint8Array)), [
    "proc",
    "/proc",
    "proc",
    "hidepid=2",
  ]);
  assert.equal(flags, 14n);
  assert.throws(() => mount(libc, request), { message: 'mount "proc" on "/proc": EBUSY' });
  assert.throws(() => mount(libc, { ...request, target: "/p\0" }), { code: "EINVAL" });
});

Deno.test("umount() passes its flags, and names what was refused", () => {
  const script = new Script();
  const libc = fakeLibc({ umount2: script.fn(0, "EINVAL") }, script.errno);
  umount(libc, "/mnt", ["detach", "nofollow"]);
  assert.equal(script.calls[0]?.[1], 10);
  assert.throws(() => umount(libc, "/mnt"), { message: 'umount "/mnt": EINVAL' });
});

Deno.test("mountDevice() and umountDevice() answer whether, not why", async () => {
  const calls = new BlockingCalls();
  const libc = fakeLibc({
    mountAsync: () => Promise.resolve(-1),
    umount2Async: () => Promise.resolve(0),
  });
  const request = { source: "/dev/vdb", target: "/data", type: "ext4" };
  assert.deepEqual(await mountDevice(libc, calls, request, 100), { state: "done", value: false });
  assert.deepEqual(await umountDevice(libc, calls, "/data", [], 100), {
    state: "done",
    value: true,
  });
});

Deno.test("statfs() gives up on a disk that hangs", async () => {
  const hung = Promise.withResolvers<number>();
  const libc = fakeLibc({ statfsAsync: () => hung.promise });
  const calls = new BlockingCalls();
  assert.deepEqual(await statfs(libc, calls, "/data", 5), { state: "timeout" });
  assert.equal(calls.inFlight, 1);
  hung.resolve(0);
});

Deno.test("decodeStatfs() counts in fragments and knows read-only", () => {
  const writer = new Writer(120).u64(0xef53).u64(4096).u64(1000).u64(400).u64(300).u64(64).u64(60)
    .zero(8).u64(255).u64(1024).u64(0x21).zero(32);
  assert.deepEqual(decodeStatfs(writer.finish()), {
    magic: 0xef53,
    totalBytes: 1_024_000,
    freeBytes: 409_600,
    availableBytes: 307_200,
    totalInodes: 64,
    freeInodes: 60,
    readOnly: true,
  });
  const erofs = new Writer(120).zero(40).u64(-1n & 0xffff_ffff_ffff_ffffn).zero(72).finish();
  assert.equal(decodeStatfs(erofs)?.totalInodes, 0, "erofs does not count inodes");
  assert.equal(decodeStatfs(new Uint8Array(87)), null);
  holds(fc.property(hostileBytes(), (bytes) => {
    decodeStatfs(bytes);
  }));
});

Deno.test("parseMountinfo() reads optional fields, escapes and a missing last word", () => {
  const { mounts, skipped } = parseMountinfo(
    "36 35 98:0 /mnt1 /mnt\\0402 rw,noatime master:1 shared:2 - ext3 /dev/ro\\134ot rw,errors=continue\n" +
      "22 1 0:20 / /proc rw - proc proc rw\n" +
      "23 1 0:21 / /x rw - tmpfs none\n" +
      "broken\n" +
      "24 1 0:22 / /y rw shared:1 tmpfs none rw\n",
  );
  assert.equal(skipped, 2);
  assert.deepEqual(mounts[0], {
    id: 36,
    parent: 35,
    device: "98:0",
    root: "/mnt1",
    target: "/mnt 2",
    options: ["rw", "noatime"],
    type: "ext3",
    source: "/dev/ro\\ot",
    superOptions: ["rw", "errors=continue"],
  });
  assert.deepEqual(mounts.map(({ target }) => target), ["/mnt 2", "/proc", "/x"]);
});

Deno.test("parseMountinfo() accounts for every line of hostile text", () => {
  const word = fc.constantFrom("1", "-", "/", "rw", "a,b", "\\040", "\\777", "", "\t", "ext4");
  const line = fc.array(word, { maxLength: 14 }).map((words) => words.join(" "));
  holds(fc.property(fc.array(line), (lines) => {
    const { mounts, skipped } = parseMountinfo(lines.join("\n"));
    assert.equal(mounts.length + skipped, lines.filter((text) => text !== "").length);
  }));
});
