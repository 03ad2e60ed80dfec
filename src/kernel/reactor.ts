/**
 * The one place where this process waits for the kernel.
 *
 * Owns: one epoll instance, one parked `epoll_wait` on one pool thread, and an eventfd to end it.
 * Must never: die. Nothing a handler throws, nothing epoll answers and nothing a descriptor does may
 * end the loop before `close()`: without it the machine is deaf. And it must never let one busy
 * descriptor starve the rest, or a storm of small events burn the CPU.
 *
 * How a turn goes: the parked wait returns; each ready handler drains its descriptor without
 * blocking, up to a bound (level-triggered: what is left comes back next turn). Every turn takes a
 * credit, and one grows back every `coalesceMs`; with none left the loop rests until there is, so
 * that a turn under a storm takes many events at once: that cuts the cost of an event from 42 µs to
 * 5–10 µs. A burst of `BURST_TURNS` rests not at all, and idle costs nothing.
 *
 * It rests on the pool and not by setTimeout, whose first use loads a part of the runtime that PID 1
 * can do without until it is ready (15 ms natively, a good part of a second under emulation).
 *
 * epoll(7), epoll_wait(2), eventfd(2).
 */

import { check, Errno, SysError } from "./errno.ts";
import { closeFd, eventfd, O, readFd, writeFd } from "./fd.ts";
import { pinned } from "./layout.ts";
import type { Libc } from "./libc.ts";
import { runtimeAlarms } from "./timers.ts";

/** What to wait for. `priority` is EPOLLPRI: PSI triggers, cgroup.events, sysfs notifications. */
export type Interest = "read" | "write" | "priority";

/** What became ready. `hangup` and `error` are always watched. */
export interface Ready {
  readonly read: boolean;
  readonly write: boolean;
  readonly priority: boolean;
  readonly hangup: boolean;
  readonly error: boolean;
}

/**
 * Drains a descriptor without blocking. Answers `"more"` when it stopped at its bound with data
 * left: the loop then takes the next turn at once. May throw; it is reported.
 */
export type Handler = (ready: Ready) => "more" | void;

/** One watched descriptor. */
export interface Registration {
  readonly fd: number;
  /** False once removed, by whomever. */
  readonly active: boolean;
  /** Changes what is waited for. @throws SysError */
  modify(interest: readonly Interest[]): void;
  /** Stops watching. Call before the descriptor is closed. Safe to call twice. */
  remove(): void;
}

/** Takes every error that must not end the loop. Must not throw. */
export type Report = (where: string, error: unknown) => void;

/** Counters since the start. */
export interface ReactorStats {
  /** Times the parked wait returned. */
  readonly turns: number;
  /** Handler calls. */
  readonly calls: number;
  /** Turns that were followed by a rest. */
  readonly rests: number;
  /** Handlers removed for failing `FAILURES_ALLOWED` times in a row. */
  readonly removed: number;
  /** Errors lost because `report` itself threw. */
  readonly unreported: number;
}

/** The symbols the reactor calls. */
export type ReactorLibc = Libc<
  | "epoll_create1"
  | "epoll_ctl"
  | "epoll_wait"
  | "epoll_waitAsync"
  | "usleepAsync"
  | "eventfd"
  | "read"
  | "write"
  | "close"
>;

// <sys/epoll.h>
const EPOLL_CLOEXEC = O.CLOEXEC;
const EPOLL_CTL_ADD = 1;
const EPOLL_CTL_DEL = 2;
const EPOLL_CTL_MOD = 3;
const EPOLLIN = 0x001;
const EPOLLPRI = 0x002;
const EPOLLOUT = 0x004;
const EPOLLERR = 0x008;
const EPOLLHUP = 0x010;
const EPOLLRDHUP = 0x2000;

/** struct epoll_event: packed on x86_64 only (`__EPOLL_PACKED`). */
const PACKED = Deno.build.arch === "x86_64";
const SIZEOF_EPOLL_EVENT = PACKED ? 12 : 16;
const OFFSETOF_DATA = PACKED ? 4 : 8;

/** Events taken per wait; more come with the next one. */
const BATCH = 64;
/** A handler that throws this often without one success in between is removed. */
export const FAILURES_ALLOWED = 5;
/** Turns without a rest after a quiet time: a boot's worth of questions and answers. */
const BURST_TURNS = 64;
/** Rest after a failing wait, so that a broken epoll cannot spin. */
const FAILED_WAIT_MS = 100;
/** The eventfd's own token; registrations count from 1. */
const WAKE = 0;

interface Entry {
  readonly fd: number;
  readonly name: string;
  readonly handler: Handler;
  events: number;
  failures: number;
  active: boolean;
}

const INTEREST: Readonly<Record<Interest, number>> = {
  read: EPOLLIN,
  write: EPOLLOUT,
  priority: EPOLLPRI,
};

function mask(interest: readonly Interest[]): number {
  return interest.reduce((events, name) => events | INTEREST[name], 0);
}

