/**
 * Family: the first word of an event's type, its place in the filter and its
 * colour (the class `fam-<family>` of style.css).
 *
 * Pure. A family that is not listed here works, in the colour of `other`.
 */

/** What the page can colour, in the order of the filter's chips. */
export const families = [
  "kernel",
  "device",
  "link",
  "addr",
  "route",
  "process",
  "file",
  "pressure",
  "memory",
  "disk",
  "sensor",
  "clock",
  "boot",
  "system",
  "service",
  "incident",
  "action",
  "mind",
  "goal",
  "llm",
  "auth",
  "audit",
  "journal",
  "http",
  "bus",
  "selftest",
  "sample",
] as const;

const order = new Map<string, number>(families.map((family, index) => [family, index]));

/**
 * Readings come once a second for ever. They are a family of their own, shown
 * in the tiles and kept out of the list unless asked for.
 */
export const quietFamily = "sample";

/** The family an event type belongs to. */
export function familyOf(type: string): string {
  if (type === "system.sampled") return quietFamily;
  const dot = type.indexOf(".");
  return dot < 0 ? type : type.slice(0, dot);
}

/** The style class of a family. */
export function familyClass(family: string): string {
  return order.has(family) ? `fam-${family}` : "fam-other";
}

/** Compares two families by their place in the filter, unknown ones last. */
export function byFamily(a: string, b: string): number {
  const last = families.length;
  return (order.get(a) ?? last) - (order.get(b) ?? last) || (a < b ? -1 : a > b ? 1 : 0);
}
