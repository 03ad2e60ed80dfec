/**
 * The DHCP client as a state machine: `step(state, event)` answers the next
 * state and the effects it wants.
 *
 * Owns the protocol (RFC 2131 §4.4, figure 5) as pure code over a monotonic
 * clock in milliseconds. It must never read a clock, touch a socket or trust
 * an answer that is not to its own question; a timer that comes early, late or
 * twice must do no harm.
 *
 * An address stays on its link while the client asks anew (carrier came back,
 * the server fell silent): `held` outlives the exchanges and ends only by its
 * expiry, a NAK, a successor or `stop`.
 */
import type { EventData } from "../../bus/events.ts";
import type { LeaseInfo } from "../../bus/shapes.ts";
import {
  addressBytes,
  type DhcpMessage,
  type DhcpReply,
  MessageType,
  Option,
} from "./dhcp_codec.ts";
import { classfulPrefix, formatIpv4, hostFault, isUnicast, parseIpv4, prefixOf } from "./ip.ts";

/** What never changes while a client lives. */
export interface DhcpContext {
  readonly link: string;
  /** Six bytes. */
  readonly mac: Uint8Array;
  /** Sent to the server, which may show it to people. */
  readonly hostname?: string | undefined;
  /** 0 ≤ x < 1. */
  random(): number;
}

/** A lease and where it stands. */
export interface Lease {
  readonly info: LeaseInfo;
  /** When the request that won it was sent, ms: the lease runs from there (RFC 2131 §4.4.1). */
  readonly since: number;
  /** Its address is on the link. */
  readonly applied: boolean;
  /** No lease of this address came before it: it will be told as new, not as renewed. */
  readonly fresh: boolean;
  /** This one, or the one it replaces, was told as leased: its end has to be told as well. */
  readonly told: boolean;
}

/** A question under way. */
export interface Exchange {
  readonly xid: number;
  readonly startedAt: number;
  readonly sentAt: number;
  /** Messages sent, at least 1. */
  readonly sends: number;
  readonly retryAt: number;
  /** What the `secs` field says. */
  readonly secs: number;
  /** Packets that were no answer to it, and why the last was not. */
  readonly ignored: number;
  readonly ignoredWhy: string;
}

interface Common {
  /** The address on the link, whoever asks for what meanwhile. */
  readonly held: Lease | null;
  /** Attempts in a row that got no lease. */
  readonly failures: number;
}

export type DhcpState =
  /** Before the first link up, and after `stop`. */
  | { readonly name: "stopped"; readonly held: null; readonly failures: number }
  /** No carrier. */
  | Common & { readonly name: "down" }
  /** Pausing before it asks again. */
  | Common & { readonly name: "init"; readonly at: number }
  | Common & { readonly name: "selecting"; readonly exchange: Exchange }
  | Common & {
    readonly name: "requesting";
    readonly exchange: Exchange;
    readonly offer: LeaseInfo;
  }
  /** INIT-REBOOT asked: may the held address go on being used here? */
  | Common & { readonly name: "rebooting"; readonly exchange: Exchange; readonly held: Lease }
  | Common & { readonly name: "bound"; readonly held: Lease }
  | Common & { readonly name: "renewing"; readonly exchange: Exchange; readonly held: Lease }
  | Common & { readonly name: "rebinding"; readonly exchange: Exchange; readonly held: Lease };

/** `now` is the monotonic clock in ms. */
export type DhcpEvent =
  | { readonly type: "link_up"; readonly now: number }
  | { readonly type: "link_down"; readonly now: number }
  | { readonly type: "timer"; readonly now: number }
  | { readonly type: "reply"; readonly now: number; readonly reply: DhcpReply }
  /** A packet that is no reply at all, or one that could not be sent. */
  | { readonly type: "noise"; readonly now: number; readonly reason: string }
  /** Somebody wants the lease renewed now. */
  | { readonly type: "renew"; readonly now: number }
  | { readonly type: "applied"; readonly now: number; readonly address: string }
  | {
    readonly type: "apply_failed";
    readonly now: number;
    readonly address: string;
    readonly reason: string;
  }
  | { readonly type: "stop"; readonly now: number; readonly reason: string };

