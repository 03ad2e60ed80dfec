/**
 * Reading what `deno test --junit-path` wrote.
 *
 * Owns the counting rule: a test with steps counts by its steps. Pure; the XML is Deno's own, not
 * anybody's, so a few patterns read it.
 */

/** One test or step. */
export interface TestCase {
  file: string;
  name: string;
  result: "passed" | "failed" | "skipped";
  /** A failure's message, or why it was skipped. */
  detail: string;
}

/** All tests of a report. Steps are named `test > step`. */
export function parseJunit(xml: string): TestCase[] {
  const cases: TestCase[] = [];
  const pattern =
    /<testcase name="([^"]*)" classname="([^"]*)"[^>]*?(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  for (const [, name = "", file = "", body = ""] of xml.matchAll(pattern)) {
    const failure = /<(?:failure|error) message="([^"]*)"/.exec(body);
    const result = failure ? "failed" : body.includes("<skipped") ? "skipped" : "passed";
    const detail = failure ? failure[1] ?? "" : result === "skipped" ? skipReason(name) : "";
    cases.push({ file: unescape(file), name: unescape(name), result, detail: unescape(detail) });
  }
  return leaves(cases);
}

/** Drops a test whose steps speak for it. A test that failed beside its steps stays. */
function leaves(cases: readonly TestCase[]): TestCase[] {
  return cases.filter((test) => {
    const steps = cases.filter((other) =>
      other.file === test.file && other.name.startsWith(`${test.name} > `)
    );
    if (steps.length === 0) return true;
    return test.result === "failed" && steps.every((step) => step.result !== "failed");
  });
}

/** The reason of a skipped test that gives none. */
export const NO_REASON = "no reason given";

/** A test that can not run here says why at the end of its name: `… [skipped: reason]`. */
function skipReason(name: string): string {
  return /\[skipped: ([^\]]*)\]/.exec(name)?.[1] ?? NO_REASON;
}

function unescape(text: string): string {
  const entities: Record<string, string> = { lt: "<", gt: ">", quot: '"', apos: "'", amp: "&" };
  return text.replace(/&(lt|gt|quot|apos|amp);/g, (_, name: string) => entities[name] ?? "");
}

/** The last line of a run, in the form every reader of test logs knows. */
export function summaryLine(cases: readonly TestCase[]): string {
  const count = (result: TestCase["result"]): number =>
    cases.filter((test) => test.result === result).length;
  const skipped = count("skipped");
  return `${count("passed")} passed, ${count("failed")} failed` +
    (skipped > 0 ? `, ${skipped} skipped` : "");
}
