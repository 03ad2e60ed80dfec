/**
 * The static address of the kernel command line:
 * `osym.ip=<address>/<prefix>[,gw=<address>][,dns=<address>]…`.
 *
 * Owns its grammar.
 */
import { hostFault, isUnicast, parseCidr, parseIpv4 } from "./ip.ts";

export interface StaticAddress {
  readonly address: string;
  readonly prefix: number;
  readonly gateway?: string | undefined;
  readonly dns: readonly string[];
}

/** Parses the parameter's value; a text says what is wrong with it. */
export function parseStaticAddress(value: string): StaticAddress | string {
  const [cidr = "", ...settings] = value.split(",");
  const own = parseCidr(cidr);
  if (own === null) return `"${cidr}": expected <address>/<prefix>`;
  const fault = hostFault(own.address, own.prefix);
  if (fault !== null) return fault;
  let gateway: string | undefined;
  const dns: string[] = [];
  for (const setting of settings) {
    const equals = setting.indexOf("=");
    const name = setting.slice(0, Math.max(0, equals));
    const address = setting.slice(equals + 1);
    const number = parseIpv4(address);
    if ((name !== "gw" && name !== "dns") || number === null || !isUnicast(number)) {
      return `"${setting}": expected gw=<address> or dns=<address>`;
    }
    if (name === "dns") dns.push(address);
    else if (gateway !== undefined) return `"${setting}": a second gateway`;
    else if (address === own.address) return `"${setting}": the gateway is the address itself`;
    else gateway = address;
  }
  return { ...own, ...(gateway === undefined ? {} : { gateway }), dns };
}
