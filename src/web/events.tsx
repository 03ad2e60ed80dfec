/**
 * Events: everything that happens, as it happens, newest first.
 *
 * Owns the view of the log only. Draws just the rows on the screen, so that its
 * cost does not grow with what arrives, and keeps the row a person looks at in
 * its place while newer ones come in above it.
 */
import { useEffect, useLayoutEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import type { CloudEvent } from "../../bus/envelope.ts";
import { Detail } from "./detail.tsx";
import { byFamily, familyClass, quietFamily } from "./family.ts";
import { formatClock, formatCount, formatMs, formatShort, visible } from "./format.ts";
import { capacity, familyFloor } from "./log.ts";
import type { Entry } from "./log.ts";
import { Panel } from "./panel.tsx";
import { useSession } from "./session.ts";
import { gapWords, summarise, toneOf } from "./summary.ts";

/** Row heights in px, as in style.css; narrow lists put each event on two lines. */
const rowHeight = 24;
const rowHeightNarrow = 44;
const narrowBelow = 520;
/** Rows drawn beyond each edge of the screen. */
const overscan = 8;
/** Chips drawn; a stream could invent families without end. */
const chipsMax = 40;

export function Events() {
  const session = useSession();
  const { store } = session;
  const search = useRef<HTMLInputElement>(null);
  useEffect(() => {
    const press = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || isTyping(event.target)) return;
      if (event.key === "/") search.current?.focus();
      else if (event.key === "p") store.togglePause();
      else return;
      event.preventDefault();
    };
    addEventListener("keydown", press);
    return () => removeEventListener("keydown", press);
  }, []);
  const paused = store.pausedOn.value !== null;
  return (
    <Panel
      id="events"
      title="Events"
      aside={
        <>
          <input
            ref={search}
            type="search"
            aria-label="Search the events"
            placeholder="search, -exclude"
            title="Words that must all be there, -word must not. Key: /"
            spellcheck={false}
            value={store.search.value}
            onInput={(event) => store.search.value = event.currentTarget.value}
          />
          <button
            type="button"
            id="pause"
            class={paused ? "primary" : ""}
            aria-pressed={paused}
            title="Freeze the list; what arrives is still counted. Key: p"
            onClick={() => store.togglePause()}
          >
            {paused ? "Resume" : "Pause"}
          </button>
        </>
      }
    >
      <Chips />
      <div class={store.selected.value === null ? "events" : "events split"}>
        <List />
        {store.selected.value !== null && <Detail event={store.selected.value} />}
      </div>
      <Footer />
    </Panel>
  );
}

function isTyping(target: EventTarget | null): boolean {
  return target instanceof HTMLElement &&
    (target.isContentEditable || /^(INPUT|TEXTAREA|SELECT)$/.test(target.tagName));
}

function Chips() {
  const { store } = useSession();
  const counts = store.log.value.counts;
  const shown = store.shownFamilies.value;
  const names = [...new Set([...counts.keys(), ...shown])].sort(byFamily).slice(0, chipsMax);
  return (
    <div class="chips" role="group" aria-label="Show only these families">
      <button
        type="button"
        class="chip"
        aria-pressed={shown.size === 0}
        onClick={() => store.shownFamilies.value = new Set()}
      >
        all
      </button>
      {names.map((family) => (
        <button
          key={family}
          type="button"
          class={`chip ${familyClass(family)}`}
          aria-pressed={shown.has(family)}
          title={family === quietFamily
            ? "Readings, one a second: hidden unless chosen"
            : `Show only ${family} and what else is chosen`}
          onClick={() => store.toggleFamily(family)}
        >
          <i class="swatch" aria-hidden="true" />
          {visible(family)}
          <span class="count">{formatShort(counts.get(family) ?? 0)}</span>
        </button>
      ))}
    </div>
  );
}

