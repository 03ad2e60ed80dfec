/**
 * Survival: answers questions about the machine by rules, from the state it was told, with no model
 * behind it.
 *
 * Owns the wording. Pure: the same state and question give the same words. It must never say what
 * the state does not, never throw, and always say plainly when a question is beyond it.
 */
import type { MachineSample, ProcessInfo, ServiceState } from "../../bus/shapes.ts";
import { maxReplyBytes, type MindState, type ToldEvent } from "./frames.ts";
import { type Intent, intentOf, isOrdinary, wordsOf } from "./intent.ts";

export interface Answer {
  readonly reply: string;
  readonly intent: Intent;
}

const subjects =
  "memory, CPU and load, disk space, the network, processes, services, uptime, the last boot and " +
  "why it came, what happened last, and whether the machine is healthy";

/** Answers `message` from what is known. Never throws; at most `maxReplyBytes` long. */
export function answer(message: string, state: MindState | null): Answer {
  let intent: Intent = "unknown";
  try {
    intent = intentOf(message, state?.services.map((service) => service.name));
    return { reply: bounded(clean(compose(intent, message, state))), intent };
  } catch (error) {
    // Only a state that breaks its own contract gets here: say so rather than guess.
    const why = error instanceof Error ? error.message : String(error);
    return {
      reply: bounded(clean(`I can not tell: what I was told is damaged (${why}).`)),
      intent,
    };
  }
}

function compose(intent: Intent, message: string, state: MindState | null): string {
  switch (intent) {
    case "help":
      return help();
    case "unknown":
      return `I am in survival mode: I answer by rules, with no language model, and I have no rule ` +
        `for that question. I can answer about ${subjects}. For example: "what is using the memory?"`;
  }
  if (state === null) return "I have not been told anything about the machine yet. Ask again soon.";
  switch (intent) {
    case "memory":
      return memory(state);
    case "cpu":
      return cpu(state);
    case "disk":
      return disk(state);
    case "network":
      return network(state);
    case "processes":
      return processes(state, message);
    case "uptime":
      return uptime(state);
    case "events":
      return events(state);
    case "health":
      return health(state);
    case "services":
      return services(state, message);
    case "boot":
      return boot(state);
    case "identity":
      return identity(state);
  }
}

function help(): string {
  return `I am the machine's mind in survival mode: rules, no language model. I can answer about ` +
    `${subjects}. For example: "what is using the memory?", "is it healthy?", "what happened last?", ` +
    `"what is your IP address?"`;
}

// --- memory, CPU, disk -----------------------------------------------------------

function memory(state: MindState): string {
  const { sample } = state;
  if (sample === null) return unsampled("memory");
  const { total, available, cached, swap_total, swap_free } = sample.memory;
  const used = total - available;
  const lines = [
    `${mb(used)} of ${mb(total)} memory is in use (${share(used, total)}), ${mb(available)} is ` +
    `available; the file cache holds ${mb(cached)}.`,
  ];
  if (swap_total > 0) {
    lines.push(`Swap: ${mb(swap_total - swap_free)} of ${mb(swap_total)} in use.`);
  }
  const top = top5(state.processes, (process) => process.rss);
  if (top.length > 0) {
    lines.push(
      `Of the programs, most is held by ${
        listed(top.map((process) =>
          `${nameOf(process)} ${mb(process.rss)} (${share(process.rss, total)})`
        ))
      }.`,
    );
  }
  return lines.join(" ");
}

function cpu(state: MindState): string {
  const { sample } = state;
  if (sample === null) return unsampled("the CPU");
  const { busy, user, system, iowait, count } = sample.cpu;
  const [one, five, fifteen] = sample.load;
  const lines = [
    `The CPU is ${percent(busy)} busy (${percent(user)} programs, ${percent(system)} kernel, ` +
    `${percent(iowait)} waiting for disks) over ${counted(count, "core")}. Load is ` +
    `${one.toFixed(2)}, ${five.toFixed(2)}, ${fifteen.toFixed(2)} over 1, 5 and 15 minutes` +
    `${one > count ? `: more work than ${count === 1 ? "it" : "they"} can do at once` : ""}.`,
  ];
  const top = top5(state.processes, (process) => process.cpu >= 0.005 ? process.cpu : 0);
  lines.push(
    top.length === 0
      ? "No program uses a noticeable share of it."
      : `Busiest: ${
        listed(top.map((process) => `${nameOf(process)} ${percent(process.cpu)} of a core`))
      }.`,
  );
  return lines.join(" ");
}

