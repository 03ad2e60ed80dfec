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
    const chunks: Uint8Array[] = [];
    let length = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const expired = new Promise<null>((resolve) => {
      timer = setTimeout(resolve, this.#limits.withinMs, null);
    });
    try {
      for (;;) {
        const chunk = await Promise.race([reader.read(), expired]);
        if (chunk === null) {
          return problem(408, `The body took longer than ${this.#limits.withinMs / 1000} s.`, {
            headers: { connection: "close" },
          });
        }
        if (chunk.done) return concat(chunks, length);
        length += chunk.value.length;
        this.#held += chunk.value.length;
        chunks.push(chunk.value);
        if (length > this.#limits.bytes) return this.#tooLarge();
        if (this.#held > this.#limits.allBytes) {
          return problem(503, "Too many bodies are being read at once.", {
            headers: { "retry-after": "1", connection: "close" },
          });
        }
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

function concat(chunks: readonly Uint8Array[], length: number): Uint8Array<ArrayBuffer> {
  const out = new Uint8Array(length);
  let offset = 0;
  for (const chunk of chunks) {
    out.set(chunk, offset);
    offset += chunk.length;
  }
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