function Footer() {
  const { store } = useSession();
  const log = store.log.value;
  const shown = store.visible.value.length;
  const paused = store.pausedOn.value !== null;
  return (
    <footer class="events-foot">
      <span id="shown">{formatCount(shown)} shown</span>
      <span title={`At most ${capacity} are kept here, at least ${familyFloor} of each family`}>
        {formatCount(log.entries.length)} kept
      </span>
      <span id="received">{formatCount(log.received)} received</span>
      {store.unreadable.value > 0 && (
        <span class="bad">{formatCount(store.unreadable.value)} unreadable</span>
      )}
      <span id="paused" role="status" class={paused ? "paused" : ""}>
        {paused && `paused, ${formatCount(store.arrivedSincePause.value)} arrived`}
      </span>
    </footer>
  );
}

/** The row kept in place while others come in above: its key and how much of it is scrolled off. */
interface Anchor {
  readonly key: number;
  readonly offset: number;
}

function List() {
  const { store } = useSession();
  const box = useRef<HTMLDivElement>(null);
  /** Null: at the top, following what arrives. */
  const anchor = useSignal<Anchor | null>(null);
  const size = useSignal({ height: 480, narrow: false });
  const rows = store.visible.value;
  const height = size.value.narrow ? rowHeightNarrow : rowHeight;
  const top = anchor.value === null
    ? 0
    : Math.max(0, indexOfKey(rows, anchor.value.key) * height + anchor.value.offset);
  const selectedKey = keyOfSelected(rows, store.selected.value);

  useLayoutEffect(() => {
    const element = box.current;
    if (element === null) return;
    const sizes = new ResizeObserver(() => {
      size.value = { height: element.clientHeight, narrow: element.clientWidth < narrowBelow };
    });
    sizes.observe(element);
    return () => sizes.disconnect();
  }, []);
  useLayoutEffect(() => {
    const element = box.current;
    if (element !== null && Math.abs(element.scrollTop - top) >= 1) element.scrollTop = top;
  }, [top, rows.length]);

  // What is selected (by a click, a key, or as a cause) comes into view, by the shortest way.
  useLayoutEffect(() => {
    if (selectedKey === null) return;
    const at = indexOfKey(rows, selectedKey) * height;
    const room = size.value.height - height;
    if (at < top) anchor.value = { key: selectedKey, offset: 0 };
    else if (at > top + room) anchor.value = { key: selectedKey, offset: -room };
  }, [selectedKey, size.value]);

  const scrolled = () => {
    const element = box.current;
    if (element === null) return;
    const at = element.scrollTop;
    const row = rows[rows.length - 1 - Math.floor(at / height)];
    anchor.value = at < height / 2 || row === undefined
      ? null
      : { key: row.key, offset: at % height };
  };
  const first = Math.max(0, Math.floor(top / height) - overscan);
  const last = Math.min(rows.length, Math.ceil((top + size.value.height) / height) + overscan);
  const drawn: Drawn[] = [];
  for (let index = first; index < last; index++) {
    drawn.push({ index, entry: rows[rows.length - 1 - index]! });
  }
  const selectedDrawn = drawn.some(({ entry }) => entry.key === selectedKey);
  return (
    <div class="list-frame">
      <div
        ref={box}
        class={size.value.narrow ? "list narrow" : "list"}
        tabIndex={0}
        role="listbox"
        aria-label="Events, newest first"
        {...(selectedDrawn ? { "aria-activedescendant": `event-${selectedKey}` } : {})}
        onScroll={scrolled}
        onKeyDown={(event) => {
          const page = Math.max(1, Math.floor(size.value.height / height) - 1);
          move(event, rows, selectedKey, page, store.selected);
        }}
      >
        <div class="list-sizer" style={{ height: `${rows.length * height}px` }}>
          {drawn.map(({ index, entry }) => (
            <Row
              key={entry.key}
              entry={entry}
              top={index * height}
              position={index + 1}
              total={rows.length}
              selected={entry.key === selectedKey}
              onSelect={() => {
                if (entry.kind === "event") store.selected.value = entry.event;
              }}
            />
          ))}
        </div>
        {rows.length === 0 && (
          <p class="note empty">
            {store.log.value.received === 0 ? "Nothing heard yet." : "Nothing matches the filter."}
          </p>
        )}
      </div>
      {anchor.value !== null && (
        <button
          type="button"
          class="to-top"
          onClick={() => anchor.value = null}
        >
          ↑ newest
        </button>
      )}
    </div>
  );
}

