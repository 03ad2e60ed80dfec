/**
 * Links, addresses, routes and neighbours, as the kernel's routing netlink tells and takes them.
 *
 * Owns: the codecs of RTM_* messages and `Rtnl`, which asks, changes and listens.
 * Must never: throw on what the kernel (or a test) sends: an undecodable message is counted, an
 * unknown one skipped. Refusals of the kernel are values that carry the errno's name.
 *
 * rtnetlink(7), linux/rtnetlink.h, linux/if_link.h, linux/if_addr.h, linux/neighbour.h.
 */

import { Errno } from "./errno.ts";
import { Reader, textOf, Writer } from "./layout.ts";
import {
  decodeAttributes,
  decodeMessages,
  NETLINK,
  type NetlinkLibc,
  type NetlinkMessage,
  NetlinkSocket,
  NLM_F,
  putAttribute,
  type Refusal,
  refusal,
} from "./netlink.ts";
import { type NetlinkRequest, NetlinkRequests } from "./netlink_requests.ts";
import type { Reactor, Report } from "./reactor.ts";

/** RTM_* message types. */
export const RTM = {
  NEWLINK: 16,
  DELLINK: 17,
  GETLINK: 18,
  NEWADDR: 20,
  DELADDR: 21,
  GETADDR: 22,
  NEWROUTE: 24,
  DELROUTE: 25,
  GETROUTE: 26,
  NEWNEIGH: 28,
  DELNEIGH: 29,
  GETNEIGH: 30,
} as const;

/** RTNLGRP_* multicast groups. */
export const RTNLGRP = {
  LINK: 1,
  NEIGH: 3,
  IPV4_IFADDR: 5,
  IPV4_ROUTE: 7,
  IPV6_IFADDR: 9,
  IPV6_ROUTE: 11,
} as const;

const AF_UNSPEC = 0;
const AF_INET = 2;
const AF_INET6 = 10;

/** IFF_* link flags, net/if.h. */
export const IFF = {
  UP: 0x1,
  BROADCAST: 0x2,
  LOOPBACK: 0x8,
  POINTOPOINT: 0x10,
  RUNNING: 0x40,
  LOWER_UP: 0x10000,
} as const;

/** Traffic counters of a link since it was made. */
export interface LinkStats {
  readonly rxPackets: number;
  readonly txPackets: number;
  readonly rxBytes: number;
  readonly txBytes: number;
  readonly rxErrors: number;
  readonly txErrors: number;
  readonly rxDropped: number;
  readonly txDropped: number;
}

/** RFC 2863 operational states, in the kernel's order (IF_OPER_*). */
const OPER_STATES = [
  "unknown",
  "not-present",
  "down",
  "lower-layer-down",
  "testing",
  "dormant",
  "up",
] as const;
/** RFC 2863 operational state of a link. */
export type OperState = typeof OPER_STATES[number];

/** A network interface. */
export interface Link {
  readonly index: number;
  readonly name: string;
  /** ARPHRD_*: 1 is Ethernet, 772 loopback. */
  readonly hardware: number;
  /** IFF_* bits. */
  readonly flags: number;
  /** Administratively up (IFF_UP). */
  readonly up: boolean;
  /** A cable is in and the peer is there (IFF_LOWER_UP). */
  readonly carrier: boolean;
  readonly loopback: boolean;
  readonly state: OperState;
  readonly mtu: number;
  /** `"52:54:00:12:34:56"`; null for a link without one. */
  readonly mac: string | null;
  /** `"veth"`, `"bridge"`, …; null for hardware. */
  readonly kind: string | null;
  readonly stats: LinkStats | null;
}

/** An address of a link. */
export interface Address {
  readonly index: number;
  readonly family: 4 | 6;
  readonly address: string;
  /** Prefix length, bits. */
  readonly prefix: number;
  readonly scope: "global" | "site" | "link" | "host" | "nowhere";
  readonly broadcast: string | null;
  readonly label: string | null;
  /** IFA_F_PERMANENT is absent when it has a lifetime. */
  readonly permanent: boolean;
  /** Seconds it stays valid; null for ever. */
  readonly validSeconds: number | null;
}

