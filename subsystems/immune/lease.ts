/**
 * Lease: the reflex that gets a lost network lease back.
 *
 * Owns, per link, whether its lease is known to be gone or in doubt, and the retries. Acts only by
 * proposing `network.renew` through the same hands as everyone, with link names from our own
 * events. Must never renew without end: after `maxAttempts` the incident stays open until a lease
 * comes by itself.
 */
import type { Bus } from "../../bus/bus.ts";
import type { AnyEvent } from "../../bus/envelope.ts";
import type { Machine } from "../../bus/machine.ts";
import type { LeaseInfo } from "../../bus/shapes.ts";
import { backoffMs, type BackoffPolicy } from "../../src/child/supervision.ts";
import type { Report, TimerId, Timers } from "../../src/child/timers.ts";
import type { Incident, Incidents } from "./incidents.ts";
import { immune } from "./principal.ts";

export interface LeaseReflexOptions {
  readonly bus: Pick<Bus, "subscribe">;
  readonly incidents: Incidents;
  readonly hands: Pick<Machine, "act">;
  /** What is leased when it begins to listen: the first lease comes long before. */
  readonly leases?: () => readonly Pick<LeaseInfo, "link" | "address">[];
  readonly timers: Timers;
  readonly report: Report;
  /** Dice of the backoff, 0…1. */
  readonly random?: () => number;
}

/** An address that goes may come back at once: the DHCP client replaces one, or puts it on again. */
const doubtMs = 300;
/** Nine tries in about four minutes; a server that is away longer is no matter of retrying faster. */
const maxAttempts = 9;
const retry: BackoffPolicy = {
  firstMs: 1000,
  factor: 2,
  capMs: 60_000,
  jitter: 0.2,
  stableMs: Infinity,
};

interface Link {
  /** The address last leased; null when none was, or it is gone. */
  address: string | null;
  /** Carrier was seen to go since the last lease. */
  wasDown: boolean;
  incident: Incident | null;
  attempts: number;
  renewing: boolean;
  /** seq of the lease that came while the renewal was still under way. */
  heldBy: number | null;
  timer: TimerId | undefined;
}

export class LeaseReflex {
  readonly #options: LeaseReflexOptions;
  readonly #links = new Map<string, Link>();
  #unsubscribe: (() => void) | null = null;

  constructor(options: LeaseReflexOptions) {
    this.#options = options;
  }

  /** Begins to listen. */
  start(): void {
    if (this.#unsubscribe !== null) return;
    for (const { link, address } of this.#options.leases?.() ?? []) {
      this.#link(link).address = address;
    }
    this.#unsubscribe = this.#options.bus.subscribe([
      "addr.leased",
      "addr.renewed",
      "addr.lease_lost",
      "addr.added",
      "addr.removed",
      "link.up",
      "link.down",
      "link.removed",
    ], (event) => this.#on(event));
  }

  /** Stops listening and forgets every retry. */
  stop(): void {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    for (const link of this.#links.values()) this.#options.timers.clear(link.timer);
    this.#links.clear();
  }

  #on(event: AnyEvent): void {
    switch (event.type) {
      case "addr.leased":
      case "addr.renewed":
        return this.#held(event.data.link, event.data.address, event.seq);
      case "addr.lease_lost":
        // Removed with its link, of which we were told first: there is nothing to renew on.
        if (!this.#links.has(event.data.link)) return;
        return this.#lost(
          event.data.link,
          "lease.lost",
          `${event.data.link} lost its lease${
            event.data.address === undefined ? "" : ` of ${event.data.address}`
          }: ${event.data.reason}`,
          event.seq,
        );
      case "addr.removed":
        return this.#removed(event.data.link, event.data.address, event.seq);
      case "addr.added":
        return this.#back(event.data.link, event.data.address);
      case "link.down":
        this.#link(event.data.link).wasDown = true;
        return;
      case "link.up":
        return this.#up(event.data.link, event.seq);
      case "link.removed":
        return this.#gone(event.data.link, event.seq);
    }
  }

  #link(name: string): Link {
    let link = this.#links.get(name);
    if (link === undefined) {
      link = {
        address: null,
        wasDown: false,
        incident: null,
        attempts: 0,
        renewing: false,
        heldBy: null,
        timer: undefined,
      };
      this.#links.set(name, link);
    }
    return link;
  }

  #held(name: string, address: string, cause: number): void {
    const link = this.#link(name);
    this.#options.timers.clear(link.timer);
    link.address = address;
    link.wasDown = false;
    // A lease that our own renewal brought ends the incident after that remedy was told of.
    if (link.renewing) link.heldBy = cause;
    else this.#resolve(link, cause);
  }

  #resolve(link: Link, cause: number): void {
    link.incident?.resolved(cause);
    link.incident = null;
    link.heldBy = null;
    link.attempts = 0;
  }

  #removed(name: string, address: string, cause: number): void {
    const link = this.#link(name);
    if (link.address !== address || link.incident !== null) return;
    this.#options.timers.clear(link.timer);
    link.timer = this.#options.timers.set(() => {
      this.#lost(name, "address.removed", `${address} was taken off ${name}`, cause);
    }, doubtMs);
  }

  /** The address in doubt was put back: nothing happened. */
  #back(name: string, address: string): void {
    const link = this.#link(name);
    if (link.address === address && link.incident === null) this.#options.timers.clear(link.timer);
  }

  #up(name: string, cause: number): void {
    const link = this.#link(name);
    if (link.incident !== null) {
      // The way is free again: the next try need not wait its turn.
      link.attempts = 0;
      this.#try(name, link);
    } else if (link.address !== null && link.wasDown) {
      this.#lost(
        name,
        "link.returned",
        `${name} has its carrier back; whether ${link.address} still holds there is not known`,
        cause,
      );
    }
  }

  #gone(name: string, cause: number): void {
    const link = this.#links.get(name);
    if (link === undefined) return;
    this.#options.timers.clear(link.timer);
    link.incident?.resolved(cause);
    this.#links.delete(name);
  }

  #lost(name: string, kind: string, evidence: string, cause: number): void {
    const link = this.#link(name);
    if (kind !== "link.returned") link.address = null;
    link.heldBy = null;
    if (link.incident !== null) return;
    link.incident = this.#options.incidents.open(kind, evidence, cause);
    link.attempts = 0;
    this.#try(name, link);
  }

  #try(name: string, link: Link): void {
    this.#options.timers.clear(link.timer);
    if (link.renewing) return;
    link.renewing = true;
    this.#renew(name, link)
      .catch((error) => this.#options.report(`renew ${name}`, error))
      .finally(() => link.renewing = false);
  }

  async #renew(name: string, link: Link): Promise<void> {
    const { incident } = link;
    if (incident === null) return;
    const outcome = await this.#options.hands.act(immune, "network.renew", { link: name }, {
      reason: `${incident.kind} on ${name}`,
      cause: incident.seq,
    });
    const result = outcome.status === "done"
      ? "renewed"
      : outcome.status === "invalid"
      ? outcome.faults.join("; ")
      : `${outcome.status}: ${outcome.reason}`;
    link.attempts++;
    incident.remedied("network.renew", result);
    if (link.heldBy !== null) return this.#resolve(link, link.heldBy);
    if (this.#links.get(name) !== link) return;
    if (link.attempts >= maxAttempts) {
      incident.remedied("none", `gave up after ${maxAttempts} tries; waiting for a lease`);
      return;
    }
    const wait = backoffMs(link.attempts - 1, (this.#options.random ?? Math.random)(), retry);
    link.timer = this.#options.timers.set(() => this.#try(name, link), wait);
  }
}
