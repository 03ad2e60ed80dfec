/**
 * Kernel modules.
 *
 * Owns: loading one, uncompressed, and the list of those loaded.
 * Must never: find dependencies: the image lists modules in order. Wrong order shows as ENOENT.
 *
 * init_module(2) and not finit_module(2): the C libraries export only the first, and the file is
 * then read by Deno, off the main thread. proc_modules(5).
 */

import { Errno, fromDeno, SysError } from "./errno.ts";
import { cstr } from "./layout.ts";
import type { Libc } from "./libc.ts";

/**
 * Loads a module's file.
 *
 * @param parameters `"debug=1 mode=2"`
 * @returns `"loaded"`, or `"present"` when it was (EEXIST)
 * @throws SysError ENOENT (a missing file, or a symbol of a module not yet loaded), ENOEXEC, …
 */
export async function loadModule(
  libc: Libc<"init_module">,
  path: string,
  parameters = "",
): Promise<"loaded" | "present"> {
  let image: Uint8Array<ArrayBuffer>;
  try {
    image = await Deno.readFile(path);
  } catch (error) {
    throw fromDeno(error, "read module", JSON.stringify(path));
  }
  const values = cstr(parameters);
  if (libc.sym.init_module(image, BigInt(image.byteLength), values) >= 0) return "loaded";
  const errno = libc.errno();
  if (errno === Errno.EEXIST) return "present";
  throw new SysError("init_module", JSON.stringify(path), errno);
}

/** A line of /proc/modules. */
export interface LoadedModule {
  readonly name: string;
  readonly bytes: number;
  readonly users: readonly string[];
  readonly live: boolean;
}

/** Parses /proc/modules; a line that is not a module's is left out. */
export function parseModules(text: string): LoadedModule[] {
  const modules: LoadedModule[] = [];
  for (const line of text.split("\n")) {
    const [name, bytes, , users, state] = line.split(" ");
    if (name === undefined || users === undefined || state === undefined) continue;
    if (!/^\d+$/.test(bytes ?? "")) continue;
    modules.push({
      name,
      bytes: Number(bytes),
      users: users === "-" ? [] : users.split(",").filter((user) => user !== ""),
      live: state === "Live",
    });
  }
  return modules;
}
