/**
 * The DHCP client of one link: it drives the state machine of dhcp.ts with real
 * packets, a real clock and real addresses, and tells what came of it.
 *
 * Owns one timer and the order of address changes. It must never throw out of
 * a callback or reject: what goes wrong is a notice or goes to `report`.
 */
import type { EventData } from "../../bus/events.ts";
import type { LeaseInfo } from "../../bus/shapes.ts";
import {
  type DhcpContext,
  type DhcpEffect,
  type DhcpEvent,
  type DhcpNotice,
  type DhcpState,
  dueAt,
  initialState,
  step,
} from "./dhcp.ts";
import { encodeDhcp, readReply } from "./dhcp_codec.ts";

/** Datagrams to and from UDP port 67 of servers, on port 68 of one link. */
export interface DhcpPort {
  /** Sends without waiting; a refusal carries the errno's name. `to` may be the broadcast address. */
  send(
    packet: Uint8Array<ArrayBuffer>,
    to: string,
  ): { readonly ok: true } | { readonly ok: false; readonly error: string };
  /** Where packets go from now on; null: nowhere. */
  onPacket(callback: ((packet: Uint8Array) => void) | null): void;
  /** Hands on what has arrived already: a busy loop may turn to a timer before the socket. */
  drain?(): void;
}

/** A monotonic clock in ms that counts suspend, and timers on it. */
export interface Timers {
  now(): number;
  /** Calls `callback` once in `ms`; answers how to call that off. */
  after(ms: number, callback: () => void): () => void;
}

export type Applied = { readonly ok: true } | { readonly ok: false; readonly reason: string };

export interface DhcpClientOptions extends DhcpContext {
  readonly port: DhcpPort;
  readonly timers: Timers;
  /** Puts the lease's address, route and name servers in place; again for a renewed one. */
  apply(lease: LeaseInfo): Promise<Applied>;
  /** Takes them away again. */
  withdraw(lease: LeaseInfo): Promise<Applied>;
  /**
   * Told in order; an `addr.leased` comes when the address is on the link. `cause` is the event that
   * a renewal on request named.
   */
  notify<T extends DhcpNotice["type"]>(type: T, data: EventData<T>, cause?: number): void;
  /** Takes errors that would otherwise end in a callback. Must not throw. */
  report(where: string, error: unknown): void;
}

export type Renewal =
  | { readonly ok: true; readonly lease: LeaseInfo }
  /** `missing`: there is no such link, or none that asks by DHCP. */
  | { readonly ok: false; readonly reason: string; readonly missing?: true };

/** setTimeout takes 31 bits of ms; a longer wait is taken in pieces. */
const longestTimerMs = 0x7fff_ffff;
const renewDeadlineMs = 10_000;

export class DhcpClient {
  readonly #options: DhcpClientOptions;
  #state: DhcpState = initialState;
  #cancelTimer: (() => void) | null = null;
  /** What the timer is set for, ms. */
  #armedFor: number | null = null;
  readonly #queue: DhcpEvent[] = [];
  #stepping = false;
  /** Address changes, one after the other: a withdrawal must not overtake its apply. */
  #changes: Promise<void> = Promise.resolve();
  readonly #waiters = new Set<(renewal: Renewal) => void>();
  #lastFailure = "no answer";
  #cause: number | undefined;

  constructor(options: DhcpClientOptions) {
    this.#options = options;
    options.port.onPacket((packet) => this.#receive(packet));
  }

  get link(): string {
    return this.#options.link;
  }

  /** The lease whose address is on the link; null without one. */
  get lease(): LeaseInfo | null {
    const { held } = this.#state;
    return held !== null && held.applied ? held.info : null;
  }

  get state(): DhcpState["name"] {
    return this.#state.name;
  }

  /** The link has its carrier: ask for a lease, or whether the old one still holds. */
  linkUp(): void {
    this.#dispatch({ type: "link_up", now: this.#options.timers.now() });
  }

  /** The carrier is gone: keep the address, stop asking. */
  linkDown(): void {
    this.#dispatch({ type: "link_down", now: this.#options.timers.now() });
    this.#settle({ ok: false, reason: `${this.link} has no carrier` });
  }

  /**
   * Renews now, or asks anew when there is no lease. Never rejects; answers within `deadlineMs`.
   *
   * @param cause `seq` of the event that led to it
   */
  renewNow(deadlineMs = renewDeadlineMs, cause?: number): Promise<Renewal> {
    if (this.#state.name === "stopped" || this.#state.name === "down") {
      return Promise.resolve({ ok: false, reason: `${this.link} has no carrier` });
    }
    return new Promise((resolve) => {
      const settle = (renewal: Renewal) => {
        cancel();
        this.#waiters.delete(settle);
        if (this.#waiters.size === 0) this.#cause = undefined;
        resolve(renewal);
      };
      const cancel = this.#options.timers.after(deadlineMs, () => {
        settle({ ok: false, reason: `no lease within ${deadlineMs} ms: ${this.#lastFailure}` });
      });
      this.#lastFailure = "no answer";
      this.#cause = cause;
      this.#waiters.add(settle);
      if (this.lease === null) this.#ask();
      else this.#change(() => this.#putBack().finally(() => this.#ask()));
    });
  }

