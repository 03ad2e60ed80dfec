/**
 * Page: how the panels are laid out. Without a token it is the sign-in form.
 */
import type { ComponentType } from "preact";
import { Ask } from "./ask.tsx";
import { Events } from "./events.tsx";
import { Faults } from "./faults.tsx";
import { Health } from "./health.tsx";
import { Masthead } from "./masthead.tsx";
import { Network } from "./network.tsx";
import { Guard } from "./panel.tsx";
import { Processes } from "./processes.tsx";
import { Run } from "./run.tsx";
import { Sensors } from "./sensors.tsx";
import { Services } from "./services.tsx";
import { useSession } from "./session.ts";
import { SignIn } from "./signin.tsx";
import { Tiles } from "./tiles.tsx";
import { Timeline } from "./timeline.tsx";

/** Where a person can go from the top of the page. */
const places = [
  ["events", "Events"],
  ["ask", "Ask"],
  ["run", "Run"],
  ["processes", "Processes"],
  ["boot", "Boot"],
  ["services", "Services"],
  ["network", "Network"],
  ["sensors", "Sensors"],
] as const;

export function Page() {
  const { store } = useSession();
  if (store.signIn.value !== null) return <SignIn reason={store.signIn.value.reason} />;
  return (
    <div class={store.live.value ? "page" : "page stale"}>
      <a class="skip" href="#events">Skip to the events</a>
      {guarded("Masthead", Masthead)}
      <Faults />
      {guarded("Health", Health)}
      <main>
        {guarded("Vital signs", Tiles)}
        <nav class="places" aria-label="Parts of the page">
          <i class={`dot badge ${store.connection.value.state}`} aria-hidden="true" />
          {places.map(([id, name]) => <a key={id} href={`#${id}`}>{name}</a>)}
        </nav>
        <div class="grid">
          {guarded("Events", Events)}
          <div class="talk">
            {guarded("Ask", Ask)}
            {guarded("Run", Run)}
          </div>
          <div class="stack">
            {guarded("Processes", Processes)}
            {guarded("Boot", Timeline)}
          </div>
          <div class="stack">
            {guarded("Services", Services)}
            {guarded("Network", Network)}
            {guarded("Sensors", Sensors)}
          </div>
        </div>
      </main>
    </div>
  );
}

function guarded(name: string, Part: ComponentType) {
  return (
    <Guard name={name}>
      <Part />
    </Guard>
  );
}
