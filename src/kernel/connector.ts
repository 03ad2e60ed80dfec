/**
 * Processes that fork, exec, change and exit, as the process connector tells.
 *
 * Owns: the codec of proc_event and the socket, with the count of what was lost.
 * Must never: count silently: a gap in a CPU's sequence is told before the event after it.
 *
 * Threads make events too: filter on `pid === tgid`. Needs CAP_NET_ADMIN and, for the subscription,
 * the initial network namespace.
 *
 * linux/connector.h, linux/cn_proc.h, drivers/connector/cn_proc.c.
 */

import { Reader, Writer } from "./layout.ts";
import {
  decodeMessages,
  encodeMessage,
  NETLINK,
  type NetlinkLibc,
  type NetlinkOptions,
  NetlinkSocket,
  NLMSG,
} from "./netlink.ts";
import type { ExitStatus } from "./process.ts";
import { signalName } from "./signals.ts";

/** enum proc_cn_event. NONE answers a subscription, with the request's sequence number. */
const PROC_EVENT = {
  NONE: 0x0,
  FORK: 0x1,
  EXEC: 0x2,
  UID: 0x4,
  GID: 0x40,
  SID: 0x80,
  PTRACE: 0x100,
  COMM: 0x200,
  COREDUMP: 0x40000000,
  EXIT: 0x80000000,
} as const;

/** What every event has. */
interface Stamp {
  readonly cpu: number;
  /** CLOCK_MONOTONIC, µs. */
  readonly monotonicUs: number;
  /** The thread. */
  readonly pid: number;
  /** Its process. */
  readonly tgid: number;
}

/** One process event. */
export type ProcessEvent =
  /** `pid` and `tgid` are the child's. */
  | Stamp & { readonly kind: "fork"; readonly parentPid: number; readonly parentTgid: number }
  | Stamp & { readonly kind: "exec" }
  | Stamp & { readonly kind: "uid" | "gid"; readonly real: number; readonly effective: number }
  | Stamp & { readonly kind: "sid" }
  /** `tracerPid` 0: detached. */
  | Stamp & { readonly kind: "ptrace"; readonly tracerPid: number; readonly tracerTgid: number }
  | Stamp & { readonly kind: "comm"; readonly comm: string }
  | Stamp & { readonly kind: "coredump"; readonly parentPid: number; readonly parentTgid: number }
  | Stamp & {
    readonly kind: "exit";
    readonly status: ExitStatus;
    readonly parentPid: number;
    readonly parentTgid: number;
  };

/** One decoded connector message. */
export interface ConnectorMessage {
  readonly cpu: number;
  /** Counts up by one per event and CPU; not so in an answer. */
  readonly seq: number;
  /** `"answer"` to a subscription; `"other"` for kinds this table lacks. */
  readonly event: ProcessEvent | "answer" | "other";
}

// struct cb_id { u32 idx, val; }  CN_IDX_PROC, CN_VAL_PROC
const CN_IDX_PROC = 1;
const CN_VAL_PROC = 1;
/** struct cn_msg { cb_id id; u32 seq, ack; u16 len, flags; } */
const SIZEOF_CN_MSG = 20;
/** TASK_COMM_LEN */
const COMM_BYTES = 16;

/** A wait(2) status: the code in the second byte, or the signal in the low seven bits. */
export function decodeWaitStatus(status: number): ExitStatus {
  const signal = status & 0x7f;
  return signal === 0
    ? { code: (status >> 8) & 0xff }
    : { signal: signalName(signal), core: (status & 0x80) !== 0 };
}

/** Decodes the payload of one netlink message; null if it is not the process connector's. */
export function decodeConnector(payload: Uint8Array): ConnectorMessage | null {
  const reader = new Reader(payload);
  const idx = reader.u32();
  const val = reader.u32();
  const seq = reader.u32();
  reader.u32();
  const length = reader.u16();
  reader.u16();
  if (reader.error !== null || idx !== CN_IDX_PROC || val !== CN_VAL_PROC) return null;
  const body = new Reader(reader.bytes(length));
  const what = body.u32();
  const cpu = body.u32();
  const monotonicUs = Math.floor(body.u64() / 1000);
  if (reader.error !== null || body.error !== null) return null;
  if (what === PROC_EVENT.NONE) return { cpu, seq, event: "answer" };
  const event = decodeEvent(what, { cpu, monotonicUs }, body);
  // The kernel's union is as long as its largest member: a short one is not the kernel's.
  return body.error === null ? { cpu, seq, event } : null;
}

