/**
 * The command line of `./run.sh`: what may be said, and what is wrong with what was said.
 *
 * Pure: reads no environment and checks no file. An error names the option and what was expected.
 */

import type { Arch, MachineType, NicChoice } from "./qemu.ts";

/** Everything that can be said about a machine to boot. */
export interface BootOptions {
  /** "auto": stripped if it is built, generic otherwise. */
  kernel: "auto" | "stripped" | "generic" | { path: string };
  machine: MachineType | null;
  arch: Arch | null;
  memoryMb: number;
  /** Null: as many as are useful. */
  cpus: number | null;
  /** Null: .out/data.img. */
  data: { path: string } | "none" | null;
  /** 0: any free port. */
  httpPort: number;
  listen: string;
  nic: NicChoice;
  accel: "auto" | "kvm" | "tcg";
  net: "user" | "silent" | "none";
  /** Further kernel parameters. */
  append: string[];
  /** A folder shown to the guest as the read-only self-test disk. */
  selftest: string | null;
  headless: boolean;
  json: boolean;
  verbose: boolean;
}

/** What a user typed wrong; the message is for them, without a stack. */
export class OptionError extends Error {
  override name = "OptionError";
}

/** The options of a machine nobody said anything about. */
export function defaultOptions(): BootOptions {
  return {
    kernel: "auto",
    machine: null,
    arch: null,
    memoryMb: 512,
    cpus: null,
    data: null,
    httpPort: 8422,
    listen: "127.0.0.1",
    nic: "virtio",
    accel: "auto",
    net: "user",
    append: [],
    selftest: null,
    headless: false,
    json: false,
    verbose: false,
  };
}

interface Option {
  /** What stands after the name in the help; empty for a switch. */
  value: string;
  help: string;
  set(options: BootOptions, value: string, fail: (expected: string) => never): void;
}

/** One of a few words. */
function oneOf<T extends string>(
  words: readonly T[],
  assign: (options: BootOptions, word: T) => void,
): Option["set"] {
  return (options, value, fail) => {
    const word = words.find((candidate) => candidate === value);
    if (word === undefined) fail(`one of ${words.join(", ")}`);
    assign(options, word as T);
  };
}

/** A whole number in a range. */
function integer(
  least: number,
  most: number,
  assign: (options: BootOptions, n: number) => void,
): Option["set"] {
  return (options, value, fail) => {
    const n = /^\d+$/.test(value) ? Number(value) : NaN;
    if (!(n >= least && n <= most)) fail(`a whole number from ${least} to ${most}`);
    assign(options, n);
  };
}

