/**
 * The first answer of a machine through its forwarded port.
 *
 * Owns when to ask. QEMU accepts a forwarded connection before the guest has an address, and then
 * repeats its question only after seconds: so nothing is asked until the machine itself says that
 * it is reachable, and when an answer is slow to come the question is asked again beside it.
 */

/** How long after the first question the second follows; each further one waits twice that. ms. */
const FIRST_PATIENCE_MS = 250;
/** Between a refusal (nobody listens yet) and the next question, ms. */
const PAUSE_MS = 5;

/** No answer within the deadline; the message says how the last question failed. */
export class NoAnswer extends Error {
  override name = "NoAnswer";
}

/**
 * Asks until one answer is a 200, whole. Throws NoAnswer after `deadlineMs`, or when `over()` says
 * that there is nobody left to ask.
 */
export async function firstAnswer(
  url: string,
  authorization: string,
  deadlineMs: number,
  over: () => boolean,
): Promise<void> {
  const deadline = performance.now() + deadlineMs;
  const questions = new AbortController();
  const answered = Promise.withResolvers<true>();
  let last = "no question was answered";
  /** Resolves when this question has failed; an answer resolves `answered`. */
  const ask = async (): Promise<false> => {
    try {
      const response = await fetch(url, {
        headers: { authorization, connection: "close" },
        signal: questions.signal,
      });
      const text = await response.text();
      if (response.status === 200) answered.resolve(true);
      else last = `${response.status} ${text.slice(0, 200)}`;
    } catch (error) {
      if (!questions.signal.aborted) last = error instanceof Error ? error.message : String(error);
    }
    return false;
  };
  try {
    for (let patience = FIRST_PATIENCE_MS; performance.now() < deadline && !over();) {
      const failed = ask();
      const late = pause(patience).then(() => null);
      const outcome = await Promise.race([answered.promise, failed, late]);
      if (outcome === true) return;
      if (outcome === null) patience *= 2;
      else await pause(PAUSE_MS);
    }
  } finally {
    questions.abort();
  }
  throw new NoAnswer(`ask ${new URL(url).pathname}: no answer in time: ${last}`);
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
