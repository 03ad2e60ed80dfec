/**
 * The event port: boot, system and self-test events as NDJSON on the
 * virtio-serial port `org.osymbiote.events`, so that whoever runs the machine
 * knows how it fares without a network.
 *
 * Owns the port's descriptor and its backlog. It must never block and never
 * wait for a reader: what does not fit in the backlog is dropped and counted.
 */
import type { Bus } from "../bus/bus.ts";
import { toCloudEvent } from "../bus/envelope.ts";
import { closeFd, O, openFd, writeFd } from "./kernel/fd.ts";
import type { Libc } from "./kernel/libc.ts";
import type { BootTimers } from "./kernel/timers.ts";

const portName = "org.osymbiote.events";
const maxBacklogBytes = 256 * 1024;
const retryMs = 20;
const families = [
  "boot.>",
  "system.ready",
  "system.degraded",
  "system.recovered",
  "system.fault",
  "system.stopping",
  "system.stopped",
  "selftest.>",
  "service.>",
  "incident.>",
  "addr.>",
  "sensor.failed",
  "mind.started",
  "mind.exited",
];

/** The /dev node of the port, or null on a machine without one. */
export function findEventPort(): string | null {
  try {
    for (const entry of Deno.readDirSync("/sys/class/virtio-ports")) {
      const name = Deno.readTextFileSync(`/sys/class/virtio-ports/${entry.name}/name`).trim();
      if (name === portName) return `/dev/${entry.name}`;
    }
  } catch (error) {
    if (!(error instanceof Deno.errors.NotFound)) throw error;
  }
  return null;
}

export class EventPort {
  readonly #libc: Libc<"open" | "write" | "close">;
  readonly #fd: number;
  readonly #backlog: Uint8Array<ArrayBuffer>[] = [];
  #bytes = 0;
  readonly #timers: BootTimers;
  #waiting = false;
  #open = true;
  #dropped = 0;
  readonly #encoder = new TextEncoder();

  /** Opens the port at `path`. @throws SysError */
  constructor(libc: Libc<"open" | "write" | "close">, timers: BootTimers, path: string) {
    this.#libc = libc;
    this.#timers = timers;
    this.#fd = openFd(libc, path, O.WRONLY);
  }

  /** Follows the bus; answers how to stop. Events of the past are not repeated. */
  follow(bus: Bus): () => void {
    return bus.subscribe(families, (event) => this.write(JSON.stringify(toCloudEvent(event))));
  }

  /** Queues one line and writes what there is room for. Nothing once closed. */
  write(line: string): void {
    // The number of a closed descriptor may be someone else's by now.
    if (!this.#open) return;
    // The count goes before what it was lost before, and is forgotten only once it is queued.
    if (this.#dropped > 0 && this.#queue(JSON.stringify({ dropped: this.#dropped }))) {
      this.#dropped = 0;
    }
    if (this.#dropped > 0 || !this.#queue(line)) this.#dropped++;
    this.#flush();
  }

  /** False when the backlog has no room for the line. */
  #queue(line: string): boolean {
    const bytes = this.#encoder.encode(`${line}\n`) as Uint8Array<ArrayBuffer>;
    if (this.#bytes + bytes.length > maxBacklogBytes) return false;
    this.#backlog.push(bytes);
    this.#bytes += bytes.length;
    return true;
  }

  /** Bytes not yet taken by the host. */
  get pending(): number {
    return this.#bytes;
  }

  close(): void {
    this.#open = false;
    closeFd(this.#libc, this.#fd);
  }

  #flush(): void {
    for (let head = this.#backlog[0]; head !== undefined; head = this.#backlog[0]) {
      const count = writeFd(this.#libc, this.#fd, head);
      if (count <= 0) {
        // No room or no reader: a timer, since a disconnected port never polls writable.
        if (this.#waiting) return;
        this.#waiting = true;
        this.#timers.set(() => {
          this.#waiting = false;
          if (this.#open) this.#flush();
        }, retryMs);
        return;
      }
      this.#bytes -= count;
      if (count === head.length) this.#backlog.shift();
      else this.#backlog[0] = head.subarray(count);
    }
  }
}
