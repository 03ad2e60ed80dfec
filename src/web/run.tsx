/**
 * Run: one command line through exec, with what it printed and how it ended.
 */
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import type { ExecResult } from "../../bus/shapes.ts";
import { describeProblem } from "./api.ts";
import { formatBytes, formatMs, formatSpan, visible } from "./format.ts";
import { Panel } from "./panel.tsx";
import { useSession } from "./session.ts";
import type { Run as RunEntry } from "./store.ts";

export function Run() {
  const session = useSession();
  const { store } = session;
  const line = useSignal("");
  const fault = useSignal<string | null>(null);
  /** How far back in the history the arrow keys have gone; 0 is the line being typed. */
  const back = useSignal(0);
  const box = useRef<HTMLDivElement>(null);
  const runs = store.runs.value;
  const running = runs.some(({ outcome }) => outcome === null);
  useEffect(() => {
    const element = box.current;
    if (element !== null) element.scrollTop = element.scrollHeight;
  }, [runs]);
  const submit = (event: Event) => {
    event.preventDefault();
    fault.value = session.run(line.value);
    if (fault.value !== null) return;
    line.value = "";
    back.value = 0;
  };
  const recall = (event: KeyboardEvent) => {
    const step = event.key === "ArrowUp" ? 1 : event.key === "ArrowDown" ? -1 : 0;
    if (step === 0 || runs.length === 0) return;
    event.preventDefault();
    back.value = Math.max(0, Math.min(runs.length, back.value + step));
    line.value = back.value === 0 ? "" : runs[runs.length - back.value]!.line;
  };
  return (
    <Panel
      id="run"
      title="Run"
      aside={running
        ? <button type="button" onClick={() => session.cancelRun()}>Cancel</button>
        : <span class="hint">no shell: quote words, or use sh -c '…'</span>}
    >
      <div class="transcript" ref={box} role="log" aria-label="Commands" tabIndex={0}>
        {runs.length === 0 && (
          <p class="note">
            Runs one program as a proposed act: what the gate decides and what the process does show
            up in the events.
          </p>
        )}
        {runs.map((run) => <Turn key={run.id} run={run} />)}
      </div>
      <form class="line" onSubmit={submit}>
        <span class="prompt mono" aria-hidden="true">$</span>
        <input
          aria-label="Command line"
          aria-describedby="run-fault"
          class="mono"
          placeholder="ls -l /proc/self/fd"
          autocomplete="off"
          autocapitalize="off"
          spellcheck={false}
          value={line.value}
          onInput={(event) => line.value = event.currentTarget.value}
          onKeyDown={recall}
        />
        <button type="submit" class="primary" disabled={running}>Run</button>
      </form>
      <p id="run-fault" class="refusal" role="alert">{fault.value}</p>
    </Panel>
  );
}

function Turn({ run }: { readonly run: RunEntry }) {
  const { store } = useSession();
  const { line, outcome } = run;
  return (
    <div class="turn">
      <p class="command mono">{visible(line)}</p>
      {outcome === null
        ? (
          <p class="note" aria-busy="true">
            running for {formatSpan((store.now.value - run.startedAt) / 1_000)}
          </p>
        )
        : outcome.ok
        ? <Result result={outcome.value} />
        : <p class="refusal">{describeProblem(outcome.problem)}</p>}
    </div>
  );
}

function Result({ result }: { readonly result: ExecResult }) {
  const failed = result.code !== 0;
  return (
    <>
      <Output text={result.stdout} cut={result.truncated.stdout} name="stdout" />
      <Output text={result.stderr} cut={result.truncated.stderr} name="stderr" />
      <p class={failed ? "ended bad" : "ended"}>
        <b class="mono">
          {result.timed_out
            ? "timed out"
            : result.signal !== null
            ? visible(result.signal)
            : `exit ${result.code}`}
        </b>{" "}
        <span class="note mono">
          {formatMs(result.ms)}
          {result.pid !== null && ` · pid ${result.pid}`}
        </span>
      </p>
    </>
  );
}

interface OutputProps {
  readonly text: string;
  /** Bytes that were cut off. */
  readonly cut: number;
  readonly name: "stdout" | "stderr";
}

function Output({ text, cut, name }: OutputProps) {
  if (text === "" && cut === 0) return null;
  return (
    <pre class={name} aria-label={name}>
      {visible(text, true)}
      {cut > 0 && <span class="note">{`\n… ${formatBytes(cut)} more were cut off`}</span>}
    </pre>
  );
}
