/**
 * Schema: how zod reaches the rest of the system. Schemas are written as
 * factories over `z`, so that declaring one costs nothing and the library
 * (20 ms natively, ten times that under emulation) stays off the boot path
 * until something from outside has to be checked.
 *
 * Must never import zod statically: types only.
 */
import type { z } from "zod";

export type Zod = typeof import("./zod.ts");
/** A schema that is built when somebody first needs it. */
export type SchemaFactory = (z: Zod) => z.ZodType;
/** What a schema factory's values look like after parsing. */
export type Infer<F extends SchemaFactory> = z.infer<ReturnType<F>>;

let loaded: Zod | null = null;
const built = new Map<SchemaFactory, z.ZodType>();

/** Loads zod once; later calls answer the same library. */
export async function loadZod(): Promise<Zod> {
  loaded ??= await import("./zod.ts");
  return loaded;
}

/** The schema a factory makes, built on first use and kept. Loads zod when needed. */
export async function schema<F extends SchemaFactory>(factory: F): Promise<ReturnType<F>> {
  const z = await loadZod();
  let made = built.get(factory);
  if (made === undefined) {
    made = factory(z);
    built.set(factory, made);
  }
  return made as ReturnType<F>;
}

/** The same without waiting: null until `loadZod()` has resolved once. */
export function schemaNow<F extends SchemaFactory>(factory: F): ReturnType<F> | null {
  if (loaded === null) return null;
  let made = built.get(factory);
  if (made === undefined) {
    made = factory(loaded);
    built.set(factory, made);
  }
  return made as ReturnType<F>;
}

/** One line per fault, each naming the field and what was expected of it. */
export function faults(error: z.ZodError): string[] {
  return error.issues.map((issue) => `${issue.path.join(".") || "(body)"}: ${issue.message}`);
}
