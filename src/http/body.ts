/**
 * Body: reading what a client sends, never more of it than there is room for.
 *
 * Owns the bounds: bytes of one body, bytes of all bodies being read at once,
 * and the time one may take. It must never trust Content-Length, and never
 * keep reading for a client it has answered.
 */
import { problem } from "./problem.ts";

export interface BodyLimits {
  /** Bytes of one body. */
  readonly bytes: number;
  /** Bytes of all bodies that are being read. */
  readonly allBytes: number;
  /** From the first read to the last, ms. */
  readonly withinMs: number;
}

export const bodyLimits: BodyLimits = { bytes: 1 << 20, allBytes: 16 << 20, withinMs: 30_000 };

export class BodyReader {
  readonly #limits: BodyLimits;
  #held = 0;

  constructor(limits: BodyLimits = bodyLimits) {
    this.#limits = limits;
  }

  /**
   * Reads a JSON body. Answers `undefined` for an empty one, or the refusal:
   * 413, 415, 400, 408, or 503 while too many others are being read.
   */
  async json(request: Request): Promise<{ value: unknown } | { refusal: Response }> {
    const declared = Number(request.headers.get("content-length") ?? 0);
    if (declared > this.#limits.bytes) return { refusal: this.#tooLarge() };
    const read = await this.#read(request);
    if (read instanceof Response) return { refusal: read };
    if (read.length === 0) return { value: undefined };
    const media = mediaFault(request.headers);
    if (media !== null) {
      return { refusal: problem(415, media, { headers: { accept: "application/json" } }) };
    }
    try {
      const text = new TextDecoder("utf-8", { fatal: true }).decode(read);
      return { value: JSON.parse(text) };
    } catch (error) {
      const what = error instanceof SyntaxError ? error.message : "not UTF-8";
      return {
        refusal: problem(400, "The body is not JSON.", {
          errors: [{ field: "(body)", expected: `JSON: ${what.slice(0, 200)}` }],
        }),
      };
    }
  }

  async #read(request: Request): Promise<Uint8Array<ArrayBuffer> | Response> {
    if (request.body === null) return new Uint8Array(0);
    const reader = request.body.getReader();
    let body = new Uint8Array(0);
    let length = 0;
    let late = false;
    // Ends the read that is out. Not a race: a promise raced again for every chunk keeps them all.
    const timer = setTimeout(() => {
      late = true;
      reader.cancel().catch(ignoreClosed);
    }, this.#limits.withinMs);
    try {
      for (;;) {
        const chunk = await reader.read();
        if (late) {
          return problem(408, `The body took longer than ${this.#limits.withinMs / 1000} s.`, {
            headers: { connection: "close" },
          });
        }
        if (chunk.done) return body.subarray(0, length);
        const at = length;
        length += chunk.value.length;
        this.#held += chunk.value.length;
        if (length > this.#limits.bytes) return this.#tooLarge();
        if (this.#held > this.#limits.allBytes) {
          return problem(503, "Too many bodies are being read at once.", {
            headers: { "retry-after": "1", connection: "close" },
          });
        }
        // Not kept as it came: a chunk of one byte may hold 64 KiB of the runtime's alive.
        body = withRoom(body, length);
        body.set(chunk.value, at);
      }
    } catch (error) {
      const why = error instanceof Error ? error.message : String(error);
      return problem(400, `The body ended early: ${why.slice(0, 200)}`);
    } finally {
      clearTimeout(timer);
      this.#held -= length;
      // Ends a read that is still out; on a body read to its end this does nothing.
      reader.cancel().catch(ignoreClosed);
    }
  }

  #tooLarge(): Response {
    return problem(413, `The body is larger than ${this.#limits.bytes} bytes.`, {
      headers: { connection: "close" },
    });
  }
}

/** Cancelling a body whose connection is gone rejects; there is nobody left to tell. */
function ignoreClosed(): void {}

/** The same bytes with room for `length`, doubled so that growing costs one copy a byte. */
function withRoom(bytes: Uint8Array<ArrayBuffer>, length: number): Uint8Array<ArrayBuffer> {
  if (length <= bytes.length) return bytes;
  const out = new Uint8Array(Math.max(length, 2 * bytes.length));
  out.set(bytes);
  return out;
}

function mediaFault(headers: Headers): string | null {
  const encoding = headers.get("content-encoding");
  if (encoding !== null && encoding.toLowerCase() !== "identity") {
    return `Content-Encoding ${encoding.slice(0, 64)}: expected none.`;
  }
  const type = headers.get("content-type");
  const media = (type ?? "").replace(/;.*$/s, "").trim().toLowerCase();
  if (media === "application/json") return null;
  return `Content-Type ${type?.slice(0, 64) ?? "(none)"}: expected application/json.`;
}