/** A route. */
export interface Route {
  readonly family: 4 | 6;
  /** Network address, or null for the default route. */
  readonly destination: string | null;
  /** Prefix length of the destination, bits. */
  readonly prefix: number;
  readonly gateway: string | null;
  /** Outgoing link. */
  readonly index: number | null;
  /** Preferred source address. */
  readonly source: string | null;
  readonly metric: number;
  /** Routing table: 254 main, 255 local. */
  readonly table: number;
  /** RTPROT_*: 2 kernel, 3 boot, 4 static, 16 dhcp. */
  readonly protocol: number;
  /** RT_SCOPE_*: 0 universe, 253 link, 254 host. */
  readonly scope: number;
  /** RTN_*: 1 unicast, 2 local, 3 broadcast, 5 multicast, 6 blackhole, 7 unreachable. */
  readonly type: number;
}

/** NUD_* states by bit. */
const NEIGHBOUR_STATES: readonly (readonly [number, string])[] = [
  [0x01, "incomplete"],
  [0x02, "reachable"],
  [0x04, "stale"],
  [0x08, "delay"],
  [0x10, "probe"],
  [0x20, "failed"],
  [0x40, "noarp"],
  [0x80, "permanent"],
];

/** A neighbour: who answers for an address on a link. */
export interface Neighbour {
  readonly index: number;
  readonly family: 4 | 6;
  readonly address: string | null;
  readonly mac: string | null;
  readonly state: string;
}

/** What the kernel told. */
export type RtMessage =
  | { readonly kind: "link.new" | "link.del"; readonly link: Link }
  | { readonly kind: "addr.new" | "addr.del"; readonly address: Address }
  | { readonly kind: "route.new" | "route.del"; readonly route: Route }
  | { readonly kind: "neigh.new" | "neigh.del"; readonly neighbour: Neighbour };

// ---------------------------------------------------------------- addresses

/** `"10.0.2.15"` of 4 bytes, RFC 5952 text of 16, null of any other length. */
export function addressText(bytes: Uint8Array): string | null {
  if (bytes.byteLength === 4) return bytes.join(".");
  if (bytes.byteLength !== 16) return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(index * 2, false));
  // RFC 5952: the first longest run of two or more zero groups becomes "::".
  let run = { at: -1, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === 0) length++;
    if (length > run.length) run = { at, length };
  }
  const hex = (part: number[]) => part.map((group) => group.toString(16)).join(":");
  if (run.at < 0) return hex(groups);
  return `${hex(groups.slice(0, run.at))}::${hex(groups.slice(run.at + run.length))}`;
}

/** The bytes of an address in text: 4 for IPv4, 16 for IPv6, null if it is neither. */
export function addressBytes(text: string): Uint8Array<ArrayBuffer> | null {
  return text.includes(":") ? ipv6Bytes(text) : ipv4Bytes(text);
}

function ipv4Bytes(text: string): Uint8Array<ArrayBuffer> | null {
  const parts = text.split(".");
  // No leading zeros: some readers take 010 as octal, so it names no one address.
  if (parts.length !== 4 || !parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part))) return null;
  const bytes = parts.map(Number);
  return bytes.every((byte) => byte <= 255) ? new Uint8Array(bytes) : null;
}

function ipv6Bytes(text: string): Uint8Array<ArrayBuffer> | null {
  const halves = text.split("::");
  if (halves.length > 2) return null;
  const [head, tail] = halves.map((half, index) => ipv6Groups(half, index === halves.length - 1));
  if (head === null || head === undefined || tail === null) return null;
  const missing = 8 - head.length - (tail?.length ?? 0);
  if (tail === undefined ? missing !== 0 : missing < 1) return null;
  const groups = [...head, ...new Array<number>(missing).fill(0), ...(tail ?? [])];
  const bytes = new Uint8Array(16);
  const view = new DataView(bytes.buffer);
  groups.forEach((group, index) => view.setUint16(index * 2, group, false));
  return bytes;
}

