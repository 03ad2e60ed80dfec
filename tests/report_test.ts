import assert from "node:assert/strict";
import { parseJunit, summaryLine } from "./report.ts";

const XML = `<?xml version="1.0" encoding="UTF-8"?>
<testsuites name="deno test" tests="6" failures="2" errors="0" time="0.005">
    <testsuite name="./a_test.ts" tests="6" disabled="1" errors="0" failures="2">
        <testcase name="A.x() does &amp; works" classname="./a_test.ts" time="0.002" line="1" col="6">
            <failure message="1 test step failed">1 test step failed.</failure>
        </testcase>
        <testcase name="B.y() waits [skipped: no root]" classname="./a_test.ts" time="0.000">
            <skipped/>
        </testcase>
        <testcase name="C.z() ends" classname="./a_test.ts" time="0.000" line="3" col="6">
        </testcase>
        <testcase name="A.x() does &amp; works &gt; one" classname="./a_test.ts" time="0.000">
        </testcase>
        <testcase name="A.x() does &amp; works &gt; two" classname="./a_test.ts" time="0.001">
            <failure message="Uncaught Error: bad &lt;x&gt;">Error: bad &lt;x&gt;</failure>
        </testcase>
    </testsuite>
</testsuites>
`;

Deno.test("parseJunit() counts a test by its steps", () => {
  const cases = parseJunit(XML);
  assert.deepEqual(cases.map((test) => [test.name, test.result, test.detail]), [
    ["B.y() waits [skipped: no root]", "skipped", "no root"],
    ["C.z() ends", "passed", ""],
    ["A.x() does & works > one", "passed", ""],
    ["A.x() does & works > two", "failed", "Uncaught Error: bad <x>"],
  ]);
});

Deno.test("parseJunit() keeps a test that failed although its steps passed", () => {
  const xml = XML.replace(/<failure message="Uncaught[\s\S]*?<\/failure>/, "");
  const failed = parseJunit(xml).filter((test) => test.result === "failed");
  assert.deepEqual(failed.map((test) => test.name), ["A.x() does & works"]);
});

Deno.test("summaryLine() says passed, failed and, if any, skipped", () => {
  assert.equal(summaryLine(parseJunit(XML)), "2 passed, 1 failed, 1 skipped");
  assert.equal(summaryLine([]), "0 passed, 0 failed");
});