export type DhcpNotice = {
  [T in (typeof noticeTypes)[number]]: { readonly type: T; readonly data: EventData<T> };
}[(typeof noticeTypes)[number]];

const noticeTypes = [
  "addr.leased",
  "addr.renewed",
  "addr.lease_lost",
  "addr.lease_failed",
  "addr.lease_requested",
] as const;

export type DhcpEffect =
  /** `to` is an address, or `"255.255.255.255"`. */
  | { readonly do: "send"; readonly message: DhcpMessage; readonly to: string }
  /** Put it on the link; answered by `applied` or `apply_failed`. */
  | { readonly do: "apply"; readonly lease: LeaseInfo }
  | { readonly do: "withdraw"; readonly lease: LeaseInfo }
  | { readonly do: "notice"; readonly notice: DhcpNotice };

export interface Step {
  readonly state: DhcpState;
  readonly effects: readonly DhcpEffect[];
}

export const initialState: DhcpState = { name: "stopped", held: null, failures: 0 };

/** RFC 2131 §3.3: all ones means for ever. */
export const infinite = 0xffff_ffff;
/** A shorter lease could not be renewed in time on a busy machine. */
const minimumLeaseS = 5;
/** A server that wants renewals more often than this is not obeyed. */
const minimumT1S = 2;
/** RFC 2131 §4.1 begins at 4 s; a booting machine loses less by asking twice more before. */
const retryS = [1, 2, 4, 8, 16, 32, 64] as const;
/** Requests for one offer before the client looks for another: 1 + 2 + 4 + 8 s. */
const requestSends = 4;
/** INIT-REBOOT requests before the client starts from the beginning: 1 + 2 s. */
const rebootSends = 2;
/** RFC 2131 §4.4.5: renewals are not repeated faster than this; short leases ask for less. */
const renewRetryMs = 60_000;
const shortLeaseS = 600;
const shortRenewRetryMs = 4_000;
/** Renewals a person asked for: this many retries come quickly. */
const eagerSends = 3;
/** RFC 2131 §3.1(5): wait at least this long after an address turned out unusable. */
const declinePauseMs = 10_000;
/** A link up or a wish to renew this soon after a question changes nothing: its answer may be near. */
const justAskedMs = 1_000;
const broadcast = "255.255.255.255";
const unset = "0.0.0.0";

/** When the machine next wants a `timer` event, ms; null when only an event can move it. */
export function dueAt(state: DhcpState): number | null {
  const times = [state.held === null ? Infinity : expiryOf(state.held)];
  if (state.name === "init") times.push(state.at);
  if (state.name === "bound") times.push(t1Of(state.held));
  if (state.name === "renewing") times.push(t2Of(state.held));
  if ("exchange" in state) times.push(state.exchange.retryAt);
  const due = Math.min(...times);
  return due === Infinity ? null : due;
}

/** One step of the protocol. */
export function step(state: DhcpState, event: DhcpEvent, context: DhcpContext): Step {
  switch (event.type) {
    case "link_up":
      return onLinkUp(state, event.now, context);
    case "link_down":
      if (state.name === "stopped") return stay(state);
      return stay({ name: "down", held: state.held, failures: 0 });
    case "timer":
      return onTimer(state, event.now, context);
    case "reply":
      return onReply(state, event.reply, event.now, context);
    case "noise":
      return stay(ignore(state, event.reason));
    case "renew":
      return onRenew(state, event.now, context);
    case "applied":
      return onApplied(state, event.address);
    case "apply_failed":
      return onApplyFailed(state, event, context);
    case "stop":
      return onStop(state, event.reason, context);
  }
}

// --- events ---------------------------------------------------------------------------------

function onLinkUp(state: DhcpState, now: number, context: DhcpContext): Step {
  switch (state.name) {
    case "stopped":
    case "down":
      return state.held === null
        ? discover(null, 0, now, context)
        : reboot(state.held, now, context);
    case "init":
      return discover(state.held, state.failures, now, context);
    case "selecting":
      // The carrier may have come after the question was sent into the void.
      return now - state.exchange.sentAt < justAskedMs
        ? stay(state)
        : discover(state.held, state.failures, now, context);
    default:
      return stay(state);
  }
}

