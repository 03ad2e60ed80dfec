/**
 * Netlink: messages, attributes, and the socket that carries them.
 *
 * Owns: the nlmsghdr and nlattr codec, and `NetlinkSocket`.
 * Must never: trust a length, block, or accept a datagram from another process: any process may
 * send to our port id, only the kernel has port id 0.
 *
 * netlink(7), linux/netlink.h.
 */

import { check, Errno, errnoName, SysError } from "./errno.ts";
import { closeFd, O } from "./fd.ts";
import { align, pinned, Reader, textOf, Writer } from "./layout.ts";
import type { Libc } from "./libc.ts";

/** Netlink families, the `protocol` of socket(2). */
export const NETLINK = {
  ROUTE: 0,
  SOCK_DIAG: 4,
  CONNECTOR: 11,
  KOBJECT_UEVENT: 15,
} as const;

/** nlmsghdr flags. */
export const NLM_F = {
  REQUEST: 0x1,
  MULTI: 0x2,
  ACK: 0x4,
  DUMP_INTR: 0x10,
  REPLACE: 0x100,
  EXCL: 0x200,
  CREATE: 0x400,
  /** ROOT | MATCH */
  DUMP: 0x300,
  /** In an NLMSG_ERROR: the request's payload was left out. */
  CAPPED: 0x100,
  /** In an NLMSG_ERROR: attributes follow. */
  ACK_TLVS: 0x200,
} as const;

/** Message types every family has. */
export const NLMSG = { NOOP: 1, ERROR: 2, DONE: 3, OVERRUN: 4 } as const;

/** struct nlmsghdr { __u32 len; __u16 type; __u16 flags; __u32 seq; __u32 pid; } */
export const SIZEOF_NLMSGHDR = 16;
/** struct nlattr { __u16 len; __u16 type; } */
const SIZEOF_NLATTR = 4;
/** NLA_TYPE_MASK: without NLA_F_NESTED and NLA_F_NET_BYTEORDER. */
const NLA_TYPE_MASK = 0x3fff;
const NLA_F_NESTED = 0x8000;
/** struct sockaddr_nl { sa_family_t family; unsigned short pad; __u32 pid; __u32 groups; } */
const SIZEOF_SOCKADDR_NL = 12;

/** One netlink message. `payload` is a view of the datagram: copy it to keep it. */
export interface NetlinkMessage {
  readonly type: number;
  readonly flags: number;
  readonly seq: number;
  readonly pid: number;
  readonly payload: Uint8Array;
}

/**
 * Splits a datagram into messages.
 *
 * `error` says what was wrong with the first bad header; the messages before it are good and are
 * answered. Ends for every input: each round consumes at least a header.
 */
export function decodeMessages(
  datagram: Uint8Array,
): { messages: NetlinkMessage[]; error: string | null } {
  const messages: NetlinkMessage[] = [];
  const reader = new Reader(datagram);
  while (reader.remaining > 0) {
    const at = reader.offset;
    const length = reader.u32();
    const type = reader.u16();
    const flags = reader.u16();
    const seq = reader.u32();
    const pid = reader.u32();
    if (reader.error === null && length < SIZEOF_NLMSGHDR) {
      reader.fail(`message at ${at} claims ${length} bytes, less than its header`);
    }
    const payload = reader.bytes(length - SIZEOF_NLMSGHDR);
    if (reader.error !== null) return { messages, error: reader.error };
    messages.push({ type, flags, seq, pid, payload });
    // The last message of a datagram may lack its padding.
    reader.skip(Math.min(align(length) - length, reader.remaining));
  }
  return { messages, error: null };
}

/** Lays out one message; the inverse of `decodeMessages()`. */
export function encodeMessage(message: NetlinkMessage): Uint8Array<ArrayBuffer> {
  return new Writer(SIZEOF_NLMSGHDR + align(message.payload.byteLength))
    .u32(SIZEOF_NLMSGHDR + message.payload.byteLength)
    .u16(message.type)
    .u16(message.flags)
    .u32(message.seq)
    .u32(message.pid)
    .bytes(message.payload)
    .align()
    .finish();
}

