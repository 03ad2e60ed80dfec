/** Processes: the process table. */
import type { Zod } from "../../../bus/schema.ts";
import { processInfo } from "../../../bus/shapes.ts";
import { route } from "../route.ts";
import { listOf, wholeNumber } from "./list.ts";

const query = (z: Zod) =>
  z.object({
    after: wholeNumber(z, 0, 4_194_304).optional(),
    limit: wholeNumber(z, 1, 5_000).optional(),
  }).strict();

export const processes = route({
  method: "GET",
  path: "/api/v1/processes",
  scope: "nerve:process:read",
  summary: "The process table by pid, at most `limit` rows (1,000) after the pid `after`.",
  query,
  response: listOf(processInfo),
  handler({ edge, query: { after = 0, limit = 1_000 } }) {
    const rows = edge.machine.processes().filter(({ pid }) => pid > after)
      .sort((a, b) => a.pid - b.pid);
    const items = rows.slice(0, limit);
    return rows.length > limit ? { items, next: String(items.at(-1)!.pid) } : { items };
  },
});
