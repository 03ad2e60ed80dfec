/**
 * SignIn: asks for the token when there is none, or when the machine refused it.
 */
import { useEffect, useRef } from "preact/hooks";
import { useSignal } from "@preact/signals";
import { useSession } from "./session.ts";

export function SignIn({ reason }: { readonly reason: string | null }) {
  const session = useSession();
  const text = useSignal("");
  const fault = useSignal<string | null>(null);
  const input = useRef<HTMLInputElement>(null);
  useEffect(() => input.current?.focus(), []);
  const submit = (event: Event) => {
    event.preventDefault();
    fault.value = session.signIn(text.value);
  };
  return (
    <main class="signin">
      <h1>
        <img src="icon.svg" alt="" width="28" height="28" /> OSymbiote
      </h1>
      <form onSubmit={submit}>
        {reason !== null && (
          <p class="signin-reason" role="alert">
            The machine refused the token: {reason}
          </p>
        )}
        <label for="token">Paste the token</label>
        <div class="line">
          <input
            id="token"
            ref={input}
            type="password"
            autocomplete="off"
            spellcheck={false}
            required
            aria-describedby="token-help token-fault"
            value={text.value}
            onInput={(event) => text.value = event.currentTarget.value}
          />
          <button type="submit" class="primary">Connect</button>
        </div>
        <p id="token-fault" class="refusal" role="alert">{fault.value}</p>
        <p id="token-help" class="note">
          <code>./run.sh</code> prints it when the machine is ready, as a URL that ends in{" "}
          <code>#token=…</code>: open that URL, or paste it here whole. A machine without a launcher
          prints its token once on its console. It stays in this tab and is never sent anywhere
          else.
        </p>
      </form>
    </main>
  );
}
