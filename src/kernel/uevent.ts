/**
 * Devices that come, go and change, as the kernel announces them.
 *
 * Owns: the parser of kobject uevents and the socket that receives them.
 * Must never: believe udev's rebroadcasts or anyone else's: only port id 0 speaks (netlink.ts).
 *
 * linux/kobject.h, lib/kobject_uevent.c, netlink(7).
 */

import { textOf } from "./layout.ts";
import { type DrainHandlers, NETLINK, type NetlinkLibc, NetlinkSocket } from "./netlink.ts";

/** A device event. */
export interface Uevent {
  /** `"add"`, `"remove"`, `"change"`, `"move"`, `"online"`, `"offline"`, `"bind"`, `"unbind"`. */
  readonly action: string;
  /** Path below /sys, `"/devices/pci0000:00/…"`. */
  readonly devpath: string;
  readonly subsystem: string | null;
  /** Counts up by one per event since boot; null if it was missing. */
  readonly seqnum: number | null;
  /** Every `KEY=value`, the named ones included. */
  readonly properties: ReadonlyMap<string, string>;
}

/** UEVENT_NUM_ENVP is 64: more than this is not the kernel's. */
const MAX_PROPERTIES = 128;

/** Decodes a datagram `add@/devices/…\0KEY=value\0…`; null if it is not one. */
export function decodeUevent(datagram: Uint8Array): Uevent | null {
  const properties = new Map<string, string>();
  let head: string | null = null;
  for (let at = 0; at < datagram.byteLength && properties.size < MAX_PROPERTIES;) {
    const nul = datagram.indexOf(0, at);
    const end = nul < 0 ? datagram.byteLength : nul;
    const text = textOf(datagram.subarray(at, end));
    at = end + 1;
    const equals = text.indexOf("=");
    if (head === null) head = text;
    else if (equals > 0) properties.set(text.slice(0, equals), text.slice(equals + 1));
  }
  const match = /^([a-z]+)@(\/.*)$/s.exec(head ?? "");
  if (match === null) return null;
  const seqnum = properties.get("SEQNUM");
  return {
    action: match[1]!,
    devpath: match[2]!,
    subsystem: properties.get("SUBSYSTEM") ?? null,
    seqnum: seqnum !== undefined && /^\d{1,15}$/.test(seqnum) ? Number(seqnum) : null,
    properties,
  };
}

/** The kernel's own broadcasts; group 2 is udev's. */
const GROUP_KERNEL = 1;

/** What a drain hands on. */
export interface UeventHandlers {
  readonly onEvent: (event: Uevent) => void;
  readonly onOverflow: () => void;
}

/** Receives uevents. Add `fd` to the reactor with `drain()` as the handler. */
export class UeventSocket {
  readonly socket: NetlinkSocket;
  #malformed = 0;

  /** @throws SysError */
  constructor(libc: NetlinkLibc) {
    this.socket = new NetlinkSocket(libc, {
      protocol: NETLINK.KOBJECT_UEVENT,
      groups: [GROUP_KERNEL],
    });
  }

  get fd(): number {
    return this.socket.fd;
  }

  /** Datagrams that were not uevents. */
  get malformed(): number {
    return this.#malformed;
  }

  /** Takes what is there. @throws SysError; what a handler throws */
  drain(handlers: UeventHandlers): "more" | void {
    const drain: DrainHandlers = {
      onDatagram: (datagram) => {
        const event = decodeUevent(datagram);
        if (event === null) this.#malformed++;
        else handlers.onEvent(event);
      },
      onOverflow: handlers.onOverflow,
    };
    return this.socket.drain(drain);
  }

  /** Closes the socket; remove it from the reactor first. */
  close(): void {
    this.socket.close();
  }
}
