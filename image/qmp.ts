/**
 * QEMU's machine protocol: commands with their answers, and events, over one socket.
 *
 * Follows QEMU's docs/interop/qmp-spec. Knows no machine and no policy; never reconnects (when
 * the socket ends, QEMU has).
 */

import { LineSplitter } from "./lines.ts";

/** An asynchronous event of QEMU's, such as SHUTDOWN or WATCHDOG. */
export interface QmpEvent {
  event: string;
  data: Record<string, unknown>;
  /** Host time, ms since the epoch. */
  time: number;
}

/** QEMU refused a command, or went away before it answered. */
export class QmpError extends Error {
  override name = "QmpError";
  constructor(readonly command: string, readonly reason: string) {
    super(`qmp ${command}: ${reason}`);
  }
}

interface Waiting {
  command: string;
  resolve: (value: unknown) => void;
  reject: (error: QmpError) => void;
}

/** Longest line accepted from QEMU, bytes: `query-*` answers stay far below. */
const LINE_LIMIT = 1 << 20;

/** One QMP conversation. */
export class Qmp {
  readonly #connection: Deno.Conn;
  readonly #onEvent: (event: QmpEvent) => void;
  readonly #waiting = new Map<number, Waiting>();
  #lastId = 0;
  #closed = false;
  /** Resolves when the socket has ended; never rejects. */
  readonly ended: Promise<void>;

  private constructor(connection: Deno.Conn, onEvent: (event: QmpEvent) => void) {
    this.#connection = connection;
    this.#onEvent = onEvent;
    this.ended = this.#read();
  }

  /** Negotiates capabilities on a fresh connection. Throws QmpError if QEMU goes away first. */
  static async open(connection: Deno.Conn, onEvent: (event: QmpEvent) => void): Promise<Qmp> {
    const qmp = new Qmp(connection, onEvent);
    // QEMU queues what arrives before its greeting has been read, so there is no need to wait.
    await qmp.execute("qmp_capabilities");
    return qmp;
  }

  /** Runs a command and returns its `return` value. Throws QmpError. */
  execute(command: string, args?: Record<string, unknown>): Promise<unknown> {
    if (this.#closed) return Promise.reject(new QmpError(command, "the connection has ended"));
    const id = ++this.#lastId;
    const answer = new Promise<unknown>((resolve, reject) => {
      this.#waiting.set(id, { command, resolve, reject });
    });
    const line = JSON.stringify({ execute: command, ...(args ? { arguments: args } : {}), id });
    this.#write(new TextEncoder().encode(line + "\n")).catch(() => this.#end());
    return answer;
  }

  async #write(bytes: Uint8Array): Promise<void> {
    for (let done = 0; done < bytes.length;) {
      done += await this.#connection.write(bytes.subarray(done));
    }
  }

  async #read(): Promise<void> {
    const splitter = new LineSplitter(LINE_LIMIT, (line) => this.#receive(line));
    const buffer = new Uint8Array(16384);
    try {
      for (let n; (n = await this.#connection.read(buffer)) !== null;) {
        splitter.push(buffer.subarray(0, n));
      }
    } catch {
      // A reset connection is an ended one; #end() tells everybody who waits.
    }
    this.#end();
  }

  #end(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#connection.close();
    for (const { command, reject } of this.#waiting.values()) {
      reject(new QmpError(command, "QEMU ended before it answered"));
    }
    this.#waiting.clear();
  }

  #receive(line: string): void {
    const message = parseObject(line);
    if (message === null) return;
    if (typeof message.event === "string") {
      const data = isRecord(message.data) ? message.data : {};
      const stamp = isRecord(message.timestamp) ? message.timestamp : {};
      const time = Number(stamp.seconds ?? 0) * 1e3 + Number(stamp.microseconds ?? 0) / 1e3;
      this.#onEvent({ event: message.event, data, time });
      return;
    }
    const waiting = typeof message.id === "number" ? this.#waiting.get(message.id) : undefined;
    if (!waiting) return;
    this.#waiting.delete(message.id as number);
    if (isRecord(message.error)) {
      waiting.reject(new QmpError(waiting.command, String(message.error.desc ?? "refused")));
    } else {
      waiting.resolve(message.return);
    }
  }
}

/** A JSON object. */
export function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** A line of JSON as an object; null when it is anything else (a broken peer is ignored). */
export function parseObject(line: string): Record<string, unknown> | null {
  try {
    const value: unknown = JSON.parse(line);
    return isRecord(value) ? value : null;
  } catch {
    return null;
  }
}
