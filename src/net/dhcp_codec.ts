/**
 * DHCP messages as bytes: encoding, decoding, and the few options we speak of.
 *
 * Owns the wire format (RFC 2131 §2, options of RFC 2132, long options of RFC
 * 3396) as pure code. It must never trust a length it was sent, keep a view of
 * a caller's buffer, or throw on what came from the network.
 */
import { formatIpv4, parseIpv4 } from "./ip.ts";

/** DHCP message types, option 53 (RFC 2132 §9.6). */
export const MessageType = {
  discover: 1,
  offer: 2,
  request: 3,
  decline: 4,
  ack: 5,
  nak: 6,
  release: 7,
  inform: 8,
} as const;

/** Option codes (RFC 2132). */
export const Option = {
  pad: 0,
  netmask: 1,
  router: 3,
  dns: 6,
  hostname: 12,
  interfaceMtu: 26,
  broadcast: 28,
  requestedAddress: 50,
  leaseTime: 51,
  overload: 52,
  messageType: 53,
  server: 54,
  parameters: 55,
  text: 56,
  maxSize: 57,
  t1: 58,
  t2: 59,
  clientId: 61,
  end: 255,
} as const;

/** One message. Addresses are dotted quads; `"0.0.0.0"` where the field is unset. */
export interface DhcpMessage {
  readonly op: "request" | "reply";
  /** Transaction id, 32 bits. */
  readonly xid: number;
  /** Seconds since the client began. */
  readonly secs: number;
  /** The client can not yet take a unicast answer. */
  readonly broadcast: boolean;
  readonly ciaddr: string;
  readonly yiaddr: string;
  readonly siaddr: string;
  readonly giaddr: string;
  /** Six bytes: only Ethernet is spoken here. */
  readonly chaddr: Uint8Array;
  /** By code, without pad, overload and end. */
  readonly options: ReadonlyMap<number, Uint8Array>;
}

export type Decoded = { ok: true; message: DhcpMessage } | { ok: false; reason: string };

// Offsets of struct dhcp_packet, RFC 2131 figure 1.
const atHtype = 1;
const atHlen = 2;
const atXid = 4;
const atSecs = 8;
const atFlags = 10;
const atCiaddr = 12;
const atYiaddr = 16;
const atSiaddr = 20;
const atGiaddr = 24;
const atChaddr = 28;
const atSname = 44;
const atFile = 108;
const atCookie = 236;
const atOptions = 240;

const opOf = { request: 1, reply: 2 } as const;
const ethernet = 1;
const macLength = 6;
const broadcastFlag = 0x8000;
const cookie = 0x6382_5363;
/** BOOTP's size; some relays drop what is shorter (RFC 1542 §2.1). */
const minimumSize = 300;

/** Encodes a message, padded to BOOTP's 300 bytes. Throws RangeError when a field is not one. */
export function encodeDhcp(message: DhcpMessage): Uint8Array<ArrayBuffer> {
  if (message.chaddr.length !== macLength) {
    throw new RangeError(`encode DHCP: chaddr of ${message.chaddr.length} bytes`);
  }
  const options: number[] = [];
  for (const [code, value] of message.options) {
    if (code <= Option.pad || code >= Option.end || code === Option.overload) {
      throw new RangeError(`encode DHCP: option ${code} is not one a message carries`);
    }
    // RFC 3396: what is longer than one option continues in the next of the same code.
    let at = 0;
    do {
      const part = value.subarray(at, at + 255);
      options.push(code, part.length, ...part);
      at += 255;
    } while (at < value.length);
  }
  options.push(Option.end);

  const bytes = new Uint8Array(Math.max(minimumSize, atOptions + options.length));
  const view = new DataView(bytes.buffer);
  bytes[0] = opOf[message.op];
  bytes[atHtype] = ethernet;
  bytes[atHlen] = macLength;
  view.setUint32(atXid, message.xid);
  view.setUint16(atSecs, message.secs);
  view.setUint16(atFlags, message.broadcast ? broadcastFlag : 0);
  for (
    const [at, text] of [
      [atCiaddr, message.ciaddr],
      [atYiaddr, message.yiaddr],
      [atSiaddr, message.siaddr],
      [atGiaddr, message.giaddr],
    ] as const
  ) view.setUint32(at, addressValue(text));
  bytes.set(message.chaddr, atChaddr);
  view.setUint32(atCookie, cookie);
  bytes.set(options, atOptions);
  return bytes;
}

