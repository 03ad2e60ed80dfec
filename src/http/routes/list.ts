/** List: the shape every list answers with. */
import type { SchemaFactory, Zod } from "../../../bus/schema.ts";

/** `{items, next?}`; `next` continues where the items end. */
export const listOf = (item: SchemaFactory) => (z: Zod) =>
  z.object({ items: z.array(item(z)), next: z.string().optional() });

/** A whole number written in a query, within bounds. */
export const wholeNumber = (z: Zod, min: number, max: number) =>
  z.string()
    .regex(/^\d{1,9}$/, `expected a whole number ${min}–${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `expected a whole number ${min}–${max}`);
