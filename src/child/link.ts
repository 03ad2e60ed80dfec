/**
 * ChildLink: one life of a child that talks to the core in frames.
 *
 * Owns the handshake, the heartbeat, open requests and the child's end. A child that is mute,
 * babbles, or says what its contract has no word for is killed at the first fault: it is started
 * again, which costs less than reasoning about what it meant. Must never restart it (its host
 * does), trust a frame unchecked, or let its stdin, stdout or stderr fill memory.
 *
 * The contract's frame types `hello`, `ready`, `ping {n}`, `pong {n}` belong to the link, and a
 * field `id` marks the answer to the request of that id. All else is the host's.
 */
import { encodeFrame, faultText, type FrameCheck, FrameDecoder, maxFrameBytes } from "./frames.ts";
import { MeteredLines } from "./lines.ts";
import { floodPause, Output, type OutputOptions } from "./output.ts";
import { type Child, type Exit, exitText } from "./spawn.ts";
import { deadlineFor, type Report, type TimerId, type Timers } from "./timers.ts";

/** What every frame from a child has in common. */
export interface Incoming {
  readonly type: string;
  readonly id?: number;
  readonly n?: number;
}

export type LinkEvent<In> =
  | { kind: "ready"; frame: In; ms: number }
  | { kind: "frame"; frame: In }
  | { kind: "misbehaved"; fault: string }
  /** A line of stderr; `cut` bytes of it and `lost` lines before it are not shown. */
  | { kind: "stderr"; line: string; cut: number; lost: number }
  /** The last event of a life. */
  | { kind: "exited"; exit: Exit; reason: string; ranMs: number };

export type Reply<In> =
  | { ok: true; frame: In }
  | { ok: false; why: "late" | "busy" | "too_long" | "ended"; detail: string };

export interface LinkOptions<In extends Incoming, Out extends object> {
  readonly child: Child;
  readonly timers: Timers;
  readonly report: Report;
  readonly check: FrameCheck<In>;
  /** The first frame to the child; it answers `ready`. */
  readonly hello: Out;
  readonly ping: (n: number) => Out;
  /** Called for everything that happens, `exited` last and once. */
  readonly on: (event: LinkEvent<In>) => void;
  readonly limits?: Partial<LinkLimits>;
}

export interface LinkLimits {
  /** From the start to `ready`: an emulated machine starts a runtime in seconds. */
  readonly readyMs: number;
  readonly heartbeatMs: number;
  readonly pongMs: number;
  /** Open requests at most. */
  readonly open: number;
  /** Longest frame either way, in bytes. */
  readonly frameBytes: number;
  /** Bytes waiting for the child to read them; more means that it does not. */
  readonly queueBytes: number;
  readonly framesPerSecond: number;
  readonly frameBurst: number;
}

export const defaultLinkLimits: LinkLimits = {
  readyMs: 20_000,
  heartbeatMs: 10_000,
  pongMs: 10_000,
  open: 8,
  frameBytes: maxFrameBytes,
  queueBytes: 4 * maxFrameBytes,
  framesPerSecond: 50,
  frameBurst: 100,
};

interface OpenRequest<In> {
  readonly cancel: () => void;
  readonly settle: (reply: Reply<In>) => void;
}

export class ChildLink<In extends Incoming, Out extends object> {
  readonly #options: LinkOptions<In, Out>;
  readonly #limits: LinkLimits;
  readonly #started: number;
  readonly #open = new Map<number, OpenRequest<In>>();
  readonly #queue: Uint8Array[] = [];
  #queued = 0;
  #pumping = false;
  #phase: "greeting" | "ready" | "ended" = "greeting";
  #reason: string | null = null;
  #nextId = 1;
  #pings = 0;
  #awaitedPong: number | null = null;
  #cancelDeadline: () => void;
  #heartbeat: TimerId | undefined;