/** Decodes a datagram; a refusal says what is wrong with it. Copies what it keeps. */
export function decodeDhcp(bytes: Uint8Array): Decoded {
  if (bytes.length < atOptions) return refuse(`${bytes.length} bytes are too few`);
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const op = bytes[0];
  if (op !== opOf.request && op !== opOf.reply) return refuse(`op ${op} is neither 1 nor 2`);
  if (bytes[atHtype] !== ethernet || bytes[atHlen] !== macLength) {
    return refuse(`hardware type ${bytes[atHtype]}, length ${bytes[atHlen]} is not Ethernet`);
  }
  if (view.getUint32(atCookie) !== cookie) {
    return refuse("no magic cookie: BOOTP or something else");
  }

  const parts = new Map<number, Uint8Array[]>();
  const fault = readOptions(bytes.subarray(atOptions), "options", parts) ??
    readOverload(bytes, parts);
  if (fault !== null) return refuse(fault);
  const options = new Map<number, Uint8Array>();
  for (const [code, values] of parts) {
    if (code !== Option.overload) options.set(code, concatenate(values));
  }
  return {
    ok: true,
    message: {
      op: op === opOf.request ? "request" : "reply",
      xid: view.getUint32(atXid),
      secs: view.getUint16(atSecs),
      broadcast: (view.getUint16(atFlags) & broadcastFlag) !== 0,
      ciaddr: formatIpv4(view.getUint32(atCiaddr)),
      yiaddr: formatIpv4(view.getUint32(atYiaddr)),
      siaddr: formatIpv4(view.getUint32(atSiaddr)),
      giaddr: formatIpv4(view.getUint32(atGiaddr)),
      chaddr: bytes.slice(atChaddr, atChaddr + macLength),
      options,
    },
  };
}

/** What a client needs of a server's answer. Times in seconds, absent where the server is silent. */
export interface DhcpReply {
  readonly type: "offer" | "ack" | "nak";
  readonly xid: number;
  readonly chaddr: Uint8Array;
  readonly yiaddr: string;
  readonly server?: string | undefined;
  readonly netmask?: string | undefined;
  readonly routers: readonly string[];
  readonly dns: readonly string[];
  readonly leaseS?: number | undefined;
  readonly t1S?: number | undefined;
  readonly t2S?: number | undefined;
  /** Option 56, printable ASCII of at most 128 characters: untrusted. */
  readonly text?: string | undefined;
}

export type ReadReply = { ok: true; reply: DhcpReply } | { ok: false; reason: string };

/** Reads a server's answer out of a datagram; refuses options of impossible lengths. */
export function readReply(bytes: Uint8Array): ReadReply {
  const decoded = decodeDhcp(bytes);
  if (!decoded.ok) return decoded;
  const { message } = decoded;
  if (message.op !== "reply") return refuse("a client's message, not a server's");
  const { options } = message;
  for (const [code, value] of options) {
    const unit = unitOf.get(code);
    if (unit === undefined) continue;
    const wanted = unit.list
      ? value.length > 0 && value.length % unit.size === 0
      : value.length === unit.size;
    if (!wanted) return refuse(`option ${code} of ${value.length} bytes`);
  }
  const type = replyTypes.get(options.get(Option.messageType)?.[0] ?? 0);
  if (type === undefined) return refuse("not an offer, ack or nak");
  const text = options.get(Option.text);
  return {
    ok: true,
    reply: {
      type,
      xid: message.xid,
      chaddr: message.chaddr,
      yiaddr: message.yiaddr,
      server: addressesOf(options, Option.server)[0],
      netmask: addressesOf(options, Option.netmask)[0],
      routers: addressesOf(options, Option.router),
      dns: addressesOf(options, Option.dns),
      leaseS: secondsOf(options, Option.leaseTime),
      t1S: secondsOf(options, Option.t1),
      t2S: secondsOf(options, Option.t2),
      text: text === undefined ? undefined : printable(text),
    },
  };
}

