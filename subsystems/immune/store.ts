/**
 * Store: what was declared, one JSON file a service, kept over boots.
 *
 * Owns the folder and the way a file gets there whole: written beside, synced, renamed, and the
 * folder synced (rename(2), fsync(2)). Must never wait longer than a deadline for a disk, or let a
 * damaged file be more than one fault.
 */
import type { ServiceSpec } from "../../bus/shapes.ts";

/** What was found in the folder; faults name the file. */
export interface Loaded {
  /** Parsed JSON, not yet checked against the schema. */
  readonly specs: readonly { readonly file: string; readonly value: unknown }[];
  readonly faults: readonly string[];
}

export interface ServiceStore {
  /** Never rejects. */
  load(): Promise<Loaded>;
  /** Rejects when the spec is not safely on the disk. */
  save(spec: ServiceSpec): Promise<void>;
  /** Rejects when it may still be there after a boot; a file that never was is no fault. */
  remove(name: string): Promise<void>;
}

/** Runs a call that may hang with its disk; see src/kernel/blocking.ts. */
export interface Leash {
  run<T>(call: () => Promise<T>, deadlineMs: number): Promise<
    { readonly state: "done"; readonly value: T } | { readonly state: "timeout" | "busy" }
  >;
}

/** Longest file read: no honest spec comes near it. */
const maxFileBytes = 65_536;
/** More files than this are a mistake, not a machine. */
const maxFiles = 512;
const deadlineMs = 5000;

export class FolderStore implements ServiceStore {
  constructor(readonly folder: string, readonly leash: Leash) {}

  async load(): Promise<Loaded> {
    try {
      return await this.#wait(`read ${JSON.stringify(this.folder)}`, () => this.#load());
    } catch (error) {
      return { specs: [], faults: [(error as Error).message] };
    }
  }

  async save(spec: ServiceSpec): Promise<void> {
    const path = this.#path(spec.name);
    const text = `${JSON.stringify(spec, null, 2)}\n`;
    await this.#wait(`write ${JSON.stringify(path)}`, async () => {
      await Deno.mkdir(this.folder, { recursive: true, mode: 0o700 });
      const beside = `${path}.new`;
      const file = await Deno.open(beside, {
        write: true,
        create: true,
        truncate: true,
        mode: 0o600,
      });
      try {
        await writeAll(file, new TextEncoder().encode(text));
        await file.sync();
      } finally {
        file.close();
      }
      await Deno.rename(beside, path);
      await this.#syncFolder();
    });
  }

  async remove(name: string): Promise<void> {
    const path = this.#path(name);
    await this.#wait(`remove ${JSON.stringify(path)}`, async () => {
      try {
        await Deno.remove(path);
      } catch (error) {
        if (error instanceof Deno.errors.NotFound) return;
        throw error;
      }
      await this.#syncFolder();
    });
  }

  /** A service's name is checked by its schema to hold no slash and no leading dot. */
  #path(name: string): string {
    return `${this.folder}/${name}.json`;
  }

  async #load(): Promise<Loaded> {
    const specs: { file: string; value: unknown }[] = [];
    const faults: string[] = [];
    const names: string[] = [];
    try {
      for await (const entry of Deno.readDir(this.folder)) {
        if (entry.name.endsWith(".json")) names.push(entry.name);
      }
    } catch (error) {
      if (!(error instanceof Deno.errors.NotFound)) throw error;
    }
    for (const file of names.sort().slice(0, maxFiles)) {
      try {
        specs.push({ file, value: await this.#read(`${this.folder}/${file}`) });
      } catch (error) {
        faults.push(`${file}: ${(error as Error).message}`);
      }
    }
    if (names.length > maxFiles) faults.push(`${names.length} files, read the first ${maxFiles}`);
    return { specs, faults };
  }

  async #read(path: string): Promise<unknown> {
    // A fifo or a device in its place would hold the reader for ever.
    const { isFile, size } = await Deno.lstat(path);
    if (!isFile) throw new Error("not a regular file");
    if (size > maxFileBytes) throw new Error(`${size} bytes, at most ${maxFileBytes}`);
    return JSON.parse(await Deno.readTextFile(path));
  }

  async #syncFolder(): Promise<void> {
    const folder = await Deno.open(this.folder);
    try {
      await folder.sync();
    } finally {
      folder.close();
    }
  }

  async #wait<T>(what: string, call: () => Promise<T>): Promise<T> {
    let outcome;
    try {
      outcome = await this.leash.run(call, deadlineMs);
    } catch (error) {
      throw new Error(`${what}: ${causeOf(error)}`);
    }
    if (outcome.state === "done") return outcome.value;
    throw new Error(
      outcome.state === "busy"
        ? `${what}: too many calls hang on a disk already`
        : `${what}: ETIMEDOUT after ${deadlineMs} ms`,
    );
  }
}

function causeOf(error: unknown): string {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : error instanceof Error ? error.message : String(error);
}

async function writeAll(file: Deno.FsFile, bytes: Uint8Array): Promise<void> {
  for (let at = 0; at < bytes.length;) at += await file.write(bytes.subarray(at));
}
