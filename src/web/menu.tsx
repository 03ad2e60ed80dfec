/**
 * Menu: what is done seldom: the orderly end of this boot, behind a second
 * press, and signing out.
 */
import { useEffect } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { describeProblem } from "./api.ts";
import { useSession } from "./session.ts";

const verbs = { reboot: "Reboot", poweroff: "Power off" } as const;
type Verb = keyof typeof verbs;

/** An armed button that is not pressed again within this disarms itself, ms. */
const armedFor = 5_000;

export function Menu() {
  const session = useSession();
  const armed = useSignal<Verb | null>(null);
  const outcome = useSignal<string | null>(null);
  useEffect(() => {
    if (armed.value === null) return;
    const timer = setTimeout(() => armed.value = null, armedFor);
    return () => clearTimeout(timer);
  }, [armed.value]);
  const press = async (verb: Verb) => {
    outcome.value = null;
    if (armed.value !== verb) {
      armed.value = verb;
      return;
    }
    armed.value = null;
    const answer = await session.power(verb);
    outcome.value = answer.ok ? "It is stopping." : describeProblem(answer.problem);
  };
  return (
    <details class="menu">
      <summary>Menu</summary>
      <div>
        {(Object.keys(verbs) as Verb[]).map((verb) => (
          <button
            key={verb}
            type="button"
            class={armed.value === verb ? "armed" : ""}
            disabled={!session.store.live.value}
            onClick={() => press(verb)}
          >
            {armed.value === verb ? `Press again: ${verbs[verb].toLowerCase()}` : verbs[verb]}
          </button>
        ))}
        <button
          type="button"
          title="Forget the token in this tab"
          onClick={() => session.signOut()}
        >
          Sign out
        </button>
        <p role="status" class="note">{outcome.value}</p>
      </div>
    </details>
  );
}
