/**
 * History: the last five minutes of samples as columns for the sparklines.
 *
 * An immutable value, one row a sample, bounded. A silence (a reboot, a lost
 * connection) becomes a row of nulls, so that no line is drawn across it.
 */
import type { MachineSample } from "../../bus/shapes.ts";

/** The order of the columns after time. */
export const series = ["cpu", "memory", "load", "rx", "tx", "events"] as const;
export type Series = (typeof series)[number];

export interface History {
  /** Wall seconds of the machine, ascending. */
  readonly time: readonly number[];
  readonly columns: Readonly<Record<Series, readonly (number | null)[]>>;
  /** What the event rate is reckoned from. */
  readonly last: { readonly boot: string; readonly sequence: number; readonly time: number } | null;
}

/** Seconds shown, which is also the number of rows kept. */
export const span = 300;
/** Samples come each second; more than this apart is a break. */
const breakAfter = 3.5;

export const emptyHistory: History = {
  time: [],
  columns: { cpu: [], memory: [], load: [], rx: [], tx: [], events: [] },
  last: null,
};

/** Bytes per second over all links but the loopback. */
export function linkRates(sample: MachineSample): { rx: number; tx: number } {
  let rx = 0;
  let tx = 0;
  for (const link of sample.links) {
    if (link.link === "lo") continue;
    rx += link.rx_rate;
    tx += link.tx_rate;
  }
  return { rx, tx };
}

/** The history with one sample more; `time` in wall ms. A sample out of order is dropped. */
export function remember(
  history: History,
  sample: MachineSample,
  at: { readonly boot: string; readonly sequence: number; readonly time: number },
): History {
  const last = history.last;
  const seconds = at.time / 1_000;
  const previous = history.time.at(-1);
  // A clock set back would fold the line over itself: begin anew.
  if (previous !== undefined && seconds < previous - breakAfter) {
    return remember(emptyHistory, sample, at);
  }
  if (previous !== undefined && seconds <= previous) return history;
  const elapsed = last === null ? 0 : (at.time - last.time) / 1_000;
  const steady = last !== null && last.boot === at.boot && elapsed > 0;
  const rates = linkRates(sample);
  const row: Record<Series, number | null> = {
    cpu: sample.cpu.busy,
    memory: sample.memory.total === 0
      ? null
      : (sample.memory.total - sample.memory.available) / sample.memory.total,
    load: sample.load[0],
    rx: rates.rx,
    tx: rates.tx,
    events: steady ? Math.max(0, at.sequence - last.sequence) / elapsed : null,
  };
  const broken = previous !== undefined && seconds - previous > breakAfter;
  const time = [...history.time, ...(broken ? [seconds - 1] : []), seconds].slice(-span);
  const columns = Object.fromEntries(
    series.map((name) => [
      name,
      [...history.columns[name], ...(broken ? [null] : []), row[name]].slice(-span),
    ]),
  ) as Record<Series, (number | null)[]>;
  return { time, columns, last: at };
}
