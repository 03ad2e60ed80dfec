/**
 * The page in Chromium against a real guest: what happens in the machine is on
 * the screen within a second, and the page lives through the machine's reboots.
 */
import assert from "node:assert/strict";
import type { Browser } from "playwright-core";
import { sharedGuest } from "../vm/shared.ts";
import { firstShown, launchBrowser, live, openPage } from "./browser.ts";
import type { WatchedPage } from "./browser.ts";

/** From the cause in the machine to the row on the screen, ms. */
const seenWithin = 1_000;

let browser: Browser;
Deno.test.beforeAll(async () => {
  browser = await launchBrowser();
});
Deno.test.afterAll(async () => {
  await browser.close();
});

/**
 * A second card, so that one can lose its carrier while the page is heard through the other.
 * It is virtio, which interrupts: the kernel's e1000 driver looks at its link every 2 s only
 * (its watchdog_task is pending already when the interrupt would schedule it).
 */
const guest = sharedGuest({
  relaunch: true,
  qemu: [
    ...["-netdev", "user,id=second,net=10.0.3.0/24"],
    ...["-device", "virtio-net-pci,romfile=,netdev=second"],
  ],
});

/** A test with a live page; Chromium's and the guest's handles are not the test's to close. */
function liveTest(name: string, run: (watched: WatchedPage) => Promise<void>): void {
  Deno.test({
    name,
    sanitizeOps: false,
    sanitizeResources: false,
    fn: async () => {
      const { url, token } = await guest();
      await using watched = await openPage(browser, url, token);
      await live(watched.page);
      await run(watched);
    },
  });
}

liveTest(
  "the page of a real machine complains of nothing and shows what it is",
  async (watched) => {
    const { page, complaints, foreign } = watched;
    const { boot } = await (await guest()).json<{ boot: { id: string; hostname: string } }>(
      "/api/v1/status",
    );
    assert.match(await page.title(), new RegExp(`${boot.hostname} · OSymbiote$`));
    await page.locator(".facts", { hasText: boot.id.slice(0, 8) }).waitFor();
    await page.getByLabel("Search the events").fill("system.ready");
    await page.locator(".row .type", { hasText: "system.ready" }).waitFor();
    const names = await page.locator(".timeline tbody th").allTextContents();
    for (const name of ["kernel", "runtime", "guard", "http"]) {
      assert.ok(
        names.includes(name),
        name,
      );
    }
    await page.locator("#processes").scrollIntoViewIfNeeded();
    await page.locator(".processes tbody tr").first().waitFor();
    const userland = Number((await page.locator("#userland").textContent())?.match(/^\d+/)?.[0]);
    assert.ok(userland >= 1 && userland <= 4, `${userland} userland processes when idle`);
    await page.locator("#network").scrollIntoViewIfNeeded();
    await page.locator(".addresses", { hasText: /^\d+\.\d+\.\d+\.\d+\/\d+/ }).first().waitFor();
    assert.match(await page.locator(".tile .value").nth(1).textContent() ?? "", /^\d[\d.]* %$/);
    assert.equal(await page.locator(".faults").count(), 0);
    assert.deepEqual(complaints, []);
    assert.deepEqual(foreign, []);
  },
);

liveTest("a process started in the guest is on the page within a second", async ({ page }) => {
  await page.getByLabel("Search the events").fill("process.execed sleep");
  const shown = await firstShown(page, "process.execed", "sleep");
  const began = Date.now();
  const [result, at] = await Promise.all([
    (await guest()).exec(["/bin/sleep", "0.3"]),
    shown(),
  ]);
  assert.equal(result.code, 0);
  assert.ok(at - began < seenWithin, `shown after ${at - began} ms`);
});

