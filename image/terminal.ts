/**
 * The person's terminal joined to the guest's serial console.
 *
 * Bytes go both ways unchanged; only the interrupt key is ours. The terminal is put back as it
 * was whatever happens. A terminal that is closed must not take the machine with it: nothing here
 * throws for want of somebody to read.
 */

/** Writes all bytes to standard output. */
export function writeOut(bytes: Uint8Array): void {
  writeAll(Deno.stdout, bytes);
}

/** Writes all bytes to standard error. */
export function writeError(bytes: Uint8Array): void {
  writeAll(Deno.stderr, bytes);
}

/** Writes a line to standard error. */
export function complain(line: string): void {
  writeError(new TextEncoder().encode(`${line}\n`));
}

function writeAll(stream: typeof Deno.stdout, bytes: Uint8Array): void {
  try {
    for (let done = 0; done < bytes.length;) done += stream.writeSync(bytes.subarray(done));
  } catch (error) {
    if (!isClosed(error)) throw error;
  }
}

/** EIO: the terminal was closed. EPIPE: the program that read us has ended. */
function isClosed(error: unknown): boolean {
  return error instanceof Error && "code" in error &&
    (error.code === "EIO" || error.code === "EPIPE");
}

/** Writes text to standard output; in raw mode lines need a carriage return. */
export function print(text: string): void {
  writeOut(new TextEncoder().encode(raw ? text.replaceAll("\n", "\r\n") : text));
}

let raw = false;

/**
 * Reads standard input for ever and hands on what is typed. On a terminal each key goes at once
 * and is not echoed here (the guest echoes it), while Ctrl-C still raises SIGINT.
 */
export async function readKeys(onBytes: (bytes: Uint8Array) => void): Promise<void> {
  if (Deno.stdin.isTerminal()) {
    Deno.stdin.setRaw(true, { cbreak: true });
    raw = true;
  }
  const buffer = new Uint8Array(4096);
  try {
    for (let n; (n = await Deno.stdin.read(buffer)) !== null;) onBytes(buffer.slice(0, n));
  } catch (error) {
    if (!isClosed(error)) throw error;
  }
}

/** Gives the terminal back. */
export function restoreTerminal(): void {
  if (!raw) return;
  raw = false;
  try {
    Deno.stdin.setRaw(false);
  } catch (error) {
    if (!isClosed(error)) throw error;
  }
}
