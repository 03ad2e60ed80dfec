/**
 * The resolver's configuration file, resolv.conf(5).
 *
 * Owns one path on a memory file system: a reader sees the old text or the new
 * one, never half of either.
 */
import type { Applied } from "./dhcp_client.ts";

/** glibc reads this many name servers and ignores the rest (MAXNS). */
const maxServers = 3;

/** The file's text for these name servers, in order. */
export function renderResolvConf(servers: readonly string[]): string {
  const lines = [...new Set(servers)].slice(0, maxServers).map((server) =>
    `nameserver ${server}\n`
  );
  return `# written by osymbiote's network; changes are lost\n${lines.join("")}`;
}

export class ResolvConf {
  readonly #path: string;
  #written: string | null = null;
  /** Two writers of one temporary file would tear it. */
  #last: Promise<unknown> = Promise.resolve();

  /** @param path such as `"/run/resolv.conf"`, on a file system that never waits for a disk */
  constructor(path: string) {
    this.#path = path;
  }

  /** Replaces the file when its text would change. Never rejects. */
  write(servers: readonly string[]): Promise<Applied> {
    const write = this.#last.then(() => this.#replace(renderResolvConf(servers)));
    this.#last = write;
    return write;
  }

  async #replace(text: string): Promise<Applied> {
    if (text === this.#written) return { ok: true };
    try {
      const temporary = `${this.#path}.new`;
      await Deno.writeTextFile(temporary, text, { mode: 0o644 });
      await Deno.rename(temporary, this.#path);
      this.#written = text;
      return { ok: true };
    } catch (error) {
      const reason = error instanceof Error ? error.message : String(error);
      return { ok: false, reason: `write "${this.#path}": ${reason}` };
    }
  }
}