/** The 16-bit groups of one side of "::"; a dotted quad that ends the address is two of them. */
function ipv6Groups(text: string, last: boolean): number[] | null {
  if (text === "") return [];
  const groups: number[] = [];
  const parts = text.split(":");
  for (const [index, part] of parts.entries()) {
    if (last && part.includes(".") && index === parts.length - 1) {
      const quad = ipv4Bytes(part);
      if (quad === null) return null;
      const view = new DataView(quad.buffer);
      groups.push(view.getUint16(0, false), view.getUint16(2, false));
    } else if (/^[0-9a-fA-F]{1,4}$/.test(part)) groups.push(parseInt(part, 16));
    else return null;
  }
  return groups.length <= 8 ? groups : null;
}

/** `"52:54:00:12:34:56"`; null for no bytes. */
export function macText(bytes: Uint8Array): string | null {
  if (bytes.byteLength === 0) return null;
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join(":");
}

/** The bytes of `"52:54:00:12:34:56"`; null if it is not a six-byte address. */
export function macBytes(text: string): Uint8Array<ArrayBuffer> | null {
  if (!/^[0-9a-f]{2}(:[0-9a-f]{2}){5}$/i.test(text)) return null;
  return new Uint8Array(text.split(":").map((byte) => parseInt(byte, 16)));
}

function familyOf(af: number): 4 | 6 | null {
  return af === AF_INET ? 4 : af === AF_INET6 ? 6 : null;
}

// ---------------------------------------------------------------- decoding

// struct ifinfomsg { u8 family; u8 pad; u16 type; s32 index; u32 flags; u32 change; }
// struct ifaddrmsg { u8 family; u8 prefixlen; u8 flags; u8 scope; u32 index; }
// struct rtmsg     { u8 family, dst_len, src_len, tos, table, protocol, scope, type; u32 flags; }
// struct ndmsg     { u8 family; u8 pad1; u16 pad2; s32 ifindex; u16 state; u8 flags; u8 type; }

const IFLA = {
  ADDRESS: 1,
  IFNAME: 3,
  MTU: 4,
  OPERSTATE: 16,
  LINKINFO: 18,
  STATS64: 23,
} as const;
const IFLA_INFO_KIND = 1;
const IFA = {
  ADDRESS: 1,
  LOCAL: 2,
  LABEL: 3,
  BROADCAST: 4,
  CACHEINFO: 6,
  FLAGS: 8,
} as const;
const IFA_F_PERMANENT = 0x80;
const LIFETIME_FOREVER = 0xffff_ffff;
const RTA = {
  DST: 1,
  OIF: 4,
  GATEWAY: 5,
  PRIORITY: 6,
  PREFSRC: 7,
  TABLE: 15,
} as const;
const NDA_DST = 1;
const NDA_LLADDR = 2;

type Attributes = ReadonlyMap<number, Uint8Array>;

/** A 32-bit attribute, or `otherwise` when it is absent or too short. */
function u32Of(attributes: Attributes, type: number, otherwise: number): number {
  const value = attributes.get(type);
  if (value === undefined || value.byteLength < 4) return otherwise;
  return new DataView(value.buffer, value.byteOffset).getUint32(0, true);
}

function addressOf(attributes: Attributes, type: number): string | null {
  const value = attributes.get(type);
  return value === undefined ? null : addressText(value);
}

function textIn(attributes: Attributes, type: number): string | null {
  const value = attributes.get(type);
  return value === undefined ? null : textOf(value);
}

/** Splits a payload into its fixed header and attributes; null when either is malformed. */
function open(
  payload: Uint8Array,
  headerBytes: number,
): { header: Reader; attributes: Attributes } | null {
  if (payload.byteLength < headerBytes) return null;
  const { attributes, error } = decodeAttributes(payload.subarray(headerBytes));
  if (error !== null) return null;
  return { header: new Reader(payload.subarray(0, headerBytes)), attributes };
}