function onTimer(state: DhcpState, now: number, context: DhcpContext): Step {
  if (state.held !== null && now >= expiryOf(state.held)) {
    const lost = lose(state.held, "expired", context);
    if (state.name === "down") {
      return { state: { name: "down", held: null, failures: 0 }, effects: lost };
    }
    // A question under way for another address goes on.
    if (state.name === "selecting" || state.name === "requesting" || state.name === "init") {
      return after(lost, onTimer({ ...state, held: null }, now, context));
    }
    return after(lost, discover(null, 0, now, context));
  }
  switch (state.name) {
    case "stopped":
    case "down":
      return stay(state);
    case "init":
      return now >= state.at ? discover(state.held, state.failures, now, context) : stay(state);
    case "selecting":
      return now >= state.exchange.retryAt ? selectAgain(state, now, context) : stay(state);
    case "requesting":
      return now >= state.exchange.retryAt ? requestAgain(state, now, context) : stay(state);
    case "rebooting":
      return now >= state.exchange.retryAt ? rebootAgain(state, now, context) : stay(state);
    case "bound":
      if (now >= t2Of(state.held)) return rebind(state.held, now, context);
      return now >= t1Of(state.held) ? renew(state.held, now, context, 0) : stay(state);
    case "renewing":
      if (now >= t2Of(state.held)) {
        const failed = failure(state, context, "the server did not renew the lease");
        return after(failed, rebind(state.held, now, context));
      }
      return now >= state.exchange.retryAt ? renewAgain(state, now, context) : stay(state);
    case "rebinding":
      return now >= state.exchange.retryAt ? renewAgain(state, now, context) : stay(state);
  }
}

function onReply(state: DhcpState, reply: DhcpReply, now: number, context: DhcpContext): Step {
  if (!("exchange" in state)) return stay(state);
  if (!sameBytes(reply.chaddr, context.mac)) return stay(ignore(state, "for another machine"));
  if (reply.xid !== state.exchange.xid) return stay(ignore(state, "of another transaction"));
  if (state.name === "selecting") {
    if (reply.type !== "offer") return stay(ignore(state, `${reply.type} to a discover`));
    const offer = leaseFrom(reply, context.link);
    if (typeof offer === "string") return stay(ignore(state, offer));
    return request(state, offer, now, context);
  }
  if (reply.type === "offer") return stay(ignore(state, "offer to a request"));
  if (state.name === "requesting" || state.name === "renewing") {
    const server = state.name === "requesting" ? state.offer.server : state.held.info.server;
    if (reply.server !== server) {
      return stay(ignore(state, `${reply.type} of ${reply.server ?? "no server"}, not ${server}`));
    }
  }
  return reply.type === "nak" ? onNak(state, reply, now, context) : onAck(state, reply, context);
}

type Asking = Exclude<Extract<DhcpState, { exchange: Exchange }>, { name: "selecting" }>;

function onAck(state: Asking, reply: DhcpReply, context: DhcpContext): Step {
  const info = leaseFrom(reply, context.link);
  if (typeof info === "string") return stay(ignore(state, info));
  const wanted = state.name === "requesting" ? state.offer.address : state.held.info.address;
  if (info.address !== wanted) {
    return stay(ignore(state, `ack of ${info.address} where ${wanted} was asked for`));
  }
  const same = state.held?.info.address === info.address && state.held.info.prefix === info.prefix;
  const effects: DhcpEffect[] = [];
  // A lease with a successor is not told as lost.
  if (state.held !== null && !same) effects.push({ do: "withdraw", lease: state.held.info });
  effects.push({ do: "apply", lease: info });
  const applied = same && state.held!.applied;
  const held: Lease = {
    info,
    since: state.exchange.sentAt,
    applied,
    fresh: !applied,
    told: state.held?.told ?? false,
  };
  return { state: { name: "bound", held, failures: 0 }, effects };
}

