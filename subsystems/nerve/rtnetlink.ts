/**
 * The rtnetlink sensor: links, addresses and routes as they are, and every
 * change as an event.
 *
 * Owns the network tables. It changes nothing on the network. Events are
 * differences between what it held and what the kernel says, so a resync after
 * an overflow publishes exactly what was missed.
 */
import type { Source } from "../../bus/bus.ts";
import type { LinkInfo, RouteInfo } from "../../bus/shapes.ts";
import type { Address, Link, Route, RtMessage, Rtnl } from "../../src/kernel/rtnetlink.ts";
import { publishGap, type Sensor } from "./sensor.ts";

const mainTable = 254;
const unicast = 1;

export class RtnetlinkSensor implements Sensor {
  readonly name = "rtnetlink";
  readonly grants = ["link.*", "addr.added", "addr.removed", "route.*"];
  readonly #rtnl: Rtnl;
  readonly #report: (where: string, error: unknown) => void;
  readonly #links = new Map<number, Link>();
  readonly #addresses = new Map<string, Address>();
  readonly #routes = new Map<string, Route>();
  #subscription: ReturnType<Rtnl["subscribe"]> | null = null;
  /** Changes that arrive while the tables are being dumped wait for the dump; null: none is. */
  #waiting: RtMessage[] | null = null;
  /** Something changed that neither the dump under way nor a message tells of: dump once more. */
  #stale = false;
  #source: Source | null = null;

  constructor(rtnl: Rtnl, report: (where: string, error: unknown) => void) {
    this.#rtnl = rtnl;
    this.#report = report;
  }

  get listening(): boolean {
    return this.#subscription?.active ?? false;
  }

