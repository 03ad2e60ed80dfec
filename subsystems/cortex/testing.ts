/**
 * Testing: a machine with known numbers, as a mind is told of it.
 *
 * For tests only; nothing of the system imports it.
 */
import type { ProcessInfo, ServiceState } from "../../bus/shapes.ts";
import type { MindState } from "./frames.ts";

const MB = 1_048_576;

export function processOf(about: Partial<ProcessInfo>): ProcessInfo {
  return {
    pid: 100,
    ppid: 1,
    comm: "thing",
    state: "S",
    uid: 0,
    threads: 1,
    rss: 0,
    cpu: 0,
    started_s: 1,
    kernel: false,
    ...about,
  };
}

export function serviceOf(about: Partial<ServiceState>): ServiceState {
  return {
    name: "web",
    argv: ["httpd"],
    state: "running",
    pid: 300,
    restarts: 0,
    backoff_ms: null,
    last_exit: null,
    ...about,
  };
}

/** 512 MB, 128 MB of it in use, one NIC with a lease, two services; nothing is wrong. */
export function stateOfTest(about: Partial<MindState> = {}): MindState {
  const now = Date.UTC(2030, 0, 2, 3, 4, 5);
  return {
    now,
    boot: {
      id: "abcdef0123456789",
      kernel: "6.12.117",
      version: "1.0.0",
      hostname: "osymbiote",
      architecture: "x86_64",
      attempt: 1,
      rescue: false,
      last_stop: { kind: "clean" },
      ready_ms: 1234,
      kernel_ms: 567,
    },
    sample: {
      memory: {
        total: 512 * MB,
        available: 384 * MB,
        free: 300 * MB,
        cached: 90 * MB,
        swap_total: 0,
        swap_free: 0,
      },
      load: [0.25, 0.5, 0.75],
      cpu: { busy: 0.2, user: 0.15, system: 0.05, iowait: 0, count: 2 },
      processes: 5,
      disks: [
        { mount: "/data", total: 1000 * MB, free: 750 * MB, inodes: 64_000, inodes_free: 63_000 },
      ],
      links: [{ link: "eth0", rx_bytes: 1e6, tx_bytes: 1e5, rx_rate: 2048, tx_rate: 1024 }],
      uptime_s: 3723,
    },
    processes: [
      processOf({ pid: 1, ppid: 0, comm: "deno", rss: 96 * MB, cpu: 0.12, threads: 6 }),
      processOf({ pid: 2, ppid: 0, comm: "kthreadd", kernel: true }),
      processOf({ pid: 77, comm: "stress", rss: 24 * MB, cpu: 0.55, state: "R" }),
      processOf({ pid: 300, comm: "httpd", rss: 2 * MB }),
      processOf({ pid: 301, comm: "sh", rss: 1 * MB, uid: 1000 }),
    ],
    process_count: 5,
    network: {
      hostname: "osymbiote",
      links: [
        { index: 1, link: "lo", up: true, carrier: true, mtu: 65_536, addresses: [] },
        {
          index: 2,
          link: "eth0",
          mac: "52:54:00:12:34:56",
          up: true,
          carrier: true,
          mtu: 1500,
          addresses: [{ address: "10.0.2.15", prefix: 24 }],
        },
      ],
      routes: [{ destination: "default", gateway: "10.0.2.2", link: "eth0" }],
      leases: [{
        link: "eth0",
        address: "10.0.2.15",
        prefix: 24,
        router: "10.0.2.2",
        dns: ["10.0.2.3"],
        server: "10.0.2.2",
        lease_s: 86_400,
        t1_s: 43_200,
        t2_s: 75_600,
      }],
      dns: ["10.0.2.3"],
    },
    services: [
      serviceOf({}),
      serviceOf({
        name: "dns",
        pid: 310,
        restarts: 2,
        last_exit: { code: null, signal: "SIGKILL" },
      }),
    ],
    service_count: about.services?.length ?? 2,
    degraded: [],
    sensors: [{ name: "kmsg", state: "running", gaps: 0 }],
    events: [
      { seq: 10, type: "system.ready", time: now - 3_700_000, data: { ms: 1234 } },
      {
        seq: 40,
        type: "addr.leased",
        time: now - 90_000,
        data: { link: "eth0", address: "10.0.2.15", server: "10.0.2.2" },
      },
      { seq: 41, type: "link.down", time: now - 5000, data: { index: 2, link: "eth0" } },
      { seq: 42, type: "link.up", time: now - 2000, cause: 41, data: { index: 2, link: "eth0" } },
    ],
    ...about,
  };
}
