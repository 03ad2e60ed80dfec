/**
 * The machine's network: loopback and every Ethernet link up, each with a DHCP
 * client or the static address, one default route that wins, name servers.
 *
 * Owns which link has which client and which address. It must never throw or
 * reject: whatever is missing or refused becomes a reason to run degraded.
 */
import type { EventData } from "../../bus/events.ts";
import type { LeaseInfo } from "../../bus/shapes.ts";
import type { Link, RtListener, RtMessage } from "../kernel/rtnetlink.ts";
import type { DhcpNotice } from "./dhcp.ts";
import { infinite } from "./dhcp.ts";
import {
  type Applied,
  DhcpClient,
  type DhcpPort,
  type Renewal,
  type Timers,
} from "./dhcp_client.ts";
import { broadcastOf, parseIpv4, sameNetwork } from "./ip.ts";
import { parseStaticAddress, type StaticAddress } from "./static_address.ts";

/** The kernel's answer to one change, `RtResult` of rtnetlink.ts. */
type Change = Promise<
  { readonly ok: true } | {
    readonly ok: false;
    readonly error: string;
    readonly text: string | null;
  }
>;

/** What the network needs of `Rtnl` (kernel/rtnetlink.ts). */
export interface NetworkRtnl {
  dumpLinks(): Promise<
    | { readonly ok: true; readonly items: readonly Link[] }
    | { readonly ok: false; readonly error: string; readonly text: string | null }
  >;
  setLinkUp(index: number): Change;
  addAddr(request: AddressRequest): Change;
  delAddr(request: AddressRequest): Change;
  addRoute(request: RouteRequest): Change;
  delRoute(request: RouteRequest): Change;
  subscribe(listener: RtListener, groups: readonly number[]): { close(): void };
}

interface AddressRequest {
  readonly index: number;
  readonly address: string;
  readonly prefix: number;
  readonly broadcast?: string;
  readonly validSeconds?: number;
}

interface RouteRequest {
  readonly index: number;
  readonly destination?: string;
  readonly prefix?: number;
  readonly gateway?: string;
  readonly source?: string;
  readonly metric?: number;
}

/** A DHCP port that can be given back. */
export interface OpenPort extends DhcpPort {
  close(): void;
}

export interface NetworkOptions {
  readonly rtnl: NetworkRtnl;
  /** UDP port 68 on one link; may throw. */
  openPort(link: { readonly index: number; readonly name: string }): OpenPort;
  readonly timers: Timers;
  /** 0 ≤ x < 1; not predictable by others on the network. */
  random(): number;
  readonly hostname: string;
  /** The value of `osym.ip`; null for DHCP. */
  readonly ip: string | null;
  /** Replaces the resolver's configuration; never rejects. */
  resolvConf(servers: readonly string[]): Promise<Applied>;
  /** `cause` is the event that a renewal on request named. */
  notify<T extends DhcpNotice["type"]>(type: T, data: EventData<T>, cause?: number): void;
  /** A part is missing; told again when the reason changes. */
  degraded(part: string, reason: string): void;
  recovered(part: string): void;
  report(where: string, error: unknown): void;
  /** Which links get an address; all physical Ethernet links when absent. */
  manages?(link: Link): boolean;
}

interface Managed {
  readonly index: number;
  readonly name: string;
  readonly mac: string;
  readonly client: DhcpClient | null;
  readonly port: OpenPort | null;
  carrier: boolean;
  /** It lost its carrier once: what was on it may be gone. */
  wasDown: boolean;
  /** What is on the link now. */
  lease: LeaseInfo | null;
  /** Of its default route, from its first address on: the earlier, the better. */
  metric: number | null;
}

/** RTNLGRP_LINK, linux/rtnetlink.h. */
const linkGroup = 1;
/** ARPHRD_ETHER, linux/if_arp.h. */
const ethernet = 1;
/** The first link's default route; each later one's is less preferred by as much. */
const metricStep = 100;
/** An address is normally there by then; before it, waiting for one is no fault. */
const graceMs = 5_000;
/** A shutdown must not wait longer for leases to be given back. */
const stopDeadlineMs = 1_000;

export class Network {
  readonly #options: NetworkOptions;
  readonly #links = new Map<number, Managed>();
  #static: StaticAddress | null = null;
  #staticLink: number | null = null;
  readonly #faults = new Map<string, string>();
  #graceOver = false;
  #cancelGrace: (() => void) | null = null;
  #subscription: { close(): void } | null = null;
  #lastFailure = "";
  #stopped = false;
  /** Messages of the kernel are handled one after the other. */
  #work: Promise<void> = Promise.resolve();

  constructor(options: NetworkOptions) {
    this.#options = options;
  }

