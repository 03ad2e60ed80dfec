/**
 * A UDP socket that works on a link without an address: what a DHCP client needs.
 *
 * Owns: one IPv4 datagram socket, bound to a port and, by SO_BINDTODEVICE, to a link.
 * Must never: believe a reply for its source address; DHCP checks its own transaction id.
 *
 * Why no packet socket: with SO_BINDTODEVICE the route lookup of 255.255.255.255 is answered by the
 * link alone, and the source is 0.0.0.0, as RFC 2131 §4.1 wants. A *broadcast* reply is delivered
 * to a socket bound to 0.0.0.0 on a link that has no address yet, as long as rp_filter is 0 on it
 * (any other value drops every source the routing table cannot reach, and it is still empty). A
 * *unicast* reply is not: the address is not ours yet. So a client must set the BROADCAST flag
 * (RFC 2131 §4.1) until its link is configured.
 *
 * ip(7), udp(7), socket(7).
 */

import { check, Errno, SysError } from "./errno.ts";
import { closeFd, O } from "./fd.ts";
import { cstr, pinned, Reader, Writer } from "./layout.ts";
import type { Libc } from "./libc.ts";
import { type Refusal, refusal } from "./netlink.ts";
import { addressBytes, addressText } from "./rtnetlink.ts";

// <sys/socket.h>, asm-generic/socket.h
const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOL_SOCKET = 1;
const SO_REUSEADDR = 2;
const SO_BROADCAST = 6;
const SO_BINDTODEVICE = 25;
const MSG_DONTWAIT = 0x40;
const MSG_TRUNC = 0x20;
/** struct sockaddr_in { sa_family_t family; in_port_t port; struct in_addr addr; char zero[8]; } */
const SIZEOF_SOCKADDR_IN = 16;

/** A DHCP message is at most an Ethernet frame's; longer datagrams are dropped and counted. */
const DATAGRAM_BYTES = 2048;
/** Datagrams taken in one turn of the loop. */
const DRAIN_LIMIT = 64;

/** Lays out a struct sockaddr_in; null when the text is not an IPv4 address. */
export function encodeSockaddrIn(address: string, port: number): Uint8Array<ArrayBuffer> | null {
  const bytes = addressBytes(address);
  if (bytes?.byteLength !== 4) return null;
  return new Writer(SIZEOF_SOCKADDR_IN).u16(AF_INET).u16be(port).bytes(bytes).zero(8).finish();
}

/** Where a datagram came from. */
export interface UdpPeer {
  readonly address: string;
  readonly port: number;
}

/** How to open a UDP socket. */
export interface UdpOptions {
  /** Local port; 0 lets the kernel choose. */
  readonly port: number;
  /** Link to send and receive on, `"eth0"`; needs CAP_NET_RAW. Absent: any. */
  readonly device?: string;
  /** Local address. Default 0.0.0.0. */
  readonly address?: string;
}

/** The symbols a UDP socket calls. */
export type UdpLibc = Libc<"socket" | "bind" | "setsockopt" | "sendto" | "recvfrom" | "close">;

/** One non-blocking UDP socket. Add `fd` to the reactor with `drain()` as the handler. */
export class UdpSocket {
  readonly fd: number;
  readonly #libc: UdpLibc;
  readonly #buffer = pinned(DATAGRAM_BYTES);
  readonly #from = pinned(SIZEOF_SOCKADDR_IN);
  readonly #fromLength = new Uint32Array(new ArrayBuffer(4));
  #truncated = 0;
  #open = true;

