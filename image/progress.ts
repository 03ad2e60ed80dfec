/**
 * Showing how far a build is: one moving line on a terminal, plain lines elsewhere.
 *
 * Writes to standard error only; standard output belongs to what was asked for (JSON).
 */

/** Where progress is written; replaced in tests. */
export interface ProgressSink {
  write(text: string): void;
  /** Whether the line can be redrawn in place. */
  readonly terminal: boolean;
}

/** Standard error. */
export const STDERR: ProgressSink = {
  terminal: Deno.stderr.isTerminal(),
  write(text) {
    const bytes = new TextEncoder().encode(text);
    for (let done = 0; done < bytes.length;) done += Deno.stderr.writeSync(bytes.subarray(done));
  },
};

const BAR_WIDTH = 24;
/** Off a terminal, a line is written each time another of these parts is done. */
const PLAIN_PARTS = 10;

/** One task's progress. */
export class Progress {
  readonly #title: string;
  readonly #sink: ProgressSink;
  readonly #startedAt = performance.now();
  #plainShown = 0;
  #drawn = "";

  constructor(title: string, sink: ProgressSink = STDERR) {
    this.#title = title;
    this.#sink = sink;
    if (sink.terminal) this.#draw(`${title} …`);
    else sink.write(`${title} …\n`);
  }

  /** What is being done now, without a measure. */
  step(what: string): void {
    if (this.#sink.terminal) this.#draw(`${this.#title}: ${what} …`);
  }

  /** How much is done, 0…1. */
  update(fraction: number): void {
    const part = Math.min(1, Math.max(0, fraction));
    const percent = `${Math.floor(part * 100)} %`;
    if (this.#sink.terminal) {
      const full = Math.round(part * BAR_WIDTH);
      const bar = "█".repeat(full) + "░".repeat(BAR_WIDTH - full);
      this.#draw(`${this.#title} ${bar} ${percent}  ${this.#elapsed()}`);
    } else if (Math.floor(part * PLAIN_PARTS) > this.#plainShown) {
      this.#plainShown = Math.floor(part * PLAIN_PARTS);
      this.#sink.write(`${this.#title}: ${percent}, ${this.#elapsed()}\n`);
    }
  }

  /** The task succeeded; `result` says what came out of it. */
  done(result = "done"): void {
    this.#end(`${this.#title}: ${result} (${this.#elapsed()})\n`);
  }

  /** The task failed; the error itself is shown by whoever catches it. */
  fail(): void {
    this.#end(`${this.#title}: failed after ${this.#elapsed()}\n`);
  }

  #end(line: string): void {
    this.#sink.write(this.#sink.terminal ? `\r\x1b[K${line}` : line);
  }

  #draw(line: string): void {
    if (line === this.#drawn) return;
    this.#drawn = line;
    this.#sink.write(`\r\x1b[K${line}`);
  }

  #elapsed(): string {
    const seconds = (performance.now() - this.#startedAt) / 1000;
    return seconds < 60
      ? `${seconds.toFixed(1)} s`
      : `${Math.floor(seconds / 60)} min ${Math.floor(seconds % 60)} s`;
  }
}

/** Runs a task under a progress line; the line says how it ended. */
export async function withProgress<T>(
  title: string,
  task: (progress: Progress) => Promise<T>,
  result: (value: T) => string = () => "done",
  sink: ProgressSink = STDERR,
): Promise<T> {
  const progress = new Progress(title, sink);
  try {
    const value = await task(progress);
    progress.done(result(value));
    return value;
  } catch (error) {
    progress.fail();
    throw error;
  }
}
