/**
 * What the vm tests share: one guest for the tests of a file, waiting, history, raw connections.
 *
 * Owns no assertion about the system but one: that nothing of it reported a fault.
 */

import assert from "node:assert/strict";
import type { CloudEvent } from "../../bus/envelope.ts";
import { Guest, type GuestOptions } from "./guest.ts";

/** Whether tests that take minutes run too (`./run.sh test --long`). */
export const long = Deno.env.get("OSYM_TEST_LONG") === "1";

/** An event as a client of the API receives it. */
export type ApiEvent = Omit<CloudEvent, "data"> & { data: Record<string, unknown> };

/** The last row of src/phases.ts. */
const LAST_PHASE = "selftest";

/** The page of `GET /api/v1/events`. */
export interface EventPage {
  items: ApiEvent[];
  gap?: { from: number; to: number; count: number; reason: string };
  next: string;
}

/**
 * One guest for all tests of a file, started by the first that asks, booted to its last phase, and
 * disposed after the last. The promise rejects for every test when it does not boot.
 */
export function sharedGuest(options: GuestOptions = {}): () => Promise<Guest> {
  let guest: Promise<Guest> | null = null;
  Deno.test.afterAll(async () => {
    if (guest === null) return;
    const booted = await guest.catch(() => null);
    await booted?.[Symbol.asyncDispose]();
  });
  return () => guest ??= boot(options);
}

/**
 * A guest that has gone through its whole boot: ready comes before /data and the senses. What the
 * last phase leaves to later (the mind, a sample of /data) has waits of its own here.
 */
export async function boot(options: GuestOptions = {}): Promise<Guest> {
  const guest = await Guest.boot(options);
  try {
    await bootEnd(guest);
  } catch (error) {
    await guest[Symbol.asyncDispose]();
    throw error;
  }
  return guest;
}

/** Waits for the end of the last boot phase of the present boot. */
export async function bootEnd(guest: Guest): Promise<void> {
  await guest.waitEvent("boot.phase", ({ data }) => data.name === LAST_PHASE, 60_000);
}

/** Waits until the sampler has measured a mounted file system: it looks at disks every 5 s. */
export async function diskSampled(guest: Guest, mount: string): Promise<void> {
  await eventually(`${mount} in a sample`, async () => {
    const { items } = await guest.json<{ items: { mount: string }[] }>("/api/v1/disk");
    return items.some((disk) => disk.mount === mount);
  }, 30_000);
}

/** Waits until the mind runs in its cage: it starts some seconds after the boot's last phase. */
export async function mindRuns(guest: Guest): Promise<void> {
  await eventually("the mind in its cage", async () => {
    const { items } = await history(guest, "mind.caged");
    return items.length > 0;
  }, 60_000);
}

/** Registers the last test of a file: PID 1 reported no fault, whatever the tests did to it. */
export function endsWithoutFault(name: string, guest: () => Promise<Guest>): void {
  Deno.test(`${name} reports no fault`, async () => {
    assert.deepEqual(await faults(await guest()), []);
  });
}

/** What reached a guard or failed inside a request handler since the boot. */
export async function faults(guest: Guest): Promise<unknown[]> {
  const { items } = await history(guest, "system.fault,http.failed,sensor.failed");
  return items.map(({ type, data }) => ({ type, ...data }));
}

/** All events in the guest's memory after a position, oldest first, over as many pages as needed. */
export async function history(
  guest: Guest,
  type: string,
  after?: string,
): Promise<{ items: ApiEvent[]; lost: number; next: string }> {
  const items: ApiEvent[] = [];
  let lost = 0;
  for (let position = after;;) {
    const query = new URLSearchParams({ type, limit: "1000" });
    if (position !== undefined) query.set("after", position);
    const page = await guest.json<EventPage>(`/api/v1/events?${query}`);
    items.push(...page.items);
    lost += page.gap?.count ?? 0;
    if (page.items.length === 0 || page.next === position) return { items, lost, next: page.next };
    position = page.next;
  }
}

/** The id of the newest event: what comes after it is new. */
export async function head(guest: Guest): Promise<string> {
  return (await guest.json<{ head: string }>("/api/v1/status")).head;
}

/** Asks until there is an answer. Throws at the deadline, with the last error if asking failed. */
export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined | null | false>,
  timeoutMs = 20_000,
  everyMs = 200,
): Promise<T> {
  const deadline = performance.now() + timeoutMs;
  let last: unknown;
  for (;;) {
    try {
      const found = await look();
      if (found !== undefined && found !== null && found !== false) return found;
      last = undefined;
    } catch (error) {
      last = error;
    }
    if (performance.now() > deadline) {
      throw new Error(`wait for ${what}: not within ${timeoutMs} ms`, { cause: last });
    }
    await sleep(everyMs);
  }
}

/** Waits until history holds an event of a type that `predicate` accepts. */
export function eventSince(
  guest: Guest,
  after: string,
  type: string,
  predicate: (event: ApiEvent) => boolean = () => true,
  timeoutMs = 20_000,
): Promise<ApiEvent> {
  return eventually(
    `event ${type}`,
    async () => (await history(guest, type, after)).items.find(predicate),
    timeoutMs,
  );
}

export function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** The port on this host that leads to the guest's port 80. */
export function portOf(guest: Guest): number {
  return Number(new URL(guest.url).port);
}

/** What came back on a raw connection. */
export interface RawAnswer {
  text: string;
  /** The other side closed or reset within the time given. */
  closed: boolean;
  status: number | null;
}

/**
 * Sends bytes as they are and reads until the connection ends or `timeoutMs` are over. Never
 * rejects for what the other side does.
 */
export async function rawExchange(
  port: number,
  bytes: string | Uint8Array,
  timeoutMs = 10_000,
): Promise<RawAnswer> {
  const connection = await Deno.connect({ hostname: "127.0.0.1", port });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    connection.close();
  }, timeoutMs);
  const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  const [text] = await Promise.all([readToEnd(connection), writeAll(connection, data)]);
  clearTimeout(timer);
  if (!late) connection.close();
  const status = /^HTTP\/1\.[01] (\d{3})/.exec(text)?.[1];
  return { text, closed: !late, status: status === undefined ? null : Number(status) };
}

async function readToEnd(connection: Deno.Conn): Promise<string> {
  const decoder = new TextDecoder();
  const buffer = new Uint8Array(16_384);
  let text = "";
  try {
    for (let n; (n = await connection.read(buffer)) !== null;) {
      // Enough to see the answer; a flood is not kept.
      if (text.length < 1 << 20) text += decoder.decode(buffer.subarray(0, n), { stream: true });
    }
  } catch (error) {
    if (!isGone(error)) throw error;
  }
  return text;
}

async function writeAll(connection: Deno.Conn, bytes: Uint8Array): Promise<void> {
  try {
    for (let done = 0; done < bytes.length;) done += await connection.write(bytes.subarray(done));
  } catch (error) {
    if (!isGone(error)) throw error;
  }
}

/** Whether an error only says that a connection has ended, by whichever side. */
export function isGone(error: unknown): boolean {
  return error instanceof Deno.errors.ConnectionReset ||
    error instanceof Deno.errors.BrokenPipe || error instanceof Deno.errors.BadResource ||
    error instanceof Deno.errors.Interrupted || error instanceof Deno.errors.ConnectionAborted ||
    error instanceof Deno.errors.NotConnected;
}

/** A GET by hand: any Host, any headers. Lines without CR LF. */
export function rawGet(path: string, headers: readonly string[]): string {
  return [`GET ${path} HTTP/1.1`, ...headers, "Connection: close", "", ""].join("\r\n");
}