/** Decodes an RTM_NEWLINK or RTM_DELLINK payload; null if malformed. */
export function decodeLink(payload: Uint8Array): Link | null {
  const opened = open(payload, 16);
  if (opened === null) return null;
  const { header, attributes } = opened;
  header.skip(2);
  const hardware = header.u16();
  const index = header.i32();
  const flags = header.u32();
  const name = textIn(attributes, IFLA.IFNAME);
  if (name === null || index <= 0) return null;
  const state = attributes.get(IFLA.OPERSTATE)?.[0] ?? 0;
  const info = attributes.get(IFLA.LINKINFO);
  return {
    index,
    name,
    hardware,
    flags,
    up: (flags & IFF.UP) !== 0,
    carrier: (flags & IFF.LOWER_UP) !== 0,
    loopback: (flags & IFF.LOOPBACK) !== 0,
    state: OPER_STATES[state] ?? "unknown",
    mtu: u32Of(attributes, IFLA.MTU, 0),
    mac: macText(attributes.get(IFLA.ADDRESS) ?? new Uint8Array()),
    kind: info === undefined ? null : textIn(decodeAttributes(info).attributes, IFLA_INFO_KIND),
    stats: decodeStats(attributes.get(IFLA.STATS64)),
  };
}

/** The head of struct rtnl_link_stats64: eight u64 in this order. */
function decodeStats(bytes: Uint8Array | undefined): LinkStats | null {
  if (bytes === undefined) return null;
  const reader = new Reader(bytes);
  const stats: LinkStats = {
    rxPackets: reader.u64(),
    txPackets: reader.u64(),
    rxBytes: reader.u64(),
    txBytes: reader.u64(),
    rxErrors: reader.u64(),
    txErrors: reader.u64(),
    rxDropped: reader.u64(),
    txDropped: reader.u64(),
  };
  return reader.error === null ? stats : null;
}

function addressScope(scope: number): Address["scope"] {
  switch (scope) {
    case 200:
      return "site";
    case 253:
      return "link";
    case 254:
      return "host";
    case 255:
      return "nowhere";
    default:
      return "global";
  }
}

/** Decodes an RTM_NEWADDR or RTM_DELADDR payload; null if malformed or of another family. */
export function decodeAddress(payload: Uint8Array): Address | null {
  const opened = open(payload, 8);
  if (opened === null) return null;
  const { header, attributes } = opened;
  const family = familyOf(header.u8());
  const prefix = header.u8();
  const shortFlags = header.u8();
  const scope = header.u8();
  const index = header.u32();
  // On a point-to-point IPv4 link ADDRESS is the peer's and LOCAL ours; elsewhere they are equal.
  const address = addressOf(attributes, IFA.LOCAL) ?? addressOf(attributes, IFA.ADDRESS);
  if (family === null || address === null || prefix > (family === 4 ? 32 : 128)) return null;
  if (address.includes(":") !== (family === 6)) return null;
  const flags = u32Of(attributes, IFA.FLAGS, shortFlags);
  // struct ifa_cacheinfo { u32 prefered, valid, cstamp, tstamp; }
  const cache = attributes.get(IFA.CACHEINFO);
  const valid = cache === undefined || cache.byteLength < 8
    ? LIFETIME_FOREVER
    : new Reader(cache).skip(4).u32();
  return {
    index,
    family,
    address,
    prefix,
    scope: addressScope(scope),
    broadcast: addressOf(attributes, IFA.BROADCAST),
    label: textIn(attributes, IFA.LABEL),
    permanent: (flags & IFA_F_PERMANENT) !== 0,
    validSeconds: valid === LIFETIME_FOREVER ? null : valid,
  };
}

