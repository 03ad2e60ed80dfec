/**
 * TCP connections as the kernel lists them, and cutting one.
 *
 * Owns: the inet_diag codec, and `SockDiag`, which asks.
 * Must never: destroy by port alone: the kernel's cookie names one socket, a port may be used again.
 *
 * sock_diag(7), linux/inet_diag.h.
 */

import { Errno } from "./errno.ts";
import { Reader, Writer } from "./layout.ts";
import { NETLINK, type NetlinkLibc, NLM_F, type Refusal, refusal } from "./netlink.ts";
import { NetlinkRequests } from "./netlink_requests.ts";
import type { Reactor } from "./reactor.ts";
import { addressBytes, addressText } from "./rtnetlink.ts";

/** TCP states by number, net/tcp_states.h. */
const TCP_STATES = [
  null,
  "established",
  "syn-sent",
  "syn-recv",
  "fin-wait-1",
  "fin-wait-2",
  "time-wait",
  "close",
  "close-wait",
  "last-ack",
  "listen",
  "closing",
  "new-syn-recv",
] as const;
/** A TCP state. */
export type TcpState = Exclude<typeof TCP_STATES[number], null>;

/** A TCP socket. */
export interface TcpSocket {
  readonly family: 4 | 6;
  readonly state: TcpState;
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  /** Link it is bound to, or 0. */
  readonly index: number;
  /** Names this socket for ever. */
  readonly cookie: bigint;
  /** Bytes received and not read; for a listener, connections waiting to be accepted. */
  readonly receiveQueue: number;
  /** Bytes sent and not acknowledged; for a listener, the backlog. */
  readonly sendQueue: number;
  readonly uid: number;
  readonly inode: number;
  /** Time until its timer fires, ms; 0 without one. */
  readonly expiresMs: number;
}

const SOCK_DIAG_BY_FAMILY = 20;
const SOCK_DESTROY = 21;
const IPPROTO_TCP = 6;
const AF_INET = 2;
const AF_INET6 = 10;
/** INET_DIAG_NOCOOKIE */
const NO_COOKIE = 0xffff_ffff_ffff_ffffn;

// struct inet_diag_sockid { be16 sport, dport; be32 src[4], dst[4]; u32 if, cookie[2]; }  48 bytes
// struct inet_diag_req_v2 { u8 family, protocol, ext, pad; u32 states; sockid id; }        56 bytes
// struct inet_diag_msg { u8 family, state, timer, retrans; sockid id;
//                        u32 expires, rqueue, wqueue, uid, inode; }                        72 bytes

/** Asks for all TCP sockets of a family in given states. A port of 0 asks for any. */
export function encodeTcpDump(
  family: 4 | 6,
  states: readonly TcpState[],
  localPort = 0,
): Uint8Array<ArrayBuffer> {
  const bits = states.reduce((mask, state) => mask | (1 << TCP_STATES.indexOf(state)), 0);
  return new Writer(56)
    .u8(family === 4 ? AF_INET : AF_INET6).u8(IPPROTO_TCP).u8(0).u8(0).u32(bits >>> 0)
    .u16be(localPort).u16be(0).zero(32).u32(0).u64(NO_COOKIE).finish();
}

/** Asks to destroy one socket. */
export function encodeTcpDestroy(socket: TcpSocket): Uint8Array<ArrayBuffer> | null {
  const local = addressBytes(socket.localAddress);
  const remote = addressBytes(socket.remoteAddress);
  const length = socket.family === 4 ? 4 : 16;
  if (local?.byteLength !== length || remote?.byteLength !== length) return null;
  return new Writer(56)
    .u8(socket.family === 4 ? AF_INET : AF_INET6).u8(IPPROTO_TCP).u8(0).u8(0).u32(0xffff_ffff)
    .u16be(socket.localPort).u16be(socket.remotePort)
    .bytes(local).zero(16 - length).bytes(remote).zero(16 - length)
    .u32(socket.index).u64(socket.cookie).finish();
}