  #ask(): void {
    this.#dispatch({ type: "renew", now: this.#options.timers.now() });
  }

  /**
   * A server answers a renewal at the address it gave (RFC 2131 §4.1): should somebody have taken
   * that off the link, no answer would ever arrive.
   */
  async #putBack(): Promise<void> {
    const { lease } = this;
    if (lease === null) return;
    const put = await this.#options.apply(lease);
    if (!put.ok) this.#lastFailure = put.reason;
  }

  /** Gives the lease back and takes its address away, for the `reason` that is told. Never rejects. */
  async stop(reason = "released"): Promise<void> {
    this.#options.port.onPacket(null);
    this.#dispatch({ type: "stop", now: this.#options.timers.now(), reason });
    this.#settle({ ok: false, reason });
    await this.#changes;
  }

  #receive(packet: Uint8Array): void {
    const now = this.#options.timers.now();
    const read = readReply(packet);
    if (read.ok) this.#dispatch({ type: "reply", now, reply: read.reply });
    else this.#dispatch({ type: "noise", now, reason: read.reason });
  }

  /** An answer that came in time must not be overtaken by the alarm about its absence. */
  #drain(): void {
    try {
      this.#options.port.drain?.();
    } catch (error) {
      this.#options.report(`dhcp ${this.link}`, error);
    }
  }

  /** Effects may cause events (a send that fails): those wait until their cause is done. */
  #dispatch(event: DhcpEvent): void {
    this.#queue.push(event);
    if (this.#stepping) return;
    this.#stepping = true;
    let pause = 0;
    try {
      for (let next = this.#queue.shift(); next !== undefined; next = this.#queue.shift()) {
        const { state, effects } = step(this.#state, next, this.#options);
        this.#state = state;
        for (const effect of effects) this.#carryOut(effect);
      }
    } catch (error) {
      // A broken invariant: the state stands, so a timer that is due must not spin on it.
      pause = 1000;
      this.#options.report(`dhcp ${this.link}`, error);
    } finally {
      this.#stepping = false;
    }
    this.#arm(pause);
  }

  #carryOut(effect: DhcpEffect): void {
    switch (effect.do) {
      case "send":
        return this.#send(effect);
      case "notice":
        return this.#tell(effect.notice);
      case "apply":
        return this.#change(async () => {
          const applied = await this.#options.apply(effect.lease);
          const { address } = effect.lease;
          const now = this.#options.timers.now();
          if (applied.ok) this.#dispatch({ type: "applied", now, address });
          else this.#dispatch({ type: "apply_failed", now, address, reason: applied.reason });
        });
      case "withdraw":
        return this.#change(async () => {
          const withdrawn = await this.#options.withdraw(effect.lease);
          if (!withdrawn.ok) this.#options.report(`dhcp ${this.link}`, new Error(withdrawn.reason));
        });
    }
  }

  #send(effect: Extract<DhcpEffect, { do: "send" }>): void {
    const sent = this.#options.port.send(encodeDhcp(effect.message), effect.to);
    if (sent.ok) return;
    const reason = `could not send to ${effect.to}: ${sent.error}`;
    this.#queue.push({ type: "noise", now: this.#options.timers.now(), reason });
  }

  #tell(notice: DhcpNotice): void {
    try {
      this.#options.notify(notice.type, notice.data, this.#cause);
    } catch (error) {
      this.#options.report(`dhcp ${this.link} ${notice.type}`, error);
    }
    if (notice.type === "addr.leased" || notice.type === "addr.renewed") {
      this.#settle({ ok: true, lease: notice.data });
    } else if (notice.type === "addr.lease_failed" || notice.type === "addr.lease_lost") {
      this.#lastFailure = notice.data.reason;
    }
  }

  #change(make: () => Promise<void>): void {
    this.#changes = this.#changes.then(make).catch((error) => {
      this.#options.report(`dhcp ${this.link}`, error);
    });
  }

  #settle(renewal: Renewal): void {
    for (const settle of [...this.#waiters]) settle(renewal);
  }

  #arm(pause: number): void {
    const due = dueAt(this.#state);
    // Others' packets come by the thousand and change nothing.
    if (this.#cancelTimer !== null && due === this.#armedFor) return;
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#armedFor = due;
    if (due === null) return;
    const { timers } = this.#options;
    const wait = Math.min(longestTimerMs, Math.max(pause, Math.ceil(due - timers.now())));
    this.#cancelTimer = timers.after(wait, () => {
      this.#cancelTimer = null;
      this.#drain();
      const now = timers.now();
      const due = dueAt(this.#state);
      if (due !== null && due > now) return this.#arm(0);
      this.#dispatch({ type: "timer", now });
    });
  }
}
