/**
 * Keys: the power button.
 *
 * Owns: the decoder of struct input_event, finding the devices that have a power key, and one
 * descriptor on one of them.
 *
 * Documentation/input/input.rst, linux/input.h, linux/input-event-codes.h.
 */

import { Errno, SysError } from "./errno.ts";
import { closeFd, O, openFd, readFd } from "./fd.ts";
import { pinned, Reader } from "./layout.ts";
import type { Libc } from "./libc.ts";

const EV_KEY = 1;
/** The power button; QEMU's `system_powerdown` presses it. */
export const KEY_POWER = 116;
/** struct input_event of the 64-bit ABIs: timeval (16), u16 type, u16 code, s32 value. */
const SIZEOF_INPUT_EVENT = 24;

/** A key that changed. */
export interface KeyEvent {
  readonly code: number;
  readonly state: "released" | "pressed" | "repeated";
}

const KEY_STATES = ["released", "pressed", "repeated"] as const;

/** Decodes what one read(2) answered; events that are not keys, and a torn last one, are left out. */
export function decodeKeyEvents(bytes: Uint8Array): KeyEvent[] {
  const events: KeyEvent[] = [];
  const reader = new Reader(bytes);
  while (reader.remaining >= SIZEOF_INPUT_EVENT) {
    reader.skip(16);
    const type = reader.u16();
    const code = reader.u16();
    const state = KEY_STATES[reader.i32()];
    if (type === EV_KEY && state !== undefined) events.push({ code, state });
  }
  return events;
}

/**
 * Whether a capability bitmap of sysfs has a bit: words of 64 bits in hex, the highest first,
 * `"10000000000000 0"` (here bit 116).
 */
export function hasCapability(bitmap: string, bit: number): boolean {
  const words = bitmap.trim().split(" ").reverse();
  const word = words[Math.floor(bit / 64)];
  if (word === undefined || !/^[0-9a-f]{1,16}$/.test(word)) return false;
  return ((BigInt(`0x${word}`) >> BigInt(bit % 64)) & 1n) === 1n;
}

/** An input device. */
export interface InputDevice {
  /** `"/dev/input/event0"` */
  readonly path: string;
  /** `"Power Button"` */
  readonly name: string;
}

/** Every input device that has a power key. Empty without any. */
export function findPowerButtons(sysfs = "/sys/class/input", dev = "/dev/input"): InputDevice[] {
  const devices: InputDevice[] = [];
  for (const entry of listOrNothing(sysfs)) {
    if (!/^event\d+$/.test(entry)) continue;
    const device = `${sysfs}/${entry}/device`;
    const keys = readOrNothing(`${device}/capabilities/key`);
    if (!hasCapability(keys, KEY_POWER)) continue;
    devices.push({ path: `${dev}/${entry}`, name: readOrNothing(`${device}/name`).trim() });
  }
  return devices;
}

function listOrNothing(path: string): string[] {
  try {
    return Array.from(Deno.readDirSync(path), (entry) => entry.name);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return [];
    throw error;
  }
}

/** A device may be unplugged between the listing and the reading. */
function readOrNothing(path: string): string {
  try {
    return Deno.readTextFileSync(path);
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return "";
    throw error;
  }
}

const BUFFER_EVENTS = 64;
/** Reads in one turn of the loop: keys are pressed by hand. */
const DRAIN_LIMIT = 4;

/** Reads keys of one device. Add `fd` to the reactor with `drain()` as the handler. */
export class KeyReader {
  readonly fd: number;
  readonly #libc: Libc<"open" | "read" | "close">;
  readonly #buffer = pinned(SIZEOF_INPUT_EVENT * BUFFER_EVENTS);
  #open = true;

  /** @throws SysError */
  constructor(libc: Libc<"open" | "read" | "close">, readonly path: string) {
    this.#libc = libc;
    this.fd = openFd(libc, path, O.RDONLY);
  }

  /**
   * Takes what is there.
   *
   * @throws SysError ENODEV when the device was unplugged: remove it from the reactor and close it
   */
  drain(onKey: (event: KeyEvent) => void): "more" | void {
    for (let reads = 0; reads < DRAIN_LIMIT; reads++) {
      if (!this.#open) return;
      const count = readFd(this.#libc, this.fd, this.#buffer);
      if (count === -Errno.EAGAIN || count === 0) return;
      if (count < 0) throw new SysError("read", this.path, -count);
      for (const event of decodeKeyEvents(this.#buffer.subarray(0, count))) onKey(event);
    }
    return "more";
  }

  /** Closes the device; remove it from the reactor first. Safe to call twice. */
  close(): void {
    if (!this.#open) return;
    this.#open = false;
    closeFd(this.#libc, this.fd);
  }
}
