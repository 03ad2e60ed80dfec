/**
 * Filter: which entries of the log are shown.
 *
 * Pure. Markers (gaps, reboots) always pass: a filter must never hide that
 * something is missing.
 */
import { quietFamily } from "./family.ts";
import type { Entry, EventEntry } from "./log.ts";
import { summarise } from "./summary.ts";

/** One word of a search; `-word` excludes. */
export interface Term {
  readonly word: string;
  readonly exclude: boolean;
}

export interface Filter {
  /** Empty: every family but the quiet one. */
  readonly families: ReadonlySet<string>;
  /** All must hold. */
  readonly terms: readonly Term[];
}

/** Reads the search box: words separated by blanks, `-word` to exclude, case ignored. */
export function parseSearch(text: string): Term[] {
  return text.toLowerCase().split(/\s+/).filter((word) => word !== "" && word !== "-")
    .map((word) =>
      word.startsWith("-") ? { word: word.slice(1), exclude: true } : { word, exclude: false }
    );
}

/** The entries a filter lets through, in order. */
export function select(entries: readonly Entry[], filter: Filter): readonly Entry[] {
  return entries.filter((entry) => admits(filter, entry));
}

function admits(filter: Filter, entry: Entry): boolean {
  if (entry.kind !== "event") return true;
  const { families, terms } = filter;
  if (families.size === 0 ? entry.family === quietFamily : !families.has(entry.family)) {
    return false;
  }
  if (terms.length === 0) return true;
  const text = searchText(entry);
  return terms.every(({ word, exclude }) => text.includes(word) !== exclude);
}

/** Built when first searched; goes with its entry. */
const texts = new WeakMap<EventEntry, string>();

function searchText(entry: EventEntry): string {
  let text = texts.get(entry);
  if (text === undefined) {
    const { event } = entry;
    text = [
      event.type,
      event.subject ?? "",
      event.source,
      `#${event.sequence}`,
      summarise(event),
      JSON.stringify(event.data) ?? "",
    ].join(" ").toLowerCase();
    texts.set(entry, text);
  }
  return text;
}
