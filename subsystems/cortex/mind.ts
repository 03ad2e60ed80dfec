/**
 * Mind: the process that answers. It reads frames on stdin, writes frames on stdout, and has no
 * permission, no network and no file but its own bundle.
 *
 * Owns the loop around survival.ts. Must never end before its stdin does, whatever it reads: a
 * frame it can not make sense of is skipped and said on stderr. It is bundled alone and imports
 * nothing of the core but types.
 */
import type { FromMind, MindState, ToMind } from "./frames.ts";
import { answer } from "./survival.ts";

const version = "survival/1";
/** The core's own bound on a frame. */
const maxLine = 65_536;
/** Faults told of; after that a core that talks nonsense is not worth more lines. */
const maxFaults = 20;

export interface MindPipes {
  readonly input: ReadableStream<Uint8Array>;
  write(bytes: Uint8Array): Promise<void>;
  fault(line: string): void;
}

/** Lives until the input ends. Never rejects. */
export async function live(pipes: MindPipes): Promise<void> {
  const mind = new Mind(pipes);
  try {
    for await (const line of lines(pipes.input)) await mind.take(line);
  } catch (error) {
    // The pipe to the core broke: there is nobody left to answer.
    pipes.fault(`mind: ${messageOf(error)}`);
  }
}

class Mind {
  readonly #pipes: MindPipes;
  #name = "mind";
  #state: MindState | null = null;
  #faults = 0;

  constructor(pipes: MindPipes) {
    this.#pipes = pipes;
  }

  /** One line from the core. Rejects only when the answer can not be written. */
  async take(line: string | null): Promise<void> {
    const frame = line === null ? null : parse(line);
    if (frame === null) {
      if (++this.#faults <= maxFaults) this.#pipes.fault("mind: a frame that is none was skipped");
      return;
    }
    const reply = this.#replyTo(frame);
    if (reply === null) return;
    await this.#pipes.write(new TextEncoder().encode(`${JSON.stringify(reply)}\n`));
  }

  #replyTo(frame: ToMind): FromMind | null {
    switch (frame.type) {
      case "hello":
        this.#name = frame.mind;
        return { type: "ready", mind: this.#name, version };
      case "state":
        this.#state = frame.state;
        return null;
      case "ask":
        return { type: "answer", id: frame.id, ...answer(frame.message, this.#state) };
      case "ping":
        return { type: "pong", n: frame.n };
      default:
        // A verdict on a proposal it never makes, or a word from a later contract.
        return null;
    }
  }
}

/** The core checked what it sends; this only keeps a broken line from being taken for a frame. */
function parse(line: string): ToMind | null {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    return null;
  }
  if (typeof value !== "object" || value === null) return null;
  const frame = value as Record<string, unknown>;
  switch (frame.type) {
    case "hello":
      return typeof frame.mind === "string" ? frame as ToMind : null;
    case "state":
      return typeof frame.state === "object" && frame.state !== null ? frame as ToMind : null;
    case "ask":
      return typeof frame.id === "number" && typeof frame.message === "string"
        ? frame as ToMind
        : null;
    case "ping":
      return typeof frame.n === "number" ? frame as ToMind : null;
    default:
      return typeof frame.type === "string" ? frame as ToMind : null;
  }
}

/** Lines of at most `maxLine` bytes; null stands for one that was longer. */
async function* lines(input: ReadableStream<Uint8Array>): AsyncGenerator<string | null> {
  const decoder = new TextDecoder();
  const line = new Uint8Array(maxLine);
  let length = 0;
  for await (const chunk of input) {
    for (let start = 0; start < chunk.length;) {
      const end = chunk.indexOf(10, start);
      const part = chunk.subarray(start, end < 0 ? chunk.length : end);
      if (length + part.length <= maxLine) line.set(part, length);
      length += part.length;
      if (end < 0) break;
      yield length > maxLine ? null : decoder.decode(line.subarray(0, length));
      length = 0;
      start = end + 1;
    }
  }
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

if (import.meta.main) {
  const { stdin, stdout, stderr } = Deno;
  await live({
    input: stdin.readable,
    write: async (bytes) => {
      for (let at = 0; at < bytes.length;) at += await stdout.write(bytes.subarray(at));
    },
    fault: (text) => {
      stderr.writeSync(new TextEncoder().encode(`${text}\n`));
    },
  });
}