function disk(state: MindState): string {
  const { sample } = state;
  if (sample === null) return unsampled("the disks");
  if (sample.disks.length === 0) return "No disk is mounted that I am told of.";
  return sample.disks.map((one) => {
    const { mount, total, free, inodes, inodes_free } = one;
    const line = `${mount}: ${mb(free)} of ${mb(total)} free (${share(total - free, total)} used`;
    if (isImage(one)) return `${line}, as a read-only image always is)`;
    if (inodes <= 0) return `${line})`;
    return `${line}, ${share(inodes - inodes_free, inodes)} of its inodes)`;
  }).join(". ") + ".";
}

/** A packed image has nothing free, and counts no inodes that could be had. */
function isImage({ free, inodes, inodes_free }: MachineSample["disks"][number]): boolean {
  return free <= 0 && (inodes_free <= 0 || inodes_free > inodes);
}

// --- network ---------------------------------------------------------------------

/** The time of a lease that never ends (RFC 2131 §3.3). */
const forever = 0xffff_ffff;

function network(state: MindState): string {
  const { network: { hostname, links, routes, leases, dns }, sample } = state;
  const real = links.filter(({ link }) => link !== "lo");
  if (real.length === 0) return `This machine (${hostname}) has no network interface.`;
  const lines = real.map(({ link, up, carrier, addresses, mac }) => {
    const has = addresses.length === 0
      ? "no address"
      : listed(addresses.map(({ address, prefix }) => `${address}/${prefix}`));
    const is = !up ? "down" : carrier ? "up" : "up without a carrier";
    const rates = sample?.links.find((rate) => rate.link === link);
    const moved = rates === undefined
      ? ""
      : `, receives ${kb(rates.rx_rate)}/s and sends ${kb(rates.tx_rate)}/s`;
    const hardware = mac === undefined ? "" : ` (${mac})`;
    return `${link}${hardware} is ${is} with ${has}${moved}.`;
  });
  // IPv4 first: it is what a person asking for "the gateway" means; the kernel's order is chance.
  const isV6 = ({ gateway = "" }: { gateway?: string | undefined }) =>
    Number(gateway.includes(":"));
  const ways = routes.filter(({ destination }) =>
    destination === "default" || destination === "0.0.0.0/0" || destination === "::/0"
  ).sort((a, b) => isV6(a) - isV6(b));
  lines.push(
    ways.length === 0
      ? "There is no default route, so nothing beyond the local network can be reached."
      : `The default route goes through ${
        listed([...new Set(ways.map(({ gateway, link }) => gateway ?? link ?? "an unnamed link"))])
      }.`,
  );
  for (const { link, address, server, lease_s } of leases) {
    const time = lease_s === forever ? "ever" : duration(lease_s);
    lines.push(`${link} leased ${address} from ${server} for ${time}.`);
  }
  lines.push(dns.length === 0 ? "No DNS server is known." : `DNS: ${listed(dns)}.`);
  return `This machine is ${hostname}. ${lines.join(" ")}`;
}

// --- processes and services ---------------------------------------------------------

function processes(state: MindState, message: string): string {
  const words = wordsOf(message);
  const named = state.processes.filter((process) => isMeant(process, words));
  const users = state.processes.filter((process) => !process.kernel);
  const known = state.processes.length;
  const counts = known < state.process_count
    ? `${counted(state.process_count, "process", "processes")}; I was told of the ${known} ` +
      `largest and busiest.`
    : `${counted(state.process_count, "process", "processes")}: ${users.length} programs and ` +
      `${known - users.length} kernel threads.`;
  if (named.length > 0) return named.slice(0, 8).map(describe).join(" ");
  const asked = /\bis ([\w.-]{1,64}) (?:still )?running\b/.exec(message.toLowerCase())?.[1];
  if (asked !== undefined && !["anything", "everything", "it", "something"].includes(asked)) {
    const seen = known < state.process_count ? "Among those I was told of, no" : "No";
    return `${seen} process is named ${asked}. There are ${counts}`;
  }
  // The row of a kernel thread is read once: its state is that of then.
  const stuck = users.filter(({ state: code }) => code === "Z" || code === "D");
  const lines = [`There are ${counts}`];
  const list = users.slice().sort((a, b) => b.rss - a.rss).slice(0, 12);
  if (list.length > 0) {
    lines.push(`By memory: ${listed(list.map((one) => `${nameOf(one)} ${mb(one.rss)}`))}.`);
  }
  if (stuck.length > 0) {
    lines.push(
      `Zombies or stuck in the kernel: ${listed(stuck.slice(0, 8).map((one) => nameOf(one)))}.`,
    );
  }
  return lines.join(" ");
}

