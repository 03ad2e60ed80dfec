/**
 * Program: finds the file a command names, the way execvp(3) does.
 *
 * Owns the search only. A child is started through a wrapper that execs, whose own failure would
 * look like an exit code of the program; so what can be known before is looked up here and refused
 * by its real name. What changes between this look and the exec still ends in 126 or 127.
 */

/** What is asked of the file system. Rejects with the kernel's code in `code`. */
export interface FileFacts {
  stat(path: string): Promise<{ isFile: boolean; isDirectory: boolean; mode: number | null }>;
}

/** Why a child could not be started: the call, the kernel's code, and both in one line. */
export interface SpawnFault {
  readonly operation: "chdir" | "exec" | "env" | "cgroup" | "spawn";
  readonly code: string;
  readonly message: string;
}

/** Where programs are looked for when the environment names no PATH. */
export const defaultPath = "/bin:/sbin:/usr/bin:/usr/sbin";

export const denoFiles: FileFacts = {
  stat: (path) => Deno.stat(path),
};

/** Makes the fault of an operation on something named. */
export function spawnFault(
  operation: SpawnFault["operation"],
  detail: string,
  code: string,
): SpawnFault {
  return { operation, code, message: `${operation} ${JSON.stringify(detail)}: ${code}` };
}

/** The kernel's code of an error of a `Deno.*` call, `"EIO"` when it has none. */
export function codeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : "EIO";
}

const permanent = new Set([
  "ENOENT",
  "EACCES",
  "ENOTDIR",
  "ELOOP",
  "ENAMETOOLONG",
  "ENOEXEC",
  "EISDIR",
  "EINVAL",
  "E2BIG",
  "EPERM",
]);

/** Whether trying again cannot help: the command itself is wrong, not the moment. */
export function isPermanent(fault: SpawnFault): boolean {
  return fault.operation !== "cgroup" && permanent.has(fault.code);
}

function absolute(cwd: string, path: string): string {
  return path.startsWith("/") ? path : `${cwd === "/" ? "" : cwd}/${path}`;
}

/**
 * The path of the program `name` for a child with this working directory and PATH (execvp(3): a
 * name with a slash is a path; an executable nobody may run is EACCES, none at all ENOENT).
 */
export async function findProgram(
  files: FileFacts,
  name: string,
  cwd: string,
  path: string = defaultPath,
): Promise<string | SpawnFault> {
  if (name === "") return spawnFault("exec", name, "ENOENT");
  const candidates = name.includes("/")
    ? [absolute(cwd, name)]
    : path.split(":").map((folder) => absolute(cwd, `${folder === "" ? "." : folder}/${name}`));
  let code = "ENOENT";
  for (const candidate of candidates) {
    try {
      const { isFile, mode } = await files.stat(candidate);
      if (isFile && (mode === null || (mode & 0o111) !== 0)) return candidate;
      code = "EACCES";
    } catch (error) {
      const cause = codeOf(error);
      if (cause !== "ENOENT" && cause !== "ENOTDIR") code = cause;
      else if (name.includes("/")) code = cause;
    }
  }
  return spawnFault("exec", name, code);
}

/** Null when `cwd` is a directory, else the fault. */
export async function checkDirectory(files: FileFacts, cwd: string): Promise<SpawnFault | null> {
  try {
    return (await files.stat(cwd)).isDirectory ? null : spawnFault("chdir", cwd, "ENOTDIR");
  } catch (error) {
    return spawnFault("chdir", cwd, codeOf(error));
  }
}
