/**
 * Sparkline: one small chart of the last minutes, drawn by uPlot.
 *
 * Owns a canvas and its colours, which it reads from the style sheet and reads
 * again when the colour scheme changes. All sparklines share one cursor.
 */
import { useEffect, useRef } from "preact/hooks";
import { effect } from "@preact/signals";
import type { Signal } from "@preact/signals";
import uPlot from "uplot";
import { span } from "./history.ts";
import type { History, Series } from "./history.ts";

interface SparklineProps {
  readonly history: Signal<History>;
  readonly series: readonly Series[];
  /** The top of the scale is at least this. */
  readonly atLeast: number;
  readonly label: string;
  /** Row of the history under the cursor, shared by all sparklines. */
  readonly hovered: Signal<number | null>;
}

const height = 44;
/** A young machine's history is drawn as if it were at least this long, s. */
const spanMin = 60;
/** One cursor for all. */
const cursorKey = "osym";

export function Sparkline({ history, series, atLeast, label, hovered }: SparklineProps) {
  const box = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = box.current;
    if (element === null) return;
    let plot = draw(element, series, atLeast, hovered);
    const show = () => plot.setData(rows(history.peek(), series));
    const stop = effect(() => {
      void history.value;
      show();
    });
    const sizes = new ResizeObserver(() =>
      plot.setSize({ width: Math.max(1, element.clientWidth), height })
    );
    sizes.observe(element);
    const scheme = matchMedia("(prefers-color-scheme: dark)");
    const redraw = () => {
      plot.destroy();
      plot = draw(element, series, atLeast, hovered);
      show();
    };
    scheme.addEventListener("change", redraw);
    return () => {
      scheme.removeEventListener("change", redraw);
      sizes.disconnect();
      stop();
      plot.destroy();
    };
  }, []);
  return <div class="sparkline" ref={box} role="img" aria-label={label} />;
}

function rows(history: History, series: readonly Series[]): uPlot.AlignedData {
  return [
    history.time as number[],
    ...series.map((name) => history.columns[name] as (number | null)[]),
  ];
}

function draw(
  element: HTMLElement,
  series: readonly Series[],
  atLeast: number,
  hovered: Signal<number | null>,
): uPlot {
  const style = getComputedStyle(element);
  const colours = [style.getPropertyValue("--line-1"), style.getPropertyValue("--line-2")];
  const fill = style.getPropertyValue("--line-fill");
  return new uPlot(
    {
      width: Math.max(1, element.clientWidth),
      height,
      padding: [3, 0, 1, 0],
      legend: { show: false },
      axes: [{ show: false }, { show: false }],
      scales: {
        x: {
          time: false,
          range: (_, min, max) => [Math.max(max - span, Math.min(min, max - spanMin)), max],
        },
        y: { range: (_, _min, max) => [0, Math.max(atLeast, max)] },
      },
      series: [
        {},
        ...series.map((_, index): uPlot.Series => ({
          stroke: colours[index] ?? colours[0]!,
          width: 1.25,
          points: { show: false },
          ...(index === 0 ? { fill } : {}),
        })),
      ],
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: false, y: false },
        sync: { key: cursorKey },
      },
      hooks: {
        setCursor: [(plot) => hovered.value = plot.cursor.idx ?? null],
      },
    },
    [[], ...series.map(() => [])],
    element,
  );
}