/** Decodes an RTM_NEWROUTE or RTM_DELROUTE payload; null if malformed or of another family. */
export function decodeRoute(payload: Uint8Array): Route | null {
  const opened = open(payload, 12);
  if (opened === null) return null;
  const { header, attributes } = opened;
  const family = familyOf(header.u8());
  const prefix = header.u8();
  header.skip(2);
  const table = header.u8();
  const protocol = header.u8();
  const scope = header.u8();
  const type = header.u8();
  if (family === null || prefix > (family === 4 ? 32 : 128)) return null;
  const index = u32Of(attributes, RTA.OIF, 0);
  return {
    family,
    destination: addressOf(attributes, RTA.DST),
    prefix,
    gateway: addressOf(attributes, RTA.GATEWAY),
    index: index === 0 ? null : index,
    source: addressOf(attributes, RTA.PREFSRC),
    metric: u32Of(attributes, RTA.PRIORITY, 0),
    table: u32Of(attributes, RTA.TABLE, table),
    protocol,
    scope,
    type,
  };
}

/** Decodes an RTM_NEWNEIGH or RTM_DELNEIGH payload; null if malformed or of another family. */
export function decodeNeighbour(payload: Uint8Array): Neighbour | null {
  const opened = open(payload, 12);
  if (opened === null) return null;
  const { header, attributes } = opened;
  const family = familyOf(header.u8());
  header.skip(3);
  const index = header.i32();
  const state = header.u16();
  if (family === null) return null;
  return {
    index,
    family,
    address: addressOf(attributes, NDA_DST),
    mac: macText(attributes.get(NDA_LLADDR) ?? new Uint8Array()),
    state: NEIGHBOUR_STATES.find(([bit]) => (state & bit) !== 0)?.[1] ?? "none",
  };
}

/** Decodes any RTM_NEW… or RTM_DEL… message. `"malformed"` is counted, `"other"` skipped. */
export function decodeRtMessage(message: NetlinkMessage): RtMessage | "malformed" | "other" {
  const { type, payload } = message;
  switch (type) {
    case RTM.NEWLINK:
    case RTM.DELLINK: {
      // A bridge speaks of its ports as AF_BRIDGE: a port that leaves it is no link that is gone.
      if (payload.byteLength >= 16 && payload[0] !== AF_UNSPEC) return "other";
      const link = decodeLink(payload);
      if (link === null) return "malformed";
      return { kind: type === RTM.NEWLINK ? "link.new" : "link.del", link };
    }
    case RTM.NEWADDR:
    case RTM.DELADDR: {
      const address = decodeAddress(payload);
      if (address === null) return "malformed";
      return { kind: type === RTM.NEWADDR ? "addr.new" : "addr.del", address };
    }
    case RTM.NEWROUTE:
    case RTM.DELROUTE: {
      const route = decodeRoute(payload);
      // Multicast routes come in families of their own (RTNL_FAMILY_IPMR): not ours.
      if (route === null) return payload.byteLength < 12 ? "malformed" : "other";
      return { kind: type === RTM.NEWROUTE ? "route.new" : "route.del", route };
    }
    case RTM.NEWNEIGH:
    case RTM.DELNEIGH: {
      const neighbour = decodeNeighbour(payload);
      // Bridges speak of neighbours in AF_BRIDGE.
      if (neighbour === null) return payload.byteLength < 12 ? "malformed" : "other";
      return { kind: type === RTM.NEWNEIGH ? "neigh.new" : "neigh.del", neighbour };
    }
    default:
      return "other";
  }
}

// ---------------------------------------------------------------- encoding

/** An address to add or remove. */
export interface AddressRequest {
  readonly index: number;
  /** `"10.0.2.15"` or IPv6. */
  readonly address: string;
  readonly prefix: number;
  /** IPv4 only. */
  readonly broadcast?: string;
  /** Seconds until the kernel drops it by itself; absent for ever. */
  readonly validSeconds?: number;
}

/** A route to add or remove. */
export interface RouteRequest {
  readonly index: number;
  /** Network address; absent for the default route. */
  readonly destination?: string;
  /** Prefix length; absent for the default route. */
  readonly prefix?: number;
  /** Absent for an on-link route. */
  readonly gateway?: string;
  /** Preferred source address. */
  readonly source?: string;
  readonly metric?: number;
  /** Needed to say which default route is meant when neither address is given. Default 4. */
  readonly family?: 4 | 6;
}

