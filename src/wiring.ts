/**
 * The composition root: builds every room, hands each what it needs, and is the
 * only file that imports them all.
 *
 * Owns the core's objects and the steps of phases.ts. It holds no policy: what
 * a step does beyond connecting belongs to the room it connects.
 */
import { Bus, ringSize, type Source } from "../bus/bus.ts";
import type { AnyEvent } from "../bus/envelope.ts";
import type { ChatOutcome, Degradation } from "../bus/machine.ts";
import type { Principal } from "../bus/gate.ts";
import { loadZod } from "../bus/schema.ts";
import { roleScopes } from "../bus/scopes.ts";
import type { BootPhase } from "../bus/shapes.ts";
import { FileSensor } from "../subsystems/nerve/files.ts";
import { KmsgSensor } from "../subsystems/nerve/kmsg.ts";
import { ProcessTable } from "../subsystems/nerve/process_table.ts";
import { ProcessSensor } from "../subsystems/nerve/processes.ts";
import { RtnetlinkSensor } from "../subsystems/nerve/rtnetlink.ts";
import { Sampler } from "../subsystems/nerve/sampler.ts";
import { SensorHost } from "../subsystems/nerve/sensor.ts";
import { UeventSensor } from "../subsystems/nerve/uevent.ts";
import { Incidents } from "../subsystems/immune/incidents.ts";
import { LeaseReflex } from "../subsystems/immune/lease.ts";
import { FolderStore, type ServiceStore } from "../subsystems/immune/store.ts";
import { Supervisor } from "../subsystems/immune/supervisor.ts";
import { Watchdog } from "../subsystems/immune/watchdog.ts";
import { actTable, Hands } from "../subsystems/shell/acts.ts";
import type { RenewOutcome } from "../subsystems/shell/network.ts";
import { loadAssets } from "./assets.ts";
import { createApp } from "./http/app.ts";
import { launchPrincipal, Tokens } from "./http/auth.ts";
import { serve } from "./http/server.ts";
import { type Config, parseConfig } from "./config.ts";
import { findByLabel, openDataDisk } from "./datadisk.ts";
import { EventPort, findEventPort } from "./eventport.ts";
import type { Guard } from "./guard.ts";
import { BlockingCalls } from "./kernel/blocking.ts";
import { Cgroup } from "./kernel/cgroup.ts";
import { Clocks } from "./kernel/clock.ts";
import { Errno, SysError } from "./kernel/errno.ts";
import { findPowerButtons, KEY_POWER, KeyReader } from "./kernel/evdev.ts";
import { closeRangeCloexec } from "./kernel/fd.ts";
import { readFwCfg } from "./kernel/fwcfg.ts";
import { setHostname, type Uname, uname } from "./kernel/hostname.ts";
import { openLibc } from "./kernel/libc.ts";
import { loadModule } from "./kernel/module.ts";
import { mount, mountDevice, statfs, umountDevice } from "./kernel/mount.ts";
import { Proc } from "./kernel/proc.ts";
import { kill } from "./kernel/process.ts";
import { Reactor } from "./kernel/reactor.ts";
import { Reaper, SWEEP_LIMIT } from "./kernel/reaper.ts";
import { reboot, sync } from "./kernel/reboot.ts";
import { setLimit } from "./kernel/rlimit.ts";
import { Rtnl } from "./kernel/rtnetlink.ts";
import { SockDiag, type TcpSocket } from "./kernel/sockdiag.ts";
import { ignoreSigusr1, keepHandlersApart } from "./kernel/signals.ts";
import { setSysctl } from "./kernel/sysctl.ts";
import { activeConsole, Tty } from "./kernel/tty.ts";
import { BootTimers } from "./kernel/timers.ts";
import { Watchdog as WatchdogHardware } from "./kernel/watchdog.ts";
import { launchBlob, type LaunchFacts, parseLaunch } from "./launch.ts";
import { type MemoryBounds, memoryBounds } from "./memory.ts";
import { type MountRow, mounts, sysctls } from "./mounts.ts";
import { LiveMachine } from "./machine.ts";
import { runSelftest } from "./selftest.ts";
import { version } from "./version.ts";
import { openDhcpPort } from "./net/dhcp_port.ts";
import { Network } from "./net/network.ts";
import { ResolvConf } from "./net/resolv_conf.ts";
import { OwnChildren, Spawner } from "./child/spawn.ts";
import { CgroupTasks } from "./child/task_groups.ts";
import { capturedText, runToEnd } from "./child/run.ts";

export interface StopRequest {
  readonly how: "poweroff" | "reboot";
  readonly reason: string;
  /** `seq` of the event that led to it. */
  readonly cause?: number;
}

