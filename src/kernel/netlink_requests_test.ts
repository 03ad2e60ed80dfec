/** Requests and answers, against a scripted kernel. */
import assert from "node:assert/strict";
import { fakeLibc } from "../../tests/kernel/harness.ts";
import { Errno } from "./errno.ts";
import { Writer } from "./layout.ts";
import { decodeMessages, encodeMessage, NLM_F, NLMSG } from "./netlink.ts";
import { NetlinkRequests } from "./netlink_requests.ts";
import type { Handler } from "./reactor.ts";

/** A kernel that answers each request with the datagrams `reply` makes for it. */
class FakeKernel {
  readonly sent: { type: number; flags: number; seq: number }[] = [];
  readonly #inbox: Uint8Array[] = [];
  #handler: Handler | null = null;
  errno = 0;
  overflow = false;

  constructor(readonly reply: (seq: number, count: number) => Uint8Array[]) {}

  readonly libc = fakeLibc({
    socket: () => 9,
    bind: () => 0,
    getsockname: () => 0,
    setsockopt: () => 0,
    getsockopt: () => 0,
    close: () => 0,
    sendto: (_fd, bytes) => {
      const [message] = decodeMessages(bytes as Uint8Array).messages;
      if (message === undefined) return 0;
      const { type, flags, seq } = message;
      this.sent.push({ type, flags, seq });
      this.#inbox.push(...this.reply(seq, this.sent.length));
      queueMicrotask(() => this.wake());
      return 1;
    },
    recvfrom: (_fd, buffer) => {
      if (this.overflow) {
        this.overflow = false;
        this.errno = Errno.ENOBUFS;
        return -1;
      }
      const next = this.#inbox.shift();
      if (next === undefined) {
        this.errno = Errno.EAGAIN;
        return -1;
      }
      (buffer as Uint8Array<ArrayBuffer>).set(next);
      return next.byteLength;
    },
  }, () => this.errno);

  readonly reactor = {
    add: (fd: number, _interest: unknown, handler: Handler) => {
      this.#handler = handler;
      return { fd, active: true, modify: () => {}, remove: () => this.#handler = null };
    },
  };

  wake(): void {
    this.#handler?.({ read: true, write: false, priority: false, hangup: false, error: false });
  }

  open(answerMs = 20): NetlinkRequests {
    return new NetlinkRequests(this.libc, this.reactor, 0, { name: "test", answerMs });
  }
}

const data = (seq: number, value: number, flags = NLM_F.MULTI as number) =>
  encodeMessage({ type: 16, flags, seq, pid: 0, payload: new Uint8Array([value]) });
const done = (seq: number, errno = 0) =>
  encodeMessage({
    type: NLMSG.DONE,
    flags: NLM_F.MULTI,
    seq,
    pid: 0,
    payload: new Writer().i32(-errno).finish(),
  });
const ack = (seq: number, errno = 0) =>
  encodeMessage({
    type: NLMSG.ERROR,
    flags: 0,
    seq,
    pid: 0,
    payload: new Writer().i32(-errno).zero(16).finish(),
  });

const dump = { type: 18, flags: NLM_F.DUMP, payload: new Uint8Array(16) };

async function ask(kernel: FakeKernel) {
  const requests = kernel.open();
  const values: number[] = [];
  const reply = await requests.request(dump, ({ payload }) => values.push(payload[0] ?? -1));
  requests.close();
  return { reply, values };
}

Deno.test("NetlinkRequests.request() collects a dump over datagrams", async () => {
  const kernel = new FakeKernel((seq) => [data(seq, 1), data(seq, 2), done(seq)]);
  assert.deepEqual(await ask(kernel), { reply: { ok: true, interrupted: false }, values: [1, 2] });
  assert.equal((kernel.sent[0]?.flags ?? 0) & NLM_F.REQUEST, NLM_F.REQUEST);
});

Deno.test("NetlinkRequests.request() answers refusals by name", async () => {
  const refused = await ask(new FakeKernel((seq) => [ack(seq, Errno.EEXIST)]));
  assert.deepEqual(refused.reply, { ok: false, error: "EEXIST", text: null });
  const midway = await ask(new FakeKernel((seq) => [data(seq, 1), done(seq, Errno.EBUSY)]));
  assert.deepEqual(midway.reply, { ok: false, error: "EBUSY", text: null });
});

Deno.test("NetlinkRequests.request() marks a dump that raced with a change", async () => {
  const kernel = new FakeKernel((seq) => [data(seq, 1, NLM_F.DUMP_INTR), done(seq)]);
  assert.deepEqual((await ask(kernel)).reply, { ok: true, interrupted: true });
});

Deno.test("NetlinkRequests.request() times out, and a late answer does not reach the next", async () => {
  const late: number[] = [];
  const kernel = new FakeKernel((seq, count) => {
    if (count === 1) {
      late.push(seq);
      return [];
    }
    return [data(late[0] ?? 0, 66), ack(late[0] ?? 0, Errno.EIO), data(seq, 5), done(seq)];
  });
  const requests = kernel.open();
  assert.deepEqual(await requests.request(dump), { ok: false, error: "ETIMEDOUT", text: null });
  const values: number[] = [];
  const reply = await requests.request(dump, ({ payload }) => values.push(payload[0] ?? -1));
  assert.deepEqual([reply.ok, values], [true, [5]]);
  requests.close();
});

Deno.test("NetlinkRequests.request() runs one at a time, in order", async () => {
  const kernel = new FakeKernel((seq) => [ack(seq)]);
  const requests = kernel.open();
  const all = [1, 2, 3].map((type) => requests.request({ ...dump, type }));
  await Promise.all(all);
  assert.deepEqual(kernel.sent.map(({ type }) => type), [1, 2, 3]);
  requests.close();
});

Deno.test("NetlinkRequests.close() cancels who waits and who asks later", async () => {
  const kernel = new FakeKernel(() => []);
  const requests = kernel.open(10_000);
  const waiting = requests.request(dump);
  await Promise.resolve();
  requests.close();
  requests.close();
  assert.equal((await waiting as { error: string }).error, "ECANCELED");
  assert.equal((await requests.request(dump) as { error: string }).error, "EBADF");
});

Deno.test("NetlinkRequests.request() refuses a malformed answer and an overflow", async () => {
  const malformed = await ask(new FakeKernel(() => [new Uint8Array(20).fill(0xff)]));
  assert.equal((malformed.reply as { error: string }).error, "EBADMSG");
  const short = (seq: number) =>
    encodeMessage({ type: NLMSG.ERROR, flags: 0, seq, pid: 0, payload: new Uint8Array(3) });
  const torn = await ask(new FakeKernel((seq) => [short(seq)]));
  assert.equal((torn.reply as { error: string }).error, "EBADMSG");
  const kernel = new FakeKernel((seq) => [done(seq)]);
  kernel.overflow = true;
  assert.equal(((await ask(kernel)).reply as { error: string }).error, "ENOBUFS");
});
