/**
 * The page in Chromium against a machine of 96 MB: with it open, one more stream takes ten thousand
 * events, and the machine and the page live on.
 */
import assert from "node:assert/strict";
import type { Browser } from "playwright-core";
import { Feed } from "../vm/feed.ts";
import { endsWithoutFault, sharedGuest } from "../vm/shared.ts";
import { firstShown, launchBrowser, live, openPage } from "./browser.ts";

let browser: Browser;
Deno.test.beforeAll(async () => {
  browser = await launchBrowser();
});
Deno.test.afterAll(async () => {
  await browser.close();
});

const guest = sharedGuest({ memoryMb: 96, readyTimeoutMs: 120_000 });

const EVENTS = 10_000;
/**
 * Events made at a time, by a shell that starts nothing: under emulation a process takes longer than
 * all the events it makes. Two files in turn, because the kernel merges a change with one like it.
 */
const BATCH = 1_000;
const MAKE = `i=0; while [ $i -lt ${BATCH} ]; do : > /tmp/a; : > /tmp/b; i=$((i+2)); done`;

Deno.test({
  name:
    `in 96 MB, the page open in Chromium, one stream takes ${EVENTS} events without an OOM kill`,
  // Chromium's and the guest's handles are not the test's to close.
  sanitizeOps: false,
  sanitizeResources: false,
  fn: async () => {
    const machine = await guest();
    await using watched = await openPage(browser, machine.url, machine.token);
    const { page, complaints } = watched;
    await live(page);
    let reconnects = 0;
    page.on("websocket", () => reconnects++);
    const received = async () =>
      Number((await page.locator("#received").textContent())?.replace(/\D/g, ""));
    const before = await received();

    await using feed = await Feed.open(machine, { type: "file.*" });
    for (let made = BATCH; made <= EVENTS; made += BATCH) {
      await machine.shell(MAKE);
      // The first item is the greeting.
      await feed.wait(`${made} events`, () => feed.items.length > made);
    }
    assert.equal(feed.closed, null, "the stream is still open");
    assert.deepEqual(feed.gaps, []);

    const shown = await firstShown(page, "process.execed", "sleep");
    await page.getByLabel("Search the events").fill("process.execed sleep");
    const { code } = await machine.exec(["/bin/sleep", "0.1"]);
    assert.equal(code, 0);
    await shown();
    assert.match(await page.locator("#connection").textContent() ?? "", /^live/);
    assert.equal(reconnects, 0, "on the connection it opened first");
    assert.ok(await received() - before >= EVENTS, "the page heard them too");
    assert.deepEqual(complaints, []);

    const log = await machine.shell("dmesg");
    assert.match(log, /Linux version/);
    assert.doesNotMatch(log, /Out of memory|oom-kill/);
    assert.match(await machine.shell("cat /proc/vmstat"), /^oom_kill 0$/m);
  },
});

endsWithoutFault("small, with a page in Chromium,", guest);
