/**
 * Values as text for a terminal.
 *
 * Owns the rule that untrusted text never reaches a terminal as it is: what
 * could move the cursor, recolour or reorder is shown as its escape.
 */

// C0 but tab and newline, DEL, C1; marks and controls that are invisible or change the direction of
// text (Unicode categories Cf, Zl, Zp); halves of surrogate pairs.
// deno-lint-ignore no-control-regex
const unprintable = /[\x00-\x08\x0b-\x1f\x7f-\x9f]|\p{Cf}|\p{Zl}|\p{Zp}|\p{Cs}/gu;

/** Text with everything but printable characters, `\n` and `\t` shown as `\x1b`, `\u{202e}`. */
export function escapeText(text: string): string {
  return text.replaceAll("\r\n", "\n").replace(unprintable, (character) => {
    const code = character.codePointAt(0)!;
    const hex = code.toString(16);
    return code < 0x100 ? `\\x${hex.padStart(2, "0")}` : `\\u{${hex}}`;
  });
}

/** The same on one line: tabs and newlines are escaped as well. */
export function escapeLine(text: string): string {
  return escapeText(text).replaceAll("\n", "\\n").replaceAll("\t", "\\t");
}

/** At most `length` characters, the last of them … when some are missing. */
export function cut(text: string, length: number): string {
  if (text.length <= length) return text;
  const characters = [...text];
  return characters.length <= length ? text : `${characters.slice(0, length - 1).join("")}…`;
}

/**
 * Rows under a heading, columns padded to their widest cell, two blanks apart.
 * Columns named in `right` are right-aligned. Cells are escaped.
 */
export function table(
  heading: readonly string[],
  rows: readonly (readonly string[])[],
  right: readonly string[] = [],
): string {
  const all = [heading, ...rows].map((row) => row.map(escapeLine));
  const widths = heading.map((_, column) =>
    Math.max(...all.map((row) => [...(row[column] ?? "")].length))
  );
  return all.map((row) =>
    heading.map((name, column) => {
      const cell = row[column] ?? "";
      const padding = " ".repeat(widths[column]! - [...cell].length);
      return right.includes(name) ? padding + cell : cell + padding;
    }).join("  ").trimEnd()
  ).join("\n");
}

const sizeUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"] as const;

/** `1536` → `"1.5 KiB"`. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  // 1023.95 KiB would round to "1024.0 KiB".
  while (value >= 1023.95 && unit < sizeUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${unit === 0 || value >= 99.95 ? Math.round(value) : value.toFixed(1)} ${
    sizeUnits[unit]
  }`;
}

/** Seconds as the two largest units that matter: `"350 ms"`, `"12 s"`, `"3 min 12 s"`, `"2 d 4 h"`. */
export function formatDuration(seconds: number): string {
  if (seconds < 1) return `${Math.round(seconds * 1000)} ms`;
  if (seconds < 9.95) return `${seconds.toFixed(1)} s`;
  let left = Math.round(seconds);
  const parts: string[] = [];
  for (const [name, size] of [["d", 86_400], ["h", 3_600], ["min", 60], ["s", 1]] as const) {
    const count = Math.floor(left / size);
    left -= count * size;
    if (count > 0) parts.push(`${count} ${name}`);
    else if (parts.length > 0) break;
    if (parts.length === 2) break;
  }
  return parts.join(" ");
}

/** A share 0…1 as `"12 %"`. */
export function formatShare(share: number): string {
  return `${Math.round(share * 100)} %`;
}

/** The known word nearest to a mistyped one, or null when none is near. */
export function nearest(word: string, known: readonly string[]): string | null {
  const starts = known.filter((candidate) => word.length >= 2 && candidate.startsWith(word));
  if (starts.length === 1) return starts[0]!;
  let best: string | null = null;
  // In a short word every letter is a large part of it.
  let least = Math.min(3, Math.max(1, word.length - 1));
  for (const candidate of known) {
    const edits = distance(word, candidate);
    if (edits < least) {
      least = edits;
      best = candidate;
    }
  }
  return best;
}

/** Optimal string alignment distance: insertions, deletions, changes, swaps of neighbours. */
function distance(one: string, other: string): number {
  const a = one.slice(0, 64);
  const b = other.slice(0, 64);
  let before: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1] ? 0 : 1;
      let cost = Math.min(
        previous[column]! + 1,
        current[column - 1]! + 1,
        previous[column - 1]! + same,
      );
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] &&
        a[row - 2] === b[column - 1];
      if (swapped) cost = Math.min(cost, before[column - 2]! + 1);
      current.push(cost);
    }
    before = previous;
    previous = current;
  }
  return previous[b.length]!;
}
