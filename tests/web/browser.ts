/**
 * Browser: Debian's Chromium driven by playwright-core, for tests of the page
 * against the mock and against a real guest.
 *
 * Every page opened here is watched: what it complains about and whatever it
 * asks of another origin is kept for the test to judge.
 */
import { existsSync } from "node:fs";
import { chromium } from "playwright-core";
import type { Browser, Page } from "playwright-core";

const executablePath = Deno.env.get("OSYM_CHROMIUM") ?? "/usr/bin/chromium";

/** What a page is looked at with. */
export interface View {
  /** CSS pixels. */
  readonly width?: number;
  readonly height?: number;
  readonly scheme?: "light" | "dark";
  readonly reducedMotion?: boolean;
}

/** A page with what it did wrong so far. */
export interface WatchedPage extends AsyncDisposable {
  readonly page: Page;
  /** Console errors and warnings, uncaught errors, refusals of the content security policy. */
  readonly complaints: string[];
  /** Requests that left the page's origin. */
  readonly foreign: string[];
}

/** Starts a headless Chromium. Throws, naming the package, when there is none. */
export function launchBrowser(): Promise<Browser> {
  if (!existsSync(executablePath)) {
    throw new Error(
      `launch "${executablePath}": ENOENT: apt-get install -y --no-install-recommends chromium ` +
        `(or set OSYM_CHROMIUM)`,
    );
  }
  return chromium.launch({
    executablePath,
    args: [
      "--headless",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-quic",
      "--no-first-run",
      "--disable-background-networking",
      "--disable-component-update",
      "--disable-sync",
    ],
  });
}

/** Opens the page in a fresh context; `token` null opens it without one. */
export async function openPage(
  browser: Browser,
  url: string,
  token: string | null,
  view: View = {},
): Promise<WatchedPage> {
  const context = await browser.newContext({
    viewport: { width: view.width ?? 1440, height: view.height ?? 900 },
    colorScheme: view.scheme ?? "light",
    reducedMotion: view.reducedMotion ? "reduce" : "no-preference",
    locale: "en-GB",
  });
  const page = await context.newPage();
  page.setDefaultTimeout(10_000);
  const complaints: string[] = [];
  const foreign: string[] = [];
  const { host } = new URL(url);
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") complaints.push(message.text());
  });
  page.on("pageerror", (error) => complaints.push(`uncaught: ${error.message}`));
  const ask = (address: string) => {
    const asked = new URL(address);
    if (asked.host !== host && !/^(?:about|blob|data):$/.test(asked.protocol)) {
      foreign.push(address);
    }
  };
  page.on("request", (request) => ask(request.url()));
  page.on("websocket", (socket) => ask(socket.url()));
  await page.goto(new URL(token === null ? "/" : `/#token=${token}`, url).href);
  return { page, complaints, foreign, [Symbol.asyncDispose]: () => context.close() };
}

/** Waits until a page of a real guest is connected and shows an event. */
export async function live(page: Page): Promise<void> {
  await page.locator("#connection", { hasText: /^live/ }).waitFor({ timeout: 60_000 });
  await page.locator(".row").first().waitFor();
}

/** Has the page look for a row; answers when it first showed, by the page's own eyes (wall ms). */
export async function firstShown(
  page: Page,
  type: string,
  text: string,
): Promise<() => Promise<number>> {
  const key = `shown ${type} ${text}`;
  await page.evaluate(([type, text, key]) => {
    const seen = globalThis as unknown as Record<string, Promise<number>>;
    seen[key!] = new Promise((resolve) => {
      const look = () => {
        for (const row of document.querySelectorAll(".row")) {
          if (
            row.querySelector(".type")?.textContent === type && row.textContent!.includes(text!)
          ) return resolve(Date.now());
        }
        requestAnimationFrame(look);
      };
      look();
    });
  }, [type, text, key]);
  return () =>
    page.evaluate((key) => (globalThis as unknown as Record<string, Promise<number>>)[key]!, key);
}
