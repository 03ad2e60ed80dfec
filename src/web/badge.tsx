/**
 * Badge: whether the page hears the machine right now.
 *
 * The visible text counts seconds; what a screen reader is told changes only
 * with the state.
 */
import { formatClock, formatSpan } from "./format.ts";
import { useSession } from "./session.ts";
import type { Connection } from "./stream.ts";

/** Seconds of silence on a live stream before the badge says so. */
const quietAfter = 3;

export function Badge() {
  const session = useSession();
  const { store } = session;
  const connection = store.connection.value;
  const now = store.now.value;
  const heardAt = store.heardAt.value;
  const silent = heardAt === null ? 0 : (now - heardAt) / 1_000;
  const quiet = connection.state === "live" && silent >= quietAfter;
  const retryable = connection.state === "reconnecting" || connection.state === "offline";
  return (
    <>
      <span class={`badge ${quiet ? "quiet" : connection.state}`} title={reasonOf(connection)}>
        <i class="dot" aria-hidden="true" />
        <span id="connection">
          {quiet ? `live, quiet for ${formatSpan(silent)}` : words(connection, now)}
        </span>
      </span>
      {retryable && <button type="button" onClick={() => session.reconnect()}>Retry now</button>}
      <span class="visually-hidden" role="status">{spoken(connection)}</span>
    </>
  );
}

function reasonOf(connection: Connection): string | undefined {
  return "reason" in connection ? connection.reason : undefined;
}

function words(connection: Connection, now: number): string {
  switch (connection.state) {
    case "idle":
      return "not connected";
    case "connecting":
      return "connecting…";
    case "live":
      return "live";
    case "reconnecting":
      return `reconnecting in ${seconds(connection.retryAt, now)} s`;
    case "offline": {
      const since = formatClock(Date.now() - (now - connection.since), false);
      return `offline since ${since}, trying in ${seconds(connection.retryAt, now)} s`;
    }
    case "unauthorised":
      return "unauthorised";
  }
}

function seconds(at: number, now: number): number {
  return Math.max(0, Math.ceil((at - now) / 1_000));
}

function spoken(connection: Connection): string {
  switch (connection.state) {
    case "live":
      return "Connected: the page is live.";
    case "reconnecting":
      return `Connection lost: ${connection.reason}. Reconnecting.`;
    case "offline":
      return "The machine has been out of reach for a while. Still trying.";
    case "unauthorised":
      return "The machine refused the token.";
    default:
      return "";
  }
}