  /** Takes over a child that was just spawned with a piped stdin: greets it and watches it. */
  constructor(options: LinkOptions<In, Out>) {
    this.#options = options;
    this.#limits = { ...defaultLinkLimits, ...options.limits };
    const { timers } = options;
    this.#started = timers.now();
    this.#cancelDeadline = deadlineFor(timers, this.#limits.readyMs, () => {
      this.#misbehave(`not ready within ${this.#limits.readyMs} ms`);
    });
    this.ended = this.#live();
    this.send(options.hello);
  }

  /** Settles after `exited`. Never rejects. */
  readonly ended: Promise<void>;

  get pid(): number {
    return this.#options.child.pid;
  }

  get ready(): boolean {
    return this.#phase === "ready" && this.#reason === null;
  }

  /** As many requests are open as may be: the next is refused. */
  get busy(): boolean {
    return this.#open.size >= this.#limits.open;
  }

  /** Queues a frame; false when the child has ended, does not read, or the frame is too long. */
  send(frame: Out): boolean {
    if (this.#phase === "ended" || this.#reason !== null) return false;
    const bytes = encodeFrame(frame, this.#limits.frameBytes);
    if (!(bytes instanceof Uint8Array)) {
      this.#options.report(`frame to ${this.pid}`, new Error(faultText(bytes)));
      return false;
    }
    if (this.#queued + bytes.length > this.#limits.queueBytes) {
      this.#misbehave(`does not read: ${this.#queued} bytes wait for it`);
      return false;
    }
    this.#queue.push(bytes);
    this.#queued += bytes.length;
    if (!this.#pumping) void this.#pump();
    return true;
  }

  /**
   * Sends the frame `make` builds for a fresh id and waits for the answer that carries it.
   * A late answer is dropped; what to do about the child is the caller's decision. Never rejects.
   */
  request(make: (id: number) => Out, deadlineMs: number): Promise<Reply<In>> {
    if (!this.ready) return Promise.resolve(refusal("ended", "not ready"));
    if (this.busy) {
      return Promise.resolve(refusal("busy", `${this.#open.size} requests are open`));
    }
    const id = this.#nextId++;
    return new Promise((resolve) => {
      const settle = (reply: Reply<In>) => {
        this.#open.get(id)?.cancel();
        this.#open.delete(id);
        resolve(reply);
      };
      const cancel = deadlineFor(this.#options.timers, deadlineMs, () => {
        settle(refusal("late", `no answer within ${deadlineMs} ms`));
      });
      this.#open.set(id, { cancel, settle });
      if (!this.send(make(id))) settle(refusal("too_long", "the request could not be sent"));
    });
  }

  /** Kills the child's tree now; `reason` is what `exited` will say. Idempotent, never rejects. */
  async kill(reason: string): Promise<void> {
    if (this.#phase === "ended") return;
    this.#reason ??= reason;
    await this.#options.child.kill();
  }

  #emit(event: LinkEvent<In>): void {
    try {
      this.#options.on(event);
    } catch (error) {
      this.#options.report(`child ${this.pid}, ${event.kind}`, error);
    }
  }

  #misbehave(fault: string): void {
    // One fault ends a life: what comes after it is no news.
    if (this.#phase === "ended" || this.#reason !== null) return;
    this.#reason = fault;
    this.#emit({ kind: "misbehaved", fault });
    void this.#options.child.kill();
  }

  async #pump(): Promise<void> {
    this.#pumping = true;
    for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
      const written = await this.#options.child.stdin?.write(next) ?? false;
      this.#queued -= next.length;
      if (!written) break; // its exit follows
    }
    this.#pumping = false;
  }

  async #live(): Promise<void> {
    const { child, timers } = this.#options;
    const stderr = this.#drainStderr();
    const frames = this.#readFrames();
    const exit = await child.exit;
    // What it said last still counts; what a grandchild holds open does not.
    const outputs = [stderr, frames];
    const graceOver = new Promise<void>((resolve) => timers.set(resolve, 100));
    await Promise.race([Promise.all(outputs.map((output) => output.done)), graceOver]);
    this.#phase = "ended";
    for (const output of outputs) output.cancel();
    child.stdin?.destroy();
    this.#cancelDeadline();
    timers.clear(this.#heartbeat);
    await child.kill();
    const how = exitText(exit);
    const reason = this.#reason === null ? how : `${this.#reason} (${how})`;
    for (const request of [...this.#open.values()]) request.settle(refusal("ended", reason));
    this.#emit({ kind: "exited", exit, reason, ranMs: timers.now() - this.#started });
  }

  #readFrames(): Output {
    const decoder = new FrameDecoder<In>({
      check: this.#options.check,
      maxBytes: this.#limits.frameBytes,
      perSecond: this.#limits.framesPerSecond,
      burst: this.#limits.frameBurst,
      now: () => this.#options.timers.now(),
    });
    return new Output(this.#options.child.stdout, {
      ...this.#guards(),
      onChunk: (chunk) => {
        for (const frame of decoder.push(chunk)) {
          if (this.#phase === "ended" || this.#reason !== null) break;
          if (frame.ok) this.#receive(frame.frame);
          else this.#misbehave(faultText(frame.fault));
        }
        return floodPause(chunk);
      },
    });
  }

  #drainStderr(): Output {
    const lines = new MeteredLines(
      { maxBytes: 512, perSecond: 10, burst: 20, now: () => this.#options.timers.now() },
      (line) => this.#emit({ kind: "stderr", ...line }),
    );
    return new Output(this.#options.child.stderr, {
      ...this.#guards(),
      onChunk: (chunk) => {
        lines.push(chunk);
        return floodPause(chunk);
      },
      onEnd: () => {
        const lost = lines.end();
        if (lost > 0) this.#emit({ kind: "stderr", line: "", cut: 0, lost });
      },
    });
  }

  #guards(): Pick<OutputOptions, "timers" | "report"> {
    return { timers: this.#options.timers, report: this.#options.report };
  }

  #receive(frame: In): void {
    if (frame.type === "ready") {
      if (this.#phase !== "greeting") return this.#misbehave("ready a second time");
      this.#phase = "ready";
      this.#cancelDeadline();
      this.#scheduleHeartbeat();
      this.#emit({ kind: "ready", frame, ms: this.#options.timers.now() - this.#started });
      return;
    }
    if (this.#phase === "greeting") return this.#misbehave(`${frame.type} before ready`);
    if (frame.type === "pong") return this.#pong(frame.n);
    if (frame.id !== undefined) return this.#answer(frame.id, frame);
    this.#emit({ kind: "frame", frame });
  }

  #answer(id: number, frame: In): void {
    if (!Number.isInteger(id) || id < 1 || id >= this.#nextId) {
      return this.#misbehave(`${frame.type} to request ${id}, which was never made`);
    }
    // A known id that is no longer open: the answer came late, or twice.
    this.#open.get(id)?.settle({ ok: true, frame });
  }

  #scheduleHeartbeat(): void {
    this.#heartbeat = this.#options.timers.set(() => {
      this.#awaitedPong = ++this.#pings;
      this.#cancelDeadline = deadlineFor(this.#options.timers, this.#limits.pongMs, () => {
        this.#misbehave(`no pong within ${this.#limits.pongMs} ms`);
      });
      this.send(this.#options.ping(this.#awaitedPong));
    }, this.#limits.heartbeatMs);
  }

  #pong(n: number | undefined): void {
    if (this.#awaitedPong === null || n !== this.#awaitedPong) {
      return this.#misbehave(`pong ${n} where ${this.#awaitedPong ?? "none"} was awaited`);
    }
    this.#awaitedPong = null;
    this.#cancelDeadline();
    this.#scheduleHeartbeat();
  }
}

function refusal(
  why: "late" | "busy" | "too_long" | "ended",
  detail: string,
): { ok: false; why: "late" | "busy" | "too_long" | "ended"; detail: string } {
  return { ok: false, why, detail };
}
