/**
 * Questions to the kernel by netlink, and their answers.
 *
 * Owns: a socket, the queue of requests on it, and the time an answer may take.
 * Must never: reject or wait for ever: a refusal, a timeout and a close are all values; and never
 * have two requests in flight, because the kernel runs one dump a socket at a time.
 *
 * netlink(7).
 */

import { Errno, SysError } from "./errno.ts";
import { Reader } from "./layout.ts";
import {
  decodeAck,
  decodeMessages,
  type DrainHandlers,
  encodeMessage,
  type NetlinkLibc,
  type NetlinkMessage,
  NetlinkSocket,
  NLM_F,
  NLMSG,
  type Refusal,
  refusal,
} from "./netlink.ts";
import type { Reactor, Registration } from "./reactor.ts";
import { type Alarms, runtimeAlarms } from "./timers.ts";

/** How a request ended. `interrupted`: the dump raced with a change and may be inconsistent. */
export type Reply = { readonly ok: true; readonly interrupted: boolean } | Refusal;

/** One request: everything of a message but what the queue fills in. */
export interface NetlinkRequest {
  readonly type: number;
  /** NLM_F_ACK or NLM_F_DUMP, and what the type wants; NLM_F_REQUEST is added. */
  readonly flags: number;
  readonly payload: Uint8Array;
}

interface Pending {
  readonly seq: number;
  readonly onMessage: (message: NetlinkMessage) => void;
  interrupted: boolean;
  settle(reply: Reply): void;
}

/** How long the kernel may take, ms. It nearly always answers before send() returns. */
const ANSWER_MS = 2000;

/** Sends one request at a time and hands on its answer. */
export class NetlinkRequests {
  readonly #socket: NetlinkSocket;
  readonly #registration: Registration;
  readonly #answerMs: number;
  readonly #alarms: Alarms;
  readonly #drain: DrainHandlers;
  #pending: Pending | null = null;
  #last: Promise<unknown> = Promise.resolve();
  #seq = 0;

  /** @throws SysError when the socket cannot be had */
  constructor(
    libc: NetlinkLibc,
    reactor: Pick<Reactor, "add">,
    protocol: number,
    options: { readonly name: string; readonly answerMs?: number; readonly alarms?: Alarms },
  ) {
    this.#answerMs = options.answerMs ?? ANSWER_MS;
    this.#alarms = options.alarms ?? runtimeAlarms;
    this.#socket = new NetlinkSocket(libc, { protocol });
    this.#drain = {
      onDatagram: (datagram) => this.#receive(datagram),
      onOverflow: () => this.#pending?.settle(refusal(Errno.ENOBUFS)),
    };
    const onReady = () => this.#socket.drain(this.#drain);
    this.#registration = reactor.add(this.#socket.fd, ["read"], onReady, options.name);
  }

  /**
   * Asks, when the requests before are answered.
   *
   * @param onMessage takes each message of the answer, valid during the call only; must not throw
   * @returns the errno's name on refusal; ETIMEDOUT, ENOBUFS, ECANCELED after `close()`
   */
  request(
    request: NetlinkRequest,
    onMessage: (message: NetlinkMessage) => void = () => {},
  ): Promise<Reply> {
    const reply = this.#last.then(() => this.#exchange(request, onMessage));
    this.#last = reply;
    return reply;
  }

  /** Closes the socket; whoever waits gets ECANCELED. Safe to call twice. */
  close(): void {
    this.#registration.remove();
    this.#socket.close();
    this.#pending?.settle(refusal(Errno.ECANCELED));
  }

  #exchange(request: NetlinkRequest, onMessage: Pending["onMessage"]): Promise<Reply> {
    return new Promise((resolve) => {
      const seq = this.#seq = (this.#seq % 0x7fff_ffff) + 1;
      let alarm: number | null = null;
      const pending: Pending = {
        seq,
        onMessage,
        interrupted: false,
        settle: (reply) => {
          if (alarm !== null) this.#alarms.clear(alarm);
          this.#pending = null;
          resolve(reply);
        },
      };
      this.#pending = pending;
      try {
        const flags = request.flags | NLM_F.REQUEST;
        this.#socket.send(encodeMessage({ ...request, flags, seq, pid: 0 }));
        // The answer is there already; asking for it now saves a turn of the loop and a timer.
        this.#socket.drain(this.#drain);
      } catch (error) {
        pending.settle(refusal(error instanceof SysError ? error.errno : Errno.EIO));
      }
      if (this.#pending !== pending) return;
      const timeout = () => pending.settle(refusal(Errno.ETIMEDOUT));
      alarm = this.#alarms.set(timeout, this.#answerMs);
    });
  }

  #receive(datagram: Uint8Array): void {
    const { messages, error } = decodeMessages(datagram);
    for (const message of messages) {
      // A late answer to a request that timed out carries an old number.
      if (this.#pending?.seq === message.seq) this.#answer(this.#pending, message);
    }
    if (error !== null) this.#pending?.settle(refusal(Errno.EBADMSG, error));
  }

  #answer(pending: Pending, message: NetlinkMessage): void {
    if ((message.flags & NLM_F.DUMP_INTR) !== 0) pending.interrupted = true;
    switch (message.type) {
      case NLMSG.ERROR: {
        const ack = decodeAck(message);
        if (ack === null) return pending.settle(refusal(Errno.EBADMSG));
        if (ack.errno !== 0) return pending.settle(refusal(ack.errno, ack.text));
        return pending.settle({ ok: true, interrupted: pending.interrupted });
      }
      case NLMSG.DONE: {
        // A dump that failed midway says so in the first word of its DONE.
        const errno = -new Reader(message.payload).i32();
        if (errno > 0) return pending.settle(refusal(errno));
        return pending.settle({ ok: true, interrupted: pending.interrupted });
      }
      default:
        pending.onMessage(message);
    }
  }
}
