/**
 * Network: links with their addresses, leases with what they promise, routes
 * and name servers; and the renewal of a lease.
 */
import type { LeaseInfo, LinkInfo } from "../../bus/shapes.ts";
import { formatRate, formatSpan, visible } from "./format.ts";
import { Act, Panel, Refusal, useOnScreen } from "./panel.tsx";
import { useSession } from "./session.ts";

export function Network() {
  const session = useSession();
  const { store } = session;
  const state = store.network.value;
  const box = useOnScreen((onScreen) => session.watch("network", onScreen));
  return (
    <Panel
      id="network"
      title="Network"
      aside={state !== null && state.leases.length > 0 && (
        <Act
          label="Renew lease"
          disabled={!store.live.value}
          act={() => session.renewLease()}
        />
      )}
    >
      <div ref={box}>
        <Refusal problem={store.problems.value.network} />
        {state === null ? <p class="note">Not heard yet.</p> : (
          <>
            {state.links.length === 0 && <p class="note">No network interface.</p>}
            {state.links.map((link) => (
              <Link
                key={link.index}
                link={link}
                lease={state.leases.find((lease) => lease.link === link.link)}
              />
            ))}
            <dl class="pairs">
              <dt>routes</dt>
              <dd class="mono">
                {state.routes.length === 0
                  ? "none"
                  : state.routes.map((route) => (
                    <div key={`${route.destination} ${route.gateway} ${route.link}`}>
                      {visible(route.destination)}
                      {route.gateway !== undefined && ` via ${visible(route.gateway)}`}
                      {route.link !== undefined && ` on ${visible(route.link)}`}
                    </div>
                  ))}
              </dd>
              <dt>name servers</dt>
              <dd class="mono">{state.dns.map((dns) => visible(dns)).join(", ") || "none"}</dd>
            </dl>
          </>
        )}
      </div>
    </Panel>
  );
}

/** IPv4 before IPv6: what people look for stands first. */
function shortFirst(a: { address: string }, b: { address: string }): number {
  return Number(a.address.includes(":")) - Number(b.address.includes(":"));
}

interface LinkProps {
  readonly link: LinkInfo;
  readonly lease: LeaseInfo | undefined;
}

function Link({ link, lease }: LinkProps) {
  const { store } = useSession();
  const traffic = store.sample.value?.links.find((sampled) => sampled.link === link.link);
  const state = link.carrier ? "running" : link.up ? "failed" : "stopped";
  const word = link.carrier ? "carrier" : link.up ? "no carrier" : "down";
  return (
    <div class="link">
      <div class="link-head">
        <b class="mono">{visible(link.link)}</b>
        <span class={`state ${state}`}>{word}</span>
        <span class="mono addresses">
          {link.addresses.toSorted(shortFirst).map(({ address, prefix }) =>
            `${visible(address)}/${prefix}`
          ).join("  ") || "no address"}
        </span>
        {traffic !== undefined && link.link !== "lo" && (
          <span class="mono rates">
            ↓ {formatRate(traffic.rx_rate)} ↑ {formatRate(traffic.tx_rate)}
          </span>
        )}
      </div>
      {(link.mac !== undefined && link.link !== "lo" || lease !== undefined) && (
        <p class="note">
          {link.mac !== undefined && <span class="mono">{visible(link.mac)}</span>} mtu {link.mtu}
          {lease !== undefined && (
            <>
              {" · "}lease of {formatSpan(lease.lease_s)} from{" "}
              <span class="mono">{visible(lease.server)}</span>, renewed after{" "}
              {formatSpan(lease.t1_s)}
            </>
          )}
        </p>
      )}
    </div>
  );
}