/** A row to draw and its place from the top. */
type Drawn = { readonly index: number; readonly entry: Entry };

/** How many rows lie above the newest one not newer than `key` (rows ascend by key). */
function indexOfKey(rows: readonly Entry[], key: number): number {
  let low = 0;
  let high = rows.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if (rows[middle]!.key <= key) low = middle + 1;
    else high = middle;
  }
  return low === 0 ? Math.max(0, rows.length - 1) : rows.length - low;
}

function keyOfSelected(
  rows: readonly Entry[],
  selected: { boot: string; sequence: number } | null,
): number | null {
  if (selected === null) return null;
  for (const entry of rows) {
    if (
      entry.kind === "event" && entry.event.sequence === selected.sequence &&
      entry.event.boot === selected.boot
    ) return entry.key;
  }
  return null;
}

/** Arrow keys, Home, End and Escape in the list. */
function move(
  event: KeyboardEvent,
  rows: readonly Entry[],
  selectedKey: number | null,
  page: number,
  selected: Signal<CloudEvent | null>,
): void {
  if (event.key === "Escape") {
    selected.value = null;
    return;
  }
  const at = selectedKey === null
    ? -1
    : rows.length - 1 - rows.findIndex(({ key }) => key === selectedKey);
  const steps: Record<string, [from: number, step: 1 | -1]> = {
    ArrowDown: [at + 1, 1],
    ArrowUp: [at - 1, -1],
    PageDown: [at + page, 1],
    PageUp: [at - page, -1],
    Home: [0, 1],
    End: [rows.length - 1, -1],
  };
  const wanted = steps[event.key];
  if (wanted === undefined || rows.length === 0) return;
  event.preventDefault();
  let [index, step] = wanted;
  index = Math.max(0, Math.min(rows.length - 1, index));
  // Markers can not be selected: pass over them.
  while (rows[rows.length - 1 - index]?.kind !== "event") {
    index += step;
    if (index < 0 || index >= rows.length) return;
  }
  const entry = rows[rows.length - 1 - index]!;
  if (entry.kind === "event") selected.value = entry.event;
}

interface RowProps {
  readonly entry: Entry;
  readonly top: number;
  readonly position: number;
  readonly total: number;
  readonly selected: boolean;
  readonly onSelect: () => void;
}

function Row({ entry, top, position, total, selected, onSelect }: RowProps) {
  const placed = {
    id: `event-${entry.key}`,
    style: { transform: `translateY(${top}px)` },
    role: "option",
    "aria-selected": selected,
    "aria-posinset": position,
    "aria-setsize": total,
  } as const;
  if (entry.kind === "gap") {
    return (
      <div {...placed} class="row marker gap">
        <span class="time">{formatClock(entry.time)}</span>
        <span class="marker-text">{visible(gapWords(entry.gap))}</span>
      </div>
    );
  }
  if (entry.kind === "boot") {
    return (
      <div {...placed} class="row marker reboot">
        <span class="time">{formatClock(entry.time)}</span>
        <span class="marker-text">
          machine rebooted: boot {visible(entry.boot.slice(0, 8))}
          {entry.silentMs > 0 && `, silent for ${formatMs(entry.silentMs)}`}
        </span>
      </div>
    );
  }
  const { event, family } = entry;
  const tone = toneOf(event);
  const gap = event.type === "bus.gap";
  return (
    <div
      {...placed}
      class={`row ${familyClass(family)} tone-${tone} ${gap ? "marker gap" : ""}`}
      onClick={onSelect}
    >
      <time class="time" dateTime={event.time}>{formatClock(event.time)}</time>
      <span class="type">{visible(event.type)}</span>
      <span class="summary">
        {tone !== "plain" && <i class="tone" aria-hidden="true">{toneMarks[tone]}</i>}
        {tone === "bad" && <span class="visually-hidden">error:</span>}
        {summarise(event)}
      </span>
      <span class="seq">{event.sequence}</span>
    </div>
  );
}

const toneMarks = { bad: "✕", warn: "▲", good: "✓" } as const;
