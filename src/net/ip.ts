/**
 * IPv4 addresses as text and as 32-bit numbers, prefixes and netmasks.
 *
 * Owns arithmetic only: pure functions that answer null for what is not an
 * address. It must never look a name up.
 */

/** The 32-bit value of a dotted quad as inet_pton(3) takes it (no leading zeros), or null. */
export function parseIpv4(text: string): number | null {
  const match = /^(\d{1,3})\.(\d{1,3})\.(\d{1,3})\.(\d{1,3})$/.exec(text);
  if (match === null) return null;
  let value = 0;
  for (const part of match.slice(1)) {
    const byte = Number(part);
    if (byte > 255 || String(byte) !== part) return null;
    value = value * 256 + byte;
  }
  return value;
}

/** The dotted quad of a 32-bit value. */
export function formatIpv4(value: number): string {
  return `${value >>> 24}.${(value >>> 16) & 255}.${(value >>> 8) & 255}.${value & 255}`;
}

/** The netmask of a prefix length 0…32, as a 32-bit value. */
export function netmaskOf(prefix: number): number {
  // A shift by 32 is a shift by 0 in JavaScript.
  return prefix === 0 ? 0 : (0xffff_ffff << (32 - prefix)) >>> 0;
}

/** The prefix length of a netmask; null when its ones are not contiguous. */
export function prefixOf(netmask: number): number | null {
  const prefix = Math.clz32(~netmask >>> 0);
  return netmaskOf(prefix) === netmask >>> 0 ? prefix : null;
}

/** The prefix an address had before CIDR (RFC 791): what a lease without a netmask means. */
export function classfulPrefix(address: number): number {
  const first = address >>> 24;
  return first < 128 ? 8 : first < 192 ? 16 : 24;
}

/** `"10.0.2.15/24"` split; null when either half is not one. */
export function parseCidr(text: string): { address: string; prefix: number } | null {
  const [address, length, ...rest] = text.split("/");
  if (rest.length > 0 || address === undefined || length === undefined) return null;
  if (parseIpv4(address) === null || !/^(?:[0-9]|[12][0-9]|3[0-2])$/.test(length)) return null;
  return { address, prefix: Number(length) };
}

/** Whether two addresses lie in the same network of `prefix` bits. */
export function sameNetwork(one: number, other: number, prefix: number): boolean {
  return ((one ^ other) & netmaskOf(prefix)) === 0;
}

/** The directed broadcast address of a network, as text; null where there is none (/31, /32). */
export function broadcastOf(address: string, prefix: number): string | null {
  const value = parseIpv4(address);
  if (value === null || prefix > 30) return null;
  return formatIpv4((value | ~netmaskOf(prefix)) >>> 0);
}

/**
 * Whether a machine on a network may have or talk to this address: a unicast
 * one that is not loopback, link-local or reserved (RFC 6890 §2.2.2).
 */
export function isUnicast(value: number): boolean {
  const first = value >>> 24;
  return first !== 0 && first !== 127 && first < 224 && value >>> 16 !== 0xa9fe;
}

/** Why an address of this prefix can not be a host's own; null when it can. */
export function hostFault(address: string, prefix: number): string | null {
  const value = parseIpv4(address);
  if (value === null) return `"${address}" is not an IPv4 address`;
  if (!isUnicast(value)) return `${address} is not an address a host may have`;
  if (prefix < 1 || prefix > 32) return `/${prefix} is not a prefix of a host's network`;
  const host = (value & ~netmaskOf(prefix)) >>> 0;
  if (prefix > 30) return null; // RFC 3021: both ends of a /31 are hosts
  if (host === 0) return `${address}/${prefix} is the network's own address`;
  if (host === (~netmaskOf(prefix) >>> 0)) return `${address}/${prefix} is the broadcast address`;
  return null;
}
