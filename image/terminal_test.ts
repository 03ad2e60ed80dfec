import assert from "node:assert/strict";

Deno.test("writeOut() and complain() drop what nobody reads any more", async () => {
  const module = new URL("./terminal.ts", import.meta.url).href;
  const program = `import { complain, writeOut } from ${JSON.stringify(module)};
    await Deno.stdin.read(new Uint8Array(1));
    for (let i = 0; i < 3; i++) writeOut(new Uint8Array(100_000));
    for (let i = 0; i < 3; i++) complain("x".repeat(100_000));
    Deno.exit(7);`;
  const child = new Deno.Command(Deno.execPath(), {
    args: ["eval", "--quiet", program],
    stdin: "piped",
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  await Promise.all([child.stdout.cancel(), child.stderr.cancel()]);
  await child.stdin.close();
  assert.equal((await child.status).code, 7);
});
