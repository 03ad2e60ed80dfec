import assert from "node:assert/strict";
import { parseObject, Qmp, QmpError, type QmpEvent } from "./qmp.ts";

/** What a test's QEMU says to a command; null: it hangs up. */
type Answer = (command: { execute: string; id: number }) => string | null;

/** A conversation with a QEMU of a few lines. */
async function converse(
  answer: Answer,
  test: (qmp: Qmp, events: QmpEvent[]) => Promise<void>,
): Promise<void> {
  const path = await Deno.makeTempFile();
  await Deno.remove(path);
  using listener = Deno.listen({ transport: "unix", path });
  const connection = await Deno.connect({ transport: "unix", path });
  const peer = await listener.accept();
  const serving = serve(peer, answer);
  const events: QmpEvent[] = [];
  const qmp = await Qmp.open(connection, (event) => events.push(event));
  await test(qmp, events);
  peer.close();
  await Promise.all([serving, qmp.ended]);
  await Deno.remove(path);
}

async function serve(peer: Deno.Conn, answer: Answer): Promise<void> {
  const buffer = new Uint8Array(65536);
  try {
    await send(peer, '{"QMP": {"version": {}, "capabilities": []}}\n');
    for (let n; (n = await peer.read(buffer)) !== null;) {
      for (const line of new TextDecoder().decode(buffer.subarray(0, n)).trim().split("\n")) {
        const command = JSON.parse(line);
        const reply = command.execute === "qmp_capabilities"
          ? `{"return": {}, "id": ${command.id}}\n`
          : answer(command);
        if (reply === null) return peer.close();
        await send(peer, reply);
      }
    }
  } catch (error) {
    // The test closes this side to end the conversation.
    if (!(error instanceof Deno.errors.BadResource || error instanceof Deno.errors.Interrupted)) {
      throw error;
    }
  }
}

async function send(peer: Deno.Conn, text: string): Promise<void> {
  await peer.write(new TextEncoder().encode(text));
}

Deno.test("Qmp.execute() returns the answer to its own command", async () => {
  const late: string[] = [];
  await converse(({ execute, id }) => {
    late.push(`{"return": {"asked": "${execute}"}, "id": ${id}}\n`);
    // The first command is answered after the second.
    return late.length < 2 ? "\n" : late.reverse().join("");
  }, async (qmp) => {
    const answers = await Promise.all([qmp.execute("query-name"), qmp.execute("query-status")]);
    assert.deepEqual(answers, [{ asked: "query-name" }, { asked: "query-status" }]);
  });
});

Deno.test("Qmp.execute() throws QEMU's reason for a refusal", async () => {
  await converse(
    ({ id }) => `{"error": {"class": "GenericError", "desc": "no such link"}, "id": ${id}}\n`,
    async (qmp) => {
      await assert.rejects(qmp.execute("set_link"), (error) => {
        assert.ok(error instanceof QmpError);
        assert.equal(error.message, "qmp set_link: no such link");
        return true;
      });
    },
  );
});

Deno.test("Qmp.execute() throws when QEMU ends before it answers, and ever after", async () => {
  await converse(() => null, async (qmp) => {
    await assert.rejects(qmp.execute("quit"), /QEMU ended before it answered/);
    await assert.rejects(qmp.execute("quit"), /the connection has ended/);
  }).catch((error) => {
    // The peer hung up itself; closing it a second time is the test's doing.
    if (!(error instanceof Deno.errors.BadResource)) throw error;
  });
});

Deno.test("Qmp.open() hands on events and ignores lines that are none", async () => {
  const event = '{"event": "SHUTDOWN", "data": {"reason": "guest-reset"}, ' +
    '"timestamp": {"seconds": 2, "microseconds": 500000}}';
  await converse(
    ({ id }) => `garbage\n[1]\n${event}\n{"return": {}, "id": ${id}}\n`,
    async (qmp, events) => {
      await qmp.execute("query-status");
      assert.deepEqual(events, [
        { event: "SHUTDOWN", data: { reason: "guest-reset" }, time: 2500 },
      ]);
    },
  );
});

Deno.test("parseObject() takes objects and nothing else", () => {
  assert.deepEqual(parseObject('{"a":1}'), { a: 1 });
  for (const line of ["", "[1]", "null", "3", "{", "{]"]) assert.equal(parseObject(line), null);
});