/** Words after which a number is a pid, and an ordinary word a name. */
const pointers: ReadonlySet<string> = new Set(["pid", "process", "program", "is"]);
/** TASK_COMM_LEN without its NUL: the kernel cuts longer names. */
const commLength = 15;

function isMeant({ pid, comm }: ProcessInfo, words: readonly string[]): boolean {
  const name = comm.toLowerCase();
  return words.some((word, at) => {
    const pointedAt = pointers.has(words[at - 1] ?? "");
    if (word === String(pid)) return pointedAt;
    const same = name.length < commLength ? word === name : word.startsWith(name);
    return same && (pointedAt || !isOrdinary(word));
  });
}

const processStates: Readonly<Record<string, string>> = {
  R: "running",
  S: "sleeping",
  D: "waiting in the kernel",
  Z: "a zombie",
  T: "stopped",
  t: "being traced",
  I: "idle",
};

function describe(process: ProcessInfo): string {
  const { ppid, uid, threads, rss, cpu: used, state } = process;
  if (process.kernel) return `${nameOf(process)} is a kernel thread, child of pid ${ppid}.`;
  return `${nameOf(process)} is a program of user ${uid}, ${processStates[state] ?? state}, ` +
    `child of pid ${ppid}, ${counted(threads, "thread")}, ${mb(rss)} of memory, ${
      percent(used)
    } of a core.`;
}

function services(state: MindState, message: string): string {
  if (state.services.length === 0) return "No service is declared.";
  const words = new Set(wordsOf(message));
  const named = state.services.filter((service) => words.has(service.name));
  const shown = named.length > 0 ? named : state.services.slice(0, 20);
  const more = state.service_count - shown.length;
  const list = shown.map(describeService).join(" ");
  if (named.length > 0) return list;
  return `${counted(state.service_count, "service")} declared. ${list}` +
    (more > 0 ? ` And ${more} more.` : "");
}

function describeService(service: ServiceState): string {
  const { name, state, pid, restarts, last_exit, backoff_ms, reason } = service;
  const parts = [`${name} is ${state}`];
  if (pid !== null) parts.push(`pid ${pid}`);
  if (restarts > 0) parts.push(`restarted ${counted(restarts, "time")}`);
  if (last_exit !== null) {
    parts.push(
      last_exit.signal === null
        ? `last ended with exit code ${last_exit.code ?? "unknown"}`
        : `last ended by ${last_exit.signal}`,
    );
  }
  if (backoff_ms !== null) parts.push(`starts again in ${duration(backoff_ms / 1000)}`);
  if (reason !== undefined) parts.push(reason);
  return `${parts.join(", ")}.`;
}

// --- time, boot, identity -------------------------------------------------------------

function uptime(state: MindState): string {
  const up = state.sample?.uptime_s;
  if (up === undefined) return unsampled("uptime");
  return `The machine has been up for ${duration(up)}, since ${
    utc(state.now - up * 1000)
  }. This is boot ${state.boot.id}, attempt ${state.boot.attempt}.`;
}

const stops: Readonly<Record<MindState["boot"]["last_stop"]["kind"], string>> = {
  none: "It is the first boot the launcher knows of",
  clean: "The boot before ended with an orderly power-off",
  reboot: "The boot before ended with an orderly reboot",
  panic: "The boot before ended in a kernel panic",
  watchdog: "The boot before was ended by the watchdog: the core did not answer any more",
  cut: "The boot before was cut off: the power went, or the machine was killed from outside",
  unknown: "How the boot before ended is not known",
};

function boot(state: MindState): string {
  const { last_stop, ready_ms, kernel_ms, attempt, rescue, version, kernel } = state.boot;
  const text = last_stop.text === undefined ? "" : `: ${last_stop.text.slice(0, 400)}`;
  const lines = [`${stops[last_stop.kind]}${text}.`];
  lines.push(
    ready_ms === null
      ? "This boot is not ready yet."
      : `This boot was ready ${duration(ready_ms / 1000)} after PID 1 began, the kernel having ` +
        `run ${duration(kernel_ms / 1000)} before.`,
  );
  lines.push(`Attempt ${attempt}, OSymbiote ${version} on Linux ${kernel}.`);
  if (rescue) lines.push("It is in rescue mode, because boots before it died early.");
  if (state.sample !== null) lines.push(`Up for ${duration(state.sample.uptime_s)}.`);
  return lines.join(" ");
}

function identity(state: MindState): string {
  const { hostname, version, kernel, architecture } = state.boot;
  return `I am OSymbiote ${version}, the operating system of ${hostname}, on Linux ${kernel} ` +
    `(${architecture}). I answer in survival mode: by rules, with no language model behind me.`;
}

