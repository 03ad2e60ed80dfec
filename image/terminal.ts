/**
 * The person's terminal joined to the guest's serial console.
 *
 * Bytes go both ways unchanged; only the interrupt key is ours. The terminal is put back as it
 * was whatever happens.
 */

/** Writes all bytes to standard output. */
export function writeOut(bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length;) done += Deno.stdout.writeSync(bytes.subarray(done));
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
  for (let n; (n = await Deno.stdin.read(buffer)) !== null;) onBytes(buffer.slice(0, n));
}

/** Gives the terminal back. */
export function restoreTerminal(): void {
  if (!raw) return;
  Deno.stdin.setRaw(false);
  raw = false;
}