/** Who acts at the machine itself: its console, its power button, a signal only root can send. */
export const physicalPresence: Principal = {
  id: "console",
  kind: "human",
  lineage: "console",
  scopes: roleScopes("admin"),
};
const dataDeadlineMs = 30_000;
/** Long enough for a host under load, short enough that a wedged core is not down for long. */
const watchdogSeconds = 15;
/** Below this share of room or inodes a file system counts as full. */
const fullShare = 0.02;
/** After this the stop is over, whatever still hangs. */
const stopDeadlineMs = 40_000;
/** How long after the boot the mind is started by itself. */
const mindDelayMs = 2000;
/** Longest wait for the first lease before the rest of the boot goes on. */
const settleMs = 2000;
/** What the first request gets for itself after that. */
const quietMs = 300;
const maxActCauses = 512;
/** Processes of all tasks together, and of one act or service. */
const tasksPids = 16_384;
const taskPids = 4096;
/** A mind's heap is bounded to a third of this; the rest is its runtime. */
const mindLimits = { memoryBytes: 96 << 20, pids: 128 };
const reapTickMs = 250;
const eventBusGrants = ["boot.*", "system.*", "process.reaped", "selftest.*"];

export class Core {
  readonly libc = openLibc();
  readonly clocks = new Clocks(this.libc);
  readonly proc = new Proc(this.libc);
  readonly calls: BlockingCalls;
  readonly config: Config;
  readonly bus: Bus;
  readonly source: Source;
  readonly report: (where: string, error: unknown) => void;
  readonly reactor: Reactor;
  readonly timers: BootTimers;
  readonly own = new OwnChildren();
  readonly spawner: Spawner;
  readonly sensors: SensorHost;
  readonly table: ProcessTable;
  readonly phases: BootPhase[] = [];
  readonly stopRequested: Promise<StopRequest>;
  launch: LaunchFacts | null = null;
  readyMs: number | null = null;
  /** Milliseconds the kernel had run when it started PID 1, by its own log. */
  kernelMs = 0;
  /** Milliseconds of CLOCK_BOOTTIME at PID 1's first statement. */
  readonly startedMs: number;
  sampler!: Sampler;
  links: RtnetlinkSensor | null = null;
  network: Network | null = null;
  files: FileSensor | null = null;
  dataMounted = false;
  supervisor: Supervisor;
  readonly hands: Hands;
  readonly machine: LiveMachine;
  readonly groups: CgroupTasks;
  readonly memory: MemoryBounds;
  readonly uname: Uname;
  /** Set when there were no launch facts: the console shows it once. */
  mintedToken: string | null = null;
  watchdogPath: string | null = null;
  mind: { chat(principal: Principal, message: string): Promise<ChatOutcome> } | null = null;
  mindMissing = "the mind has not been started yet";

  readonly #guard: Guard;
  readonly #degraded = new Map<string, Degradation>();
  readonly #resolvers: { stop: (request: StopRequest) => void };
  #rtnl: Rtnl | null = null;
  #reaper: Reaper | null = null;
  #eventPort: EventPort | null = null;
  #configFaults: readonly { parameter: string; expected: string }[] = [];
  /** Which event allowed an act, so that what its processes do can name it. */
  readonly #actCauses = new Map<string, number>();
  readonly #tasksReady = Promise.withResolvers<void>();
  readonly #incidents: Incidents;
  #tty: Tty | null = null;
  #stopMind: (() => Promise<void>) | null = null;
  #reflex: LeaseReflex | null = null;
  #watchdog: Watchdog | null = null;
  #http: { close(deadlineMs: number): Promise<boolean> } | null = null;
  #stopping = false;

