/**
 * A sensor turns one kernel interface into events; the host starts, stops and
 * counts them, each on its own.
 *
 * It decides nothing: a sensor that can not start is reported and left out.
 */
import type { Source } from "../../bus/bus.ts";
import type { SensorInfo } from "../../bus/machine.ts";

export interface Sensor {
  readonly name: string;
  /** Topic patterns it may publish besides `bus.gap`. */
  readonly grants: readonly string[];
  /** False when it hears nothing: the reactor takes a handler away that fails time after time. */
  readonly listening: boolean;
  /** Begins to listen; a throw means this kernel or machine does not offer it. */
  start(source: Source): void | Promise<void>;
  /** Stops listening and closes what it opened, also after a start that failed. Idempotent. */
  stop(): void;
}

/** Publishes that messages never became events; `count` null: nobody knows how many. */
export function publishGap(source: Source, count: number | null, reason: string): void {
  source.publish("bus.gap", { source: source.name, from: null, to: null, count, reason });
}

/**
 * Makes a drain that publishes, after each run, how many messages the reader could not decode.
 * However many, they are one event: a kernel that sends nothing else must not fill the history.
 */
export function tellingMalformed(
  source: Source,
  what: string,
  reader: { readonly malformed: number },
  drain: () => "more" | void,
): () => "more" | void {
  let told = 0;
  return () => {
    try {
      return drain();
    } finally {
      const count = reader.malformed - told;
      told += count;
      if (count > 0) publishGap(source, count, `malformed ${what}`);
    }
  };
}

interface Running {
  readonly sensor: Sensor;
  state: SensorInfo["state"];
  events: number;
  gaps: number;
  error?: string;
}

export class SensorHost {
  readonly #running = new Map<string, Running>();
  readonly #makeSource: (name: string, grants: readonly string[]) => Source;
  readonly #own: Source;

  constructor(makeSource: (name: string, grants: readonly string[]) => Source) {
    this.#makeSource = makeSource;
    this.#own = makeSource("nerve", ["sensor.*"]);
  }

  /** Starts one sensor. Never throws: failure is `sensor.failed` and shows in `info()`. */
  async start(sensor: Sensor): Promise<void> {
    const entry: Running = { sensor, state: "stopped", events: 0, gaps: 0 };
    this.#running.set(sensor.name, entry);
    const source = this.#makeSource(`nerve.${sensor.name}`, [...sensor.grants, "bus.gap"]);
    const counting: Source = {
      name: source.name,
      publish: (type, data, options) => {
        if (type === "bus.gap") entry.gaps++;
        else entry.events++;
        return source.publish(type, data, options);
      },
    };
    try {
      await sensor.start(counting);
      entry.state = "running";
      this.#own.publish("sensor.started", { sensor: sensor.name });
    } catch (error) {
      this.#stop(entry);
      this.#failed(entry, error);
    }
  }

  /** Stops all, last started first. Never throws: one that refuses must not keep the rest open. */
  stop(): void {
    for (const entry of [...this.#running.values()].reverse()) {
      if (entry.state !== "running") continue;
      entry.state = "stopped";
      this.#stop(entry);
    }
  }

  /** Each sensor's state and counts since it started. */
  info(): SensorInfo[] {
    return [...this.#running.values()].map(({ sensor, state, events, gaps, error }) => {
      const counts = { name: sensor.name, events, gaps };
      return state === "running" && !sensor.listening
        ? { ...counts, state: "failed", error: "its handler failed too often and was taken away" }
        : { ...counts, state, error };
    });
  }

  #stop(entry: Running): void {
    try {
      entry.sensor.stop();
    } catch (error) {
      this.#failed(entry, error);
    }
  }

  #failed(entry: Running, error: unknown): void {
    entry.state = "failed";
    entry.error = error instanceof Error ? error.message : String(error);
    this.#own.publish("sensor.failed", { sensor: entry.sensor.name, error: entry.error });
  }
}
