/** Tests of api.ts. */
import assert from "node:assert/strict";
import { Api, describeProblem, readProblem } from "./api.ts";

const api = (answer: (request: Request) => Response | Promise<Response>) =>
  new Api(
    "http://localhost:8422/page/",
    () => "tok",
    (input, init) => Promise.resolve(answer(new Request(input as URL, init))),
  );

Deno.test("Api.exec() sends the credential and the body under the page's own root", async () => {
  let seen: [string, string, unknown] | null = null;
  const answer = await api(async (request) => {
    seen = [request.url, request.headers.get("authorization")!, await request.json()];
    return Response.json({ code: 0 });
  }).exec(["ls"], 1_000);
  assert.ok(answer.ok && answer.value.code === 0);
  assert.deepEqual(seen, [
    "http://localhost:8422/page/api/v1/exec",
    "Bearer tok",
    { argv: ["ls"], timeout_ms: 1_000 },
  ]);
});

Deno.test("Api.service() quotes the name into the path", async () => {
  let path = "";
  await api((request) => {
    path = new URL(request.url).pathname;
    return new Response(null, { status: 204 });
  }).service("a/b", "restart");
  assert.equal(path, "/page/api/v1/services/a%2Fb/restart");
});

Deno.test("Api.status() answers refusals, nonsense and silence as problems", async () => {
  const refused = await api(() =>
    Response.json({ title: "Unauthorized", detail: "no such token" }, { status: 401 })
  ).status();
  assert.ok(!refused.ok);
  assert.equal(describeProblem(refused.problem), "401 Unauthorized: no such token");
  const nonsense = await api(() => new Response("<html>")).status();
  assert.ok(!nonsense.ok && nonsense.problem.title === "unreadable answer");
  const foreign = await api(() => Response.json({ boot: {}, degraded: null })).status();
  assert.ok(!foreign.ok);
  assert.equal(foreign.problem.detail, "status: expected degraded to be array, got null");
  const dead = await api(() => Promise.reject(new TypeError("Failed to fetch"))).status();
  assert.ok(!dead.ok && dead.problem.title === "unreachable" && dead.problem.status === 0);
});

Deno.test("readProblem() keeps the status of a body that is no problem", () => {
  assert.deepEqual(readProblem(502, "Bad gateway"), {
    title: "refused",
    status: 502,
    detail: "Bad gateway",
    errors: [],
  });
  assert.equal(
    describeProblem(
      readProblem(
        400,
        '{"title":"Invalid","errors":["too short",{"field":"argv","expected":"a list"},4]}',
      ),
    ),
    "400 Invalid (too short; argv: a list; 4)",
  );
});
