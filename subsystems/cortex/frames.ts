/**
 * Frames between the core and a mind: the whole of what either may say.
 *
 * Owns the contract as schema factories, and the names of its parts. It carries no code into the
 * mind's bundle but plain data, and must never import anything that does: the core checks what a
 * mind says with these, the mind trusts the core and checks little.
 *
 * Core → mind: `hello` first, then `state` and `ask` in that order for every question, `ping`, and
 * `verdict` for a proposal. Mind → core: `ready` first, then `answer` to an `ask`, `pong`, and
 * `proposal`, whose shape is fixed now; every one is denied until minds are granted anything.
 */
import type { Infer, Zod } from "../../bus/schema.ts";
import {
  lastStop,
  machineSample,
  networkState,
  processInfo,
  serviceState,
} from "../../bus/shapes.ts";

/** Longest message to a mind, in UTF-16 units; what a person types, not a document. */
export const maxMessage = 4000;
/** Longest reply, in bytes of UTF-8. */
export const maxReplyBytes = 4096;

/** An event as a mind is told of it. `data` is cut to strings, numbers and booleans one level deep. */
export const toldEvent = (z: Zod) =>
  z.object({
    seq: z.number().int(),
    type: z.string(),
    time: z.number(),
    cause: z.number().int().optional(),
    data: z.record(z.string(), z.union([z.string(), z.number(), z.boolean(), z.null()])),
  });
export type ToldEvent = Infer<typeof toldEvent>;

/** The machine as a mind knows it. Times in wall ms, sizes in bytes. */
export const mindState = (z: Zod) =>
  z.object({
    now: z.number(),
    boot: z.object({
      id: z.string(),
      kernel: z.string(),
      version: z.string(),
      hostname: z.string(),
      architecture: z.string(),
      attempt: z.number().int(),
      rescue: z.boolean(),
      last_stop: lastStop(z),
      ready_ms: z.number().nullable(),
      kernel_ms: z.number(),
    }),
    sample: machineSample(z).nullable(),
    /** The largest and the busiest; `process_count` is how many there are. */
    processes: z.array(processInfo(z)),
    process_count: z.number().int(),
    network: networkState(z),
    /** What fails comes first; `service_count` is how many are declared. */
    services: z.array(serviceState(z)),
    service_count: z.number().int(),
    degraded: z.array(z.object({ part: z.string(), reason: z.string(), since: z.number() })),
    sensors: z.array(z.object({
      name: z.string(),
      state: z.enum(["running", "failed", "stopped"]),
      gaps: z.number(),
    })),
    /** Oldest first. */
    events: z.array(toldEvent(z)),
  });
export type MindState = Infer<typeof mindState>;

const hello = (z: Zod) =>
  z.object({ type: z.literal("hello"), mind: z.string(), boot: z.string() });
const state = (z: Zod) => z.object({ type: z.literal("state"), state: mindState(z) });
const ask = (z: Zod) =>
  z.object({ type: z.literal("ask"), id: z.number().int(), message: z.string().max(maxMessage) });
const ping = (z: Zod) => z.object({ type: z.literal("ping"), n: z.number().int() });
const verdict = (z: Zod) =>
  z.object({
    type: z.literal("verdict"),
    proposal: z.string(),
    verdict: z.enum(["allow", "deny", "ask"]),
    reason: z.string(),
  });

/** What the core may say to a mind. */
export const toMind = (z: Zod) =>
  z.discriminatedUnion("type", [hello(z), state(z), ask(z), ping(z), verdict(z)]);
export type ToMind = Infer<typeof toMind>;

const ready = (z: Zod) =>
  z.object({
    type: z.literal("ready"),
    mind: z.string().max(64),
    version: z.string().max(64),
  }).strict();
const answer = (z: Zod) =>
  z.object({
    type: z.literal("answer"),
    id: z.number().int(),
    reply: z.string().max(maxReplyBytes),
    intent: z.string().regex(/^[a-z_]{1,32}$/, "expected 1–32 of a-z _"),
  }).strict();
const pong = (z: Zod) => z.object({ type: z.literal("pong"), n: z.number().int() }).strict();
const proposal = (z: Zod) =>
  z.object({
    type: z.literal("proposal"),
    /** The mind's own name for it; the verdict carries it back. */
    proposal: z.string().min(1).max(64),
    kind: z.string().max(64),
    args: z.record(z.string(), z.unknown()),
    reason: z.string().max(1024),
    cause: z.number().int().optional(),
  }).strict();

/** What a mind may say to the core. */
export const fromMind = (z: Zod) =>
  z.discriminatedUnion("type", [ready(z), answer(z), pong(z), proposal(z)]);
export type FromMind = Infer<typeof fromMind>;