function onNak(state: Asking, reply: DhcpReply, now: number, context: DhcpContext): Step {
  const why = `refused by ${reply.server ?? "a server"}${
    reply.text === undefined ? "" : `: ${reply.text}`
  }`;
  const failures = state.failures + 1;
  if (state.name === "requesting") {
    // A server that offers and then refuses would otherwise be asked without a pause.
    const at = now + retryDelayMs(failures, context);
    return {
      state: { name: "init", held: state.held, failures, at },
      effects: [failed(context.link, why, failures)],
    };
  }
  return after(lose(state.held, why, context), discover(null, failures, now, context));
}

function onRenew(state: DhcpState, now: number, context: DhcpContext): Step {
  // It has just asked; a second question would throw the answer to the first away.
  if ("exchange" in state && now - state.exchange.sentAt < justAskedMs) return stay(state);
  switch (state.name) {
    case "stopped":
    case "down":
      return stay(state);
    case "init":
    case "selecting":
    case "requesting":
    case "rebooting":
      return discover(state.held, 0, now, context);
    case "bound":
    case "renewing":
      return renew(state.held, now, context, eagerSends);
    case "rebinding":
      return rebind(state.held, now, context);
  }
}

function onApplied(state: DhcpState, address: string): Step {
  if (state.held === null || state.held.info.address !== address) return stay(state);
  const { info, fresh } = state.held;
  return {
    state: {
      ...state,
      held: { ...state.held, applied: true, fresh: false, told: true },
    } as DhcpState,
    effects: [{
      do: "notice",
      notice: { type: fresh ? "addr.leased" : "addr.renewed", data: { ...info } },
    }],
  };
}

function onApplyFailed(
  state: DhcpState,
  event: { now: number; address: string; reason: string },
  context: DhcpContext,
): Step {
  if (state.held === null || state.held.info.address !== event.address) return stay(state);
  const effects = lose(state.held, `could not be applied: ${event.reason}`, context);
  if (state.name === "down") return { state: { ...state, held: null }, effects };
  const failures = state.failures + 1;
  const at = event.now + declinePauseMs;
  return { state: { name: "init", held: null, failures, at }, effects };
}

/** RFC 2131 §4.4.6: a release is sent once, unanswered, while the address is still there. */
function onStop(state: DhcpState, reason: string, context: DhcpContext): Step {
  const { held } = state;
  if (held === null) return stay(initialState);
  const effects: DhcpEffect[] = [];
  if (state.name !== "down") {
    effects.push({
      do: "send",
      to: held.info.server,
      message: message(context, {
        type: MessageType.release,
        xid: newXid(context),
        secs: 0,
        ciaddr: held.info.address,
        options: [[Option.server, addressBytes(held.info.server)]],
      }),
    });
  }
  effects.push(...lose(held, reason, context));
  return { state: initialState, effects };
}

// --- questions --------------------------------------------------------------------------------

function discover(
  held: Lease | null,
  failures: number,
  now: number,
  context: DhcpContext,
): Step {
  const exchange = newExchange(now, context);
  return {
    state: { name: "selecting", held, failures, exchange },
    effects: [
      requested(context.link, "discover"),
      { do: "send", to: broadcast, message: discoverMessage(exchange, held, context) },
    ],
  };
}

function selectAgain(
  state: Extract<DhcpState, { name: "selecting" }>,
  now: number,
  context: DhcpContext,
): Step {
  const failures = state.failures + 1;
  const reason = whyNot("no usable offer", state.exchange, now);
  // The same transaction: an offer to the first question that comes late is still welcome.
  const exchange = sentAgain(state.exchange, now, retryDelayMs(state.exchange.sends, context));
  return {
    state: { ...state, failures, exchange },
    effects: [
      failed(context.link, reason, failures),
      { do: "send", to: broadcast, message: discoverMessage(exchange, state.held, context) },
    ],
  };
}

/** RFC 2131 §4.4.1: a request for an offer keeps the transaction and the `secs` of its discover. */
function request(
  state: Extract<DhcpState, { name: "selecting" }>,
  offer: LeaseInfo,
  now: number,
  context: DhcpContext,
): Step {
  const { held, failures } = state;
  const { xid, secs } = state.exchange;
  const exchange = { ...newExchange(now, context), xid, secs };
  return {
    state: { name: "requesting", held, failures, offer, exchange },
    effects: [
      requested(context.link, "request"),
      { do: "send", to: broadcast, message: requestMessage(exchange, offer, true, context) },
    ],
  };
}