liveTest("a link that loses its carrier is on the page within a second", async ({ page }) => {
  const machine = await guest();
  await page.getByLabel("Search the events").fill("link.");
  const shown = await firstShown(page, "link.down", "eth1");
  const began = Date.now();
  await machine.qmp("set_link", { name: "second", up: false });
  const at = await shown();
  assert.ok(at - began < seenWithin, `shown after ${at - began} ms`);
  await page.locator("#network").scrollIntoViewIfNeeded();
  await page.locator(".link", { hasText: "eth1" }).getByText("no carrier").waitFor();
  await machine.qmp("set_link", { name: "second", up: true });
  await page.locator(".link", { hasText: "eth1" }).getByText(/^carrier$/).waitFor();
});

liveTest("a person asks, runs a command and renews the lease on the page", async (watched) => {
  const { page, complaints } = watched;
  await page.getByLabel("Your question").fill("What uses the memory?");
  await page.getByRole("button", { name: "Ask", exact: true }).click();
  await page.locator(".reply").waitFor({ timeout: 30_000 });
  await page.locator(".mode.survival").waitFor();
  await page.getByLabel("Command line").first().fill("sh -c 'echo out; echo err >&2; exit 3'");
  await page.getByRole("button", { name: "Run", exact: true }).click();
  await page.getByText("exit 3").waitFor();
  assert.equal((await page.locator("pre.stdout").textContent())?.trim(), "out");
  assert.equal((await page.locator("pre.stderr").textContent())?.trim(), "err");
  await page.getByRole("button", { name: "Renew lease" }).click();
  await page.locator("#network").getByText(/^done in \d+ ms$/).waitFor();
  assert.deepEqual(complaints, []);
});

liveTest("a service is declared and restarted on the page", async ({ page, complaints }) => {
  await page.getByText("Declare a service").click();
  await page.getByLabel("Name", { exact: true }).fill("sleeper");
  await page.locator(".declare").getByLabel("Command line").fill("/bin/sleep 3600");
  await page.getByRole("button", { name: "Declare", exact: true }).click();
  const service = page.locator(".services li", { hasText: "sleeper" });
  await service.getByText("running", { exact: true }).waitFor();
  const pid = service.getByText(/^pid \d+/);
  const before = (await pid.textContent())?.match(/^pid \d+/)?.[0];
  assert.ok(before !== undefined);
  await service.getByRole("button", { name: "Restart sleeper" }).click();
  await service.getByText(/^done in \d+ ms$/).waitFor();
  // The act is done before the page has heard of its end: until then it shows the old process.
  await pid.filter({ hasNotText: new RegExp(`^${before}\\b`) }).waitFor();
  await service.getByText("running", { exact: true }).waitFor();
  await service.getByRole("button", { name: "Stop sleeper" }).click();
  await service.getByText("stopped", { exact: true }).waitFor();
  assert.deepEqual(complaints, []);
});

liveTest("the page survives a reboot of the guest", async ({ page, foreign }) => {
  const machine = await guest();
  const before = await page.locator(".facts dd").nth(1).textContent();
  await page.getByText("Menu", { exact: true }).click();
  await page.getByRole("button", { name: "Reboot" }).click();
  await page.getByRole("button", { name: "Press again: reboot" }).click();
  await page.locator("#connection", { hasText: /^(reconnecting|connecting|offline)/ }).waitFor();
  await machine.nextReady();
  const notice = page.locator(".concerns li", { hasText: "The machine rebooted" });
  await notice.waitFor({ timeout: 60_000 });
  await live(page);
  assert.match(await notice.textContent() ?? "", /clean reboot/);
  assert.notEqual(await page.locator(".facts dd").nth(1).textContent(), before);
  await page.getByLabel("Search the events").fill("process.execed sleep");
  await page.locator(".row.reboot").waitFor();
  const shown = await firstShown(page, "process.execed", "sleep");
  const began = Date.now();
  await machine.exec(["/bin/sleep", "0.1"]);
  assert.ok(await shown() - began < seenWithin);
  assert.equal(await page.locator(".faults").count(), 0);
  assert.deepEqual(foreign, []);
});
