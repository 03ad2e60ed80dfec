/**
 * Tables of text: columns aligned, so that a person can read a measurement.
 *
 * Owns layout and units. Pure; writes nothing.
 */

/** A row: its name, then its cells. */
export type Row = readonly string[];

/**
 * Lines of a table under a title. The first column is aligned left, the others right; columns are
 * two spaces apart. Rows may be shorter than the head.
 */
export function table(title: string, head: Row, rows: readonly Row[]): string {
  const all = [head, ...rows];
  const widths: number[] = [];
  for (const row of all) {
    row.forEach((cell, column) => {
      widths[column] = Math.max(widths[column] ?? 0, cell.length);
    });
  }
  const line = (row: Row): string =>
    row.map((cell, column) => {
      const width = widths[column] ?? 0;
      return column === 0 ? cell.padEnd(width) : cell.padStart(width);
    }).join("  ").trimEnd();
  const rule = "-".repeat(widths.reduce((sum, width) => sum + width + 2, -2));
  return [title, rule, line(head), rule, ...rows.map(line), ""].join("\n");
}

/** Milliseconds, whole. */
export function ms(value: number): string {
  return `${Math.round(value)} ms`;
}

/** Bytes in MB (10⁶), two digits after the point. */
export function mb(bytes: number): string {
  return `${(bytes / 1e6).toFixed(2)} MB`;
}

/** A ratio. */
export function times(ratio: number): string {
  return `${ratio.toFixed(2)} ×`;
}