  constructor(guard: Guard) {
    this.#guard = guard;
    const { promise, resolve } = Promise.withResolvers<StopRequest>();
    this.stopRequested = promise;
    this.#resolvers = { stop: resolve };
    const parsed = parseConfig(this.proc.read("cmdline") ?? "");
    this.config = parsed.config;
    this.#configFaults = parsed.faults;
    const total = this.proc.meminfo()?.totalBytes ?? 512 << 20;
    this.memory = memoryBounds(total);
    this.bus = new Bus({
      boot: crypto.randomUUID().replaceAll("-", ""),
      clock: { wall: () => Date.now(), mono: () => this.clocks.boottime() },
      ringBytes: this.config.ringMb === null ? ringSize(total) : this.config.ringMb << 20,
    });
    this.startedMs = this.clocks.boottime() / 1000 - (performance.now() - guard.startedAt);
    this.report = this.bus.report;
    this.source = this.bus.source("core", eventBusGrants);
    this.reactor = new Reactor(this.libc, this.report);
    const now = () => this.clocks.boottime() / 1000;
    this.timers = new BootTimers(this.libc, this.reactor, this.report, now);
    this.calls = new BlockingCalls(8, this.timers);
    this.spawner = new Spawner({ own: this.own, timers: this.timers, report: this.report });
    this.sensors = new SensorHost((name, grants) => this.bus.source(name, grants));
    this.table = new ProcessTable(this.proc, () => this.timers.sleep(0));
    this.uname = uname(this.libc);
    this.groups = new CgroupTasks({
      parent: "/tasks",
      open: (name) => new Cgroup(name),
      timers: this.timers,
      report: this.report,
      ready: this.#tasksReady.promise,
    });
    const { bus, spawner, groups, timers, report } = this;
    const limits = { memoryBytes: this.memory.task, pids: taskPids };
    this.#incidents = new Incidents(bus, timers);
    this.supervisor = new Supervisor({
      bus,
      spawner,
      groups,
      limits,
      store: this.#serviceStore(),
      incidents: this.#incidents,
      timers,
      report,
    });
    this.hands = new Hands({
      bus,
      timers,
      report,
      table: actTable({
        exec: { spawner, groups, limits, timers, report },
        services: this.supervisor,
        leases: { renew: (link, cause) => this.#renew(link, cause) },
        power: { stop: (how, reason, cause) => this.stop({ how, reason, cause }) },
      }),
    });
    this.machine = new LiveMachine(this);
    bus.subscribe("action.allowed", (event) => this.#rememberAct(event));
    bus.subscribe("system.sampled", (event) => this.#watchRoom(event));
  }

  // --- state that others read -------------------------------------------------

  /** What the system goes on without, and why. */
  degraded(): Degradation[] {
    return [...this.#degraded.values()];
  }

  /** Notes that a part is missing; the same reason again is not repeated. */
  degrade(part: string, reason: string): void {
    if (this.#degraded.get(part)?.reason === reason) return;
    this.#degraded.set(part, { part, reason, since: Date.now() });
    this.source.publish("system.degraded", { part, reason });
  }

  /** Notes that a part works again. */
  recover(part: string): void {
    if (this.#degraded.delete(part)) this.source.publish("system.recovered", { part });
  }

  /** Asks for an orderly stop; false when one is under way: the first request wins. */
  stop(request: StopRequest): boolean {
    if (this.#stopping) return false;
    this.#stopping = true;
    this.#resolvers.stop(request);
    return true;
  }

  /** Whether a stop has been asked for. */
  get stopWanted(): boolean {
    return this.#stopping;
  }

  phaseDone(phase: BootPhase): void {
    this.phases.push(phase);
    this.source.publish("boot.phase", phase);
    if (!phase.ok) this.degrade(`phase.${phase.name}`, phase.error ?? "failed");
  }

  // --- boot, in the order of phases.ts -----------------------------------------

  guardPhase(): void {
    closeRangeCloexec(this.libc);
    setLimit(this.libc, "nofile", { soft: 65_536, hard: 65_536 });
    this.#guard.onFault = this.report;
    for (const { where, error } of this.#guard.faults.splice(0)) this.report(where, error);
    this.#guard.onSignal = (signal) => this.#signalled(signal);
    for (const signal of this.#guard.signals.splice(0)) this.#signalled(signal);
    // Never settles while PID 1 lives; its end would be deafness, so it is reported.
    this.reactor.run().catch((error) => this.report("reactor", error));
    this.#reaper = new Reaper(
      this.libc,
      this.own.isOwn,
      (pid, status) =>
        this.source.publish("process.reaped", {
          pid,
          code: "code" in status ? status.code : null,
          signal: "signal" in status ? status.signal : null,
        }),
      this.report,
    );
    const reaper = this.#reaper;
    const sweep = () => {
      if (reaper.sweep() >= SWEEP_LIMIT) this.timers.set(sweep, 0);
    };
    Deno.addSignalListener("SIGCHLD", sweep);
    // SIGCHLD coalesces: a child that ended between two of them is found by the tick.
    this.#every(reapTickMs, sweep);
  }

  mountPhase(): void {
    const failures: string[] = [];
    for (const row of mounts) {
      try {
        if (row.create) Deno.mkdirSync(row.target, { recursive: true });
        this.#mountRow(row);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    if (failures.length > 0) throw new Error(failures.join("; "));
  }

  /** Mounts one row; what the kernel mounted before us is given our flags. */
  #mountRow(row: MountRow): void {
    try {
      mount(this.libc, row);
    } catch (error) {
      if (!row.mayExist || !(error instanceof SysError) || error.errno !== Errno.EBUSY) throw error;
      mount(this.libc, { ...row, flags: [...row.flags, "remount"] });
    }
  }

  /**
   * Lets whoever waited for the machine have its first answer: all that follows competes with it for
   * the CPU. Ends a moment after the first lease, or when none comes.
   */
  async settlePhase(): Promise<void> {
    if (this.network !== null && this.network.fault !== null) {
      const { promise, resolve } = Promise.withResolvers<void>();
      const unsubscribe = this.bus.subscribe("addr.leased", () => resolve());
      await Promise.race([promise, this.timers.sleep(settleMs)]);
      unsubscribe();
    }
    await this.timers.sleep(quietMs);
  }

  /** Settings and control groups that every child needs; children wait for it. */
  async tasksPhase(): Promise<void> {
    try {
      // Before the first child: until then there is nobody who could send one.
      ignoreSigusr1(this.libc);
      keepHandlersApart(this.libc);
      const failures = this.#writeSysctls();
      await this.#makeGroups();
      if (failures.length > 0) throw new Error(failures.join("; "));
    } finally {
      this.#tasksReady.resolve();
    }
  }

  async #makeGroups(): Promise<void> {
    const root = new Cgroup("/");
    await root.enable(["cpu", "io", "memory", "pids"]);
    const core = new Cgroup("/core");
    const tasks = new Cgroup("/tasks");
    core.create();
    tasks.create();
    // The agent keeps its working set and its share of CPU whatever the tasks do.
    await core.set("memory.min", this.memory.core);
    await core.set("cpu.weight", 1000);
    core.addProcess(Deno.pid);
    await tasks.enable(["cpu", "io", "memory", "pids"]);
    await tasks.set("memory.max", this.memory.tasks);
    await tasks.set("pids.max", tasksPids);
  }

  /** Answers what could not be set. */
  #writeSysctls(): string[] {
    const failures: string[] = [];
    for (const [name, value] of sysctls) {
      try {
        setSysctl(name, value);
      } catch (error) {
        // A setting this kernel was built without has nothing to protect.
        if (error instanceof SysError && error.errno === Errno.ENOENT) continue;
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    return failures;
  }

  /** Drivers of the generic kernel, in the order the image lists them; the stripped one has no list. */
  async modulePhase(): Promise<void> {
    let list: string;
    try {
      // Of the root file system, a few hundred bytes, read before there is anything to keep waiting.
      list = Deno.readTextFileSync("/osym/modules.list");
    } catch (error) {
      if (error instanceof Deno.errors.NotFound) return;
      throw error;
    }
    const failures: string[] = [];
    for (const path of list.split("\n").filter((line) => line !== "")) {
      try {
        await loadModule(this.libc, path);
      } catch (error) {
        failures.push(error instanceof Error ? error.message : String(error));
      }
    }
    if (failures.length > 0) throw new Error(failures.join("; "));
  }

  identityPhase(): void {
    setHostname(this.libc, this.config.hostname);
    const port = findEventPort();
    if (port !== null) {
      this.#eventPort = new EventPort(this.libc, this.timers, port);
      this.#eventPort.follow(this.bus);
    }
    const blob = readFwCfg(launchBlob);
    const facts = blob === null ? null : parseLaunch(new TextDecoder().decode(blob));
    if (facts !== null && "fault" in facts) this.degrade("launch", facts.fault);
    else this.launch = facts;
    const { release, machine } = this.uname;
    this.source.publish("boot.started", {
      kernel: release,
      version,
      machine,
      attempt: this.launch?.attempt ?? 1,
      rescue: this.config.rescue,
      last_stop: this.launch?.lastStop ?? { kind: "unknown" },
    });
    // Published before anybody listened on the port: it gets them again.
    for (const phase of this.phases) {
      this.#eventPort?.write(JSON.stringify({ type: "boot.phase", data: phase }));
    }
    for (const { parameter, expected } of this.#configFaults) {
      this.degrade(`config.${parameter}`, `expected ${expected}`);
    }
  }

  async networkPhase(): Promise<void> {
    this.#rtnl = new Rtnl(this.libc, this.reactor, this.report);
    const resolv = new ResolvConf("/run/resolv.conf");
    const source = this.bus.source("core.network", ["addr.*"]);
    this.network = new Network({
      rtnl: this.#rtnl,
      openPort: (link) => openDhcpPort(this.libc, this.reactor, link.name),
      timers: { now: () => this.timers.now(), after: (ms, run) => this.#after(ms, run) },
      random: () => crypto.getRandomValues(new Uint32Array(1))[0]! / 2 ** 32,
      hostname: this.config.hostname,
      ip: this.config.ip,
      resolvConf: (servers) => resolv.write(servers),
      notify: (type, data, cause) => source.publish(type, data, { cause }),
      degraded: (part, reason) => this.degrade(part, reason),
      recovered: (part) => this.recover(part),
      report: this.report,
    });
    await this.network.start();
  }

  async nervePhase(): Promise<void> {
    const { libc, reactor, report } = this;
    if (this.#rtnl !== null) {
      this.links = new RtnetlinkSensor(this.#rtnl, report);
      await this.sensors.start(this.links);
    }
    await this.sensors.start(new UeventSensor(libc, reactor));
    await this.sensors.start(
      new ProcessSensor({
        libc,
        reactor,
        proc: this.proc,
        causeOf: (cgroup) => this.#actCauses.get(cgroup.match(/^\/tasks\/act-([^/]+)/)?.[1] ?? ""),
        rescan: () => this.table.scan(),
        timers: this.timers,
        report,
      }),
    );
    this.sampler = new Sampler({
      proc: this.proc,
      table: this.table,
      clocks: this.clocks,
      timers: this.timers,
      mounts: () => this.dataMounted ? ["/", "/data", "/run", "/tmp"] : ["/", "/run", "/tmp"],
      room: async (path) => {
        const outcome = await statfs(libc, this.calls, path);
        if (outcome.state !== "done" || outcome.value === null) return null;
        const { totalBytes, availableBytes, totalInodes, freeInodes } = outcome.value;
        return {
          total: totalBytes,
          free: availableBytes,
          inodes: totalInodes,
          inodesFree: freeInodes,
        };
      },
      report,
    });
  }

  async httpPhase(): Promise<void> {
    const { bus, report, machine } = this;
    const clock = { wall: () => Date.now(), mono: () => this.clocks.boottime() };
    const tokens = new Tokens(clock);
    tokens.admit(this.launch?.tokenSha256 ?? await this.#mintToken(), launchPrincipal());
    let assets: Awaited<ReturnType<typeof loadAssets>> = new Map();
    let openapi: string | null = null;
    const app = createApp({
      machine,
      bus,
      tokens,
      clock,
      report,
      policy: {
        hosts: this.launch?.hosts ?? ["localhost"],
        origins: this.launch?.origins ?? [],
        ownAddresses: this.launch === null,
      },
      assets: (path) => assets.get(path),
      openapi: () => openapi,
    });
    this.#http = serve(app, { bus, clock, report }, {
      port: this.config.port,
      connections: this.#connections(),
      every: (ms, run) => this.#every(ms, run),
    });
    // The page may follow a moment later than the API: nobody can have its address yet.
    this.#inBackground("page", async () => {
      assets = await loadAssets("/osym/web");
      openapi = await Deno.readTextFile("/osym/openapi.json");
    });
  }

  readyPhase(): void {
    // Whoever waits for ready would wait for an answer that can not come.
    if (this.#http === null) throw new Error("not ready: HTTP is not bound");
    this.readyMs = Math.round(this.clocks.boottime() / 1000 - this.startedMs);
    this.source.publish("system.ready", {
      ms: this.readyMs,
      kernel_ms: Math.round(this.startedMs),
      port: this.config.port,
      degraded: this.degraded().map((item) => item.part),
    });
  }

  /** What makes the machine faster and would have kept it from being ready: nobody waits for it. */
  async libraryPhase(): Promise<void> {
    this.libc.compile();
    await loadZod();
  }

  /** Late senses: what they tell is no event that could be missed, and must not delay ready. */
  async sensesPhase(): Promise<void> {
    const { libc, reactor } = this;
    await this.sensors.start(this.sampler);
    const onInit = (us: number) => this.kernelMs = Math.round(us / 1000);
    await this.sensors.start(new KmsgSensor(libc, reactor, onInit));
    this.files = new FileSensor(libc, reactor, this.calls, this.timers);
    await this.sensors.start(this.files);
  }

  async dataPhase(): Promise<void> {
    const disk = await openDataDisk({
      calls: this.calls,
      mount: async (device) => {
        const request = {
          source: device,
          target: "/data",
          type: "ext4",
          flags: ["nosuid", "nodev"] as const,
        };
        const outcome = await mountDevice(this.libc, this.calls, request, dataDeadlineMs);
        this.#mountHangs = outcome.state === "timeout";
        if (outcome.state !== "done") return `mount ${device} on /data: ${outcome.state}`;
        return outcome.value
          ? null
          : `mount ${device} on /data: refused by the kernel (see its log)`;
      },
      run: (argv, timeoutMs) => this.#run(argv, timeoutMs),
    });
    this.dataMounted = disk.ok;
    const fault = disk.ok ? await this.#makeCoreFolder() : disk.reason;
    if (fault !== null) this.degrade("data", fault);
    for (const path of this.config.watch) {
      const refused = path === "/data" && !disk.ok ? null : await this.files?.watch(path);
      if (typeof refused === "string") this.degrade(`watch.${path}`, refused);
    }
  }

  /** Null, or why there is none: the disk may be full, read-only or dead. */
  async #makeCoreFolder(): Promise<string | null> {
    const make = () => Deno.mkdir("/data/core", { recursive: true, mode: 0o700 });
    try {
      const made = await this.calls.run(make, dataDeadlineMs);
      return made.state === "done" ? null : `mkdir "/data/core": ${made.state}`;
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  }

  async immunePhase(): Promise<void> {
    const { bus, hands, timers, report } = this;
    // Neither may keep the services from starting.
    this.#attempt("power button", () => this.#openPowerButtons());
    this.#attempt("watchdog", () => this.#armWatchdog());
    this.#reflex = new LeaseReflex({
      bus,
      incidents: this.#incidents,
      hands,
      leases: () => this.network?.leases() ?? [],
      timers,
      report,
    });
    this.#reflex.start();
    // Rescue starts nothing that may be why the machine keeps dying.
    if (!this.config.rescue) await this.supervisor.load();
  }

  /** Rescue starts no mind: it is a child like any other that may be why the machine keeps dying. */
  async cortexPhase(): Promise<void> {
    if (this.config.rescue) {
      this.mindMissing = "the machine is in rescue mode: no mind runs";
      return;
    }
    const { MindHost } = await import("../subsystems/cortex/host.ts");
    const { bus, machine, spawner, groups, timers, report } = this;
    const mind = new MindHost({
      bus,
      view: machine,
      spawner,
      groups,
      limits: mindLimits,
      timers,
      report,
      proc: { read: (path) => Deno.readTextFile(path), link: (path) => Deno.readLink(path) },
      wall: () => Date.now(),
    });
    this.mind = mind;
    this.#stopMind = () => mind.stop();
    // A second runtime starting takes a whole CPU for a while: the first questions asked of the
    // machine itself go first. Whoever asks the mind earlier starts it.
    this.timers.set(() => mind.start(), mindDelayMs);
  }

  async consolePhase(): Promise<void> {
    const path = activeConsole();
    if (path === null) throw new Error("no console: the kernel was given none");
    const { Console } = await import("./console/console.ts");
    const { libc, reactor, report, machine, bus } = this;
    let conversation: InstanceType<typeof Console> | null = null;
    const tty = new Tty(libc, reactor, report, {
      onInput: (bytes) => conversation?.input(bytes),
      onClose: (reason) => {
        conversation?.close();
        this.degrade("console", `${path}: ${reason}`);
      },
    }, { path });
    tty.setRaw();
    conversation = new Console({
      tty,
      echo: true,
      machine,
      bus,
      principal: physicalPresence,
      after: (ms, run) => this.#after(ms, run),
      report,
      token: this.mintedToken,
    });
    this.#tty = tty;
    conversation.start();
  }

  async selftestPhase(): Promise<void> {
    if (!this.config.selftest) return;
    const disk = await findByLabel(this.calls, "osym-test");
    if (disk === undefined || disk.fs === null) {
      throw new Error("osym.selftest=1, and no disk is labelled osym-test");
    }
    const request = {
      source: disk.device,
      target: "/mnt",
      type: disk.fs,
      flags: ["ro", "nosuid", "nodev"] as const,
    };
    const outcome = await mountDevice(this.libc, this.calls, request, dataDeadlineMs);
    if (outcome.state !== "done" || !outcome.value) {
      throw new Error(`mount ${disk.device} on /mnt: not done`);
    }
    const { source, spawner, groups, timers, report } = this;
    await runSelftest("/mnt", { source, spawner, groups, timers, report });
  }

  // --- shutdown, in the order of phases.ts ---------------------------------------

  stopping({ how, reason, cause }: StopRequest): void {
    this.source.publish("system.stopping", { how, reason }, { cause });
    // The last resort: no step may keep the machine from stopping.
    this.timers.set(() => this.#haltNow(how), stopDeadlineMs);
  }

  stopPhaseDone(phase: BootPhase): void {
    this.source.publish("boot.phase", { ...phase, name: `stop.${phase.name}` });
    if (!phase.ok) this.#unclean = true;
  }

  async stopImmune(): Promise<void> {
    this.#reflex?.stop();
    this.#watchdog?.stop();
    await this.supervisor.shutdown(this.config.graceMs + 2000);
  }

  async stopCortex(): Promise<void> {
    await this.#stopMind?.();
  }

  async stopHttp(): Promise<void> {
    await this.#http?.close(500);
  }

  /** TERM to everything but us, a grace, then KILL. */
  async stopTasks(): Promise<void> {
    const others = () =>
      this.proc.pids().filter((pid) =>
        pid !== 1 && this.proc.processStat(pid)?.kernelThread === false
      );
    const remaining = others();
    for (const pid of remaining) kill(this.libc, pid, "SIGTERM");
    const deadline = performance.now() + this.config.graceMs;
    while (others().length > 0 && performance.now() < deadline) {
      this.#reaper?.sweep();
      await this.timers.sleep(20);
    }
    for (const pid of others()) {
      kill(this.libc, pid, "SIGKILL");
      this.#killed++;
    }
    await this.timers.sleep(50);
    this.#reaper?.sweep();
  }

  async stopData(): Promise<void> {
    if (!this.dataMounted && !this.#mountHangs) return;
    this.sensors.stop();
    const outcome = await umountDevice(this.libc, this.calls, "/data", [], 10_000);
    if (outcome.state !== "done") throw new Error(`umount "/data": ${outcome.state}`);
    // A mount that came too late to be used may be there or not.
    if (!outcome.value && this.dataMounted) {
      throw new Error('umount "/data": refused, most likely EBUSY');
    }
    this.dataMounted = false;
  }

  async stopNetwork(): Promise<void> {
    await this.network?.stop();
  }

  async syncDisks(): Promise<void> {
    const outcome = await sync(this.libc, this.calls, 10_000);
    if (outcome.state !== "done") throw new Error(`sync: ${outcome.state}`);
  }

  /** The end. Returns only if the kernel refuses to stop. */
  async powerOff({ how }: StopRequest): Promise<void> {
    this.source.publish("system.stopped", { how, killed: this.#killed, clean: !this.#unclean });
    const deadline = performance.now() + 1000;
    while ((this.#eventPort?.pending ?? 0) > 0 && performance.now() < deadline) {
      await this.timers.sleep(10);
    }
    this.#tty?.write(`\r\n${how === "poweroff" ? "Power off" : "Reboot"}.\r\n`);
    await this.#tty?.drained(1000);
    this.#haltNow(how);
  }

  #haltNow(how: StopRequest["how"]): void {
    reboot(this.libc, how === "poweroff" ? "power-off" : "restart");
  }

  #runs = 0;
  #killed = 0;
  #unclean = false;
  /** A mount of /data that outlasted its deadline: it may still come about. */
  #mountHangs = false;

  /** What is declared lasts until the next boot when there is no data disk; `data` says so then. */
  #serviceStore(): ServiceStore {
    const folder = new FolderStore("/data/services", this.calls);
    return {
      load: async () => this.dataMounted ? await folder.load() : { specs: [], faults: [] },
      save: async (spec) => {
        if (this.dataMounted) await folder.save(spec);
      },
      remove: async (name) => {
        if (this.dataMounted) await folder.remove(name);
      },
    };
  }

  /** A file system with no room left is a part that is missing. */
  #watchRoom(event: AnyEvent): void {
    if (event.type !== "system.sampled") return;
    for (const { mount, total, free, inodes, inodes_free } of event.data.disks) {
      if (mount === "/") continue; // Read-only and made to measure.
      const full = free < total * fullShare || (inodes > 0 && inodes_free < inodes * fullShare);
      const mib = (bytes: number) => `${Math.floor(bytes / 2 ** 20)} MiB`;
      if (full) {
        this.degrade(
          `disk.${mount}`,
          `${mount} is full: ${mib(free)} of ${
            mib(total)
          } and ${inodes_free} of ${inodes} inodes are free`,
        );
      } else this.recover(`disk.${mount}`);
    }
  }

  #rememberAct(event: AnyEvent): void {
    if (event.type !== "action.allowed") return;
    this.#actCauses.set(event.data.action, event.seq);
    const [oldest] = this.#actCauses.keys();
    if (this.#actCauses.size > maxActCauses && oldest !== undefined) this.#actCauses.delete(oldest);
  }

  /** KEY_POWER becomes an orderly stop, proposed like any other act. */
  #openPowerButtons(): void {
    for (const { path } of findPowerButtons()) {
      const keys = new KeyReader(this.libc, path);
      const drain = () =>
        keys.drain((key) => {
          if (key.code !== KEY_POWER || key.state !== "pressed") return;
          // Never rejects.
          void this.hands.act(physicalPresence, "power.off", {}, { reason: "power button" });
        });
      this.reactor.add(keys.fd, ["read"], drain, `power button ${path}`);
    }
  }

  /** A machine without a watchdog is not degraded: not every machine type has one. */
  #armWatchdog(): void {
    let hardware: WatchdogHardware;
    try {
      hardware = new WatchdogHardware(this.libc);
    } catch (error) {
      if (error instanceof SysError && error.errno === Errno.ENOENT) return;
      throw error;
    }
    this.watchdogPath = hardware.path;
    try {
      hardware.setTimeout(watchdogSeconds);
    } catch (error) {
      // Opening it armed it: one that is not going to be fed must not stay so.
      hardware.disarm();
      throw error;
    }
    const { timers, report } = this;
    this.#watchdog = new Watchdog({
      device: hardware,
      timers,
      incidents: this.#incidents,
      report,
      // Where none of the runtime's threads takes work any more, nothing that reads a file answers.
      alive: async () => {
        await Deno.stat("/");
      },
    });
    this.#watchdog.start();
  }

  /** What BusyBox's `poweroff` sends means the same here; any other signal is only noted. */
  #signalled(signal: string): void {
    this.source.publish("system.signalled", { signal });
    if (signal !== "SIGUSR2" && signal !== "SIGPWR") return;
    // Never rejects.
    void this.hands.act(physicalPresence, "power.off", {}, { reason: `${signal} to PID 1` });
  }

  async #renew(link: string | undefined, cause: number): Promise<RenewOutcome> {
    if (this.network === null) return { status: "failed", reason: "the network was not started" };
    const renewal = await this.network.renew(link, cause);
    if (renewal.ok) return { status: "done", leases: [renewal.lease] };
    return { status: renewal.missing ? "not_found" : "failed", reason: renewal.reason };
  }

  /** A machine nobody launched: its console is physical presence, so the token is shown there, once. */
  async #mintToken(): Promise<string> {
    const token = crypto.getRandomValues(new Uint8Array(32)).toBase64({
      alphabet: "base64url",
      omitPadding: true,
    });
    this.mintedToken = token;
    const hash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(token));
    return new Uint8Array(hash).toHex();
  }

  /** Does one thing of several; its failure degrades that part alone. */
  #attempt(part: string, work: () => void): void {
    try {
      work();
    } catch (error) {
      this.degrade(part, error instanceof Error ? error.message : String(error));
    }
  }

