/**
 * Tiles: the machine's vital signs, now and over the last five minutes.
 */
import type { ComponentChildren } from "preact";
import { useSignal } from "@preact/signals";
import type { Signal } from "@preact/signals";
import { formatBytes, formatClock, formatCount, formatRate, formatShare } from "./format.ts";
import { visible } from "./format.ts";
import { linkRates } from "./history.ts";
import type { Series } from "./history.ts";
import { useSession } from "./session.ts";
import { Sparkline } from "./sparkline.tsx";

export function Tiles() {
  const hovered = useSignal<number | null>(null);
  return (
    <section class="tiles" aria-label="Vital signs">
      <Cpu hovered={hovered} />
      <Memory hovered={hovered} />
      <Load hovered={hovered} />
      <Traffic hovered={hovered} />
      <EventRate hovered={hovered} />
      <Disks />
    </section>
  );
}

interface TileProps {
  readonly title: string;
  readonly value: ComponentChildren;
  readonly detail?: ComponentChildren;
  readonly alarming?: boolean;
  readonly children?: ComponentChildren;
}

function Tile({ title, value, detail, alarming = false, children }: TileProps) {
  return (
    <div class={alarming ? "tile alarming" : "tile"}>
      <h2>{title}</h2>
      <p class="value">{value}</p>
      <p class="aside">{detail ?? "\u00a0"}</p>
      {children}
    </div>
  );
}

interface Hovered {
  readonly hovered: Signal<number | null>;
}

/** The value under the shared cursor with its time, or null when nothing is hovered. */
function useHovered(hovered: Signal<number | null>, ...names: Series[]) {
  const { store } = useSession();
  const index = hovered.value;
  const history = store.history.value;
  const time = index === null ? undefined : history.time[index];
  if (index === null || time === undefined) return null;
  return {
    at: `at ${formatClock(time * 1_000, false)}`,
    values: names.map((name) => history.columns[name][index] ?? NaN),
  };
}

function Cpu({ hovered }: Hovered) {
  const { store } = useSession();
  const cpu = store.sample.value?.cpu;
  const past = useHovered(hovered, "cpu");
  const busy = past?.values[0] ?? cpu?.busy ?? NaN;
  return (
    <Tile
      title="CPU"
      value={formatShare(busy)}
      detail={past?.at ?? (cpu &&
        `${formatShare(cpu.user)} user · ${formatShare(cpu.system)} sys · ${
          formatShare(cpu.iowait)
        } io`)}
      alarming={busy > 0.9}
    >
      <Sparkline
        history={store.history}
        series={["cpu"]}
        atLeast={1}
        hovered={hovered}
        label="CPU over the last five minutes"
      />
    </Tile>
  );
}

function Memory({ hovered }: Hovered) {
  const { store } = useSession();
  const memory = store.sample.value?.memory;
  const past = useHovered(hovered, "memory");
  const used = memory === undefined ? NaN : memory.total - memory.available;
  const share = past?.values[0] ?? (memory === undefined ? NaN : used / memory.total);
  return (
    <Tile
      title="Memory"
      value={formatShare(share)}
      detail={past?.at ??
        (memory && `${formatBytes(used)} of ${formatBytes(memory.total)} used`)}
      alarming={share > 0.9}
    >
      <Sparkline
        history={store.history}
        series={["memory"]}
        atLeast={1}
        hovered={hovered}
        label="Memory in use over the last five minutes"
      />
    </Tile>
  );
}

function Load({ hovered }: Hovered) {
  const { store } = useSession();
  const sample = store.sample.value;
  const past = useHovered(hovered, "load");
  const now = past?.values[0] ?? sample?.load[0] ?? NaN;
  const count = sample?.cpu.count ?? 1;
  return (
    <Tile
      title="Load"
      value={Number.isFinite(now) ? now.toFixed(2) : "–"}
      detail={past?.at ?? (sample &&
        `${sample.load[1].toFixed(2)} · ${sample.load[2].toFixed(2)} · ${count} ${
          count === 1 ? "cpu" : "cpus"
        } · ${formatCount(sample.processes)} procs`)}
    >
      <Sparkline
        history={store.history}
        series={["load"]}
        atLeast={1}
        hovered={hovered}
        label="Load over the last five minutes"
      />
    </Tile>
  );
}

function Traffic({ hovered }: Hovered) {
  const { store } = useSession();
  const sample = store.sample.value;
  const past = useHovered(hovered, "rx", "tx");
  const rates = sample === null ? null : linkRates(sample);
  return (
    <Tile
      title="Network"
      value={
        <>
          <span class="arrow rx" title="received">↓</span>
          {formatRate(past?.values[0] ?? rates?.rx ?? NaN)}
        </>
      }
      detail={
        <>
          <span class="arrow tx" title="sent">↑</span>
          {formatRate(past?.values[1] ?? rates?.tx ?? NaN)}
          {past && ` ${past.at}`}
        </>
      }
    >
      <Sparkline
        history={store.history}
        series={["rx", "tx"]}
        atLeast={1024}
        hovered={hovered}
        label="Network traffic over the last five minutes"
      />
    </Tile>
  );
}

function EventRate({ hovered }: Hovered) {
  const { store } = useSession();
  const history = store.history.value;
  const past = useHovered(hovered, "events");
  const rate = past?.values[0] ?? history.columns.events.at(-1) ?? NaN;
  return (
    <Tile
      title="Events"
      value={Number.isFinite(rate) ? `${rate < 10 ? rate.toFixed(1) : formatCount(rate)} /s` : "–"}
      detail={past?.at ??
        (history.last !== null && `${formatCount(history.last.sequence)} since boot`)}
    >
      <Sparkline
        history={store.history}
        series={["events"]}
        atLeast={5}
        hovered={hovered}
        label="Events per second over the last five minutes"
      />
    </Tile>
  );
}

/** Filesystems listed on the tile. */
const disksShown = 3;

function Disks() {
  const { store } = useSession();
  const disks = store.sample.value?.disks;
  const fullest = disks?.toSorted((a, b) => share(b) - share(a));
  const worst = fullest?.find((disk) => !isImage(disk));
  return (
    <Tile
      title="Disk"
      value={worst === undefined ? "–" : formatShare(share(worst))}
      detail={worst && `${formatBytes(worst.free)} free on ${visible(worst.mount)}`}
      alarming={worst !== undefined && share(worst) > 0.95}
    >
      <ul class="disks">
        {fullest?.slice(0, disksShown).map((disk) => (
          <li key={disk.mount}>
            <span class="mono">{visible(disk.mount)}</span>
            {isImage(disk)
              ? <span class="note">read-only</span>
              : (
                <meter value={share(disk)} min={0} max={1} high={0.95} optimum={0}>
                  {formatShare(share(disk))}
                </meter>
              )}
          </li>
        ))}
      </ul>
    </Tile>
  );
}

/** The root is a read-only image: it is always full, and that is no news. */
function isImage(disk: { mount: string; free: number }): boolean {
  return disk.mount === "/" && disk.free === 0;
}

function share(disk: { total: number; free: number }): number {
  return disk.total === 0 ? 0 : (disk.total - disk.free) / disk.total;
}
