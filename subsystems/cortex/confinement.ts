/**
 * Confinement: how a process is caged, as the kernel shows it and not as anyone meant it.
 *
 * Owns the reading of /proc/<pid>/status, ns and cgroup (proc_pid_status(5), namespaces(7)) and the
 * minimum a mind must have.
 */

/** What is read of /proc. Rejects with the kernel's code. */
export interface ProcView {
  read(path: string): Promise<string>;
  link(path: string): Promise<string>;
}

export interface Confinement {
  /** Real, effective, saved and file-system user; the four must agree. */
  readonly uids: readonly number[];
  /** Whether the network namespace is another than ours. */
  readonly netns: boolean;
  readonly no_new_privs: boolean;
  readonly seccomp: number;
  /** Effective, permitted, inheritable and ambient capabilities in one mask: 0n is none at all. */
  readonly capabilities: bigint;
  readonly cgroup: string;
}

/** What the kernel shows of `pid`. Rejects when the process is gone or /proc reads otherwise. */
export async function confinementOf(pid: number, proc: ProcView): Promise<Confinement> {
  const [status, cgroups, own, theirs] = await Promise.all([
    proc.read(`/proc/${pid}/status`),
    proc.read(`/proc/${pid}/cgroup`),
    proc.link("/proc/self/ns/net"),
    proc.link(`/proc/${pid}/ns/net`),
  ]);
  const field = (name: string): string => {
    const line = status.split("\n").find((line) => line.startsWith(`${name}:`));
    if (line === undefined) throw new Error(`/proc/${pid}/status: no ${name}`);
    return line.slice(name.length + 1).trim();
  };
  const mask = (name: string) => BigInt(`0x${field(name)}`);
  return {
    uids: field("Uid").split(/\s+/).map(Number),
    netns: own !== theirs,
    no_new_privs: field("NoNewPrivs") === "1",
    seccomp: Number(field("Seccomp")),
    capabilities: mask("CapEff") | mask("CapPrm") | mask("CapInh") | mask("CapAmb"),
    // The unified hierarchy's line is `0::/path`.
    cgroup: cgroups.split("\n").find((line) => line.startsWith("0::"))?.slice(3) ?? "",
  };
}

/**
 * What is missing for a mind to run; empty when nothing is.
 *
 * @param cgroup where it was put; null where there is no cgroup2
 */
export function missing(found: Confinement, uid: number, cgroup: string | null): string[] {
  const faults: string[] = [];
  if (found.uids.length !== 4 || !found.uids.every((id) => id === uid)) {
    faults.push(`its users are ${found.uids.join(" ")}, expected ${uid}`);
  }
  if (!found.netns) faults.push("it is in our network namespace");
  if (!found.no_new_privs) faults.push("it may gain privileges by exec");
  if (found.capabilities !== 0n) {
    faults.push(`it holds capabilities 0x${found.capabilities.toString(16)}`);
  }
  if (cgroup !== null && found.cgroup !== cgroup) {
    faults.push(`it is in cgroup ${JSON.stringify(found.cgroup)}, expected ${cgroup}`);
  }
  return faults;
}
