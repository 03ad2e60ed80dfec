/**
 * Running the host's own programs during a build.
 *
 * Every program's output goes to the build log; an error carries the last of it, so that a
 * failing build explains itself without the log.
 */

import { dirname } from "node:path";

let logPath: string | null = null;

/** A program of the host's failed, or is not there (`code` null). */
export class CommandError extends Error {
  override name = "CommandError";
  /** Where all of its output is; null when nothing was being logged. */
  readonly log: string | null = logPath;
  constructor(readonly argv: readonly string[], readonly code: number | null, output: string) {
    const how = code === null ? "no such program" : `exit status ${code}`;
    const tail = output.trim().split("\n").slice(-12).join("\n");
    super(`run ${argv.slice(0, 3).join(" ")}: ${how}${tail ? `\n${tail}` : ""}`);
  }
}

/** This host lacks or refuses something; the message says what, and what to do. */
export class HostError extends Error {
  override name = "HostError";
}

export interface RunOptions {
  cwd?: string;
  /** Added to the environment, which is inherited unless `clearEnv`. */
  env?: Record<string, string>;
  clearEnv?: boolean;
  stdin?: string;
  /** Called with each piece of output as it comes. */
  onOutput?: (text: string) => void;
  /** Exit statuses that are no failure; [0] by default. */
  accept?: readonly number[];
}

export interface RunResult {
  code: number;
  stdout: string;
  stderr: string;
}

/** From here on the output of every program is appended to this file (emptied first). */
export function logTo(path: string): void {
  Deno.mkdirSync(dirname(path), { recursive: true });
  Deno.writeTextFileSync(path, "");
  logPath = path;
}

/** Runs a program to its end. Throws CommandError. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const child = spawn(argv, options);
  const stdin = options.stdin;
  const [stdout, stderr, status] = await Promise.all([
    collect(child.stdout, options.onOutput),
    collect(child.stderr, options.onOutput),
    child.status,
    stdin === undefined ? null : new Blob([stdin]).stream().pipeTo(child.stdin),
  ]);
  if (logPath !== null) {
    await Deno.writeTextFile(logPath, `$ ${argv.join(" ")}\n${stdout}${stderr}`, { append: true });
  }
  if (!(options.accept ?? [0]).includes(status.code)) {
    throw new CommandError(argv, status.code, stderr || stdout);
  }
  return { code: status.code, stdout, stderr };
}

function spawn(argv: readonly string[], options: RunOptions): Deno.ChildProcess {
  const [program, ...args] = argv;
  if (program === undefined) throw new Error("run a program: empty argument list");
  try {
    return new Deno.Command(program, {
      args,
      cwd: options.cwd,
      // One language for what we parse.
      env: { LC_ALL: "C", ...options.env },
      clearEnv: options.clearEnv ?? false,
      stdin: options.stdin === undefined ? "null" : "piped",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) throw new CommandError(argv, null, "");
    throw error;
  }
}

async function collect(
  stream: Deno.ChildProcess["stdout"],
  onOutput?: (text: string) => void,
): Promise<string> {
  let text = "";
  for await (const chunk of stream.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    onOutput?.(chunk);
  }
  return text;
}

/**
 * Holds a lock file until it is closed, and says so when somebody else has it. A process that
 * dies lets go of it.
 */
export async function lockFile(path: string, why: string): Promise<Deno.FsFile> {
  await Deno.mkdir(dirname(path), { recursive: true });
  const file = await Deno.open(path, { create: true, write: true });
  if (!await file.tryLock(true)) {
    console.error(`Waiting for another run that is ${why}.`);
    await file.lock(true);
  }
  return file;
}

/** Whether a path exists. Errors other than its absence are thrown. */
export async function exists(path: string): Promise<boolean> {
  try {
    await Deno.lstat(path);
    return true;
  } catch (error) {
    if (error instanceof Deno.errors.NotFound) return false;
    throw error;
  }
}

/** SHA-256 as lower case hex. */
export async function sha256(bytes: Uint8Array<ArrayBuffer> | string): Promise<string> {
  const data = typeof bytes === "string" ? new TextEncoder().encode(bytes) : bytes;
  return new Uint8Array(await crypto.subtle.digest("SHA-256", data)).toHex();
}

/** Every regular file below a folder, as paths relative to it, sorted. */
export async function filesBelow(folder: string, prefix = ""): Promise<string[]> {
  const found: string[] = [];
  for await (const entry of Deno.readDir(folder)) {
    const name = prefix + entry.name;
    if (entry.isDirectory) found.push(...await filesBelow(`${folder}/${entry.name}`, `${name}/`));
    else if (entry.isFile) found.push(name);
  }
  return found.sort();
}