// --- what happened --------------------------------------------------------------------

/** Lines of an account of what happened. */
const maxTold = 8;
/** What is older is history and no ailment. Ms. */
const freshMs = 600_000;

function events(state: MindState): string {
  if (state.events.length === 0) return "Nothing worth telling has happened since I was started.";
  const lines: { when: string; what: string; times: number }[] = [];
  for (const event of state.events.toReversed()) {
    const what = tell(event);
    const last = lines.at(-1);
    // The same again and again is one thing that goes on.
    if (last?.what === what) last.times++;
    else if (lines.length === maxTold) break;
    else lines.push({ when: ago(state.now - event.time), what, times: 1 });
  }
  return `Newest first: ${
    lines.map(({ when, what, times }) => `${when} ${what}${times > 1 ? ` (${times} times)` : ""}`)
      .join("; ")
  }.`;
}

/** One event in words; an unknown type is told by its name and what it carries. */
function tell(event: ToldEvent): string {
  const { type, data } = event;
  const text = (key: string) => String(data[key] ?? "?");
  switch (type) {
    case "system.fault":
      return `the system caught a fault of its own (${text("where")}: ${text("message")})`;
    case "link.up":
      return `${text("link")} got its carrier`;
    case "link.down":
      return `${text("link")} lost its carrier`;
    case "addr.added":
      return `${text("link")} got the address ${text("address")}`;
    case "addr.removed":
      return `${text("link")} lost the address ${text("address")}`;
    case "addr.leased":
      return `${text("link")} leased ${text("address")} from ${text("server")}`;
    case "addr.renewed":
      return `${text("link")} renewed its lease of ${text("address")}`;
    case "addr.lease_lost":
      return `${text("link")} lost its lease (${text("reason")})`;
    case "process.exited":
      return `${data.comm ?? "process"} (pid ${text("pid")}) ended by signal ${text("signal")}`;
    case "service.declared":
    case "service.started":
    case "service.exited":
    case "service.restarting":
    case "service.stopped":
    case "service.failed":
      return `service ${text("name")} ${type.slice("service.".length)}` +
        (data.reason === undefined ? "" : ` (${data.reason})`);
    case "incident.opened":
      return `incident ${text("kind")} opened: ${text("evidence")}`;
    case "incident.remedied":
      return `incident ${text("kind")}: tried ${text("remedy")}, ${text("result")}`;
    case "incident.resolved":
      return `incident ${text("kind")} resolved`;
    case "action.denied":
      return `${text("kind")} refused to ${text("principal")}: ${text("reason")}`;
    case "action.finished":
      return `${text("kind")} ${data.ok === true ? "done" : "failed"}: ${text("summary")}`;
    case "system.ready":
      return `the system was ready`;
    case "system.degraded":
      return `${text("part")} degraded: ${text("reason")}`;
    case "system.recovered":
      return `${text("part")} recovered`;
    case "kernel.logged":
      return `the kernel said "${text("text")}"`;
    default: {
      const carried = Object.entries(data).slice(0, 4).map(([key, value]) => `${key}=${value}`);
      return [type, ...carried].join(" ").slice(0, 160);
    }
  }
}

// --- health ---------------------------------------------------------------------------

function health(state: MindState): string {
  const faults = findings(state);
  if (faults.length === 0) {
    const { sample } = state;
    const running = state.services.filter((service) => service.state === "running").length;
    const facts = sample === null ? ["no reading of the machine was taken yet"] : [
      `${mb(sample.memory.available)} of memory available`,
      `CPU ${percent(sample.cpu.busy)} busy`,
      `up for ${duration(sample.uptime_s)}`,
    ];
    const count = counted(state.service_count, "service");
    if (state.services.length < state.service_count) facts.push(`${count} declared`);
    else if (state.service_count > 0) facts.push(`${running} of ${count} running`);
    return `Yes, it is healthy as far as I can see: ${facts.join(", ")}, nothing degraded.`;
  }
  return `Not entirely. ${faults.slice(0, 12).map((fault, i) => `${i + 1}. ${fault}`).join(" ")}` +
    (faults.length > 12 ? ` And ${faults.length - 12} more.` : "");
}

