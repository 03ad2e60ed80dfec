/**
 * Detail: one event in full: what its type means, why it happened, what came of
 * it, and its data.
 */
import { useSignal } from "@preact/signals";
import type { CloudEvent } from "../../bus/envelope.ts";
import { catalogue, isEventType } from "../../bus/events.ts";
import { familyClass, familyOf } from "./family.ts";
import { formatClock, visible } from "./format.ts";
import { findEffects, findEvent } from "./log.ts";
import { useSession } from "./session.ts";
import { summarise } from "./summary.ts";

const effectsMax = 8;
const ancestorsMax = 8;

export function Detail({ event }: { readonly event: CloudEvent }) {
  const session = useSession();
  const { store } = session;
  const fault = useSignal<string | null>(null);
  const copied = useSignal("");
  const copy = async () => {
    try {
      await navigator.clipboard.writeText(JSON.stringify(event, null, 2));
      copied.value = "copied";
    } catch {
      // Refused, or (over plain HTTP from another host) no clipboard at all.
      copied.value = "the browser refuses the clipboard here";
    }
  };
  const log = store.log.value;
  const effects = findEffects(log, event, effectsMax);
  const show = async (sequence: number) => {
    fault.value = await session.showEvent(event.boot, sequence);
  };
  const json = visible(JSON.stringify(event.data, null, 2) ?? "", true);
  return (
    <aside class="detail" aria-label="The selected event" id="event-detail">
      <header>
        <h3 class={familyClass(familyOf(event.type))}>{visible(event.type)}</h3>
        <button
          type="button"
          class="quiet"
          aria-label="Close the event"
          onClick={() => store.selected.value = null}
        >
          Close
        </button>
      </header>
      {isEventType(event.type) && <p class="about">{catalogue[event.type].about}</p>}
      <dl class="pairs mono">
        <dt>event</dt>
        <dd>#{event.sequence} of boot {visible(event.boot.slice(0, 8))}</dd>
        <dt>time</dt>
        <dd title={visible(event.time)}>{formatClock(event.time)}</dd>
        <dt>source</dt>
        <dd>{visible(event.source)}</dd>
        {event.subject !== undefined && (
          <>
            <dt>subject</dt>
            <dd>{visible(event.subject)}</dd>
          </>
        )}
      </dl>
      {event.cause !== undefined && (
        <nav class="chain" aria-label="Why it happened">
          <h4>because of</h4>
          <ol>
            {causes(event).map((cause) => (
              <li key={cause.sequence}>
                <button type="button" onClick={() => show(cause.sequence)}>
                  <span class="mono">#{cause.sequence}</span> {cause.text}
                </button>
              </li>
            ))}
          </ol>
        </nav>
      )}
      {effects.length > 0 && (
        <nav class="chain" aria-label="What came of it">
          <h4>led to</h4>
          <ol>
            {effects.map(({ key, event: effect }) => (
              <li key={key}>
                <button type="button" onClick={() => show(effect.sequence)}>
                  <span class="mono">#{effect.sequence}</span> {line(effect)}
                </button>
              </li>
            ))}
          </ol>
        </nav>
      )}
      <p class="refusal" role="alert">{fault.value}</p>
      <pre class="json" tabIndex={0} aria-label="Data">{json}</pre>
      <div class="detail-acts">
        <button type="button" onClick={() => store.search.value = event.type}>
          Only this type
        </button>
        <button type="button" onClick={copy}>Copy</button>
        <span role="status" class="note">{copied.value}</span>
      </div>
    </aside>
  );

  /** The causes as far back as this page holds them; one it does not hold can be fetched. */
  function causes(from: CloudEvent): { sequence: number; text: string }[] {
    const chain: { sequence: number; text: string }[] = [];
    let cause = from.cause;
    while (cause !== undefined && chain.length < ancestorsMax) {
      const held = findEvent(log, from.boot, cause);
      chain.push({
        sequence: cause,
        text: held === null ? "fetch from the machine's history" : line(held.event),
      });
      // A cause is older than its effect; anything else would lead in a circle.
      const next = held?.event.cause;
      cause = next !== undefined && next < cause ? next : undefined;
    }
    return chain;
  }
}

function line(event: CloudEvent): string {
  return `${visible(event.type)} ${summarise(event)}`;
}
