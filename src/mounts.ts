/**
 * The file systems of a booted machine, as a table.
 *
 * Owns which are mounted where and with which flags; /proc comes before the
 * table (boot.js) and is only remounted here.
 */

export interface MountRow {
  readonly source: string;
  readonly target: string;
  readonly type: string;
  readonly flags: readonly ("nosuid" | "nodev" | "noexec" | "remount")[];
  readonly data: string;
  /** The kernel may have mounted it already (CONFIG_DEVTMPFS_MOUNT). */
  readonly mayExist?: boolean;
  /** Directory to create first, on a file system mounted by an earlier row. */
  readonly create?: boolean;
}

export const mounts: readonly MountRow[] = [
  // hidepid=2: a process sees only its own user's processes in /proc.
  {
    source: "proc",
    target: "/proc",
    type: "proc",
    flags: ["nosuid", "nodev", "noexec", "remount"],
    data: "hidepid=2",
  },
  {
    source: "sysfs",
    target: "/sys",
    type: "sysfs",
    flags: ["nosuid", "nodev", "noexec"],
    data: "",
  },
  {
    source: "devtmpfs",
    target: "/dev",
    type: "devtmpfs",
    flags: ["nosuid"],
    data: "mode=0755",
    mayExist: true,
  },
  {
    source: "devpts",
    target: "/dev/pts",
    type: "devpts",
    flags: ["nosuid", "noexec"],
    data: "gid=0,mode=620,ptmxmode=666",
    create: true,
  },
  {
    source: "tmpfs",
    target: "/dev/shm",
    type: "tmpfs",
    flags: ["nosuid", "nodev"],
    data: "mode=1777,size=25%",
    create: true,
  },
  {
    source: "tmpfs",
    target: "/run",
    type: "tmpfs",
    flags: ["nosuid", "nodev"],
    data: "mode=0755,size=10%",
  },
  {
    source: "tmpfs",
    target: "/tmp",
    type: "tmpfs",
    flags: ["nosuid", "nodev"],
    data: "mode=1777,size=25%",
  },
  // memory_recursiveprot: memory.min of /core protects what runs below it.
  {
    source: "cgroup2",
    target: "/sys/fs/cgroup",
    type: "cgroup2",
    flags: ["nosuid", "nodev", "noexec"],
    data: "memory_recursiveprot",
  },
];

/** Kernel settings written once at boot, /proc/sys path → value. */
export const sysctls: readonly (readonly [string, string])[] = [
  ["kernel/dmesg_restrict", "1"],
  ["kernel/kptr_restrict", "2"],
  ["kernel/yama/ptrace_scope", "2"],
  // A core dump would be the agent's memory, tokens included, on disk.
  ["kernel/core_pattern", "|/bin/false"],
  ["kernel/panic_on_oops", "1"],
  // Namespaces are made by PID 1 for its cages, never by what runs in them.
  ["user/max_user_namespaces", "0"],
  ["kernel/unprivileged_bpf_disabled", "2"],
  ["fs/protected_hardlinks", "1"],
  ["fs/protected_symlinks", "1"],
  ["fs/protected_fifos", "2"],
  ["fs/protected_regular", "2"],
  ["fs/inotify/max_user_watches", "65536"],
  ["net/ipv4/tcp_syncookies", "1"],
  // Broadcast DHCP answers arrive before there is an address to check their way back against.
  ["net/ipv4/conf/all/rp_filter", "0"],
  // Of two links, the one that lost its carrier must not keep the route.
  ["net/ipv4/conf/all/ignore_routes_with_linkdown", "1"],
  // A dead client's connection is noticed in minutes, not in two hours.
  ["net/ipv4/tcp_keepalive_time", "120"],
  ["vm/overcommit_memory", "0"],
];