/** Everything that is not as it should be, worst kinds first. */
function findings(state: MindState): string[] {
  const found: string[] = [];
  for (const { part, reason } of state.degraded) found.push(`${part} is degraded: ${reason}.`);
  for (const service of state.services) {
    if (service.state === "failed" || service.state === "backoff") {
      found.push(`Service ${describeService(service)}`);
    }
  }
  for (const sensor of state.sensors) {
    if (sensor.state === "failed") found.push(`The sensor ${sensor.name} has failed.`);
  }
  if (state.sample !== null) found.push(...strain(state.sample));
  const linked = state.network.links.filter(({ link }) => link !== "lo");
  const addressed = linked.some(({ up, addresses }) => up && addresses.length > 0);
  if (linked.length > 0 && !addressed) found.push("No network interface has an address.");
  const zombies = state.processes.filter((process) => process.state === "Z").length;
  if (zombies > 4) found.push(`${zombies} processes are zombies.`);
  if (["panic", "watchdog", "cut"].includes(state.boot.last_stop.kind)) {
    found.push(`${stops[state.boot.last_stop.kind]}.`);
  }
  if (state.boot.rescue) found.push("The machine is in rescue mode.");
  const fault = state.events.findLast(({ type }) => type === "system.fault");
  if (fault !== undefined && state.now - fault.time < freshMs) {
    found.push(`${ago(state.now - fault.time)} ${tell(fault)}.`);
  }
  return found;
}

function strain(sample: MachineSample): string[] {
  const found: string[] = [];
  const { memory: { total, available }, cpu: { busy, count }, load: [, five], disks } = sample;
  if (available < total * 0.1) {
    found.push(`Only ${mb(available)} of ${mb(total)} memory is available.`);
  }
  if (busy > 0.95 && five > 2 * count) {
    found.push(`The CPU is ${percent(busy)} busy, load ${five.toFixed(2)} on ${count}.`);
  }
  for (const one of disks) {
    const { mount, total: size, free, inodes, inodes_free } = one;
    if (isImage(one)) continue;
    if (free < size * 0.05) found.push(`${mount} has ${mb(free)} of ${mb(size)} left.`);
    if (inodes > 0 && inodes_free < inodes * 0.05) found.push(`${mount} runs out of inodes.`);
  }
  return found;
}

// --- words and numbers ------------------------------------------------------------------

function unsampled(what: string): string {
  return `No reading of ${what} was taken yet. Ask again in a few seconds.`;
}

function top5(list: readonly ProcessInfo[], by: (process: ProcessInfo) => number): ProcessInfo[] {
  return list.filter((process) => by(process) > 0).sort((a, b) => by(b) - by(a)).slice(0, 5);
}

function nameOf({ comm, pid }: ProcessInfo): string {
  return `${comm} (pid ${pid})`;
}

/** MB are 2^20 bytes, as /proc and free(1) count them. */
function mb(bytes: number): string {
  const value = bytes / 1_048_576;
  return `${value >= 100 ? Math.round(value) : value.toFixed(1)} MB`;
}

function kb(bytes: number): string {
  return bytes >= 1_048_576 ? mb(bytes) : `${(bytes / 1024).toFixed(1)} KB`;
}

function percent(part: number): string {
  return `${(part * 100).toFixed(part > 0 && part < 0.1 ? 1 : 0)}%`;
}

function share(part: number, whole: number): string {
  return percent(whole > 0 ? part / whole : 0);
}

function counted(count: number, one: string, many = `${one}s`): string {
  return `${count} ${count === 1 ? one : many}`;
}

function listed(items: readonly string[]): string {
  return items.join(", ");
}

/** Seconds in words, to two units. */
function duration(seconds: number): string {
  if (!(seconds >= 0)) return "an unknown time";
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const units: [number, string][] = [
    [Math.floor(whole / 86_400), "d"],
    [Math.floor(whole / 3600) % 24, "h"],
    [Math.floor(whole / 60) % 60, "min"],
    [whole % 60, "s"],
  ];
  const first = units.findIndex(([count]) => count > 0);
  return units.slice(first, first + 2).filter(([count]) => count > 0)
    .map(([count, unit]) => `${count} ${unit}`).join(" ");
}

function ago(ms: number): string {
  return ms < 1000 ? "just now" : `${duration(ms / 1000)} ago`;
}

function utc(ms: number): string {
  const date = new Date(ms);
  return Number.isNaN(date.getTime()) ? "an unknown time" : `${date.toISOString().slice(0, 19)}Z`;
}

/** Names come from processes and devices: what could move a cursor or turn text around is shown. */
function clean(text: string): string {
  return text.replace(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/gu, "\u{fffd}");
}

/** Cut to the bytes a frame may carry, at a character. */
function bounded(text: string): string {
  const bytes = new TextEncoder().encode(text);
  if (bytes.length <= maxReplyBytes) return text;
  const mark = "…";
  const room = maxReplyBytes - 3;
  return new TextDecoder().decode(bytes.subarray(0, room), { stream: true }) + mark;
}
