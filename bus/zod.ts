/**
 * zod, as far as schemas speak of it: named one by one, so that a bundle leaves the rest out, which
 * is three quarters of the library.
 *
 * Owns that list. Imported by `schema.ts` alone, and there only when somebody first needs it.
 */
export {
  array,
  boolean,
  discriminatedUnion,
  enum,
  literal,
  null,
  number,
  object,
  record,
  string,
  tuple,
  union,
  unknown,
} from "zod";