  /** Brings the links up and asks for leases; resolves without waiting for one. Never rejects. */
  async start(): Promise<void> {
    const { ip, rtnl, timers } = this.#options;
    if (ip !== null) {
      const parsed = parseStaticAddress(ip);
      if (typeof parsed !== "string") this.#static = parsed;
      else this.#fault("network.static", `osym.ip: ${parsed}; asking by DHCP instead`);
    }
    this.#cancelGrace = timers.after(graceMs, () => {
      this.#graceOver = true;
      this.#assess();
    });
    try {
      // Before the dump: what changes in between is told twice instead of never.
      this.#subscription = rtnl.subscribe({
        onMessage: (message) => this.#onMessage(message),
        onOverflow: () => this.#queue(() => this.#dump()),
      }, [linkGroup]);
    } catch (error) {
      this.#fault("network.links", `changes of links go unseen: ${reasonOf(error)}`);
    }
    await this.#queue(() => this.#dump());
    // Most links have their carrier as soon as they are up: the first question leaves before this
    // resolves, and need not wait for the event loop's next turn.
    await this.#queue(() => this.#dump());
  }

  /** Why the machine has no address; null when it has one. */
  get fault(): string | null {
    const links = [...this.#links.values()];
    if (links.some((link) => link.lease !== null)) return null;
    if (links.length === 0) return "no network interface";
    const names = (list: Managed[]) => list.map((link) => link.name).join(", ");
    const asking = links.filter((link) => link.carrier);
    if (asking.length === 0) return `no carrier on ${names(links)}`;
    const why = this.#lastFailure === "" ? "" : `: ${this.#lastFailure}`;
    return `no lease yet on ${names(asking)}${why}`;
  }

  /** Leases in force, the one with the best default route first. */
  leases(): LeaseInfo[] {
    return this.#inOrder().map((link) => link.client?.lease ?? null).filter((lease) =>
      lease !== null
    );
  }

  /** Name servers in use, best first. */
  dns(): string[] {
    return [...new Set(this.#inOrder().flatMap((link) => link.lease?.dns ?? []))];
  }

  /**
   * Renews the lease of one link, or of the link with the best route. Never rejects.
   *
   * @param cause `seq` of the event that led to it
   */
  async renew(link?: string, cause?: number): Promise<Renewal> {
    const candidates = [...this.#inOrder(), ...this.#links.values()];
    const found = link === undefined
      ? candidates.find((one) => one.client !== null && one.carrier) ?? candidates[0]
      : candidates.find((one) => one.name === link);
    if (found === undefined) {
      return absent(link === undefined ? "no network interface" : `no link "${link}"`);
    }
    if (found.client === null) return absent(`${found.name} has no DHCP client`);
    return await found.client.renewNow(undefined, cause);
  }

  /** Gives every lease back, within a second. Never rejects. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#cancelGrace?.();
    this.#subscription?.close();
    const all = Promise.all([...this.#links.values()].map((link) => link.client?.stop()));
    let cancel = () => {};
    const deadline = new Promise<void>((resolve) => {
      cancel = this.#options.timers.after(stopDeadlineMs, resolve);
    });
    await Promise.race([all, deadline]);
    cancel();
    for (const { port } of this.#links.values()) this.#close(port);
  }

  // --- links ------------------------------------------------------------------------------

  #onMessage(message: RtMessage): void {
    if (message.kind === "link.new") this.#queue(() => this.#seen(message.link));
    else if (message.kind === "link.del") this.#queue(() => this.#gone(message.link.index));
  }

  #queue(make: () => Promise<void>): Promise<void> {
    this.#work = this.#work.then(async () => {
      if (this.#stopped) return;
      await make();
      this.#assess();
    }).catch((error) => this.#options.report("network", error));
    return this.#work;
  }

  async #dump(): Promise<void> {
    const dump = await this.#options.rtnl.dumpLinks();
    if (!dump.ok) {
      this.#fault("network.links", `list links: ${dump.error}`);
      return;
    }
    // Without a subscription this part goes on missing.
    if (this.#subscription !== null) this.#clear("network.links");
    const there = new Set(dump.items.map((link) => link.index));
    for (const index of [...this.#links.keys()]) {
      if (!there.has(index)) await this.#gone(index);
    }
    for (const link of dump.items) await this.#seen(link);
  }

  async #seen(link: Link): Promise<void> {
    if (link.loopback) {
      if (!link.up) await this.#up(link);
      return;
    }
    const known = this.#links.get(link.index);
    if (known === undefined) {
      if (this.#manages(link)) await this.#adopt(link);
    } else if (known.mac !== link.mac) {
      await this.#gone(link.index);
      await this.#adopt(link);
    } else {
      await this.#carrier(known, link.carrier);
    }
  }

  #manages(link: Link): boolean {
    if (link.hardware !== ethernet || link.mac === null) return false;
    return this.#options.manages?.(link) ?? link.kind === null;
  }

  async #adopt(link: Link): Promise<void> {
    const { index, name } = link;
    const isStatic = this.#static !== null && this.#staticLink === null;
    if (isStatic) this.#staticLink = index;
    const port = isStatic ? null : this.#openPort(link);
    const managed: Managed = {
      index,
      name,
      mac: link.mac!,
      port,
      client: port === null ? null : this.#newClient(link, port),
      carrier: false,
      wasDown: false,
      lease: null,
      metric: null,
    };
    this.#links.set(index, managed);
    if (!link.up) await this.#up(link);
    // Unheard, a carrier has to be assumed: the client's retries make up for it.
    await this.#carrier(managed, link.carrier || this.#subscription === null);
    if (isStatic) await this.#applyStatic(managed);
  }

  async #gone(index: number): Promise<void> {
    const link = this.#links.get(index);
    if (link === undefined) return;
    this.#links.delete(index);
    if (this.#staticLink === index) this.#staticLink = null;
    await link.client?.stop("the link was removed");
    this.#close(link.port);
    await this.#writeDns();
    for (const part of ["", ".dhcp", ".route"]) this.#clear(`network.${link.name}${part}`);
  }

  async #carrier(link: Managed, carrier: boolean): Promise<void> {
    if (link.carrier === carrier) return;
    link.carrier = carrier;
    if (!carrier) {
      link.wasDown = true;
      return link.client?.linkDown();
    }
    link.client?.linkUp();
    // Taking a link down flushes its routes; DHCP applies its own again with the next ack.
    if (link.index === this.#staticLink && link.wasDown) await this.#applyStatic(link);
  }

  async #up(link: Link): Promise<void> {
    const up = await this.#options.rtnl.setLinkUp(link.index);
    if (up.ok) this.#clear(`network.${link.name}`);
    else this.#fault(`network.${link.name}`, `bring ${link.name} up: ${up.error}`);
  }

  #openPort(link: Link): OpenPort | null {
    try {
      return this.#options.openPort(link);
    } catch (error) {
      this.#fault(
        `network.${link.name}.dhcp`,
        `open UDP port 68 on ${link.name}: ${reasonOf(error)}`,
      );
      return null;
    }
  }

  #close(port: OpenPort | null): void {
    try {
      port?.close();
    } catch (error) {
      this.#options.report("network", error);
    }
  }

  #newClient(link: Link, port: OpenPort): DhcpClient {
    const { timers, hostname, report } = this.#options;
    return new DhcpClient({
      link: link.name,
      mac: new Uint8Array(link.mac!.split(":").map((byte) => parseInt(byte, 16))),
      hostname,
      port,
      timers,
      report,
      random: () => this.#options.random(),
      apply: (lease) => this.#apply(link.index, lease),
      withdraw: (lease) => this.#withdraw(link.index, lease),
      notify: (type, data, cause) => {
        if (type === "addr.lease_failed" || type === "addr.lease_lost") {
          this.#lastFailure = (data as { reason: string }).reason;
        }
        this.#options.notify(type, data, cause);
        this.#assess();
      },
    });
  }

  // --- addresses ----------------------------------------------------------------------------

  async #applyStatic(link: Managed): Promise<void> {
    const { address, prefix, gateway, dns } = this.#static!;
    const applied = await this.#apply(link.index, {
      link: link.name,
      address,
      prefix,
      ...(gateway === undefined ? {} : { router: gateway }),
      dns: [...dns],
      server: address,
      lease_s: infinite,
      t1_s: infinite,
      t2_s: infinite,
    });
    if (applied.ok) return this.#clear("network.static");
    this.#fault(
      "network.static",
      `${address}/${prefix} on ${link.name}: ${applied.reason}; asking by DHCP instead`,
    );
    this.#static = null;
    this.#links.delete(link.index);
    this.#staticLink = null;
    const dump = await this.#options.rtnl.dumpLinks();
    const again = dump.ok ? dump.items.find((one) => one.index === link.index) : undefined;
    if (again !== undefined) await this.#adopt(again);
  }

  async #apply(index: number, lease: LeaseInfo): Promise<Applied> {
    const link = this.#links.get(index);
    if (link === undefined) return { ok: false, reason: `${lease.link} is gone` };
    const { address, prefix, router } = lease;
    const { rtnl } = this.#options;
    const broadcast = broadcastOf(address, prefix);
    const added = await rtnl.addAddr({
      index,
      address,
      prefix,
      ...(broadcast === null ? {} : { broadcast }),
      // Should this process hang, the kernel itself drops an address that is no longer ours.
      ...(lease.lease_s === infinite ? {} : { validSeconds: lease.lease_s }),
    });
    if (!added.ok) {
      return { ok: false, reason: `add ${address}/${prefix} to ${lease.link}: ${added.error}` };
    }
    link.metric ??= this.#freeMetric();
    if (link.lease?.router !== undefined && link.lease.router !== router) {
      await this.#dropRoutes(index, link.lease, link.metric);
    }
    link.lease = lease;
    if (router === undefined) this.#clear(`network.${lease.link}.route`);
    else await this.#addRoutes(index, lease, router, link.metric);
    await this.#writeDns();
    this.#assess();
    return { ok: true };
  }

  async #withdraw(index: number, lease: LeaseInfo): Promise<Applied> {
    const link = this.#links.get(index);
    if (link !== undefined) {
      link.lease = null;
      if (link.metric !== null) await this.#dropRoutes(index, lease, link.metric);
    }
    this.#clear(`network.${lease.link}.route`);
    const { address, prefix } = lease;
    const removed = await this.#options.rtnl.delAddr({ index, address, prefix });
    await this.#writeDns();
    this.#assess();
    // Gone already: the kernel let it expire, or the link went with it.
    if (removed.ok || removed.error === "EADDRNOTAVAIL" || removed.error === "ENODEV") {
      return { ok: true };
    }
    return {
      ok: false,
      reason: `remove ${address}/${prefix} from ${lease.link}: ${removed.error}`,
    };
  }

  /** A machine without its default route still answers its neighbours: degraded, not refused. */
  async #addRoutes(
    index: number,
    lease: LeaseInfo,
    router: string,
    metric: number,
  ): Promise<void> {
    const { rtnl } = this.#options;
    const part = `network.${lease.link}.route`;
    if (offLink(lease, router)) {
      const host = await rtnl.addRoute({ index, destination: router, prefix: 32 });
      if (!host.ok) return this.#fault(part, `route to ${router}: ${host.error}`);
    }
    const added = await rtnl.addRoute({ index, gateway: router, source: lease.address, metric });
    if (added.ok) this.#clear(part);
    else this.#fault(part, `default route by ${router}: ${added.error}`);
  }

  async #dropRoutes(index: number, lease: LeaseInfo, metric: number): Promise<void> {
    const { rtnl } = this.#options;
    const { router } = lease;
    if (router === undefined) return;
    const routes: RouteRequest[] = [{ index, gateway: router, metric }];
    if (offLink(lease, router)) routes.push({ index, destination: router, prefix: 32 });
    for (const route of routes) {
      const removed = await rtnl.delRoute(route);
      // ESRCH: the kernel flushed it when the link went down.
      if (!removed.ok && removed.error !== "ESRCH" && removed.error !== "ENODEV") {
        this.#options.report("network", new Error(`remove route by ${router}: ${removed.error}`));
      }
    }
  }

  #freeMetric(): number {
    const taken = new Set([...this.#links.values()].map((link) => link.metric));
    let metric = metricStep;
    while (taken.has(metric)) metric += metricStep;
    return metric;
  }

  async #writeDns(): Promise<void> {
    const written = await this.#options.resolvConf(this.dns());
    if (written.ok) this.#clear("network.dns");
    else this.#fault("network.dns", written.reason);
  }

  #inOrder(): Managed[] {
    return [...this.#links.values()].filter((link) => link.metric !== null)
      .sort((one, other) => one.metric! - other.metric!);
  }

  // --- what is missing ------------------------------------------------------------------------

  #assess(): void {
    if (this.#stopped) return;
    const { fault } = this;
    if (fault === null) this.#clear("network");
    else if (this.#graceOver || this.#links.size === 0 || this.#faults.has("network")) {
      this.#fault("network", fault);
    }
  }

  #fault(part: string, reason: string): void {
    if (this.#faults.get(part) === reason) return;
    this.#faults.set(part, reason);
    this.#guard(() => this.#options.degraded(part, reason));
  }

  #clear(part: string): void {
    if (!this.#faults.delete(part)) return;
    this.#guard(() => this.#options.recovered(part));
  }

  #guard(tell: () => void): void {
    try {
      tell();
    } catch (error) {
      this.#options.report("network", error);
    }
  }
}

function absent(reason: string): Renewal {
  return { ok: false, reason, missing: true };
}

function offLink(lease: LeaseInfo, router: string): boolean {
  return !sameNetwork(parseIpv4(lease.address)!, parseIpv4(router)!, lease.prefix);
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
