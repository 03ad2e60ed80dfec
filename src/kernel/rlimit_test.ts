/** Resource limits. */
import assert from "node:assert/strict";
import { openLibc } from "./libc.ts";
import { getLimit, setLimit } from "./rlimit.ts";

Deno.test("setLimit() sets what getLimit() answers, infinity included", () => {
  const libc = openLibc();
  const before = getLimit(libc, "core");
  setLimit(libc, "core", { soft: 0, hard: before.hard });
  assert.deepEqual(getLimit(libc, "core"), { soft: 0, hard: before.hard });
  setLimit(libc, "core", before);
  assert.deepEqual(getLimit(libc, "core"), before);
  assert.ok(getLimit(libc, "nofile").soft >= 256);
});

Deno.test("setLimit() names what was refused", () => {
  assert.throws(() => setLimit(openLibc(), "core", { soft: 2, hard: 1 }), {
    message: "setrlimit core 2/1: EINVAL",
  });
});
