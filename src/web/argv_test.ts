/** Tests of argv.ts. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { splitArgv } from "./argv.ts";

const words = (line: string) => {
  const split = splitArgv(line);
  assert.ok(split.ok, split.ok ? "" : split.reason);
  return split.argv;
};

Deno.test("splitArgv() splits at blanks and keeps quoted words whole", () => {
  assert.deepEqual(words("  ls  -l\t/tmp "), ["ls", "-l", "/tmp"]);
  assert.deepEqual(words(`sh -c 'echo "a b" | wc'`), ["sh", "-c", 'echo "a b" | wc']);
  assert.deepEqual(words(`echo "it's" a'b'"c" ''`), ["echo", "it's", "abc", ""]);
});

Deno.test("splitArgv() reads backslashes as POSIX sh does", () => {
  assert.deepEqual(words(String.raw`a\ b \"`), ["a b", '"']);
  assert.deepEqual(words(String.raw`"a\"b" "\n" '\n'`), ['a"b', "\\n", "\\n"]);
});

Deno.test("splitArgv() leaves variables, globs and pipes as they are", () => {
  assert.deepEqual(words("echo $HOME * | cat"), ["echo", "$HOME", "*", "|", "cat"]);
});

Deno.test("splitArgv() refuses what has no end, with the reason", () => {
  for (const line of ["", "   ", "echo 'a", 'echo "a', "echo \\"]) {
    assert.equal(splitArgv(line).ok, false, line);
  }
});

Deno.test("splitArgv() gives back any words that were quoted", () => {
  const quote = (word: string) => `'${word.replaceAll("'", `'\\''`)}'`;
  fc.assert(fc.property(
    fc.array(fc.string({ unit: "binary" }), { minLength: 1, maxLength: 6 }),
    (argv) => assert.deepEqual(words(argv.map(quote).join(" ")), argv),
  ));
});