const OPTIONS: Readonly<Record<string, Option>> = {
  "--kernel": {
    value: "stripped|generic|PATH",
    help: "which kernel (stripped if it is built, else generic)",
    set(options, value, fail) {
      if (value === "stripped" || value === "generic") options.kernel = value;
      else if (value.includes("/")) options.kernel = { path: value };
      else fail("stripped, generic, or a path with a / in it");
    },
  },
  "--machine": {
    value: "q35|pc|microvm",
    help: "QEMU's machine type (q35)",
    set: oneOf(["q35", "pc", "microvm", "virt"], (options, word) => options.machine = word),
  },
  "--arch": {
    value: "x86_64|aarch64",
    help: "the guest's architecture (this host's)",
    set: oneOf(["x86_64", "aarch64"], (options, word) => options.arch = word),
  },
  "--memory": {
    value: "MB",
    help: "memory in MiB (512)",
    set: integer(64, 1 << 20, (options, n) => options.memoryMb = n),
  },
  "--cpus": {
    value: "N",
    help: "virtual processors (2, or 1 where more do not help)",
    set: integer(1, 64, (options, n) => options.cpus = n),
  },
  "--data": {
    value: "PATH|none",
    help: "the data disk, made if missing (.out/data.img)",
    set: (options, value) => options.data = value === "none" ? "none" : { path: value },
  },
  "--http-port": {
    value: "N",
    help: "host port of the page and API, 0 for any free one (8422)",
    set: integer(0, 65535, (options, n) => options.httpPort = n),
  },
  "--listen": {
    value: "ADDR",
    help: "host IPv4 address that port is bound to (127.0.0.1)",
    set(options, value, fail) {
      const parts = value.split(".");
      const ok = parts.length === 4 &&
        parts.every((part) => /^\d{1,3}$/.test(part) && Number(part) <= 255);
      if (!ok) fail("an IPv4 address such as 127.0.0.1 or 0.0.0.0");
      options.listen = value;
    },
  },
  "--nic": {
    value: "virtio|e1000|both",
    help: "network cards (virtio)",
    set: oneOf(["virtio", "e1000", "both"], (options, word) => options.nic = word),
  },
  "--accel": {
    value: "auto|kvm|tcg",
    help: "hardware virtualisation or emulation (auto)",
    set: oneOf(["auto", "kvm", "tcg"], (options, word) => options.accel = word),
  },
  "--net": {
    value: "user|silent|none",
    help: "QEMU's own network, a card nobody answers on, or no card (user)",
    set: oneOf(["user", "silent", "none"], (options, word) => options.net = word),
  },
  "--append": {
    value: "WORD",
    help: "a further kernel parameter, such as osym.ip=10.0.2.15/24 (repeatable)",
    set(options, value, fail) {
      if (!/^[\w.-]+(=[^\s"]*)?$/.test(value)) fail("one kernel parameter, NAME or NAME=VALUE");
      options.append.push(value);
    },
  },
  "--selftest": {
    value: "FOLDER",
    help: "show the guest a folder as its self-test disk",
    set: (options, value) => options.selftest = value,
  },
  "--headless": {
    value: "",
    help: "no console: stay until SIGTERM, which powers the machine off",
    set: (options) => options.headless = true,
  },
  "--json": {
    value: "",
    help: "with --headless: one line of JSON when ready",
    set: (options) => options.json = true,
  },
  "--verbose": {
    value: "",
    help: "show the console from the start",
    set: (options) => options.verbose = true,
  },
};

/** Parses boot options. Throws OptionError. Values: `--name value` or `--name=value`. */
export function parseBootOptions(argv: readonly string[]): BootOptions {
  const options = defaultOptions();
  for (let i = 0; i < argv.length; i++) {
    const word = argv[i] ?? "";
    const equals = word.startsWith("--") ? word.indexOf("=") : -1;
    const name = equals < 0 ? word : word.slice(0, equals);
    const option = OPTIONS[name];
    if (option === undefined) throw new OptionError(`${word}: unknown option; see ./run.sh --help`);
    let value = "";
    if (option.value !== "") {
      const given = equals < 0 ? argv[++i] : word.slice(equals + 1);
      if (given === undefined || given === "") {
        throw new OptionError(`${name}: expected ${option.value}`);
      }
      value = given;
    } else if (equals >= 0) {
      throw new OptionError(`${name}: takes no value`);
    }
    option.set(options, value, (expected) => {
      throw new OptionError(`${name} ${value}: expected ${expected}`);
    });
  }
  if (options.json && !options.headless) throw new OptionError("--json: needs --headless");
  return options;
}

/** The machine types of an architecture, the default first. */
export function machineFor(arch: Arch, wanted: MachineType | null): MachineType {
  const types: readonly MachineType[] = arch === "aarch64" ? ["virt"] : ["q35", "pc", "microvm"];
  if (wanted === null) return types[0] ?? "q35";
  if (types.includes(wanted)) return wanted;
  throw new OptionError(`--machine ${wanted}: expected one of ${types.join(", ")} on ${arch}`);
}

/** The options, one a line, for `--help`. */
export function optionHelp(): string {
  return Object.entries(OPTIONS)
    .map(([name, option]) => `  ${`${name} ${option.value}`.padEnd(32)} ${option.help}`)
    .join("\n");
}
