/** Exec: one program, run to its end. */
import { execArgs, execResult } from "../../../bus/shapes.ts";
import { actRefusals, answerAct } from "../act.ts";
import { route } from "../route.ts";

export const exec = route({
  method: "POST",
  path: "/api/v1/exec",
  scope: "shell:exec:exec",
  summary: "Runs a program and answers its output and how it ended. Ends with the connection.",
  body: execArgs,
  refusals: actRefusals,
  response: execResult,
  handler: async ({ edge, principal, body, request }) =>
    answerAct(
      await edge.machine.act(principal, "exec.run", body, { signal: request.signal }),
    ),
});