/** The event loop's ear on the kernel. See the head of this file. */
export class Reactor {
  readonly #libc: ReactorLibc;
  readonly #report: Report;
  /** By token, not by descriptor: a closed and reused number must not reach the old handler. */
  readonly #entries = new Map<number, Entry>();
  readonly #batch = pinned(SIZEOF_EPOLL_EVENT * BATCH);
  readonly #batchView = new DataView(this.#batch.buffer);
  readonly #event = pinned(SIZEOF_EPOLL_EVENT);
  readonly #eventView = new DataView(this.#event.buffer);
  readonly #counter = pinned(8);
  #epoll: number;
  readonly #wakeFd: number;
  #nextToken = 1;
  #closing = false;
  #running: Promise<void> | null = null;
  #credit = BURST_TURNS;
  #creditedAt = performance.now();
  #stats = { turns: 0, calls: 0, rests: 0, removed: 0, unreported: 0 };

  /** Time between two turns under a storm, ms. 0 turns resting off. */
  coalesceMs = 5;

  /**
   * @param report takes what handlers throw and what the kernel refuses; must not throw
   * @throws SysError when epoll or eventfd cannot be had
   */
  constructor(libc: ReactorLibc, report: Report) {
    this.#libc = libc;
    this.#report = report;
    this.#wakeFd = eventfd(libc);
    this.#epoll = this.#createEpoll();
  }

  get stats(): ReactorStats {
    return { ...this.#stats };
  }

  /** Descriptors watched. */
  get size(): number {
    return this.#entries.size;
  }

  /**
   * Watches a non-blocking descriptor.
   *
   * @param name how reports call it
   * @throws SysError: EPERM for a regular file, EEXIST for one watched already
   */
  add(
    fd: number,
    interest: readonly Interest[],
    handler: Handler,
    name = `fd ${fd}`,
  ): Registration {
    const token = this.#nextToken++;
    const entry: Entry = {
      fd,
      name,
      handler,
      events: mask(interest),
      failures: 0,
      active: true,
    };
    this.#control(EPOLL_CTL_ADD, fd, entry.events, token, name);
    this.#entries.set(token, entry);
    return {
      fd,
      get active() {
        return entry.active;
      },
      modify: (next) => {
        if (!entry.active) return;
        const events = mask(next);
        if (events === entry.events) return;
        this.#control(EPOLL_CTL_MOD, fd, events, token, name);
        entry.events = events;
      },
      remove: () => this.#remove(token),
    };
  }

  /** Ends the parked wait, so that the loop takes a turn now. */
  wake(): void {
    if (this.#closing) return;
    this.#signal();
  }

  /**
   * Runs the loop until `close()`. Never rejects. Calling it again answers the same promise.
   */
  run(): Promise<void> {
    this.#running ??= this.#loop();
    return this.#running;
  }

  /** Ends the loop and frees its descriptors; those watched stay open, they are their owners'. */
  async close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = true;
      this.#signal();
    }
    if (this.#running === null) this.#free();
    else await this.#running;
  }

  async #loop(): Promise<void> {
    while (!this.#closing) {
      try {
        await this.#turn();
      } catch (error) {
        // Nothing in a turn should throw; if it does, the machine must still hear.
        this.#guardedReport("reactor turn", error);
        await this.#sleep(FAILED_WAIT_MS);
      }
    }
    this.#free();
  }

  async #turn(): Promise<void> {
    let count = await this.#libc.sym.epoll_waitAsync(this.#epoll, this.#batch, BATCH, -1);
    if (count < 0) {
      // Its errno is the pool thread's; most often EINTR. Asking again here tells.
      count = this.#libc.sym.epoll_wait(this.#epoll, this.#batch, BATCH, 0);
      if (count < 0) return await this.#recover(this.#libc.errno());
    }
    if (this.#closing) return;
    this.#stats.turns++;
    const more = this.#dispatch(count);
    if (!more) await this.#pause();
  }

