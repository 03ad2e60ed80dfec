/** Finding programs as execvp(3) does. */
import assert from "node:assert/strict";
import { checkDirectory, type FileFacts, findProgram, isPermanent, spawnFault } from "./program.ts";

/** Path → mode of a file, "dir", or the code it is refused with. */
function files(facts: Record<string, number | string>): FileFacts {
  return {
    stat: (path) => {
      const fact = facts[path.replace("/./", "/")] ?? "ENOENT";
      if (typeof fact === "number") {
        return Promise.resolve({ isFile: true, isDirectory: false, mode: fact });
      }
      if (fact === "dir") return Promise.resolve({ isFile: false, isDirectory: true, mode: 0o755 });
      return Promise.reject(Object.assign(new Error(fact), { code: fact }));
    },
  };
}

Deno.test("findProgram() takes the first executable on PATH", async () => {
  const facts = files({ "/a/x": 0o644, "/b/x": 0o755, "/c/x": 0o755, "/w/sub/x": 0o755 });
  assert.equal(await findProgram(facts, "x", "/", "/a:/b:/c"), "/b/x");
  assert.equal(await findProgram(facts, "x", "/w", "sub:/b"), "/w/sub/x");
  assert.equal(await findProgram(facts, "x", "/b", ":/c"), "/b/./x");
});

Deno.test("findProgram() takes a name with a slash as a path", async () => {
  const facts = files({ "/w/run": 0o755, "/run": 0o700 });
  assert.equal(await findProgram(facts, "./run", "/w", "/bin"), "/w/./run");
  assert.equal(await findProgram(facts, "./run", "/", "/bin"), "/./run");
  assert.equal(await findProgram(facts, "/run", "/w", "/bin"), "/run");
});

Deno.test("findProgram() tells missing, not executable and unreadable apart", async () => {
  const facts = files({ "/a/x": 0o644, "/a/y": "dir", "/a/z": "EIO", "/b": 0o644 });
  const fault = async (name: string, path = "/nope:/a") => {
    const found = await findProgram(facts, name, "/", path);
    assert(typeof found !== "string");
    return found.message;
  };
  assert.equal(await fault("none"), 'exec "none": ENOENT');
  assert.equal(await fault(""), 'exec "": ENOENT');
  assert.equal(await fault("x"), 'exec "x": EACCES');
  assert.equal(await fault("y"), 'exec "y": EACCES');
  assert.equal(await fault("z"), 'exec "z": EIO');
  assert.equal(await fault("/a/x"), 'exec "/a/x": EACCES');
  assert.equal(await fault("/q/x"), 'exec "/q/x": ENOENT');
});

Deno.test("checkDirectory() names a working directory that is none", async () => {
  const facts = files({ "/d": "dir", "/f": 0o644 });
  assert.equal(await checkDirectory(facts, "/d"), null);
  assert.equal((await checkDirectory(facts, "/f"))?.message, 'chdir "/f": ENOTDIR');
  assert.equal((await checkDirectory(facts, "/n"))?.message, 'chdir "/n": ENOENT');
});

Deno.test("isPermanent() is true only where trying again cannot help", () => {
  assert.equal(isPermanent(spawnFault("exec", "x", "ENOENT")), true);
  assert.equal(isPermanent(spawnFault("chdir", "/x", "EACCES")), true);
  assert.equal(isPermanent(spawnFault("spawn", "x", "EAGAIN")), false);
  assert.equal(isPermanent(spawnFault("spawn", "x", "ENOMEM")), false);
  assert.equal(isPermanent(spawnFault("exec", "x", "ETIMEDOUT")), false);
  assert.equal(isPermanent(spawnFault("cgroup", "/tasks/x", "ENOENT")), false);
});