/**
 * Attributes by type (flag bits removed). A repeated type keeps the last, as the kernel's own
 * nla_parse() does. Values are views of `bytes`.
 */
export function decodeAttributes(
  bytes: Uint8Array,
): { attributes: Map<number, Uint8Array>; error: string | null } {
  const attributes = new Map<number, Uint8Array>();
  const reader = new Reader(bytes);
  // Fewer bytes left than a header is padding, not an attribute.
  while (reader.remaining >= SIZEOF_NLATTR) {
    const at = reader.offset;
    const length = reader.u16();
    const type = reader.u16() & NLA_TYPE_MASK;
    if (length < SIZEOF_NLATTR) {
      return { attributes, error: `attribute at ${at} claims ${length} bytes` };
    }
    const value = reader.bytes(length - SIZEOF_NLATTR);
    if (reader.error !== null) return { attributes, error: reader.error };
    attributes.set(type, value);
    reader.skip(Math.min(align(length) - length, reader.remaining));
  }
  return { attributes, error: null };
}

/** Appends one attribute to a message under construction. */
export function putAttribute(writer: Writer, type: number, value: Uint8Array): Writer {
  return writer.u16(SIZEOF_NLATTR + value.byteLength).u16(type).bytes(value).align();
}

/** Appends an attribute that holds attributes. */
export function putNested(writer: Writer, type: number, build: (writer: Writer) => void): Writer {
  const inner = new Writer();
  build(inner);
  return putAttribute(writer, type | NLA_F_NESTED, inner.finish());
}

/** What an NLMSG_ERROR says. `errno` 0 is an acknowledgement. */
export interface NetlinkAck {
  /** Positive errno, or 0. */
  readonly errno: number;
  /** The kernel's own words (NETLINK_EXT_ACK), if it gave any. */
  readonly text: string | null;
}

/** NLMSGERR_ATTR_MSG */
const NLMSGERR_ATTR_MSG = 1;

/** Reads an NLMSG_ERROR payload; null when it is too short to be one. */
export function decodeAck(message: NetlinkMessage): NetlinkAck | null {
  const reader = new Reader(message.payload);
  const errno = -reader.i32();
  const requestLength = reader.u32();
  reader.skip(SIZEOF_NLMSGHDR - 4);
  if (reader.error !== null) return null;
  if ((message.flags & NLM_F.ACK_TLVS) === 0) return { errno: errno | 0, text: null };
  if ((message.flags & NLM_F.CAPPED) === 0) {
    reader.skip(align(requestLength) - SIZEOF_NLMSGHDR);
  }
  const { attributes } = decodeAttributes(reader.rest());
  const text = attributes.get(NLMSGERR_ATTR_MSG);
  return { errno: errno | 0, text: text === undefined ? null : textOf(text) };
}

// <sys/socket.h>, <linux/netlink.h>
const AF_NETLINK = 16;
const SOCK_RAW = 3;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const SO_RCVBUFFORCE = 33;
const SOL_NETLINK = 270;
const NETLINK_ADD_MEMBERSHIP = 1;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const NETLINK_GET_STRICT_CHK = 12;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;

/** Holds any datagram the kernel builds: dumps are at most 32 KiB each. */
const DATAGRAM_BYTES = 64 * 1024;
/** A default buffer of 208 KiB lost 97 events in 1.5 s of blocked JavaScript; this one lost none. */
const RECEIVE_BUFFER_BYTES = 16 * 1024 * 1024;
/** Datagrams taken in one turn of the loop: about 1 ms of work. */
const DRAIN_LIMIT = 512;