/** The four bytes of an address option. Throws RangeError when `address` is not one. */
export function addressBytes(address: string): Uint8Array {
  return u32Bytes(addressValue(address));
}

/** A 32-bit value, big-endian. */
export function u32Bytes(value: number): Uint8Array {
  return new Uint8Array([value >>> 24, (value >>> 16) & 255, (value >>> 8) & 255, value & 255]);
}

const replyTypes: ReadonlyMap<number, DhcpReply["type"]> = new Map([
  [MessageType.offer, "offer"],
  [MessageType.ack, "ack"],
  [MessageType.nak, "nak"],
]);

/** The length an option we read must have, or a multiple of. */
const unitOf: ReadonlyMap<number, { size: number; list: boolean }> = new Map([
  [Option.messageType, { size: 1, list: false }],
  [Option.server, { size: 4, list: false }],
  [Option.netmask, { size: 4, list: false }],
  [Option.leaseTime, { size: 4, list: false }],
  [Option.t1, { size: 4, list: false }],
  [Option.t2, { size: 4, list: false }],
  [Option.router, { size: 4, list: true }],
  [Option.dns, { size: 4, list: true }],
]);

/** Collects options up to `end` or the field's last byte; answers the fault, or null. */
function readOptions(
  field: Uint8Array,
  name: string,
  into: Map<number, Uint8Array[]>,
): string | null {
  for (let at = 0; at < field.length;) {
    const code = field[at++]!;
    if (code === Option.pad) continue;
    if (code === Option.end) return null;
    const length = field[at++];
    if (length === undefined || at + length > field.length) {
      return `option ${code} in ${name} runs past its field`;
    }
    const values = into.get(code) ?? [];
    values.push(field.subarray(at, at + length));
    into.set(code, values);
    at += length;
  }
  return null;
}

/** Option 52: `file` (1), `sname` (2) or both (3) carry options too, in that order. */
function readOverload(bytes: Uint8Array, into: Map<number, Uint8Array[]>): string | null {
  const values = into.get(Option.overload);
  if (values === undefined) return null;
  const value = values.length === 1 && values[0]!.length === 1 ? values[0]![0]! : 0;
  if (value < 1 || value > 3) return "option 52 (overload) is not 1, 2 or 3";
  const file = (value & 1) === 0
    ? null
    : readOptions(bytes.subarray(atFile, atCookie), "file", into);
  if (file !== null || (value & 2) === 0) return file;
  return readOptions(bytes.subarray(atSname, atFile), "sname", into);
}

function concatenate(parts: readonly Uint8Array[]): Uint8Array {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function addressesOf(options: ReadonlyMap<number, Uint8Array>, code: number): string[] {
  const value = options.get(code) ?? new Uint8Array();
  return Array.from(
    { length: value.length / 4 },
    (_, index) => formatIpv4(u32At(value, index * 4)),
  );
}

function secondsOf(options: ReadonlyMap<number, Uint8Array>, code: number): number | undefined {
  const value = options.get(code);
  return value === undefined ? undefined : u32At(value, 0);
}

function u32At(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength).getUint32(at);
}

function printable(bytes: Uint8Array): string {
  return Array.from(
    bytes.subarray(0, 128),
    (byte) => byte >= 0x20 && byte < 0x7f ? String.fromCharCode(byte) : "?",
  ).join("");
}

function addressValue(text: string): number {
  const value = parseIpv4(text);
  if (value === null) throw new RangeError(`encode DHCP: "${text}" is not an IPv4 address`);
  return value;
}

function refuse(reason: string): { ok: false; reason: string } {
  return { ok: false, reason };
}
