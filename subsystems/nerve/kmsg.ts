/**
 * The kernel log sensor: /dev/kmsg, from the first line of this boot.
 *
 * It decides nothing about what a line means.
 */
import type { Source } from "../../bus/bus.ts";
import { Kmsg, KMSG_LEVELS, type KmsgLibc } from "../../src/kernel/kmsg.ts";
import type { Reactor, Registration } from "../../src/kernel/reactor.ts";
import { publishGap, type Sensor, tellingMalformed } from "./sensor.ts";

/** What the kernel logs right before it executes init (init/main.c, run_init_process). */
const initLine = /^Run \S+ as init process/;

export class KmsgSensor implements Sensor {
  readonly name = "kmsg";
  readonly grants = ["kernel.logged"];
  readonly #libc: KmsgLibc;
  readonly #reactor: Pick<Reactor, "add">;
  readonly #onInitStarted: (monotonicUs: number) => void;
  #kmsg: Kmsg | null = null;
  #registration: Registration | null = null;

  /** `onInitStarted` is told when the kernel handed over to PID 1, µs of CLOCK_MONOTONIC. */
  constructor(
    libc: KmsgLibc,
    reactor: Pick<Reactor, "add">,
    onInitStarted: (monotonicUs: number) => void,
  ) {
    this.#libc = libc;
    this.#reactor = reactor;
    this.#onInitStarted = onInitStarted;
  }

  get listening(): boolean {
    return this.#registration?.active ?? false;
  }

  start(source: Source): void {
    const kmsg = new Kmsg(this.#libc, "start");
    this.#kmsg = kmsg;
    const drain = tellingMalformed(source, "kernel log record", kmsg, () =>
      kmsg.drain({
        onRecord: (record) => {
          if (initLine.test(record.text)) this.#onInitStarted(record.monotonicUs);
          source.publish("kernel.logged", {
            level: KMSG_LEVELS.indexOf(record.level),
            facility: record.facility,
            sequence: record.seq,
            text: record.text,
          });
        },
        onLost: (count) => publishGap(source, count, "kernel log overrun"),
      }));
    this.#registration = this.#reactor.add(kmsg.fd, ["read"], drain, "kmsg");
  }

  stop(): void {
    this.#registration?.remove();
    this.#kmsg?.close();
    this.#kmsg = null;
  }
}
