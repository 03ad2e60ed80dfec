/**
 * Timers on CLOCK_BOOTTIME: one timerfd in the reactor, and a heap of alarms behind it.
 *
 * Owns: the timerfd and the order of what is due. Leases, tokens and backoffs count the time a
 * suspended machine slept, which the runtime's own timers do not; and those cost their first user a
 * good part of a second under emulation, which PID 1 would pay before it is ready.
 * Must never: let a callback's error out (it is reported), or run one before its time.
 *
 * timerfd_create(2).
 */

import { check } from "./errno.ts";
import { closeFd, O, readFd } from "./fd.ts";
import { pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";
import type { Reactor, Registration, Report } from "./reactor.ts";

/** What a deadline needs of a clock; ids are opaque. */
export interface Alarms {
  /** Calls `run` once, `ms` from now at the earliest. */
  set(run: () => void, ms: number): number;
  /** Forgets an alarm; one that rang or never was is no matter. */
  clear(id: number | undefined): void;
}

/** The runtime's own timers, for where there is no reactor: host tools and tests. */
export const runtimeAlarms: Alarms = {
  set: (run, ms) => Number(setTimeout(run, ms)),
  clear: (id) => clearTimeout(id),
};

/** The symbols timers call. */
export type TimersLibc = Libc<"timerfd_create" | "timerfd_settime" | "read" | "close">;

const CLOCK_BOOTTIME = 7;
/** struct itimerspec { struct timespec it_interval; struct timespec it_value; } */
const SIZEOF_ITIMERSPEC = 32;
const OFFSETOF_VALUE = 16;

/** From so many alarms on they are swept once half of them are cleared. */
const SWEEP_AT = 64;

interface Alarm {
  readonly id: number;
  readonly due: number;
  readonly run: () => void;
}

/** Alarms in ms of CLOCK_BOOTTIME. */
export class BootTimers implements Alarms {
  readonly #libc: TimersLibc;
  readonly #now: () => number;
  readonly #report: Report;
  readonly #fd: number;
  readonly #registration: Registration;
  readonly #spec = pinned(SIZEOF_ITIMERSPEC);
  readonly #view = new DataView(this.#spec.buffer);
  readonly #expirations = pinned(8);
  /** A binary heap by `due`; cleared alarms stay in it until they come up or are swept. */
  #heap: Alarm[] = [];
  readonly #live = new Set<number>();
  #nextId = 1;
  #armed = Infinity;

  /** @param now milliseconds of CLOCK_BOOTTIME @throws SysError */
  constructor(libc: TimersLibc, reactor: Pick<Reactor, "add">, report: Report, now: () => number) {
    this.#libc = libc;
    this.#now = now;
    this.#report = report;
    // TFD_CLOEXEC and TFD_NONBLOCK are O_CLOEXEC and O_NONBLOCK.
    this.#fd = check(
      libc,
      libc.sym.timerfd_create(CLOCK_BOOTTIME, O.CLOEXEC | O.NONBLOCK),
      "timerfd_create",
      "CLOCK_BOOTTIME",
    );
    this.#registration = reactor.add(this.#fd, ["read"], () => this.#expired(), "timers");
  }

  /** Milliseconds of CLOCK_BOOTTIME. */
  now(): number {
    return this.#now();
  }

  /** Alarms that have not rung. */
  get size(): number {
    return this.#live.size;
  }

  /** Alarms in memory: those that have not rung, and cleared ones not swept yet. */
  get kept(): number {
    return this.#heap.length;
  }

  /** Calls `run` once, `ms` from now at the earliest; answers an id for `clear()`. */
  set(run: () => void, ms: number): number {
    const id = this.#nextId++;
    this.#live.add(id);
    push(this.#heap, { id, due: this.#now() + Math.max(0, ms), run });
    this.#arm();
    return id;
  }

  /** Forgets an alarm; one that rang or never was is no matter. */
  clear(id: number | undefined): void {
    if (id === undefined || !this.#live.delete(id)) return;
    // Most deadlines are cleared long before their time, and each holds what it would have ended.
    if (this.#heap.length < SWEEP_AT || this.#heap.length < 2 * this.#live.size) return;
    // What is sorted is a heap.
    this.#heap = this.#heap.filter((alarm) => this.#live.has(alarm.id))
      .sort((a, b) => a.due - b.due);
  }

  /** Resolves after `ms`. */
  sleep(ms: number): Promise<void> {
    return new Promise((resolve) => void this.set(resolve, ms));
  }

  /** Closes the timerfd; what was set never rings. */
  close(): void {
    this.#live.clear();
    this.#registration.remove();
    closeFd(this.#libc, this.#fd);
  }

  #expired(): void {
    readFd(this.#libc, this.#fd, this.#expirations);
    this.#armed = Infinity;
    const now = this.#now();
    for (let head = this.#heap[0]; head !== undefined && head.due <= now; head = this.#heap[0]) {
      pop(this.#heap);
      if (!this.#live.delete(head.id)) continue;
      try {
        head.run();
      } catch (error) {
        this.#report("timer", error);
      }
    }
    this.#arm();
  }

  /** Sets the timerfd to the earliest alarm that is still wanted. */
  #arm(): void {
    let head = this.#heap[0];
    while (head !== undefined && !this.#live.has(head.id)) {
      pop(this.#heap);
      head = this.#heap[0];
    }
    if (head === undefined || head.due >= this.#armed) return;
    this.#armed = head.due;
    // A zero it_value disarms: what is due already rings a microsecond from now.
    const us = Math.max(1, Math.ceil((head.due - this.#now()) * 1000));
    this.#view.setBigInt64(OFFSETOF_VALUE, BigInt(Math.floor(us / 1e6)), true);
    this.#view.setBigInt64(OFFSETOF_VALUE + 8, BigInt((us % 1e6) * 1000), true);
    check(
      this.#libc,
      this.#libc.sym.timerfd_settime(this.#fd, 0, this.#spec, null),
      "timerfd_settime",
    );
  }
}

function push(heap: Alarm[], alarm: Alarm): void {
  let index = heap.push(alarm) - 1;
  while (index > 0) {
    const parent = (index - 1) >> 1;
    if (heap[parent]!.due <= alarm.due) break;
    heap[index] = heap[parent]!;
    index = parent;
  }
  heap[index] = alarm;
}

function pop(heap: Alarm[]): void {
  const last = heap.pop();
  if (last === undefined || heap.length === 0) return;
  let index = 0;
  for (;;) {
    let child = index * 2 + 1;
    if (child >= heap.length) break;
    if (child + 1 < heap.length && heap[child + 1]!.due < heap[child]!.due) child++;
    if (heap[child]!.due >= last.due) break;
    heap[index] = heap[child]!;
    index = child;
  }
  heap[index] = last;
}