  /** Calls the handlers of `count` events; answers whether one of them has more to drain. */
  #dispatch(count: number): boolean {
    let more = false;
    for (let index = 0; index < count; index++) {
      const at = index * SIZEOF_EPOLL_EVENT;
      const events = this.#batchView.getUint32(at, true);
      const token = this.#batchView.getUint32(at + OFFSETOF_DATA, true);
      if (token === WAKE) {
        readFd(this.#libc, this.#wakeFd, this.#counter);
        continue;
      }
      // Absent: removed by an earlier handler of this same batch.
      const entry = this.#entries.get(token);
      if (entry !== undefined && this.#call(token, entry, events)) more = true;
    }
    return more;
  }

  #call(token: number, entry: Entry, events: number): boolean {
    this.#stats.calls++;
    try {
      const answer = entry.handler({
        read: (events & EPOLLIN) !== 0,
        write: (events & EPOLLOUT) !== 0,
        priority: (events & EPOLLPRI) !== 0,
        hangup: (events & (EPOLLHUP | EPOLLRDHUP)) !== 0,
        error: (events & EPOLLERR) !== 0,
      });
      entry.failures = 0;
      return answer === "more";
    } catch (error) {
      entry.failures++;
      this.#guardedReport(entry.name, error);
      if (entry.failures >= FAILURES_ALLOWED) {
        this.#stats.removed++;
        this.#remove(token);
        this.#guardedReport(
          entry.name,
          new Error(`handler removed: it failed ${FAILURES_ALLOWED} times in a row`),
        );
      }
      return false;
    }
  }

  /** Takes a credit for this turn; rests while there is none. */
  async #pause(): Promise<void> {
    const now = performance.now();
    const grown = (now - this.#creditedAt) / Math.max(this.coalesceMs, 0.001);
    this.#creditedAt = now;
    this.#credit = Math.min(BURST_TURNS, this.#credit + grown) - 1;
    if (this.#credit >= 0 || this.#closing) return;
    this.#stats.rests++;
    await this.#sleep(-this.#credit * this.coalesceMs);
  }

  /** Sleeps on the pool. Never rejects. */
  async #sleep(ms: number): Promise<void> {
    try {
      await this.#libc.sym.usleepAsync(Math.ceil(ms * 1000));
    } catch (error) {
      this.#guardedReport("reactor rest", error);
      // Without a pause of some kind a broken pool would spin here and starve everything else.
      await new Promise<void>((resolve) => runtimeAlarms.set(resolve, ms));
    }
  }

  async #recover(errno: number): Promise<void> {
    if (errno === Errno.EINTR) return;
    this.#guardedReport("reactor", new SysError("epoll_wait", String(this.#epoll), errno));
    await this.#sleep(FAILED_WAIT_MS);
    if (!this.#closing && (errno === Errno.EBADF || errno === Errno.EINVAL)) this.#rebuild();
  }

  /** Someone closed our epoll descriptor: make a new one and watch everything again. */
  #rebuild(): void {
    this.#epoll = this.#createEpoll();
    for (const [token, entry] of this.#entries) {
      try {
        this.#control(EPOLL_CTL_ADD, entry.fd, entry.events, token, entry.name);
      } catch (error) {
        this.#guardedReport(entry.name, error);
        entry.active = false;
        this.#entries.delete(token);
      }
    }
  }

  #createEpoll(): number {
    const epoll = check(
      this.#libc,
      this.#libc.sym.epoll_create1(EPOLL_CLOEXEC),
      "epoll_create1",
    );
    this.#epoll = epoll;
    this.#control(EPOLL_CTL_ADD, this.#wakeFd, EPOLLIN, WAKE, "reactor wake");
    return epoll;
  }

  #control(operation: number, fd: number, events: number, token: number, name: string): void {
    this.#eventView.setUint32(0, events, true);
    this.#eventView.setUint32(OFFSETOF_DATA, token, true);
    this.#eventView.setUint32(OFFSETOF_DATA + 4, 0, true);
    check(
      this.#libc,
      this.#libc.sym.epoll_ctl(this.#epoll, operation, fd, this.#event),
      "epoll_ctl",
      () => `${operation === EPOLL_CTL_ADD ? "add" : "change"} ${name} (${fd})`,
    );
  }

  #remove(token: number): void {
    const entry = this.#entries.get(token);
    if (entry === undefined) return;
    entry.active = false;
    this.#entries.delete(token);
    if (this.#libc.sym.epoll_ctl(this.#epoll, EPOLL_CTL_DEL, entry.fd, this.#event) >= 0) return;
    const errno = this.#libc.errno();
    // EBADF, ENOENT: the owner closed it first, and the kernel dropped it from the set.
    if (errno === Errno.EBADF || errno === Errno.ENOENT) return;
    this.#guardedReport(entry.name, new SysError("epoll_ctl", `delete ${entry.fd}`, errno));
  }

  #signal(): void {
    this.#counter.fill(0);
    this.#counter[0] = 1;
    const count = writeFd(this.#libc, this.#wakeFd, this.#counter);
    // EAGAIN: the counter is full, so a wake is pending already.
    if (count < 0 && count !== -Errno.EAGAIN) {
      this.#guardedReport("reactor wake", new SysError("write", "eventfd", -count));
    }
  }

  #free(): void {
    for (const entry of this.#entries.values()) entry.active = false;
    this.#entries.clear();
    for (const fd of [this.#epoll, this.#wakeFd]) {
      try {
        closeFd(this.#libc, fd);
      } catch (error) {
        this.#guardedReport("reactor close", error);
      }
    }
  }

  #guardedReport(where: string, error: unknown): void {
    try {
      this.#report(where, error);
    } catch {
      // The reporter's contract is not to throw. Nobody is left to tell; the count remains.
      this.#stats.unreported++;
    }
  }
}