  /** Runs what nothing waits for; its failure degrades the part it is for. */
  #inBackground(part: string, work: () => Promise<void>): void {
    work().catch((error) =>
      this.degrade(part, error instanceof Error ? error.message : String(error))
    );
  }

  /** The kernel's list of our connections; without sock_diag none is cut, and that is said. */
  #connections() {
    const { port } = this.config;
    let sockets: SockDiag;
    try {
      sockets = new SockDiag(this.libc, this.reactor);
    } catch (error) {
      this.degrade("http.reaper", error instanceof Error ? error.message : String(error));
      return undefined;
    }
    return {
      list: async () => {
        const answer = await sockets.tcp(undefined, port);
        if (answer.ok) this.recover("http.reaper");
        else this.degrade("http.reaper", `list connections: ${answer.error}`);
        return answer.ok ? answer.sockets : [];
      },
      destroy: async (socket: TcpSocket) => (await sockets.destroy(socket)).ok,
    };
  }

  #every(ms: number, run: () => void): () => void {
    let id = 0;
    const tick = () => {
      id = this.timers.set(tick, ms);
      run();
    };
    id = this.timers.set(tick, ms);
    return () => this.timers.clear(id);
  }

  #after(ms: number, run: () => void): () => void {
    const id = this.timers.set(run, ms);
    return () => this.timers.clear(id);
  }

  /** Runs a program of the image to its end, in a control group of its own. */
  async #run(argv: string[], timeoutMs: number): Promise<{ code: number | null; output: string }> {
    const group = await this.groups.create(`boot-${++this.#runs}`);
    try {
      const spawned = await this.spawner.spawn({ argv, group });
      if (!spawned.ok) return { code: null, output: spawned.fault.message };
      const { timers, report } = this;
      const result = await runToEnd(spawned.child, { timers, report, timeoutMs, maxBytes: 16_384 });
      return {
        code: result.exit?.code ?? null,
        output: capturedText(result.stdout) + capturedText(result.stderr),
      };
    } finally {
      // What the program said counts; a group that stays is a fault of its own.
      await group.remove().catch((error) => this.report(`remove ${group.path}`, error));
    }
  }
}