function requestAgain(
  state: Extract<DhcpState, { name: "requesting" }>,
  now: number,
  context: DhcpContext,
): Step {
  if (state.exchange.sends >= requestSends) {
    const failures = state.failures + 1;
    const reason = whyNot(`${state.offer.server} did not confirm its offer`, state.exchange, now);
    return after(
      [failed(context.link, reason, failures)],
      discover(state.held, failures, now, context),
    );
  }
  const again = sentAgain(state.exchange, now, retryDelayMs(state.exchange.sends, context));
  const exchange = { ...again, secs: state.exchange.secs };
  const message = requestMessage(exchange, state.offer, true, context);
  return { state: { ...state, exchange }, effects: [{ do: "send", to: broadcast, message }] };
}

function reboot(held: Lease, now: number, context: DhcpContext): Step {
  const exchange = newExchange(now, context);
  const message = requestMessage(exchange, held.info, false, context);
  return {
    state: { name: "rebooting", held, failures: 0, exchange },
    effects: [requested(context.link, "request"), { do: "send", to: broadcast, message }],
  };
}

function rebootAgain(
  state: Extract<DhcpState, { name: "rebooting" }>,
  now: number,
  context: DhcpContext,
): Step {
  if (state.exchange.sends >= rebootSends) {
    const failures = state.failures + 1;
    const reason = whyNot(`nobody confirmed ${state.held.info.address}`, state.exchange, now);
    return after(
      [failed(context.link, reason, failures)],
      discover(state.held, failures, now, context),
    );
  }
  const exchange = sentAgain(state.exchange, now, retryDelayMs(state.exchange.sends, context));
  const message = requestMessage(exchange, state.held.info, false, context);
  return { state: { ...state, exchange }, effects: [{ do: "send", to: broadcast, message }] };
}

/** Asks the lease's own server; `eager` of the retries come quickly because somebody waits. */
function renew(held: Lease, now: number, context: DhcpContext, eager: number): Step {
  const delay = eager > 0 ? retryDelayMs(0, context) : renewDelayMs(held, t2Of(held), now);
  const exchange = newExchange(now, context, delay);
  return {
    state: { name: "renewing", held, failures: 0, exchange },
    effects: [
      requested(context.link, "renew"),
      { do: "send", to: held.info.server, message: renewMessage(exchange, held, context) },
    ],
  };
}

function rebind(held: Lease, now: number, context: DhcpContext): Step {
  const exchange = newExchange(now, context, renewDelayMs(held, expiryOf(held), now));
  return {
    state: { name: "rebinding", held, failures: 0, exchange },
    effects: [
      requested(context.link, "rebind"),
      { do: "send", to: broadcast, message: renewMessage(exchange, held, context) },
    ],
  };
}

function renewAgain(
  state: Extract<DhcpState, { name: "renewing" | "rebinding" }>,
  now: number,
  context: DhcpContext,
): Step {
  const failures = state.failures + 1;
  const renewing = state.name === "renewing";
  const eager = renewing && now < t1Of(state.held) && state.exchange.sends <= eagerSends;
  const delay = eager
    ? retryDelayMs(state.exchange.sends, context)
    : renewDelayMs(state.held, renewing ? t2Of(state.held) : expiryOf(state.held), now);
  const exchange = sentAgain(state.exchange, now, delay);
  return {
    state: { ...state, failures, exchange },
    effects: [
      failed(context.link, whyNot("no renewal", state.exchange, now), failures),
      {
        do: "send",
        to: renewing ? state.held.info.server : broadcast,
        message: renewMessage(exchange, state.held, context),
      },
    ],
  };
}

// --- messages (RFC 2131 table 5) ----------------------------------------------------------------

type Options = readonly (readonly [number, Uint8Array])[];

