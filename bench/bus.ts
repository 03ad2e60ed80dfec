/**
 * The bus against the emitters people use: what one publish costs.
 *
 * Owns the contenders and the rounds. Every contender gets the same events and the same ten
 * subscribers that read the data; rounds of all contenders alternate, so that a busy machine slows
 * them alike and the ratios hold. The bus does more than the others: it numbers, stamps, encodes
 * into the history ring and freezes; two rows do that encoding without a bus, to tell what is
 * encoding and what is ours.
 */

import { EventEmitter } from "node:events";
import { EventEmitter as EventEmitter3 } from "eventemitter3";
import mitt from "mitt";
import { Bus } from "../bus/bus.ts";
import { toCloudEvent } from "../bus/envelope.ts";
import type { EventData } from "../bus/events.ts";
import { loadZod } from "../bus/schema.ts";
import { Clocks } from "../src/kernel/clock.ts";
import { openLibc } from "../src/kernel/libc.ts";
import { median } from "./stats.ts";

const TYPE = "process.execed" as const;
type Data = EventData<typeof TYPE>;

const SUBSCRIBERS = 10;
/** Publishes of one contender in one round. */
const BATCH = 20_000;
/** Rounds that only warm up the compiler. */
const WARM_UP = 2;
/** Small enough that history wraps in every round: evictions are part of the cost. */
const RING_BYTES = 4 << 20;

/** One contender. */
export interface BusRow {
  name: string;
  /** Publishes a second, from the median round. */
  perSecond: number;
  /** Nanoseconds a publish, median of the rounds. */
  ns: number;
  /** The unvalidated bus's cost over this one's: above 1 the bus is slower. */
  busRatio: number;
}

interface Contender {
  name: string;
  publish(data: Data): void;
}

/** What the subscribers add up; read at the end so that no read can be optimised away. */
let sink = 0;
function read(data: Data): void {
  sink += data.pid + (data.comm?.length ?? 0);
}

/** A fresh object for each publish, as sensors make them: the bus freezes what it is given. */
function made(i: number): Data {
  return {
    pid: 100 + i % 30_000,
    comm: "busybox",
    exe: "/bin/busybox",
    uid: 0,
    cgroup: "/tasks/act-0123456789abcdef",
  };
}

function subscribers(): ((data: Data) => void)[] {
  // Each its own closure: ten copies of one function would be inlined as no program's are.
  return Array.from({ length: SUBSCRIBERS }, () => (data: Data) => read(data));
}

async function contenders(): Promise<Contender[]> {
  await loadZod();
  const clocks = new Clocks(openLibc());
  const clock = { wall: () => Date.now(), mono: () => clocks.boottime() };
  const boot = "0".repeat(32);
  const bus = (name: string, validate: boolean): Contender => {
    const made = new Bus({ boot, clock, ringBytes: RING_BYTES, validate });
    for (const one of subscribers()) made.subscribe(TYPE, ({ data }) => one(data as Data));
    const source = made.source("nerve.processes", ["process.*"]);
    return { name, publish: (data) => void source.publish(TYPE, data) };
  };
  const list = subscribers();
  const guarded = (data: Data): void => {
    for (const one of list) {
      try {
        one(data);
      } catch (error) {
        throw new Error("a subscriber threw", { cause: error });
      }
    }
  };
  // Its declarations read as CommonJS; what is imported is its default export.
  const mitter = (mitt as unknown as typeof mitt.default)<{ [TYPE]: Data }>();
  for (const one of subscribers()) mitter.on(TYPE, one);
  const three = new EventEmitter3();
  for (const one of subscribers()) three.on(TYPE, one);
  const node = new EventEmitter();
  for (const one of subscribers()) node.on(TYPE, one);

  let seq = 0;
  let encoded = 0;
  const source = "nerve.processes";
  const encode = (data: Data): void => {
    const time = Date.now();
    const event = { seq: ++seq, boot, type: TYPE, source, time, mono: clocks.boottime(), data };
    encoded += JSON.stringify(toCloudEvent(event)).length;
  };
  return [
    bus("bus, with its ring", false),
    bus("bus, with its ring, validated", true),
    { name: "array of functions", publish: guarded },
    { name: "mitt", publish: (data) => mitter.emit(TYPE, data) },
    { name: "eventemitter3", publish: (data) => void three.emit(TYPE, data) },
    { name: "node:events", publish: (data) => void node.emit(TYPE, data) },
    {
      name: "array + CloudEvents JSON",
      publish(data) {
        encode(data);
        guarded(data);
      },
    },
    {
      name: "mitt + CloudEvents JSON",
      publish(data) {
        encode(data);
        mitter.emit(TYPE, data);
        if (encoded < 0) sink++;
      },
    },
  ];
}

/** Runs every contender `rounds` times, alternating. `step` is told what is being done. */
export async function measureBus(
  rounds: number,
  step: (what: string) => void,
): Promise<BusRow[]> {
  const all = await contenders();
  const readings = all.map((): number[] => []);
  for (let round = -WARM_UP; round < rounds; round++) {
    step(round < 0 ? "bus: warming up" : `bus: round ${round + 1} of ${rounds}`);
    for (const [index, { publish }] of all.entries()) {
      const startedAt = performance.now();
      for (let i = 0; i < BATCH; i++) publish(made(i));
      const ns = (performance.now() - startedAt) * 1e6 / BATCH;
      if (round >= 0) readings[index]!.push(ns);
      // The collector's debt is paid between contenders, not by the next one.
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
  }
  if (!(sink > 0)) throw new Error("measure the bus: no subscriber was called");
  const own = median(readings[0]!);
  return all.map(({ name }, index) => {
    const ns = median(readings[index]!);
    return { name, ns, perSecond: 1e9 / ns, busRatio: own / ns };
  });
}
