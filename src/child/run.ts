/**
 * Run: one child from its start to its end, for those who want its output and its exit.
 *
 * Owns the deadline, the capped copies of its output and the end of whatever it left behind. Must
 * never wait for a pipe that a grandchild holds open (`sleep 7 & echo hi` answers at once), nor
 * keep more of an output than was agreed.
 */
import { Output } from "./output.ts";
import type { Child, Exit } from "./spawn.ts";
import { late, type Report, type Timers, within } from "./timers.ts";

export interface RunOptions {
  readonly timers: Timers;
  readonly report: Report;
  /** SIGTERM after this long, SIGKILL to the tree `graceMs` later. */
  readonly timeoutMs: number;
  readonly graceMs?: number;
  /** Bytes kept of each stream, from its start. */
  readonly maxBytes: number;
  readonly stdin?: Uint8Array | undefined;
  /** Stops it like the timeout does. */
  readonly signal?: AbortSignal | undefined;
}

/** The start of a stream, and how many bytes came after it. */
export interface Captured {
  readonly bytes: Uint8Array;
  readonly cut: number;
}

export interface RunResult {
  /** Null when the kernel still held the process `unkillableMs` after SIGKILL. */
  readonly exit: Exit | null;
  readonly stdout: Captured;
  readonly stderr: Captured;
  /** Why it was stopped from outside; null when it ended by itself. */
  readonly stopped: "timeout" | "abort" | null;
  readonly ms: number;
}

/** How long the output may go on after the child's own exit, before and after the tree is killed. */
const pipeGraceMs = 100;
/** A process in uninterruptible sleep outlives SIGKILL; longer than this nobody waits for it. */
const unkillableMs = 5000;

/** Runs an already spawned child to its end, and its whole tree with it. Never rejects. */
export async function runToEnd(child: Child, options: RunOptions): Promise<RunResult> {
  const { timers, signal } = options;
  const started = timers.now();
  const stdout = new Capture(child.stdout, options.maxBytes, options);
  const stderr = new Capture(child.stderr, options.maxBytes, options);
  const drained = Promise.all([stdout.output.done, stderr.output.done]);
  const fed = feed(child, options.stdin);

  let stopped: RunResult["stopped"] = null;
  let givenUp: (exit: null) => void = () => {};
  const unkillable = new Promise<null>((resolve) => givenUp = resolve);
  let alarm = timers.set(() => stop("timeout"), options.timeoutMs);
  const stop = (why: "timeout" | "abort") => {
    if (stopped !== null) return;
    stopped = why;
    timers.clear(alarm);
    child.signal("SIGTERM");
    alarm = timers.set(() => {
      alarm = timers.set(() => givenUp(null), unkillableMs);
      void child.kill();
    }, options.graceMs ?? 1000);
  };
  const abort = () => stop("abort");
  if (signal?.aborted) stop("abort");
  signal?.addEventListener("abort", abort, { once: true });

  const exit = await Promise.race([child.exit, unkillable]);
  timers.clear(alarm);
  signal?.removeEventListener("abort", abort);

  await within(timers, pipeGraceMs, drained);
  await child.kill();
  if (await within(timers, pipeGraceMs, drained) === late) {
    stdout.output.cancel();
    stderr.output.cancel();
  }
  // A grandchild out of reach may hold the reading end and never read.
  if (await within(timers, pipeGraceMs, fed) === late) child.stdin?.destroy();
  return {
    exit,
    stdout: stdout.captured(),
    stderr: stderr.captured(),
    stopped,
    ms: timers.now() - started,
  };
}

async function feed(child: Child, bytes: Uint8Array | undefined): Promise<void> {
  if (child.stdin === null) return;
  // In pieces, so that a write waits for the child and not for the whole input to be copied.
  const step = 65_536;
  for (let at = 0; bytes !== undefined && at < bytes.length; at += step) {
    if (!await child.stdin.write(bytes.subarray(at, at + step))) break;
  }
  await child.stdin.close();
}

/** UTF-8 of a captured stream; a character that the cut went through is left out. */
export function capturedText({ bytes, cut }: Captured): string {
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes, { stream: cut > 0 });
}

class Capture {
  readonly output: Output;
  // Copied into: a chunk of one byte would keep the 64 KiB it was read into alive.
  #bytes = new Uint8Array(4096);
  #kept = 0;
  #cut = 0;

  constructor(
    stream: ReadableStream<Uint8Array>,
    readonly max: number,
    { timers, report }: RunOptions,
  ) {
    this.output = new Output(stream, { timers, report, onChunk: (chunk) => this.#keep(chunk) });
  }

  captured(): Captured {
    return { bytes: this.#bytes.subarray(0, this.#kept), cut: this.#cut };
  }

  /** Once full, a flood is slowed to 64 MB/s: reading it on is for nothing but its count. */
  #keep(chunk: Uint8Array): number {
    const room = Math.min(chunk.length, this.max - this.#kept);
    const needed = this.#kept + room;
    if (needed > this.#bytes.length) {
      const grown = new Uint8Array(Math.min(this.max, Math.max(needed, this.#bytes.length * 2)));
      grown.set(this.#bytes.subarray(0, this.#kept));
      this.#bytes = grown;
    }
    this.#bytes.set(chunk.subarray(0, room), this.#kept);
    this.#kept = needed;
    this.#cut += chunk.length - room;
    return this.#kept === this.max ? 1 : 0;
  }
}