  async start(source: Source): Promise<void> {
    this.#source = source;
    // Subscribe before the dump: what changes in between is then seen twice, never missed.
    this.#subscription = this.#rtnl.subscribe({
      onMessage: (message) => this.#told(message),
      onOverflow: () => {
        publishGap(source, null, "ENOBUFS");
        // Older than what was lost, and so than the dump that is to come.
        if (this.#waiting !== null) this.#waiting.length = 0;
        this.#resyncSoon();
      },
    });
    await this.#resync();
  }

  stop(): void {
    this.#subscription?.close();
    this.#subscription = null;
  }

  /** Every link with its addresses. */
  links(): LinkInfo[] {
    const addresses = [...this.#addresses.values()];
    return [...this.#links.values()].map((link) => ({
      index: link.index,
      link: link.name,
      ...(link.mac === null ? {} : { mac: link.mac }),
      up: link.up,
      carrier: link.carrier,
      mtu: link.mtu,
      addresses: addresses.filter((address) => address.index === link.index)
        .map(({ address, prefix }) => ({ address, prefix })),
    }));
  }

  /** The unicast routes of the main table. */
  routes(): RouteInfo[] {
    return [...this.#routes.values()].map((route) => this.#routeInfo(route));
  }

  #told(message: RtMessage): void {
    // The kernel drops the IPv4 routes of a link that goes down, or loses its last address, without
    // a word (ip-sysctl, skip_notify_on_dev_down): only asking tells.
    const silent = this.#mayTakeRoutes(message);
    if (this.#waiting === null) this.#apply(message);
    else this.#waiting.push(message);
    if (silent) this.#resyncSoon();
  }

  #mayTakeRoutes(message: RtMessage): boolean {
    let index: number;
    if (message.kind === "addr.del") index = message.address.index;
    else if (message.kind === "link.del") index = message.link.index;
    else if (message.kind === "link.new" && !message.link.up) index = message.link.index;
    else return false;
    if (this.#waiting !== null) return true;
    return this.#routes.values().some((route) => route.family === 4 && route.index === index);
  }

  #resyncSoon(): void {
    this.#resync().catch((error) => this.#report("rtnetlink resync", error));
  }

  /** Dumps all three tables, publishes the difference, then what changed meanwhile. */
  async #resync(): Promise<void> {
    this.#stale = true;
    // The dump under way may have asked already for what is stale now: another follows it.
    if (this.#waiting !== null) return;
    while (this.#stale) {
      this.#stale = false;
      this.#waiting = [];
      try {
        await this.#dump();
      } finally {
        const changes = this.#waiting;
        this.#waiting = null;
        for (const message of changes) this.#apply(message);
      }
    }
  }

  async #dump(): Promise<void> {
    const [links, addresses, routes] = [
      await this.#rtnl.dumpLinks(),
      await this.#rtnl.dumpAddrs(),
      await this.#rtnl.dumpRoutes(),
    ];
    for (const answer of [links, addresses, routes]) {
      if (!answer.ok) throw new Error(`rtnetlink dump: ${answer.error}`);
    }
    if (!links.ok || !addresses.ok || !routes.ok) return;
    const addressKeys = new Set(addresses.items.map(addressKey));
    const routeKeys = new Set(routes.items.map(routeKey));
    for (const [key, address] of this.#addresses) {
      if (!addressKeys.has(key)) this.#apply({ kind: "addr.del", address });
    }
    for (const [key, route] of this.#routes) {
      if (!routeKeys.has(key)) this.#apply({ kind: "route.del", route });
    }
    for (const link of [...this.#links.values()]) {
      if (!links.items.some((item) => item.index === link.index)) {
        this.#apply({ kind: "link.del", link });
      }
    }
    for (const link of links.items) this.#apply({ kind: "link.new", link });
    for (const address of addresses.items) this.#apply({ kind: "addr.new", address });
    for (const route of routes.items) this.#apply({ kind: "route.new", route });
  }

  #apply(message: RtMessage): void {
    switch (message.kind) {
      case "link.new":
        return this.#linkChanged(message.link);
      case "link.del":
        if (this.#links.delete(message.link.index)) {
          this.#source?.publish("link.removed", {
            index: message.link.index,
            link: message.link.name,
          });
        }
        return;
      case "addr.new":
      case "addr.del":
        return this.#addressChanged(message.address, message.kind === "addr.new");
      case "route.new":
      case "route.del":
        return this.#routeChanged(message.route, message.kind === "route.new");
      default:
        return;
    }
  }

  #linkChanged(link: Link): void {
    const before = this.#links.get(link.index);
    this.#links.set(link.index, link);
    const data = {
      index: link.index,
      link: link.name,
      ...(link.mac === null ? {} : { mac: link.mac }),
    };
    if (before === undefined) this.#source?.publish("link.added", data);
    const was = before !== undefined && before.up && before.carrier;
    const is = link.up && link.carrier;
    if (was !== is) this.#source?.publish(is ? "link.up" : "link.down", data);
  }

  #addressChanged(address: Address, present: boolean): void {
    const key = addressKey(address);
    const known = this.#addresses.has(key);
    if (present) this.#addresses.set(key, address);
    else this.#addresses.delete(key);
    if (known === present) return;
    this.#source?.publish(present ? "addr.added" : "addr.removed", {
      index: address.index,
      link: this.#links.get(address.index)?.name ?? `#${address.index}`,
      address: address.address,
      prefix: address.prefix,
    });
  }

  #routeChanged(route: Route, present: boolean): void {
    if (route.table !== mainTable || route.type !== unicast) return;
    const key = routeKey(route);
    const known = this.#routes.has(key);
    if (present) this.#routes.set(key, route);
    else this.#routes.delete(key);
    if (known === present) return;
    this.#source?.publish(present ? "route.added" : "route.removed", this.#routeInfo(route));
  }

  #routeInfo(route: Route): RouteInfo {
    const link = route.index === null ? undefined : this.#links.get(route.index)?.name;
    return {
      destination: route.destination === null ? "default" : `${route.destination}/${route.prefix}`,
      ...(route.gateway === null ? {} : { gateway: route.gateway }),
      ...(link === undefined ? {} : { link }),
    };
  }
}

function addressKey(address: Address): string {
  return `${address.index} ${address.address}/${address.prefix}`;
}

function routeKey(route: Route): string {
  return [
    route.family,
    route.table,
    route.destination,
    route.prefix,
    route.gateway,
    route.index,
    route.metric,
  ].join(" ");
}
