/**
 * Health: what needs a look, one line each, and the reboot this page lived
 * through; nothing at all when all is well.
 */
import { formatClock, formatMs, visible } from "./format.ts";
import { useSession } from "./session.ts";
import { stopWords } from "./timeline.tsx";

export function Health() {
  const { store } = useSession();
  const concerns = store.concerns.value;
  const rebooted = store.rebooted.value !== null;
  if (concerns.length === 0 && !rebooted) return null;
  return (
    <aside class="concerns" aria-label="What needs a look">
      <ul>
        {rebooted && <Rebooted />}
        {concerns.map(({ level, part, reason, since }) => (
          <li key={`${part} ${reason}`} class={level}>
            <strong>{visible(part)}</strong>
            <span>{visible(reason)}</span>
            {since !== undefined && <time class="mono">since {formatClock(since, false)}</time>}
          </li>
        ))}
      </ul>
    </aside>
  );
}

function Rebooted() {
  const { store } = useSession();
  const rebooted = store.rebooted.value;
  const boot = store.status.value?.boot;
  if (rebooted === null) return null;
  const before = boot === undefined ? null : stopWords(boot.last_stop);
  return (
    <li class={before?.worrying ? "bad" : "news"} role="status">
      <strong>The machine rebooted</strong>
      <span>
        {before?.text}
        {rebooted.silentMs > 0 && `; silent for ${formatMs(rebooted.silentMs)}`}
      </span>
      <time class="mono">at {formatClock(rebooted.at, false)}</time>
      <button type="button" class="quiet" onClick={() => store.rebooted.value = null}>
        Dismiss
      </button>
    </li>
  );
}
