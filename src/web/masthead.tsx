/**
 * Masthead: which machine this is, whether it is well, and whether we hear it.
 */
import { useEffect } from "preact/hooks";
import { Badge } from "./badge.tsx";
import { formatSpan, visible } from "./format.ts";
import { Menu } from "./menu.tsx";
import { useSession } from "./session.ts";

export function Masthead() {
  const { store } = useSession();
  const boot = store.status.value?.boot;
  const concerns = store.concerns.value;
  const live = store.live.value;
  const grave = concerns.some(({ level }) => level === "bad");
  const hostname = boot === undefined ? "" : visible(boot.hostname);
  const health = boot === undefined
    ? { tone: "unknown", text: "no word yet" }
    : !live
    ? { tone: "unknown", text: "last known state" }
    : concerns.length === 0
    ? { tone: "well", text: "healthy" }
    : {
      tone: grave ? "grave" : "uneasy",
      text: `${concerns.length} ${concerns.length === 1 ? "thing needs" : "things need"} a look`,
    };
  useEffect(() => {
    const mark = !live ? "○" : concerns.length > 0 ? "▲" : "●";
    document.title = hostname === "" ? "OSymbiote" : `${mark} ${hostname} · OSymbiote`;
  }, [live, concerns.length, hostname]);
  return (
    <header class="masthead">
      <h1>
        <img src="icon.svg" alt="" width="22" height="22" />
        <span>OSymbiote</span>
        {hostname !== "" && <span class="host mono">{hostname}</span>}
      </h1>
      <p class={`health ${health.tone}`}>
        <i class="dot" aria-hidden="true" />
        <span id="health-word">{health.text}</span>
      </p>
      {boot !== undefined && (
        <dl class="facts">
          <div>
            <dt>up</dt>
            <dd id="uptime">{formatSpan(store.sample.value?.uptime_s ?? NaN)}</dd>
          </div>
          <div>
            <dt>boot</dt>
            <dd title={boot.id}>{boot.id.slice(0, 8)}</dd>
          </div>
          <div>
            <dt>kernel</dt>
            <dd>{visible(boot.kernel)} {visible(boot.architecture)}</dd>
          </div>
          <div>
            <dt>osym</dt>
            <dd>{visible(boot.version)}</dd>
          </div>
        </dl>
      )}
      <div class="connection">
        <Badge />
        <Menu />
      </div>
    </header>
  );
}
