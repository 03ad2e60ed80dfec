/** So many at once, so many waiting. */
import assert from "node:assert/strict";
import fc from "fast-check";
import { Turns } from "./turns.ts";

Deno.test("Turns.take() gives turns in order and refuses what would wait too long", async () => {
  const turns = new Turns(1, 2);
  assert.equal(await turns.take(), "mine");
  const order: string[] = [];
  const waiting = ["a", "b"].map(async (name) => {
    assert.equal(await turns.take(), "mine");
    order.push(name);
    turns.done();
  });
  assert.equal(await turns.take(), "full");
  assert.equal(turns.waiting, 2);
  turns.done();
  await Promise.all(waiting);
  assert.deepEqual(order, ["a", "b"]);
  assert.deepEqual([turns.running, turns.waiting], [0, 0]);
});

Deno.test("Turns.take() forgets a waiter that went away", async () => {
  const turns = new Turns(1, 2);
  await turns.take();
  const controller = new AbortController();
  const gone = turns.take(controller.signal);
  const next = turns.take(new AbortController().signal);
  controller.abort();
  assert.equal(await gone, "aborted");
  assert.equal(await turns.take(AbortSignal.abort()), "aborted");
  turns.done();
  assert.equal(await next, "mine");
  turns.done();
  assert.equal(turns.running, 0);
});

Deno.test("Turns never runs more than its number, and gives every turn back", async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.integer({ min: 1, max: 4 }),
      fc.integer({ min: 0, max: 4 }),
      fc.array(fc.constantFrom("take", "abortable", "abort", "done"), { maxLength: 40 }),
      async (atOnce, limit, steps) => {
        const turns = new Turns(atOnce, limit);
        const controllers: AbortController[] = [];
        let held = 0;
        for (const step of steps) {
          if (step === "done" && held > 0) {
            held--;
            turns.done();
          } else if (step === "abort") controllers.pop()?.abort();
          else if (step === "take" || step === "abortable") {
            const controller = new AbortController();
            if (step === "abortable") controllers.push(controller);
            turns.take(controller.signal).then((got) => {
              if (got === "mine") held++;
            });
          }
          await new Promise((resolve) => queueMicrotask(() => resolve(null)));
          assert(turns.running <= atOnce && turns.waiting <= limit);
          assert(held <= turns.running);
        }
        await Promise.resolve();
        for (; held > 0; await Promise.resolve()) {
          held--;
          turns.done();
          await Promise.resolve();
        }
        assert.deepEqual([turns.running, turns.waiting], [0, 0]);
      },
    ),
  );
});
