/**
 * Argv: a typed command line as the list of words that exec takes.
 *
 * Quotes and backslashes as POSIX sh 2.2; nothing else of a shell: no
 * variables, globs, pipes or redirections. Pure.
 */

export type Argv =
  | { readonly ok: true; readonly argv: readonly string[] }
  | { readonly ok: false; readonly reason: string };

/** Splits a command line; refuses an unclosed quote and a trailing backslash. */
export function splitArgv(line: string): Argv {
  const argv: string[] = [];
  /** Null between words; an empty string is a word that began (`''`). */
  let word: string | null = null;
  let quote: "'" | '"' | null = null;
  for (let i = 0; i < line.length; i++) {
    const char = line[i]!;
    if (quote === "'") {
      if (char === "'") quote = null;
      else word += char;
    } else if (char === "\\") {
      const next = line[++i];
      if (next === undefined) {
        return { ok: false, reason: "a backslash at the end escapes nothing" };
      }
      // Inside double quotes a backslash is itself, except before these (POSIX 2.2.3).
      word = (word ?? "") + (quote === '"' && !'$`"\\\n'.includes(next) ? "\\" + next : next);
    } else if (char === '"' || (quote === null && char === "'")) {
      quote = quote === char ? null : char;
      word ??= "";
    } else if (quote === null && /\s/.test(char)) {
      if (word !== null) argv.push(word);
      word = null;
    } else {
      word = (word ?? "") + char;
    }
  }
  if (quote !== null) return { ok: false, reason: `a ${quote} is never closed` };
  if (word !== null) argv.push(word);
  return argv.length === 0 ? { ok: false, reason: "nothing to run" } : { ok: true, argv };
}
