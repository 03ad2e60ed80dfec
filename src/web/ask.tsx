/**
 * Ask: a question to the machine in plain words, and which kind of mind answered.
 */
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { describeProblem } from "./api.ts";
import { formatMs, visible } from "./format.ts";
import { Panel } from "./panel.tsx";
import { useSession } from "./session.ts";
import type { Exchange } from "./store.ts";

const examples = ["What uses the memory?", "Are you healthy?", "What happened last?"];
const modes = {
  survival: "Answered by rules from the machine's own state: no model is connected.",
  model: "Answered by a language model.",
} as const;

export function Ask() {
  const session = useSession();
  const { store } = session;
  const text = useSignal("");
  const end = useRef<HTMLDivElement>(null);
  const exchanges = store.exchanges.value;
  useEffect(() => {
    const box = end.current;
    if (box !== null) box.scrollTop = box.scrollHeight;
  }, [exchanges]);
  const ask = (question: string) => {
    if (question.trim() === "") return;
    text.value = "";
    void session.ask(question.trim());
  };
  const mode = exchanges.findLast(({ answer }) => answer?.ok)?.answer;
  return (
    <Panel
      id="ask"
      title="Ask"
      aside={mode?.ok && (
        <span class={`mode ${mode.value.mode}`} title={modes[mode.value.mode]}>
          {mode.value.mode === "survival" ? "survival: rules, no model" : "model"}
        </span>
      )}
    >
      <div class="transcript" ref={end} role="log" aria-label="Conversation" tabIndex={0}>
        {exchanges.length === 0 && (
          <div class="examples">
            <p class="note">Ask the machine about itself in plain words.</p>
            {examples.map((example) => (
              <button
                type="button"
                key={example}
                onClick={() => ask(example)}
              >
                {example}
              </button>
            ))}
          </div>
        )}
        {exchanges.map((exchange) => <Turn key={exchange.id} exchange={exchange} />)}
      </div>
      <form
        class="line"
        onSubmit={(event) => {
          event.preventDefault();
          ask(text.value);
        }}
      >
        <input
          aria-label="Your question"
          placeholder="What uses the memory?"
          maxLength={2_000}
          value={text.value}
          onInput={(event) => text.value = event.currentTarget.value}
        />
        <button type="submit" class="primary">Ask</button>
      </form>
    </Panel>
  );
}

function Turn({ exchange }: { readonly exchange: Exchange }) {
  const { question, answer } = exchange;
  return (
    <div class="turn">
      <p class="question">{question}</p>
      {answer === null ? <p class="note" aria-busy="true">thinking…</p> : answer.ok
        ? (
          <>
            <p class="reply">{visible(answer.value.reply, true)}</p>
            <p class="note mono" title={modes[answer.value.mode]}>
              {answer.value.mode} · {visible(answer.value.mind)} · {visible(answer.value.intent)} ·
              {" "}
              {formatMs(answer.value.ms)}
            </p>
          </>
        )
        : <p class="refusal">{describeProblem(answer.problem)}</p>}
    </div>
  );
}