function message(
  context: DhcpContext,
  fields: {
    type: number;
    xid: number;
    secs: number;
    ciaddr?: string;
    options?: Options;
  },
): DhcpMessage {
  const options = new Map<number, Uint8Array>([
    [Option.messageType, new Uint8Array([fields.type])],
    [Option.clientId, new Uint8Array([1, ...context.mac])],
    ...(fields.options ?? []),
  ]);
  if (fields.type !== MessageType.release) {
    options.set(Option.maxSize, new Uint8Array([1472 >> 8, 1472 & 255]));
    options.set(
      Option.parameters,
      new Uint8Array([
        Option.netmask,
        Option.router,
        Option.dns,
        Option.leaseTime,
        Option.server,
        Option.t1,
        Option.t2,
      ]),
    );
    if (context.hostname !== undefined && context.hostname !== "") {
      options.set(Option.hostname, new TextEncoder().encode(context.hostname).slice(0, 63));
    }
  }
  return {
    op: "request",
    xid: fields.xid,
    secs: fields.secs,
    // Without an address the kernel drops what is not broadcast.
    broadcast: fields.ciaddr === undefined,
    ciaddr: fields.ciaddr ?? unset,
    yiaddr: unset,
    siaddr: unset,
    giaddr: unset,
    chaddr: context.mac,
    options,
  };
}

function discoverMessage(
  exchange: Exchange,
  held: Lease | null,
  context: DhcpContext,
): DhcpMessage {
  return message(context, {
    ...exchange,
    type: MessageType.discover,
    options: held === null ? [] : [[Option.requestedAddress, addressBytes(held.info.address)]],
  });
}

function requestMessage(
  exchange: Exchange,
  lease: LeaseInfo,
  selected: boolean,
  context: DhcpContext,
): DhcpMessage {
  const options: [number, Uint8Array][] = [
    [Option.requestedAddress, addressBytes(lease.address)],
  ];
  if (selected) options.push([Option.server, addressBytes(lease.server)]);
  return message(context, { ...exchange, type: MessageType.request, options });
}

function renewMessage(exchange: Exchange, held: Lease, context: DhcpContext): DhcpMessage {
  return message(context, {
    ...exchange,
    type: MessageType.request,
    ciaddr: held.info.address,
  });
}

// --- leases ---------------------------------------------------------------------------------------

/** The lease an offer or ack gives; a text says why it is none a machine should take. */
export function leaseFrom(reply: DhcpReply, link: string): LeaseInfo | string {
  if (reply.server === undefined) return "names no server";
  const server = parseIpv4(reply.server)!;
  if (!isUnicast(server)) return `${reply.server} is not a server's address`;
  const address = parseIpv4(reply.yiaddr)!;
  const netmask = reply.netmask === undefined ? null : parseIpv4(reply.netmask)!;
  const prefix = netmask === null ? classfulPrefix(address) : prefixOf(netmask);
  if (prefix === null) return `${reply.netmask} is not a netmask`;
  const fault = hostFault(reply.yiaddr, prefix);
  if (fault !== null) return fault;
  if (reply.leaseS === undefined) return "names no lease time";
  if (reply.leaseS < minimumLeaseS) {
    return `a lease of ${reply.leaseS} s is shorter than ${minimumLeaseS} s`;
  }
  const usable = (text: string) => isUnicast(parseIpv4(text)!) && text !== reply.yiaddr;
  const router = reply.routers.find(usable);
  return {
    link,
    address: reply.yiaddr,
    prefix,
    ...(router === undefined ? {} : { router }),
    // resolv.conf(5) reads three.
    dns: [...new Set(reply.dns.filter((text) => isUnicast(parseIpv4(text)!)))].slice(0, 3),
    server: formatIpv4(server),
    lease_s: reply.leaseS,
    ...renewalTimes(reply),
  };
}

/** T1 and T2 as the server wants them, where they make sense; else 1/2 and 7/8 of the lease. */
function renewalTimes(reply: DhcpReply): { t1_s: number; t2_s: number } {
  const { leaseS = 0, t1S, t2S } = reply;
  if (leaseS === infinite) return { t1_s: infinite, t2_s: infinite };
  const t2_s = t2S !== undefined && t2S > minimumT1S && t2S < leaseS ? t2S : leaseS * 0.875;
  const half = leaseS / 2 < t2_s ? leaseS / 2 : t2_s / 2;
  const t1_s = t1S !== undefined && t1S >= minimumT1S && t1S < t2_s ? t1S : half;
  return { t1_s, t2_s };
}

