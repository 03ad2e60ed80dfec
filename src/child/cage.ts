/**
 * Cage: the command that confines what follows it, made of BusyBox applets alone.
 *
 * Owns the words of that command. Must be run by root, and never forks: every link of the chain
 * execs the next, so that the pid that was spawned is the program's and its exit is the program's.
 *
 * What it gives: a network namespace of its own with nothing but a downed `lo`, own IPC and UTS
 * namespaces, no_new_privs, another user with no capability in effect, and that user's own groups.
 * What it does not give yet: a mount or pid namespace, seccomp, Landlock, an empty bounding set
 * (without effect under no_new_privs, as long as no capability is inheritable).
 */

/** BusyBox 1.35 or later, with the applets unshare, setpriv and su. */
export interface CageTools {
  readonly busybox: string;
  readonly sh: string;
}

export const defaultCageTools: CageTools = { busybox: "/bin/busybox", sh: "/bin/sh" };

/**
 * `argv` as the user named `user` (a name in /etc/passwd: BusyBox's su takes no number).
 *
 * no_new_privs goes first: it forbids gaining by exec, not root's own setuid(2). After `--` su
 * takes no more options, so that argv's own are left to it; `-p` keeps its environment clean.
 */
export function cagedArgv(
  user: string,
  argv: readonly string[],
  { busybox, sh }: CageTools = defaultCageTools,
): string[] {
  return [
    ...[busybox, "unshare", "-n", "-i", "-u"],
    ...[busybox, "setpriv", "--nnp"],
    ...[busybox, "su", "-p", "-s", sh, "-c", 'unset SHLVL OLDPWD PWD; exec "$@"', "--", user, "sh"],
    ...argv,
  ];
}