const RT_TABLE_MAIN = 254;
const RTPROT_BOOT = 3;
const RT_SCOPE_UNIVERSE = 0;
const RT_SCOPE_LINK = 253;
const RT_SCOPE_NOWHERE = 255;
const RTN_UNSPEC = 0;
const RTN_UNICAST = 1;

/** Asks for all links, addresses or routes. */
export function encodeDump(what: "link" | "addr" | "route" | "neigh"): NetlinkRequest {
  // Strict checking wants the family's own header, all zeros: everything.
  const { type, header } = {
    link: { type: RTM.GETLINK, header: 16 },
    addr: { type: RTM.GETADDR, header: 8 },
    route: { type: RTM.GETROUTE, header: 12 },
    neigh: { type: RTM.GETNEIGH, header: 12 },
  }[what];
  return { type, flags: NLM_F.DUMP, payload: new Uint8Array(header) };
}

/** Sets or clears IFF_UP. */
export function encodeLinkState(index: number, up: boolean): NetlinkRequest {
  const payload = new Writer(16).u8(AF_UNSPEC).u8(0).u16(0).i32(index)
    .u32(up ? IFF.UP : 0).u32(IFF.UP).finish();
  return { type: RTM.NEWLINK, flags: NLM_F.ACK, payload };
}

/** Adds (or refreshes) or removes an address; null when it is not an address. */
export function encodeAddress(request: AddressRequest, add: boolean): NetlinkRequest | null {
  const bytes = addressBytes(request.address);
  if (bytes === null || !validPrefix(bytes, request.prefix)) return null;
  const writer = new Writer(64)
    .u8(bytes.byteLength === 4 ? AF_INET : AF_INET6).u8(request.prefix).u8(0)
    .u8(RT_SCOPE_UNIVERSE).u32(request.index);
  putAttribute(writer, IFA.LOCAL, bytes);
  putAttribute(writer, IFA.ADDRESS, bytes);
  if (request.broadcast !== undefined) {
    const broadcast = ipv4Bytes(request.broadcast);
    if (broadcast === null) return null;
    putAttribute(writer, IFA.BROADCAST, broadcast);
  }
  if (request.validSeconds !== undefined) {
    const seconds = Math.min(Math.max(1, Math.floor(request.validSeconds)), LIFETIME_FOREVER);
    putAttribute(
      writer,
      IFA.CACHEINFO,
      new Writer(16).u32(seconds).u32(seconds).u32(0).u32(0).finish(),
    );
  }
  // REPLACE: a renewed lease sets the lifetime of the address that is there.
  const flags = add ? NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE : NLM_F.ACK;
  return { type: add ? RTM.NEWADDR : RTM.DELADDR, flags, payload: writer.finish() };
}

/** Adds or removes a route; null when an address or prefix is not one, or families differ. */
export function encodeRoute(request: RouteRequest, add: boolean): NetlinkRequest | null {
  const texts = {
    destination: request.destination,
    gateway: request.gateway,
    source: request.source,
  };
  const bytes: Partial<Record<keyof typeof texts, Uint8Array>> = {};
  let length = request.family === 6 ? 16 : request.family === 4 ? 4 : 0;
  for (const key of ["destination", "gateway", "source"] as const) {
    const text = texts[key];
    if (text === undefined) continue;
    const parsed = addressBytes(text);
    if (parsed === null || (length !== 0 && parsed.byteLength !== length)) return null;
    length = parsed.byteLength;
    bytes[key] = parsed;
  }
  const prefix = request.prefix ?? 0;
  if (length === 0) length = 4;
  if (!validPrefix(new Uint8Array(length), prefix)) return null;
  if (prefix > 0 && bytes.destination === undefined) return null;
  const scope = !add
    ? RT_SCOPE_NOWHERE
    : bytes.gateway === undefined && length === 4
    ? RT_SCOPE_LINK
    : RT_SCOPE_UNIVERSE;
  const writer = new Writer(96)
    .u8(length === 4 ? AF_INET : AF_INET6).u8(prefix).u8(0).u8(0)
    .u8(RT_TABLE_MAIN).u8(add ? RTPROT_BOOT : 0).u8(scope).u8(add ? RTN_UNICAST : RTN_UNSPEC)
    .u32(0);
  if (bytes.destination !== undefined) {
    putAttribute(writer, RTA.DST, masked(bytes.destination, prefix));
  }
  if (bytes.gateway !== undefined) putAttribute(writer, RTA.GATEWAY, bytes.gateway);
  if (bytes.source !== undefined) putAttribute(writer, RTA.PREFSRC, bytes.source);
  putAttribute(writer, RTA.OIF, u32Bytes(request.index));
  if (request.metric !== undefined) putAttribute(writer, RTA.PRIORITY, u32Bytes(request.metric));
  const flags = add ? NLM_F.ACK | NLM_F.CREATE | NLM_F.REPLACE : NLM_F.ACK;
  return { type: add ? RTM.NEWROUTE : RTM.DELROUTE, flags, payload: writer.finish() };
}