/** The symbols a netlink socket calls. */
export type NetlinkLibc = Libc<
  "socket" | "bind" | "getsockname" | "setsockopt" | "getsockopt" | "sendto" | "recvfrom" | "close"
>;

/** How to open a netlink socket. */
export interface NetlinkOptions {
  /** Of `NETLINK`. */
  readonly protocol: number;
  /** Multicast group numbers (RTNLGRP_…, counted from 1), not a mask. */
  readonly groups?: readonly number[];
  /** Wanted receive buffer, bytes. Default 16 MiB. */
  readonly receiveBufferBytes?: number | undefined;
}

/** What a drain hands on. Neither may keep the bytes: their buffer is used again. */
export interface DrainHandlers {
  /** One datagram from the kernel. */
  readonly onDatagram: (datagram: Uint8Array) => void;
  /** The kernel dropped messages because we were slow (ENOBUFS): resync. */
  readonly onOverflow: () => void;
}

/** A non-blocking netlink socket. */
export class NetlinkSocket {
  readonly fd: number;
  readonly #libc: NetlinkLibc;
  readonly #buffer = pinned(DATAGRAM_BYTES);
  readonly #from = pinned(SIZEOF_SOCKADDR_NL);
  readonly #fromView = new DataView(this.#from.buffer);
  readonly #fromLength = pinned(4);
  readonly #fromLengthView = new DataView(this.#fromLength.buffer);
  #open = true;
  #foreign = 0;
  #truncated = 0;

  /** @throws SysError naming the step that was refused; nothing stays open */
  constructor(libc: NetlinkLibc, options: NetlinkOptions) {
    this.#libc = libc;
    this.fd = check(
      libc,
      libc.sym.socket(AF_NETLINK, SOCK_RAW | O.CLOEXEC | O.NONBLOCK, options.protocol),
      "socket",
      () => `AF_NETLINK ${options.protocol}`,
    );
    try {
      this.#grow(options.receiveBufferBytes ?? RECEIVE_BUFFER_BYTES);
      this.#tune();
      this.#bind();
      for (const group of options.groups ?? []) this.#join(group);
    } catch (error) {
      closeFd(libc, this.fd);
      throw error;
    }
  }

  /** Our port id, chosen by the kernel. @throws SysError */
  get portId(): number {
    const address = pinned(SIZEOF_SOCKADDR_NL);
    const length = pinned(4);
    new DataView(length.buffer).setUint32(0, SIZEOF_SOCKADDR_NL, true);
    check(
      this.#libc,
      this.#libc.sym.getsockname(this.fd, address, length),
      "getsockname",
      "netlink",
    );
    return new DataView(address.buffer).getUint32(4, true);
  }

  /** The receive buffer the kernel granted, bytes: twice what was asked. @throws SysError */
  get receiveBufferBytes(): number {
    const value = pinned(4);
    const length = pinned(4);
    new DataView(length.buffer).setUint32(0, 4, true);
    check(
      this.#libc,
      this.#libc.sym.getsockopt(this.fd, SOL_SOCKET, SO_RCVBUF, value, length),
      "getsockopt",
      "SO_RCVBUF",
    );
    return new DataView(value.buffer).getInt32(0, true);
  }

  /** Datagrams refused because a process, not the kernel, sent them. */
  get foreign(): number {
    return this.#foreign;
  }

  /** Datagrams lost because they were larger than the read buffer. */
  get truncated(): number {
    return this.#truncated;
  }

  /** Sends one message to the kernel. @throws SysError */
  send(message: Uint8Array<ArrayBuffer>): void {
    // A closed number may be someone else's by now.
    if (!this.#open) throw new SysError("sendto", "a closed netlink socket", Errno.EBADF);
    const kernel = pinned(SIZEOF_SOCKADDR_NL);
    new DataView(kernel.buffer).setUint16(0, AF_NETLINK, true);
    check(
      this.#libc,
      this.#libc.sym.sendto(
        this.fd,
        message,
        BigInt(message.byteLength),
        MSG_DONTWAIT,
        kernel,
        SIZEOF_SOCKADDR_NL,
      ),
      "sendto",
      "the kernel, netlink",
    );
  }

