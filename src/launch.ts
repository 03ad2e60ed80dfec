/**
 * Launch facts: what whoever started this machine tells it, through the
 * firmware's configuration blob `opt/org.osymbiote/launch`.
 *
 * Owns the parse. It never sees the token, only its SHA-256; and it never
 * throws: without facts, or with broken ones, the machine mints a token of its
 * own and shows it on its console, which is physical presence.
 */
import type { LastStop } from "../bus/shapes.ts";

export const launchBlob = "opt/org.osymbiote/launch";

export interface LaunchFacts {
  /** SHA-256 of the launch token, lower-case hexadecimal. */
  tokenSha256: string;
  hosts: string[];
  origins: string[];
  lastStop: LastStop;
  /** Which start of this machine in a row this is; 1 is the first. */
  attempt: number;
}

const stops = new Set(["none", "clean", "reboot", "panic", "watchdog", "cut", "unknown"]);

/** Parses the blob; the fault names the field and what was expected. */
export function parseLaunch(text: string): LaunchFacts | { fault: string } {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    return {
      fault: `launch: expected JSON: ${error instanceof Error ? error.message : String(error)}`,
    };
  }
  if (typeof value !== "object" || value === null) return { fault: "launch: expected an object" };
  const facts = value as Record<string, unknown>;
  const { token_sha256: hash, hosts, origins, attempt, last_stop: stop } = facts;
  if (typeof hash !== "string" || !/^[0-9a-f]{64}$/.test(hash)) {
    return { fault: "launch.token_sha256: expected 64 hexadecimal digits" };
  }
  if (!isTextList(hosts)) {
    return { fault: "launch.hosts: expected a list of host names with ports" };
  }
  if (!isTextList(origins)) return { fault: "launch.origins: expected a list of origins" };
  if (typeof attempt !== "number" || !Number.isInteger(attempt) || attempt < 1) {
    return { fault: "launch.attempt: expected a positive integer" };
  }
  const { kind, text: why } = (stop ?? {}) as Record<string, unknown>;
  const known = typeof kind === "string" && stops.has(kind);
  return {
    tokenSha256: hash,
    hosts,
    origins,
    attempt,
    lastStop: {
      kind: known ? kind as LastStop["kind"] : "unknown",
      ...(typeof why === "string" ? { text: why.slice(0, 4096) } : {}),
    },
  };
}

function isTextList(value: unknown): value is string[] {
  return Array.isArray(value) && value.length <= 64 &&
    value.every((item) => typeof item === "string" && item.length <= 256);
}