function momentOf(lease: Lease, seconds: number): number {
  return seconds === infinite ? Infinity : lease.since + seconds * 1000;
}

function t1Of(lease: Lease): number {
  return momentOf(lease, lease.info.t1_s);
}

function t2Of(lease: Lease): number {
  return momentOf(lease, lease.info.t2_s);
}

/** When a lease ends, ms; Infinity for one that never does. */
export function expiryOf(lease: Lease): number {
  return momentOf(lease, lease.info.lease_s);
}

/** Takes an address off; told as lost only when it was told as leased. */
function lose(held: Lease, reason: string, context: DhcpContext): DhcpEffect[] {
  const { address } = held.info;
  return [
    { do: "withdraw", lease: held.info },
    held.told
      ? {
        do: "notice",
        notice: { type: "addr.lease_lost", data: { link: context.link, address, reason } },
      }
      : failed(context.link, `${address} ${reason}`, 1),
  ];
}

// --- small things -----------------------------------------------------------------------------------

function stay(state: DhcpState): Step {
  return { state, effects: [] };
}

function after(effects: readonly DhcpEffect[], next: Step): Step {
  return { state: next.state, effects: [...effects, ...next.effects] };
}

function ignore(state: DhcpState, reason: string): DhcpState {
  if (!("exchange" in state)) return state;
  const { exchange } = state;
  return { ...state, exchange: { ...exchange, ignored: exchange.ignored + 1, ignoredWhy: reason } };
}

function failure(
  state: Extract<DhcpState, { exchange: Exchange }>,
  context: DhcpContext,
  reason: string,
): DhcpEffect[] {
  return [failed(context.link, reason, state.failures + 1)];
}

function failed(link: string, reason: string, attempt: number): DhcpEffect {
  return { do: "notice", notice: { type: "addr.lease_failed", data: { link, reason, attempt } } };
}

function requested(
  link: string,
  mode: EventData<"addr.lease_requested">["mode"],
): DhcpEffect {
  return { do: "notice", notice: { type: "addr.lease_requested", data: { link, mode } } };
}

function whyNot(what: string, exchange: Exchange, now: number): string {
  const seconds = ((now - exchange.startedAt) / 1000).toFixed(1);
  const ignored = exchange.ignored === 0
    ? ""
    : `; ignored ${exchange.ignored}, the last because: ${exchange.ignoredWhy}`;
  return `${what} within ${seconds} s${ignored}`;
}

function newXid(context: DhcpContext): number {
  return Math.floor(context.random() * 0x1_0000_0000) >>> 0;
}

function newExchange(
  now: number,
  context: DhcpContext,
  delay = retryDelayMs(0, context),
): Exchange {
  return {
    xid: newXid(context),
    startedAt: now,
    sentAt: now,
    sends: 1,
    retryAt: now + delay,
    secs: 0,
    ignored: 0,
    ignoredWhy: "",
  };
}

function sentAgain(exchange: Exchange, now: number, delay: number): Exchange {
  const secs = Math.min(0xffff, Math.floor((now - exchange.startedAt) / 1000));
  return { ...exchange, sends: exchange.sends + 1, sentAt: now, retryAt: now + delay, secs };
}

/** The pause after message number `sends` + 1: doubling, randomised by ± 1 s or a quarter. */
export function retryDelayMs(sends: number, context: DhcpContext): number {
  const seconds = retryS[Math.min(sends, retryS.length - 1)]!;
  const spread = Math.min(1, seconds / 4);
  return (seconds + (context.random() * 2 - 1) * spread) * 1000;
}

/** Half of what is left (RFC 2131 §4.4.5), but not so often that it becomes a burden. */
function renewDelayMs(held: Lease, until: number, now: number): number {
  const floor = held.info.lease_s < shortLeaseS ? shortRenewRetryMs : renewRetryMs;
  return Math.max(floor, (until - now) / 2);
}

function sameBytes(one: Uint8Array, other: Uint8Array): boolean {
  return one.length === other.length && one.every((byte, index) => byte === other[index]);
}
