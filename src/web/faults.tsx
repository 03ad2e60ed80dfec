/**
 * Faults: errors of the page itself, told instead of hidden.
 */
import { visible } from "./format.ts";
import { useSession } from "./session.ts";

export function Faults() {
  const { store } = useSession();
  const faults = store.faults.value;
  if (faults.length === 0) return null;
  return (
    <aside class="faults" aria-label="Errors of this page">
      <p>
        This page met {faults.length === 1 ? "an error" : `${faults.length} errors`}{" "}
        of its own; what works goes on.
      </p>
      <ul class="mono">
        {faults.map((fault) => <li key={fault}>{visible(fault)}</li>)}
      </ul>
      <button type="button" onClick={() => store.faults.value = []}>Dismiss</button>
    </aside>
  );
}
