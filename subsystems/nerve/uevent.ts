/**
 * The device sensor: kernel uevents as `device.*` events.
 *
 * It names no devices and loads nothing.
 */
import type { Source } from "../../bus/bus.ts";
import type { NetlinkLibc } from "../../src/kernel/netlink.ts";
import type { Reactor, Registration } from "../../src/kernel/reactor.ts";
import { type Uevent, UeventSocket } from "../../src/kernel/uevent.ts";
import { publishGap, type Sensor, tellingMalformed } from "./sensor.ts";

/** Properties that repeat what the event says anyway. */
const repeated = new Set(["ACTION", "DEVPATH", "SUBSYSTEM", "SEQNUM"]);

export class UeventSensor implements Sensor {
  readonly name = "uevent";
  readonly grants = ["device.*"];
  readonly #libc: NetlinkLibc;
  readonly #reactor: Pick<Reactor, "add">;
  #socket: UeventSocket | null = null;
  #registration: Registration | null = null;

  constructor(libc: NetlinkLibc, reactor: Pick<Reactor, "add">) {
    this.#libc = libc;
    this.#reactor = reactor;
  }

  get listening(): boolean {
    return this.#registration?.active ?? false;
  }

  start(source: Source): void {
    const socket = new UeventSocket(this.#libc);
    this.#socket = socket;
    const drain = tellingMalformed(source, "uevent", socket, () =>
      socket.drain({
        onEvent: (event) => publish(source, event),
        onOverflow: () => publishGap(source, null, "ENOBUFS"),
      }));
    this.#registration = this.#reactor.add(socket.fd, ["read"], drain, "uevent");
  }

  stop(): void {
    this.#registration?.remove();
    this.#socket?.close();
    this.#socket = null;
  }
}

function publish(source: Source, event: Uevent): void {
  const data = {
    devpath: event.devpath,
    subsystem: event.subsystem ?? "",
    properties: Object.fromEntries(
      [...event.properties].filter(([key]) => !repeated.has(key)).slice(0, 32),
    ),
  };
  if (event.action === "add") source.publish("device.added", data);
  else if (event.action === "remove") source.publish("device.removed", data);
  else source.publish("device.changed", { action: event.action, ...data });
}
