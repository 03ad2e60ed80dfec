/** Openapi: the description of this interface, made when the image was. */
import type { Zod } from "../../../bus/schema.ts";
import { problem } from "../problem.ts";
import { route } from "../route.ts";

const shape = (z: Zod) => z.record(z.string(), z.unknown());

export const openapi = route({
  method: "GET",
  path: "/api/v1/openapi.json",
  scope: "core:api:read",
  summary: "This description, OpenAPI 3.1.",
  refusals: [404],
  response: shape,
  handler({ edge }) {
    const document = edge.openapi();
    if (document === null) return problem(404, "This image carries no description.");
    return new Response(document, { headers: { "content-type": "application/json" } });
  },
});
