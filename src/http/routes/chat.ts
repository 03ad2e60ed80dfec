/** Chat: asking the mind in plain words. */
import type { ChatOutcome } from "../../../bus/machine.ts";
import type { Zod } from "../../../bus/schema.ts";
import { chatReply } from "../../../bus/shapes.ts";
import { type Fault, problem, readFault } from "../problem.ts";
import { type Call, invalid, route } from "../route.ts";
import { busy, eventStream } from "../stream.ts";

/** Characters of a question: what a mind takes in one frame (subsystems/cortex/frames.ts). */
const maxQuestion = 4_000;

const chatBody = (z: Zod) =>
  z.object({ message: z.string().min(1, "expected a question").max(maxQuestion) }).strict();

/** Between two comments while the mind thinks, ms. */
const heartbeatMs = 5_000;

export const chat = route({
  method: "POST",
  path: "/api/v1/chat",
  scope: "cortex:chat:ask",
  summary: "Asks the mind. With Accept: text/event-stream the answer comes as events.",
  body: chatBody,
  response: chatReply,
  handler(call) {
    const wantsEvents = /\btext\/event-stream\b/i.test(call.request.headers.get("accept") ?? "");
    return wantsEvents ? streamed(call) : whole(call);
  },
});

async function whole(call: Call<unknown, { message: string }>): Promise<unknown> {
  const outcome = await call.edge.machine.chat(call.principal, call.body.message);
  if (outcome.status === "answered") return outcome.reply;
  if (outcome.status === "invalid") return invalid("Not a question.", faultsOf(outcome));
  return problem(503, outcome.reason);
}

function faultsOf(outcome: { faults: readonly string[] }): Fault[] {
  return outcome.faults.map(readFault);
}

/** The reply in lines, as `event: delta {text}`, then `event: done` with the whole; or `event: error`. */
function* eventsOf(outcome: ChatOutcome): Generator<string> {
  if (outcome.status === "answered") {
    for (const text of outcome.reply.reply.match(/[^\n]*\n|[^\n]+$/g) ?? []) {
      yield event("delta", { text });
    }
    yield event("done", outcome.reply);
  } else if (outcome.status === "invalid") {
    yield event("error", { status: 400, detail: "Not a question.", errors: faultsOf(outcome) });
  } else {
    yield event("error", { status: 503, detail: outcome.reason });
  }
}

function event(name: string, data: unknown): string {
  return `event: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

function streamed(call: Call<unknown, { message: string }>): Response {
  const { edge, exchange, principal, body } = call;
  const release = edge.streams.reserve(exchange);
  if (release === null) return busy();
  const encoder = new TextEncoder();
  let beat: ReturnType<typeof setInterval> | undefined;
  let open = true;
  const end = () => {
    open = false;
    clearInterval(beat);
    release();
  };
  return eventStream(
    new ReadableStream<Uint8Array>({
      start(controller) {
        const send = (text: string) => {
          // Comments are worth nothing to a client that does not take them.
          if (open) controller.enqueue(encoder.encode(text));
        };
        beat = setInterval(() => {
          if ((controller.desiredSize ?? 0) > 0) send(": thinking\n\n");
        }, heartbeatMs);
        edge.machine.chat(principal, body.message).then((outcome) => {
          for (const text of eventsOf(outcome)) send(text);
        }).catch((error) => {
          edge.report("http chat", error);
          send(event("error", { status: 500, detail: "The answer failed inside the machine." }));
        }).finally(() => {
          if (open) controller.close();
          end();
        }).catch((error) => edge.report("http chat", error));
      },
      cancel: end,
    }),
  );
}
