import assert from "node:assert/strict";
import fc from "fast-check";
import { joinArgv, splitArgv } from "./argv.ts";

/** Any UTF-16, halves of pairs included. */
const anyText = fc.array(fc.integer({ min: 0, max: 0xffff }))
  .map((codes) => String.fromCharCode(...codes));

function words(line: string): string[] {
  const split = splitArgv(line);
  if (!split.ok) throw new Error(split.reason);
  return split.argv;
}

Deno.test("splitArgv() splits at blanks and reads quotes and backslashes", () => {
  for (
    const [line, argv] of [
      ["", []],
      ["   \t ", []],
      ["ls -l  /tmp", ["ls", "-l", "/tmp"]],
      ["echo 'a b' \"c d\"", ["echo", "a b", "c d"]],
      ["echo '' \"\"", ["echo", "", ""]],
      ["echo a'b'\"c\"d", ["echo", "abcd"]],
      ["echo a\\ b \\'", ["echo", "a b", "'"]],
      ["echo '\\n'", ["echo", "\\n"]],
      ['echo "\\n \\" \\\\"', ["echo", '\\n " \\']],
      ["echo 'it'\\''s'", ["echo", "it's"]],
      ["echo ü 😀", ["echo", "ü", "😀"]],
      ["a;b $(c) | d > e *", ["a;b", "$(c)", "|", "d", ">", "e", "*"]],
    ] as const
  ) assert.deepEqual(words(line), argv, line);
});

Deno.test("splitArgv() names what is not closed", () => {
  for (
    const [line, reason] of [
      ["echo 'a", "the ' at column 6 is not closed"],
      ['echo "a', 'the " at column 6 is not closed'],
      ['echo "a\\"', 'the " at column 6 is not closed'],
      ["echo \\", "a backslash with nothing after it"],
    ] as const
  ) assert.deepEqual(splitArgv(line), { ok: false, reason });
});

Deno.test("splitArgv() undoes joinArgv() for any arguments", () => {
  const word = fc.oneof(
    anyText,
    fc.constantFrom("'", '"', "\\", " ", "", "\n"),
  );
  fc.assert(fc.property(fc.array(word), (argv) => {
    assert.deepEqual(words(joinArgv(argv)), argv);
  }));
});

Deno.test("splitArgv() never throws", () => {
  fc.assert(fc.property(anyText, (line) => void splitArgv(line)));
});
