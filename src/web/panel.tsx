/**
 * Panel: the frame every part of the page sits in, a titled section, and the
 * hooks and small controls that panels share.
 */
import type { ComponentChildren, RefObject } from "preact";
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { describeProblem } from "./api.ts";
import type { Answer, Problem } from "./api.ts";
import { Boundary } from "./boundary.tsx";
import { useSession } from "./session.ts";

interface PanelProps {
  /** Also the section's id, so that `#events` leads there. */
  readonly id: string;
  readonly title: string;
  /** What stands beside the title. */
  readonly aside?: ComponentChildren;
  readonly children: ComponentChildren;
}

export function Panel({ id, title, aside, children }: PanelProps) {
  return (
    <section id={id} class="panel" aria-labelledby={`${id}-title`}>
      <header class="panel-head">
        <h2 id={`${id}-title`}>{title}</h2>
        {aside !== undefined && <div class="panel-aside">{aside}</div>}
      </header>
      <div class="panel-body">{children}</div>
    </section>
  );
}

interface GuardProps {
  readonly name: string;
  readonly children: ComponentChildren;
}

/** Keeps an error of what stands below it from its neighbours, and tells it in the page. */
export function Guard({ name, children }: GuardProps) {
  const { store } = useSession();
  return <Boundary name={name} onError={(error) => store.addFault(error)}>{children}</Boundary>;
}

/** A panel's own request was refused; what it shows is what it last knew. */
export function Refusal({ problem }: { readonly problem: Problem | undefined }) {
  if (problem === undefined) return null;
  return <p class="refusal">{describeProblem(problem)}</p>;
}

/** Calls back when the element comes onto the screen and when it leaves. */
export function useOnScreen(
  callback: (onScreen: boolean) => void,
): RefObject<HTMLDivElement | null> {
  const ref = useRef<HTMLDivElement>(null);
  useEffect(() => {
    const element = ref.current;
    if (element === null) return;
    const observer = new IntersectionObserver((seen) =>
      callback(seen.some(({ isIntersecting }) => isIntersecting))
    );
    observer.observe(element);
    return () => {
      observer.disconnect();
      callback(false);
    };
  }, []);
  return ref;
}

interface ActProps {
  readonly label: string;
  /** For screen readers, when the label alone does not say on what. */
  readonly about?: string;
  readonly disabled?: boolean;
  readonly act: () => Promise<Answer<unknown>>;
}

/** A button that does one thing to the machine and says how that went. */
export function Act({ label, about, disabled = false, act }: ActProps) {
  const running = useSignal(false);
  const outcome = useSignal<{ ok: boolean; text: string } | null>(null);
  const press = async () => {
    running.value = true;
    outcome.value = null;
    const began = performance.now();
    const answer = await act();
    running.value = false;
    outcome.value = answer.ok
      ? { ok: true, text: `done in ${Math.round(performance.now() - began)} ms` }
      : { ok: false, text: describeProblem(answer.problem) };
  };
  return (
    <span class="act">
      <button
        type="button"
        aria-label={about}
        aria-busy={running.value}
        disabled={disabled || running.value}
        onClick={press}
      >
        {label}
      </button>
      <span role="status" class={outcome.value?.ok === false ? "act-bad" : "act-good"}>
        {outcome.value?.text}
      </span>
    </span>
  );
}
