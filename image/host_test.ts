import assert from "node:assert/strict";
import { join } from "node:path";
import { lockFile } from "./host.ts";

Deno.test("lockFile() lets one in at a time, and the next when it is closed", async () => {
  const folder = await Deno.makeTempDir();
  try {
    const path = join(folder, "below", "lock");
    const order: string[] = [];
    const first = await lockFile(path, "testing");
    const second = lockFile(path, "testing, as it should").then((lock) => {
      order.push("second");
      lock.close();
    });
    await new Promise((resolve) => setTimeout(resolve, 50));
    order.push("first");
    first.close();
    await second;
    assert.deepEqual(order, ["first", "second"]);
  } finally {
    await Deno.remove(folder, { recursive: true });
  }
});