function decodeEvent(
  what: number,
  at: Pick<Stamp, "cpu" | "monotonicUs">,
  body: Reader,
): ProcessEvent | "other" {
  if (what === PROC_EVENT.FORK) {
    const parentPid = body.u32();
    const parentTgid = body.u32();
    return { kind: "fork", ...at, pid: body.u32(), tgid: body.u32(), parentPid, parentTgid };
  }
  const stamp: Stamp = { ...at, pid: body.u32(), tgid: body.u32() };
  switch (what) {
    case PROC_EVENT.EXEC:
      return { kind: "exec", ...stamp };
    case PROC_EVENT.UID:
    case PROC_EVENT.GID: {
      const kind = what === PROC_EVENT.UID ? "uid" : "gid";
      return { kind, ...stamp, real: body.u32(), effective: body.u32() };
    }
    case PROC_EVENT.SID:
      return { kind: "sid", ...stamp };
    case PROC_EVENT.PTRACE:
      return { kind: "ptrace", ...stamp, tracerPid: body.u32(), tracerTgid: body.u32() };
    case PROC_EVENT.COMM:
      return { kind: "comm", ...stamp, comm: body.text(COMM_BYTES) };
    case PROC_EVENT.COREDUMP:
      return { kind: "coredump", ...stamp, parentPid: body.u32(), parentTgid: body.u32() };
    case PROC_EVENT.EXIT: {
      const status = decodeWaitStatus(body.u32());
      body.u32(); // the signal its parent gets: SIGCHLD
      return { kind: "exit", ...stamp, status, parentPid: body.u32(), parentTgid: body.u32() };
    }
    default:
      return "other";
  }
}

/** The request to start (1) or stop (2) listening: PROC_CN_MCAST_LISTEN, PROC_CN_MCAST_IGNORE. */
export function encodeListen(listen: boolean): Uint8Array<ArrayBuffer> {
  const payload = new Writer(SIZEOF_CN_MSG + 4)
    .u32(CN_IDX_PROC).u32(CN_VAL_PROC).u32(0).u32(0).u16(4).u16(0)
    .u32(listen ? 1 : 2).finish();
  return encodeMessage({ type: NLMSG.DONE, flags: 0, seq: 0, pid: 0, payload });
}

/**
 * Counts events lost between two of the same CPU. A kernel-side drop (ENOBUFS) does not say how
 * many; the per-CPU sequence does, once that CPU speaks again. What a CPU said before its first
 * event that reached us is not counted: nobody knows where it began.
 */
export class SequenceGaps {
  readonly #next = new Map<number, number>();

  /** Takes the next sequence number of a CPU; answers how many were skipped. */
  skipped(cpu: number, seq: number): number {
    const expected = this.#next.get(cpu);
    this.#next.set(cpu, (seq + 1) >>> 0);
    if (expected === undefined) return 0;
    const gap = (seq - expected) >>> 0;
    // A number behind the expected one is a restart of the count, not four billion lost events.
    return gap < 0x8000_0000 ? gap : 0;
  }
}

/** What a drain hands on. */
export interface ConnectorHandlers {
  readonly onEvent: (event: ProcessEvent) => void;
  /** So many events were lost before the next `onEvent`. */
  readonly onLost: (count: number, cpu: number) => void;
  /** The kernel's buffer overflowed: rescan /proc. The count follows by `onLost`. */
  readonly onOverflow: () => void;
}

/** Receives process events. Add `fd` to the reactor with `drain()` as the handler. */
export class ProcessConnector {
  readonly socket: NetlinkSocket;
  readonly #gaps = new SequenceGaps();
  #malformed = 0;
  #open = true;

  /** Opens and subscribes. @throws SysError: ECONNREFUSED outside the initial network namespace */
  constructor(libc: NetlinkLibc, options: Pick<NetlinkOptions, "receiveBufferBytes"> = {}) {
    this.socket = new NetlinkSocket(libc, {
      protocol: NETLINK.CONNECTOR,
      groups: [CN_IDX_PROC],
      ...options,
    });
    try {
      this.socket.send(encodeListen(true));
    } catch (error) {
      this.socket.close();
      throw error;
    }
  }

  get fd(): number {
    return this.socket.fd;
  }

  /** Messages that could not be decoded. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Takes what is there. @throws SysError; what a handler throws */
  drain(handlers: ConnectorHandlers): "more" | void {
    return this.socket.drain({
      onDatagram: (datagram) => this.#receive(datagram, handlers),
      onOverflow: handlers.onOverflow,
    });
  }

  /** Unsubscribes and closes; remove it from the reactor first. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    try {
      // Before 6.6 the kernel keeps making events for a socket that closes without a word.
      this.socket.send(encodeListen(false));
    } finally {
      this.socket.close();
    }
  }

  #receive(datagram: Uint8Array, handlers: ConnectorHandlers): void {
    const { messages, error } = decodeMessages(datagram);
    if (error !== null) this.#malformed++;
    for (const { payload } of messages) {
      const message = decodeConnector(payload);
      if (message === null) {
        this.#malformed++;
        continue;
      }
      if (message.event === "answer") continue;
      const lost = this.#gaps.skipped(message.cpu, message.seq);
      if (lost > 0) handlers.onLost(lost, message.cpu);
      if (message.event !== "other") handlers.onEvent(message.event);
    }
  }
}
