/**
 * Configuration of one boot: kernel command line over built-in defaults,
 * parsed once.
 *
 * Owns the names of `osym.*` parameters. It must never throw: a parameter that
 * is not understood keeps its default and becomes a fault to report.
 */

export interface Config {
  hostname: string;
  /** HTTP port. */
  port: number;
  /** `<addr>/<prefix>[,gw=…][,dns=…]`, or null for DHCP. */
  ip: string | null;
  /** Few services, no mind: what a machine that keeps dying boots into. */
  rescue: boolean;
  /** Run the test disk labelled `osym-test`. */
  selftest: boolean;
  /** Directories whose changes become `file.*` events. */
  watch: string[];
  /** Ceiling of the event history, MiB; null sizes it by memory. */
  ringMb: number | null;
  /** Grace between TERM and KILL at shutdown, ms. */
  graceMs: number;
}

export interface ConfigFault {
  parameter: string;
  expected: string;
}

const defaults: Config = {
  hostname: "osymbiote",
  port: 80,
  ip: null,
  rescue: false,
  selftest: false,
  watch: ["/data", "/run", "/tmp"],
  ringMb: null,
  graceMs: 3000,
};

type Setter = (config: Config, value: string) => string | null;

function integer(name: "port" | "ringMb" | "graceMs", min: number, max: number): Setter {
  return (config, value) => {
    const number = Number(value);
    if (!/^\d+$/.test(value) || number < min || number > max) return `an integer ${min}–${max}`;
    config[name] = number;
    return null;
  };
}

function flag(name: "rescue" | "selftest"): Setter {
  return (config, value) => {
    if (value !== "0" && value !== "1") return "0 or 1";
    config[name] = value === "1";
    return null;
  };
}

const setters: Record<string, Setter> = {
  "osym.hostname": (config, value) => {
    if (!/^[a-z0-9]([a-z0-9-]{0,62}[a-z0-9])?$/.test(value)) return "a host name (RFC 1123 label)";
    config.hostname = value;
    return null;
  },
  "osym.port": integer("port", 1, 65535),
  "osym.ring_mb": integer("ringMb", 1, 64),
  "osym.grace_ms": integer("graceMs", 0, 60_000),
  "osym.rescue": flag("rescue"),
  "osym.selftest": flag("selftest"),
  "osym.ip": (config, value) => {
    if (value.length === 0 || value.length > 128) return "<address>/<prefix>[,gw=…][,dns=…]";
    config.ip = value;
    return null;
  },
  "osym.watch": (config, value) => {
    const paths = value.split(",");
    if (!paths.every((path) => path.startsWith("/"))) return "absolute paths, comma-separated";
    config.watch = paths;
    return null;
  },
};

/** Parses /proc/cmdline's text; unknown `osym.*` names and bad values are faults, not errors. */
export function parseConfig(commandLine: string): { config: Config; faults: ConfigFault[] } {
  const config: Config = { ...defaults, watch: [...defaults.watch] };
  const faults: ConfigFault[] = [];
  const kernelPart = commandLine.split(/\s--\s/, 1)[0] ?? "";
  for (const word of kernelPart.split(/\s+/)) {
    if (!word.startsWith("osym.")) continue;
    const equals = word.indexOf("=");
    const name = equals < 0 ? word : word.slice(0, equals);
    const setter = setters[name];
    if (setter === undefined) {
      faults.push({ parameter: name, expected: `one of ${Object.keys(setters).join(", ")}` });
      continue;
    }
    const expected = setter(config, equals < 0 ? "1" : word.slice(equals + 1));
    if (expected !== null) faults.push({ parameter: name, expected });
  }
  return { config, faults };
}