/** Decodes a struct inet_diag_msg; null if malformed. */
export function decodeTcpSocket(payload: Uint8Array): TcpSocket | null {
  const reader = new Reader(payload);
  const af = reader.u8();
  const state = TCP_STATES[reader.u8()];
  reader.skip(2);
  const localPort = reader.u16be();
  const remotePort = reader.u16be();
  const length = af === AF_INET ? 4 : 16;
  const localAddress = addressText(reader.bytes(16).subarray(0, length));
  const remoteAddress = addressText(reader.bytes(16).subarray(0, length));
  const index = reader.u32();
  const cookie = reader.u64big();
  const expiresMs = reader.u32();
  const receiveQueue = reader.u32();
  const sendQueue = reader.u32();
  const uid = reader.u32();
  const inode = reader.u32();
  if (reader.error !== null || (af !== AF_INET && af !== AF_INET6)) return null;
  if (localAddress === null || remoteAddress === null || state === undefined || state === null) {
    return null;
  }
  return {
    family: af === AF_INET ? 4 : 6,
    state,
    localAddress,
    localPort,
    remoteAddress,
    remotePort,
    index,
    cookie,
    receiveQueue,
    sendQueue,
    uid,
    inode,
    expiresMs,
  };
}

/** A list of sockets, or the kernel's refusal. */
export type TcpList = { readonly ok: true; readonly sockets: TcpSocket[] } | Refusal;

/** What `SockDiag.tcp()` asks for unless told: connections, not listeners. */
const CONNECTIONS: readonly TcpState[] = TCP_STATES.filter((state) =>
  state !== null && state !== "listen"
);

/** Lists and destroys TCP sockets. */
export class SockDiag {
  readonly #requests: NetlinkRequests;
  #malformed = 0;

  /** @throws SysError; EPROTONOSUPPORT without CONFIG_INET_DIAG */
  constructor(libc: NetlinkLibc, reactor: Pick<Reactor, "add">) {
    this.#requests = new NetlinkRequests(libc, reactor, NETLINK.SOCK_DIAG, { name: "sock_diag" });
  }

  /** Answers that could not be decoded. */
  get malformed(): number {
    return this.#malformed;
  }

  /**
   * TCP sockets of both families.
   *
   * @param states which; default all but listeners
   * @param localPort of ours; 0 for any
   */
  async tcp(states: readonly TcpState[] = CONNECTIONS, localPort = 0): Promise<TcpList> {
    const sockets: TcpSocket[] = [];
    for (const family of [4, 6] as const) {
      const payload = encodeTcpDump(family, states, localPort);
      const reply = await this.#requests.request(
        { type: SOCK_DIAG_BY_FAMILY, flags: NLM_F.DUMP, payload },
        (message) => {
          const socket = decodeTcpSocket(message.payload);
          if (socket === null) this.#malformed++;
          // Not every kernel filters a dump by port.
          else if (localPort === 0 || socket.localPort === localPort) sockets.push(socket);
        },
      );
      if (!reply.ok) return reply;
    }
    return { ok: true, sockets };
  }

  /**
   * Cuts one connection: both ends see a reset. Refusals: ENOENT when it is gone, EOPNOTSUPP
   * without CONFIG_INET_DIAG_DESTROY, EPERM without CAP_NET_ADMIN.
   */
  async destroy(socket: TcpSocket): Promise<{ readonly ok: true } | Refusal> {
    const payload = encodeTcpDestroy(socket);
    if (payload === null) return refusal(Errno.EINVAL, "not a pair of addresses");
    const request = { type: SOCK_DESTROY, flags: NLM_F.ACK, payload };
    const reply = await this.#requests.request(request);
    return reply.ok ? { ok: true } : reply;
  }

  /** Closes the socket; whoever waits gets ECANCELED. */
  close(): void {
    this.#requests.close();
  }
}
