/**
 * The file sensor: changes in configured directories by inotify.
 *
 * Owns the watches of exactly those directories (what lies deeper is not
 * watched). It opens no file it is told of.
 */
import type { Source } from "../../bus/bus.ts";
import type { BlockingCalls } from "../../src/kernel/blocking.ts";
import { IN, Inotify, type InotifyEvent, type InotifyLibc } from "../../src/kernel/inotify.ts";
import type { Reactor, Registration } from "../../src/kernel/reactor.ts";
import type { BootTimers } from "../../src/kernel/timers.ts";
import { publishGap, type Sensor } from "./sensor.ts";

const mask = IN.CREATE | IN.CLOSE_WRITE | IN.DELETE | IN.MOVED_FROM | IN.MOVED_TO |
  IN.MOVE_SELF | IN.ONLYDIR;
/** A move's two halves arrive together when both ends are watched. */
const pairMs = 50;
/** How often a directory that went away is looked for. */
const againMs = 1000;

export class FileSensor implements Sensor {
  readonly name = "files";
  readonly grants = ["file.*"];
  readonly #libc: InotifyLibc;
  readonly #reactor: Pick<Reactor, "add">;
  readonly #calls: BlockingCalls;
  readonly #paths = new Map<number, string>();
  /** MOVED_FROM halves waiting for their other half, by cookie. */
  readonly #moving = new Map<number, { from: string; timer: number }>();
  readonly #timers: Pick<BootTimers, "set" | "clear">;
  #inotify: Inotify | null = null;
  #registration: Registration | null = null;
  #source: Source | null = null;

  constructor(
    libc: InotifyLibc,
    reactor: Pick<Reactor, "add">,
    calls: BlockingCalls,
    timers: Pick<BootTimers, "set" | "clear">,
  ) {
    this.#timers = timers;
    this.#libc = libc;
    this.#reactor = reactor;
    this.#calls = calls;
  }

  get listening(): boolean {
    return this.#registration?.active ?? false;
  }

  start(source: Source): void {
    const inotify = new Inotify(this.#libc);
    this.#inotify = inotify;
    this.#source = source;
    const drain = () =>
      inotify.drain({
        onEvent: (event) => this.#changed(source, event),
        onOverflow: () => publishGap(source, null, "IN_Q_OVERFLOW"),
      });
    this.#registration = this.#reactor.add(inotify.fd, ["read"], drain, "inotify");
  }

  /** Watches a directory that may lie on a disk; null when it works, else why not. */
  async watch(path: string): Promise<string | null> {
    if (this.#inotify === null) return `watch "${path}": the sensor is not running`;
    const outcome = await this.#inotify.addOnDisk(this.#calls, path, mask);
    if (outcome.state !== "done") return `watch "${path}": ${outcome.state}`;
    if (outcome.value === null) {
      return `watch "${path}": refused by the kernel (missing, or not a directory)`;
    }
    this.#paths.set(outcome.value, path);
    return null;
  }

  stop(): void {
    for (const { timer } of this.#moving.values()) this.#timers.clear(timer);
    this.#moving.clear();
    this.#registration?.remove();
    this.#inotify?.close();
    this.#inotify = null;
  }

  #changed(source: Source, event: InotifyEvent): void {
    const directoryPath = this.#paths.get(event.watch);
    if (directoryPath === undefined) return;
    // A watch goes along with a directory that is renamed: the path is another's from here on.
    if (event.mask & IN.MOVE_SELF) this.#inotify?.remove(event.watch);
    if (event.mask & (IN.MOVE_SELF | IN.IGNORED)) {
      return this.#ended(source, event.watch, directoryPath);
    }
    if (event.name === "") return;
    const path = `${directoryPath === "/" ? "" : directoryPath}/${event.name}`;
    const directory = (event.mask & IN.ISDIR) !== 0;
    if (event.mask & IN.CREATE) source.publish("file.created", { path, directory });
    else if (event.mask & IN.CLOSE_WRITE) source.publish("file.modified", { path, directory });
    else if (event.mask & IN.DELETE) source.publish("file.deleted", { path, directory });
    else if (event.mask & IN.MOVED_FROM) this.#movedFrom(event.cookie, path, directory);
    else if (event.mask & IN.MOVED_TO) this.#movedTo(event.cookie, path, directory);
  }

  /** The directory was removed, renamed or unmounted. */
  #ended(source: Source, watch: number, path: string): void {
    this.#paths.delete(watch);
    publishGap(source, null, `${path} is gone: nothing in it is seen until it is back`);
    this.#watchAgain(source, path);
  }

  #watchAgain(source: Source, path: string): void {
    this.#timers.set(() => {
      if (this.#inotify === null) return;
      this.watch(path).then((refused) => {
        if (refused !== null) this.#watchAgain(source, path);
        else publishGap(source, null, `${path} is watched again: what it held before is not told`);
      }, () => this.#watchAgain(source, path));
    }, againMs);
  }

  #movedFrom(cookie: number, from: string, directory: boolean): void {
    // Moved out of every watched directory: the other half never comes.
    const timer = this.#timers.set(() => {
      this.#moving.delete(cookie);
      this.#source?.publish("file.moved", { from, directory });
    }, pairMs);
    this.#moving.set(cookie, { from, timer });
  }

  #movedTo(cookie: number, to: string, directory: boolean): void {
    const half = this.#moving.get(cookie);
    this.#timers.clear(half?.timer);
    this.#moving.delete(cookie);
    this.#source?.publish("file.moved", {
      ...(half === undefined ? {} : { from: half.from }),
      to,
      directory,
    });
  }
}