function validPrefix(address: Uint8Array, prefix: number): boolean {
  return Number.isInteger(prefix) && prefix >= 0 && prefix <= address.byteLength * 8;
}

/** The network part: the kernel refuses a route whose host bits are set. */
function masked(address: Uint8Array, prefix: number): Uint8Array {
  return address.map((byte, index) => {
    const bits = Math.min(8, Math.max(0, prefix - index * 8));
    return byte & (0xff << (8 - bits));
  });
}

function u32Bytes(value: number): Uint8Array {
  return new Writer(4).u32(value).finish();
}

// ---------------------------------------------------------------- the socket

/** A change that was made, or the kernel's refusal. */
export type RtResult = { readonly ok: true } | Refusal;
/** A list, or the kernel's refusal. */
export type RtList<T> = { readonly ok: true; readonly items: T[] } | Refusal;

/** What a subscription hands on. */
export interface RtListener {
  onMessage(message: RtMessage): void;
  /** The kernel dropped messages: dump again. All that was queued before has been read by then. */
  onOverflow(): void;
}

/** A dump that raced with a change is asked for again this often. */
const DUMP_TRIES = 4;

/** Asks and changes by one socket, listens by others. */
export class Rtnl {
  readonly #libc: NetlinkLibc;
  readonly #reactor: Pick<Reactor, "add">;
  readonly #report: Report;
  readonly #requests: NetlinkRequests;
  #malformed = 0;

