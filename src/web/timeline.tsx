/**
 * Timeline: how this boot went: the kernel, the runtime, then each phase, as
 * bars on one axis that begins with the kernel.
 */
import type { LastStop } from "../../bus/shapes.ts";
import type { Status } from "./api.ts";
import { formatMs, visible } from "./format.ts";
import { Panel } from "./panel.tsx";
import { useSession } from "./session.ts";

/** A row of the chart; milliseconds since the kernel began. */
export interface Bar {
  readonly name: string;
  readonly at: number;
  readonly ms: number;
  readonly kind: "kernel" | "runtime" | "phase";
  readonly error?: string;
}

export interface Chart {
  readonly bars: readonly Bar[];
  /** The axis' end. */
  readonly total: number;
  /** When the machine was ready; null before. */
  readonly ready: number | null;
}

/** A pause this short between PID 1's first statement and its first phase is not worth a row. */
const importShown = 5;

/**
 * The rows of the chart. The kernel counts from its own start to its hand-over;
 * phases count from PID 1's first statement, and one that began before it (the
 * runtime's own start) says by that how long after the hand-over it came.
 */
export function chartOf(boot: Status["boot"]): Chart {
  const { kernel_ms, phases, ready_ms } = boot;
  const first = Math.min(...phases.map(({ at }) => at), Infinity);
  const statement = kernel_ms + Math.max(0, -first);
  const next = Math.min(...phases.map(({ at }) => at).filter((at) => at >= 0), Infinity);
  const bars: Bar[] = [{ name: "kernel", at: 0, ms: kernel_ms, kind: "kernel" }];
  for (const phase of phases) {
    bars.push({
      name: phase.name,
      at: statement + phase.at,
      ms: phase.ms,
      kind: phase.at < 0 ? "runtime" : "phase",
      ...(phase.ok ? {} : { error: phase.error ?? "failed" }),
    });
  }
  if (next > importShown && next < Infinity) {
    bars.push({ name: "import", at: statement, ms: next, kind: "runtime" });
  }
  bars.sort((a, b) => a.at - b.at);
  const ready = ready_ms === null ? null : statement + ready_ms;
  const total = Math.max(1, ready ?? 0, ...bars.map(({ at, ms }) => at + ms));
  return { bars, total, ready };
}

/** What the bars that are not phases stand for. */
const about: Record<Bar["kind"], string> = {
  kernel: "From the kernel's start to its hand-over to PID 1.",
  runtime: "The runtime's own start, and the import of PID 1's code.",
  phase: "",
};

/** Ways the boot before this one can have ended. */
const stops: Record<string, string> = {
  none: "first boot",
  clean: "clean power-off",
  reboot: "clean reboot",
  panic: "kernel panic",
  watchdog: "watchdog reset",
  cut: "power cut or killed from outside",
  unknown: "not known",
};
const harmless = new Set(["none", "clean", "reboot"]);

/** Why the boot before this one ended, in words, and whether that is a worry. */
export function stopWords(stop: LastStop): { text: string; worrying: boolean } {
  const kind = stops[stop.kind] ?? visible(stop.kind);
  return {
    text: stop.text === undefined ? kind : `${kind}: ${visible(stop.text)}`,
    worrying: !harmless.has(stop.kind),
  };
}

export function Timeline() {
  const { store } = useSession();
  const boot = store.status.value?.boot;
  if (boot === undefined) {
    return (
      <Panel id="boot" title="Boot">
        <p class="note">Not heard yet.</p>
      </Panel>
    );
  }
  const { bars, total, ready } = chartOf(boot);
  const before = stopWords(boot.last_stop);
  const percent = (ms: number) => `${(100 * ms / total).toFixed(3)}%`;
  return (
    <Panel
      id="boot"
      title="Boot"
      aside={ready === null ? <span>not ready yet</span> : (
        <span>
          ready after <b class="mono">{formatMs(ready)}</b>
        </span>
      )}
    >
      <p class="bootline">
        <span class={before.worrying ? "warn" : ""}>Before: {before.text}</span>
        {boot.attempt > 1 && <span>attempt {boot.attempt}</span>}
        {boot.rescue && <span class="warn">rescue mode</span>}
      </p>
      <table class="timeline">
        <caption class="visually-hidden">
          Boot phases: when each began after the kernel's start, and how long it took
        </caption>
        <thead class="visually-hidden">
          <tr>
            <th scope="col">phase</th>
            <th scope="col">from</th>
            <th scope="col">took</th>
          </tr>
        </thead>
        <tbody>
          {bars.map((bar) => (
            <tr key={bar.name} class={bar.error === undefined ? bar.kind : "failed"}>
              <th scope="row" title={about[bar.kind]}>{visible(bar.name)}</th>
              <td class="track" title={`${formatMs(bar.at)} after the kernel's start`}>
                <div
                  class="bar"
                  style={{ left: percent(bar.at), width: `max(2px, ${percent(bar.ms)})` }}
                />
                {ready !== null && <div class="ready" style={{ left: percent(ready) }} />}
                <span class="visually-hidden">{formatMs(bar.at)}</span>
                {bar.error !== undefined && <span class="bar-error">{visible(bar.error)}</span>}
              </td>
              <td class="num">{formatMs(bar.ms)}</td>
            </tr>
          ))}
        </tbody>
      </table>
    </Panel>
  );
}