  /** @throws SysError naming the step: EADDRINUSE, ENODEV, EPERM, … */
  constructor(libc: UdpLibc, options: UdpOptions) {
    this.#libc = libc;
    this.fd = check(
      libc,
      libc.sym.socket(AF_INET, SOCK_DGRAM | O.CLOEXEC | O.NONBLOCK, 0),
      "socket",
      "AF_INET SOCK_DGRAM",
    );
    try {
      const one = new Writer(4).u32(1).finish();
      this.#set(SO_REUSEADDR, one, "SO_REUSEADDR");
      this.#set(SO_BROADCAST, one, "SO_BROADCAST");
      if (options.device !== undefined) {
        this.#set(SO_BINDTODEVICE, cstr(options.device), `SO_BINDTODEVICE ${options.device}`);
      }
      this.#bind(options.address ?? "0.0.0.0", options.port);
    } catch (error) {
      closeFd(libc, this.fd);
      throw error;
    }
  }

  /** Datagrams dropped because they were larger than a DHCP message can be. */
  get truncated(): number {
    return this.#truncated;
  }

  /** Sends one datagram; ENETUNREACH, ENETDOWN and their like come back as values. */
  send(
    datagram: Uint8Array<ArrayBuffer>,
    address: string,
    port: number,
  ): { readonly ok: true } | Refusal {
    const to = encodeSockaddrIn(address, port);
    if (to === null || !this.#open) return refusal(to === null ? Errno.EINVAL : Errno.EBADF);
    const sent = this.#libc.sym.sendto(
      this.fd,
      datagram,
      BigInt(datagram.byteLength),
      MSG_DONTWAIT,
      to,
      SIZEOF_SOCKADDR_IN,
    );
    return sent < 0 ? refusal(this.#libc.errno()) : { ok: true };
  }

  /**
   * Takes what is there. The bytes are valid during the call only.
   *
   * @throws SysError but for EAGAIN and the asynchronous errors of earlier sends (ECONNREFUSED,
   *   ENETDOWN, EHOSTUNREACH), which say nothing about receiving; what the handler throws
   */
  drain(onDatagram: (datagram: Uint8Array, from: UdpPeer) => void): "more" | void {
    for (let taken = 0; taken < DRAIN_LIMIT; taken++) {
      if (!this.#open) return;
      this.#fromLength[0] = SIZEOF_SOCKADDR_IN;
      const length = this.#libc.sym.recvfrom(
        this.fd,
        this.#buffer,
        BigInt(DATAGRAM_BYTES),
        MSG_DONTWAIT | MSG_TRUNC,
        this.#from,
        new Uint8Array(this.#fromLength.buffer),
      );
      if (length < 0) {
        const errno = this.#libc.errno();
        if (errno === Errno.EAGAIN) return;
        if (PASSING.has(errno)) continue;
        throw new SysError("recvfrom", "udp", errno);
      }
      if (length > DATAGRAM_BYTES) {
        this.#truncated++;
        continue;
      }
      const from = new Reader(this.#from).skip(2);
      const port = from.u16be();
      const address = addressText(from.bytes(4)) ?? "0.0.0.0";
      onDatagram(this.#buffer.subarray(0, length), { address, port });
    }
    return "more";
  }

  /** Closes the socket; remove it from the reactor first. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#libc, this.fd);
  }

  #set(option: number, value: Uint8Array<ArrayBuffer>, name: string): void {
    check(
      this.#libc,
      this.#libc.sym.setsockopt(this.fd, SOL_SOCKET, option, value, value.byteLength),
      "setsockopt",
      name,
    );
  }

  #bind(address: string, port: number): void {
    const local = encodeSockaddrIn(address, port);
    if (local === null) throw new SysError("bind", `${address}:${port}`, Errno.EINVAL);
    check(
      this.#libc,
      this.#libc.sym.bind(this.fd, local, SIZEOF_SOCKADDR_IN),
      "bind",
      () => `${address}:${port}`,
    );
  }
}

/** Pending errors a receive clears and reports: they belong to an earlier send. */
const PASSING: ReadonlySet<number> = new Set([
  Errno.EINTR,
  Errno.ECONNREFUSED,
  Errno.ENETDOWN,
  Errno.ENETUNREACH,
  Errno.EHOSTDOWN,
  Errno.EHOSTUNREACH,
]);
