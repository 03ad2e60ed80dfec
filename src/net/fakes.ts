/**
 * Stand-ins for a clock and a DHCP server, for tests only: time that moves when
 * told to, and a server that answers as told to.
 *
 * Owns no production code: nothing but tests may import it.
 */
import type { DhcpPort, Timers } from "./dhcp_client.ts";
import {
  addressBytes,
  decodeDhcp,
  type DhcpMessage,
  encodeDhcp,
  MessageType,
  Option,
  u32Bytes,
} from "./dhcp_codec.ts";

/** A clock in ms that stands still between `advance()` calls. */
export class FakeTimers implements Timers {
  #now = 1_000;
  #next = 0;
  readonly #timers = new Map<number, { at: number; callback: () => void }>();

  now(): number {
    return this.#now;
  }

  after(ms: number, callback: () => void): () => void {
    // What setTimeout would run at once.
    if (ms > 0x7fff_ffff) throw new RangeError(`a timer of ${ms} ms`);
    const id = this.#next++;
    this.#timers.set(id, { at: this.#now + ms, callback });
    return () => this.#timers.delete(id);
  }

  /** Timers waiting. */
  get pending(): number {
    return this.#timers.size;
  }

  /** Moves time on by `ms`, running what falls due in order and letting promises settle. */
  async advance(ms: number): Promise<void> {
    const until = this.#now + ms;
    await settle();
    for (;;) {
      const due = [...this.#timers].filter(([, timer]) => timer.at <= until)
        .sort(([a, one], [b, other]) => one.at - other.at || a - b)[0];
      if (due === undefined) break;
      const [id, timer] = due;
      this.#timers.delete(id);
      this.#now = Math.max(this.#now, timer.at);
      timer.callback();
      await settle();
    }
    this.#now = until;
  }
}

/** Lets every promise that can settle do so. */
export async function settle(): Promise<void> {
  for (let turn = 0; turn < 30; turn++) await null;
}

/** A port whose packets a test sees, and into which it may put its own. */
export class FakePort implements DhcpPort {
  readonly sent: { message: DhcpMessage; to: string }[] = [];
  /** Called for every packet sent. */
  onSent: ((message: DhcpMessage, to: string) => void) | null = null;
  /** The errno sends are refused with, or null. */
  refuse: string | null = null;
  closed = false;
  #callback: ((packet: Uint8Array) => void) | null = null;

  send(packet: Uint8Array, to: string): { ok: true } | { ok: false; error: string } {
    if (this.refuse !== null) return { ok: false, error: this.refuse };
    const decoded = decodeDhcp(packet);
    if (!decoded.ok) throw new Error(decoded.reason);
    this.sent.push({ message: decoded.message, to });
    this.onSent?.(decoded.message, to);
    return { ok: true };
  }

  onPacket(callback: ((packet: Uint8Array) => void) | null): void {
    this.#callback = callback;
  }

  deliver(packet: Uint8Array): void {
    this.#callback?.(packet);
  }

  /** Packets that have arrived and wait for a loop too busy to take them. */
  readonly arrived: Uint8Array[] = [];

  drain(): void {
    for (const packet of this.arrived.splice(0)) this.#callback?.(packet);
  }

  close(): void {
    this.closed = true;
  }

  /** What was sent, as `"discover"`, `"request"`, … */
  kinds(): string[] {
    return this.sent.map(({ message }) => kindOf(message));
  }
}

/** The name of a message's type. */
export function kindOf(message: DhcpMessage): string {
  const type = message.options.get(Option.messageType)?.[0];
  return Object.entries(MessageType).find(([, value]) => value === type)?.[0] ?? "none";
}

export interface Answer {
  type: "offer" | "ack" | "nak";
  address?: string;
  server?: string | null;
  netmask?: string | null;
  routers?: string[];
  dns?: string[];
  leaseS?: number | null;
  t1S?: number;
  t2S?: number;
  text?: string;
  xid?: number;
  chaddr?: Uint8Array;
}

/** The packet a server sends as the answer to `to`; null leaves an option out. */
export function answer(to: DhcpMessage, fields: Answer): Uint8Array<ArrayBuffer> {
  const options = new Map<number, Uint8Array>([
    [Option.messageType, new Uint8Array([MessageType[fields.type]])],
  ]);
  const { server = "10.0.2.2", netmask = "255.255.255.0", leaseS = 3600 } = fields;
  if (server !== null) options.set(Option.server, addressBytes(server));
  if (fields.type !== "nak") {
    if (netmask !== null) options.set(Option.netmask, addressBytes(netmask));
    if (leaseS !== null) options.set(Option.leaseTime, u32Bytes(leaseS));
    for (
      const [code, list] of [
        [Option.router, fields.routers ?? ["10.0.2.2"]],
        [Option.dns, fields.dns ?? ["10.0.2.3"]],
      ] as const
    ) {
      if (list.length > 0) {
        options.set(code, new Uint8Array(list.flatMap((address) => [...addressBytes(address)])));
      }
    }
    if (fields.t1S !== undefined) options.set(Option.t1, u32Bytes(fields.t1S));
    if (fields.t2S !== undefined) options.set(Option.t2, u32Bytes(fields.t2S));
  }
  if (fields.text !== undefined) options.set(Option.text, new TextEncoder().encode(fields.text));
  return encodeDhcp({
    op: "reply",
    xid: fields.xid ?? to.xid,
    secs: 0,
    broadcast: to.broadcast,
    ciaddr: to.ciaddr,
    yiaddr: fields.type === "nak" ? "0.0.0.0" : fields.address ?? "10.0.2.15",
    siaddr: "0.0.0.0",
    giaddr: "0.0.0.0",
    chaddr: fields.chaddr ?? to.chaddr,
    options,
  });
}