  /**
   * Takes what is there, at most `limit` datagrams; `"more"` when it stopped at the limit. Fits a
   * reactor's handler.
   *
   * @throws SysError for anything but EAGAIN, EINTR and ENOBUFS; what a handler throws
   */
  drain(handlers: DrainHandlers, limit = DRAIN_LIMIT): "more" | void {
    for (let taken = 0; taken < limit; taken++) {
      if (!this.#open) return;
      this.#fromLengthView.setUint32(0, SIZEOF_SOCKADDR_NL, true);
      const length = this.#libc.sym.recvfrom(
        this.fd,
        this.#buffer,
        BigInt(DATAGRAM_BYTES),
        MSG_DONTWAIT | MSG_TRUNC,
        this.#from,
        this.#fromLength,
      );
      if (length < 0) {
        const errno = this.#libc.errno();
        if (errno === Errno.EAGAIN) return;
        if (errno === Errno.EINTR) continue;
        if (errno !== Errno.ENOBUFS) throw new SysError("recvfrom", "netlink", errno);
        handlers.onOverflow();
        continue;
      }
      const senderPort = this.#fromView.getUint32(4, true);
      if (senderPort !== 0) this.#foreign++;
      else if (length > DATAGRAM_BYTES) {
        this.#truncated++;
        handlers.onOverflow();
      } else handlers.onDatagram(this.#buffer.subarray(0, length));
    }
    return "more";
  }

  /** Closes the socket; remove it from the reactor first. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#libc, this.fd);
  }

  /** SO_RCVBUFFORCE needs CAP_NET_ADMIN; without it the buffer stops at net.core.rmem_max. */
  #grow(bytes: number): void {
    if (!this.#set(SOL_SOCKET, SO_RCVBUFFORCE, bytes)) this.#set(SOL_SOCKET, SO_RCVBUF, bytes);
  }

  /** Options that only improve error texts and dumps: an old kernel may lack each. */
  #tune(): void {
    for (const option of [NETLINK_CAP_ACK, NETLINK_EXT_ACK, NETLINK_GET_STRICT_CHK]) {
      this.#set(SOL_NETLINK, option, 1);
    }
  }

  #set(level: number, option: number, value: number): boolean {
    const bytes = pinned(4);
    new DataView(bytes.buffer).setInt32(0, value, true);
    return this.#libc.sym.setsockopt(this.fd, level, option, bytes, 4) >= 0;
  }

  /** To a port id that the kernel chooses. */
  #bind(): void {
    const address = pinned(SIZEOF_SOCKADDR_NL);
    new DataView(address.buffer).setUint16(0, AF_NETLINK, true);
    check(
      this.#libc,
      this.#libc.sym.bind(this.fd, address, SIZEOF_SOCKADDR_NL),
      "bind",
      "netlink",
    );
  }

  #join(group: number): void {
    const value = pinned(4);
    new DataView(value.buffer).setUint32(0, group, true);
    check(
      this.#libc,
      this.#libc.sym.setsockopt(this.fd, SOL_NETLINK, NETLINK_ADD_MEMBERSHIP, value, 4),
      "setsockopt",
      () => `NETLINK_ADD_MEMBERSHIP ${group}`,
    );
  }
}

/** A refusal as callers get it: the errno's name, and the kernel's words if it gave any. */
export interface Refusal {
  readonly ok: false;
  /** `"EEXIST"`, …; `"ETIMEDOUT"` when no answer came. */
  readonly error: string;
  readonly text: string | null;
}

/** Makes a `Refusal` of a positive errno. */
export function refusal(errno: number, text: string | null = null): Refusal {
  return { ok: false, error: errnoName(errno), text };
}
