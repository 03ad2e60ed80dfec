/**
 * A command line as arguments, and back.
 *
 * Owns quoting: single quotes, double quotes and backslashes as sh(1) reads
 * them, and nothing else of a shell. No expansion, no operators.
 */

export type Split = { ok: true; argv: string[] } | { ok: false; reason: string };

/**
 * Splits at blanks. Inside `'…'` everything is literal; inside `"…"` a
 * backslash escapes `"` and `\`; outside quotes it escapes any character.
 */
export function splitArgv(line: string): Split {
  const argv: string[] = [];
  /** null between arguments: `""` is an argument, nothing is none. */
  let word: string | null = null;
  const characters = [...line];
  for (let at = 0; at < characters.length; at++) {
    const character = characters[at]!;
    if (character === " " || character === "\t") {
      if (word !== null) argv.push(word);
      word = null;
    } else if (character === "\\") {
      const next = characters[++at];
      if (next === undefined) return { ok: false, reason: "a backslash with nothing after it" };
      word = (word ?? "") + next;
    } else if (character === "'" || character === '"') {
      const quoted = readQuoted(characters, at);
      if (quoted === null) {
        return { ok: false, reason: `the ${character} at column ${at + 1} is not closed` };
      }
      word = (word ?? "") + quoted.text;
      at = quoted.end;
    } else {
      word = (word ?? "") + character;
    }
  }
  if (word !== null) argv.push(word);
  return { ok: true, argv };
}

/** The text between the quote at `start` and its partner at `end`; null without one. */
function readQuoted(
  characters: readonly string[],
  start: number,
): { text: string; end: number } | null {
  const quote = characters[start]!;
  let text = "";
  for (let at = start + 1; at < characters.length; at++) {
    const character = characters[at]!;
    if (character === quote) return { text, end: at };
    const next = characters[at + 1];
    if (quote === '"' && character === "\\" && (next === '"' || next === "\\")) {
      text += next;
      at++;
    } else {
      text += character;
    }
  }
  return null;
}

/** A command line that `splitArgv()` reads as these arguments. */
export function joinArgv(argv: readonly string[]): string {
  return argv.map((word) => /^[^\s'"\\]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`)
    .join(" ");
}