  /** @throws SysError when the socket cannot be had */
  constructor(
    libc: NetlinkLibc,
    reactor: Pick<Reactor, "add">,
    report: Report,
    options: { readonly answerMs?: number } = {},
  ) {
    this.#libc = libc;
    this.#reactor = reactor;
    this.#report = report;
    this.#requests = new NetlinkRequests(libc, reactor, NETLINK.ROUTE, {
      name: "rtnetlink requests",
      ...options,
    });
  }

  /** Messages the kernel sent that could not be decoded. */
  get malformed(): number {
    return this.#malformed;
  }

  /** All links. */
  async dumpLinks(): Promise<RtList<Link>> {
    return await this.#dump("link", (message) => "link" in message ? message.link : null);
  }

  /** All addresses, IPv4 and IPv6. */
  async dumpAddrs(): Promise<RtList<Address>> {
    return await this.#dump("addr", (message) => "address" in message ? message.address : null);
  }

  /** All routes of all tables, IPv4 and IPv6. */
  async dumpRoutes(): Promise<RtList<Route>> {
    return await this.#dump("route", (message) => "route" in message ? message.route : null);
  }

  /** All neighbours. */
  async dumpNeighbours(): Promise<RtList<Neighbour>> {
    return await this.#dump(
      "neigh",
      (message) => "neighbour" in message ? message.neighbour : null,
    );
  }

  /** Brings a link up. */
  async setLinkUp(index: number): Promise<RtResult> {
    return await this.#change(encodeLinkState(index, true));
  }

  /** Takes a link down. */
  async setLinkDown(index: number): Promise<RtResult> {
    return await this.#change(encodeLinkState(index, false));
  }

  /** Adds an address, or refreshes the lifetime of one that is there. EINVAL if it is not one. */
  async addAddr(request: AddressRequest): Promise<RtResult> {
    return await this.#change(encodeAddress(request, true));
  }

  /** Removes an address. EADDRNOTAVAIL if it is not there. */
  async delAddr(request: AddressRequest): Promise<RtResult> {
    return await this.#change(encodeAddress(request, false));
  }

  /** Adds or replaces a route: default, by a gateway, or on-link. ENETUNREACH, EINVAL, … */
  async addRoute(request: RouteRequest): Promise<RtResult> {
    return await this.#change(encodeRoute(request, true));
  }

  /** Removes a route. ESRCH if it is not there. */
  async delRoute(request: RouteRequest): Promise<RtResult> {
    return await this.#change(encodeRoute(request, false));
  }

  /**
   * Listens to changes, on a socket of its own.
   *
   * @param groups RTNLGRP_* numbers; default links, addresses and routes of both families
   * @throws SysError
   */
  subscribe(
    listener: RtListener,
    groups: readonly number[] = [
      RTNLGRP.LINK,
      RTNLGRP.IPV4_IFADDR,
      RTNLGRP.IPV4_ROUTE,
      RTNLGRP.IPV6_IFADDR,
      RTNLGRP.IPV6_ROUTE,
    ],
  ): { readonly socket: NetlinkSocket; readonly active: boolean; close(): void } {
    const socket = new NetlinkSocket(this.#libc, { protocol: NETLINK.ROUTE, groups });
    let lost = false;
    const drain = () => {
      const more = socket.drain({
        // What is still queued after a loss is older than the dump to come: taken for news, it would
        // put things back as they were before what was lost.
        onDatagram: (datagram) => {
          if (!lost) this.#decode(datagram, (message) => listener.onMessage(message));
        },
        onOverflow: () => lost = true,
      });
      if (lost && more === undefined) {
        lost = false;
        listener.onOverflow();
      }
      return more;
    };
    const registration = this.#reactor.add(socket.fd, ["read"], drain, "rtnetlink subscription");
    return {
      socket,
      get active() {
        return registration.active;
      },
      close: () => {
        registration.remove();
        socket.close();
      },
    };
  }

  /** Closes the request socket; whoever waits gets ECANCELED. */
  close(): void {
    this.#requests.close();
  }

  /** Hands on each message of a datagram it can decode, counts the rest and reports it once. */
  #decode(datagram: Uint8Array, onMessage: (message: RtMessage) => void): void {
    const { messages, error } = decodeMessages(datagram);
    const faults = error === null ? [] : [error];
    for (const raw of messages) {
      const message = decodeRtMessage(raw);
      if (message === "malformed") faults.push(`message of type ${raw.type}`);
      else if (message !== "other") onMessage(message);
    }
    if (faults.length === 0) return;
    this.#malformed += faults.length;
    const [first] = faults;
    const more = faults.length > 1 ? ` and ${faults.length - 1} more` : "";
    this.#report("rtnetlink", new Error(`malformed datagram: ${first}${more}`));
  }

  async #dump<T>(
    what: "link" | "addr" | "route" | "neigh",
    pick: (message: RtMessage) => T | null,
  ): Promise<RtList<T>> {
    for (let tries = 1;; tries++) {
      const items: T[] = [];
      const reply = await this.#requests.request(encodeDump(what), (raw) => {
        const message = decodeRtMessage(raw);
        if (message === "malformed") this.#malformed++;
        const item = typeof message === "string" ? null : pick(message);
        if (item !== null) items.push(item);
      });
      if (!reply.ok) return reply;
      if (!reply.interrupted || tries === DUMP_TRIES) return { ok: true, items };
    }
  }

  async #change(request: NetlinkRequest | null): Promise<RtResult> {
    if (request === null) return refusal(Errno.EINVAL, "not an address, prefix or family pair");
    const reply = await this.#requests.request(request);
    return reply.ok ? { ok: true } : reply;
  }
}
