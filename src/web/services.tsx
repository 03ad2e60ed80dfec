/**
 * Services: what is kept running, how that goes, and the buttons to act on it.
 */
import { useSignal } from "@preact/signals";
import type { ServiceState } from "../../bus/shapes.ts";
import { describeProblem } from "./api.ts";
import { formatMs, visible } from "./format.ts";
import { Act, Panel, Refusal } from "./panel.tsx";
import { useSession } from "./session.ts";

/** Services drawn; more are counted. */
const rowsMax = 100;

export function Services() {
  const { store } = useSession();
  const services = store.services.value;
  return (
    <Panel
      id="services"
      title="Services"
      aside={services !== null && services.length > 0 && (
        <span>
          {services.filter(({ state }) => state === "running").length} of {services.length} running
        </span>
      )}
    >
      <Refusal problem={store.problems.value.services} />
      {services === null
        ? <p class="note">Not heard yet.</p>
        : services.length === 0
        ? <p class="note">None is declared. A declared service is started again when it dies.</p>
        : (
          <ul class="services">
            {services.slice(0, rowsMax).map((service) => (
              <Service key={service.name} service={service} />
            ))}
          </ul>
        )}
      {services !== null && services.length > rowsMax && (
        <p class="note">and {services.length - rowsMax} more</p>
      )}
      <Declare />
    </Panel>
  );
}

function Service({ service }: { readonly service: ServiceState }) {
  const session = useSession();
  const live = session.store.live.value;
  const { name, state } = service;
  const up = state === "running" || state === "starting" || state === "backoff";
  return (
    <li>
      <div class="service-head">
        <b class="mono">{visible(name)}</b>
        <span class={`state ${state}`}>{state}</span>
        <span class="note mono">
          {service.pid !== null && `pid ${service.pid}`}
          {service.restarts > 0 && ` restarts ${service.restarts}`}
          {state === "backoff" && service.backoff_ms !== null &&
            ` again in ${formatMs(service.backoff_ms)}`}
          {state !== "running" && service.last_exit !== null && ` ${endWords(service.last_exit)}`}
        </span>
        <span class="service-acts">
          {up
            ? (
              <>
                <Act
                  label="Restart"
                  about={`Restart ${name}`}
                  disabled={!live}
                  act={() => session.service(name, "restart")}
                />
                <Act
                  label="Stop"
                  about={`Stop ${name}`}
                  disabled={!live}
                  act={() => session.service(name, "stop")}
                />
              </>
            )
            : (
              <Act
                label="Start"
                about={`Start ${name}`}
                disabled={!live || state === "stopping"}
                act={() => session.service(name, "start")}
              />
            )}
        </span>
      </div>
      <p class="note mono argv">{visible((service.argv ?? []).join(" "))}</p>
      {service.reason !== undefined && <p class="note">{visible(service.reason)}</p>}
    </li>
  );
}

function endWords(exit: { code: number | null; signal: string | null }): string {
  return exit.signal !== null ? `ended by ${exit.signal}` : `ended with code ${exit.code}`;
}

function Declare() {
  const session = useSession();
  const name = useSignal("");
  const line = useSignal("");
  const fault = useSignal<string | null>(null);
  const submit = async (event: Event) => {
    event.preventDefault();
    fault.value = null;
    const answer = await session.declareService(name.value.trim(), line.value);
    if (!answer.ok) {
      fault.value = describeProblem(answer.problem);
      return;
    }
    name.value = "";
    line.value = "";
  };
  return (
    <details class="declare">
      <summary>Declare a service</summary>
      <form onSubmit={submit}>
        <input
          aria-label="Name"
          placeholder="name"
          class="mono"
          required
          pattern="[a-z0-9][a-z0-9_.\-]{0,62}"
          title="a-z 0-9 _ . - starting with a letter or digit"
          value={name.value}
          onInput={(event) => name.value = event.currentTarget.value}
        />
        <input
          aria-label="Command line"
          placeholder="command line"
          class="mono"
          required
          value={line.value}
          onInput={(event) => line.value = event.currentTarget.value}
        />
        <button type="submit" disabled={!session.store.live.value}>Declare</button>
      </form>
      <p class="refusal" role="alert">{fault.value}</p>
    </details>
  );
}
