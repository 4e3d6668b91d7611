// Debian's Chromium with a fresh profile, watched: what a page logs, throws or fails to load is collected, and a test asserts that there was nothing.

import assert from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const axeSource = createRequire(import.meta.url)("axe-core").source;
const screenshots = join(dirname(fileURLToPath(import.meta.url)), "../screenshots");
const ARGUMENTS = [
  "--headless",
  "--no-sandbox",
  "--disable-gpu",
  "--disable-quic",
  "--no-first-run",
  "--disable-background-networking",
  "--disable-component-update",
  "--disable-sync",
];
export const WIDE = { width: 1280, height: 900 };
export const NARROW = { width: 390, height: 844 };
export const NARROWEST = { width: 360, height: 740 };
const ANSWER_DEADLINE_MS = 15_000;

export async function startBrowser() {
  const profile = await mkdtemp(join(tmpdir(), "vt-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.VT_TEST_CHROMIUM ?? "/usr/bin/chromium",
    args: ARGUMENTS,
    ignoreHTTPSErrors: true,
    viewport: WIDE,
    reducedMotion: "reduce",
  });
  context.setDefaultTimeout(ANSWER_DEADLINE_MS);
  return {
    context,
    async stop() {
      await context.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

// Opens a page whose troubles are collected; `expected` takes those a test provokes on purpose.
export async function openPage(context) {
  const page = await context.newPage();
  const troubles = [];
  page.on("console", (message) => {
    if (["error", "warning"].includes(message.type())) troubles.push(`console ${message.type()}: ${message.text()} (${message.location().url})`);
  });
  page.on("pageerror", (error) => troubles.push(`page error: ${error.stack ?? error}`));
  page.on("dialog", (dialog) => {
    troubles.push(`dialog: ${dialog.message()}`);
    dialog.dismiss().catch(() => {});
  });
  page.on("requestfailed", (request) => {
    const reason = request.failure()?.errorText ?? "";
    // A navigation aborts what the former page still had under way.
    if (reason !== "net::ERR_ABORTED") troubles.push(`request failed: ${request.method()} ${request.url()} ${reason}`);
  });
  page.on("response", (response) => {
    if (response.status() >= 400) troubles.push(`status ${response.status()}: ${response.request().method()} ${response.url()}`);
  });
  page.on("request", (request) => {
    const { hostname, protocol } = new URL(request.url());
    if (protocol.startsWith("http") && hostname !== "127.0.0.1") troubles.push(`request to the internet: ${request.url()}`);
  });
  page.troubles = troubles;
  page.expected = (pattern) => {
    const rest = troubles.filter((trouble) => !pattern.test(trouble));
    assert.ok(rest.length < troubles.length, `nothing matched ${pattern}: ${troubles.join("\n")}`);
    troubles.length = 0;
    troubles.push(...rest);
  };
  return page;
}

export function assertQuiet(page) {
  assert.deepEqual(page.troubles, [], `the page ${page.url()} was not quiet`);
}

// Runs axe on the page as it stands; any violation fails.
export async function assertAccessible(page, name) {
  await page.evaluate(axeSource);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const found = result.violations.map((rule) => `${rule.id} (${rule.impact}): ${rule.help}\n  ${rule.nodes.map((node) => `${node.html} ${node.failureSummary}`).join("\n  ")}`);
  assert.deepEqual(found, [], `axe on ${name}`);
}

// A chart follows the window's width a moment later, so the page gets that moment.
export async function assertNoSidewaysScroll(page, name) {
  const fits = () => document.documentElement.scrollWidth <= globalThis.innerWidth;
  await page.waitForFunction(fits, undefined, { timeout: 2_000 }).catch(async () => {
    const wide = await page.evaluate(() =>
      [...document.querySelectorAll("body *")].filter((element) => element.getBoundingClientRect().right > globalThis.innerWidth + 0.5).map((element) => element.outerHTML.slice(0, 120)),
    );
    const { content, window } = await page.evaluate(() => ({ content: document.documentElement.scrollWidth, window: globalThis.innerWidth }));
    assert.fail(`${name} is ${content} px wide in a window of ${window} px:\n${wide.slice(0, 8).join("\n")}`);
  });
}

// Names that begin alike are told apart by their ends, so no name of ordinary length is cut.
export async function assertNamesWhole(page, name) {
  const cut = await page.evaluate(() => [...document.querySelectorAll("main .name")].filter((element) => element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).overflowX !== "visible").map((element) => element.textContent));
  assert.deepEqual(cut, [], `names are cut on ${name}`);
}

// Screenshots of the page as it stands: wide, narrow and as narrow as phones are, light and dark; each checked for accessibility, width and cut names.
export async function inspect(page, name) {
  await mkdir(screenshots, { recursive: true });
  for (const [suffix, viewport, colorScheme] of [
    ["1280", WIDE, "light"],
    ["390", NARROW, "light"],
    ["1280-dark", WIDE, "dark"],
    ["390-dark", NARROW, "dark"],
    ["360", NARROWEST, "light"],
    ["360-dark", NARROWEST, "dark"],
  ]) {
    await page.setViewportSize(viewport);
    await page.emulateMedia({ colorScheme });
    await page.screenshot({ path: join(screenshots, `${name}-${suffix}.png`), fullPage: true });
    if (viewport !== NARROWEST) await assertAccessible(page, `${name} ${suffix}`);
    await assertNoSidewaysScroll(page, `${name} ${suffix}`);
    await assertNamesWhole(page, `${name} ${suffix}`);
  }
  await page.setViewportSize(WIDE);
  await page.emulateMedia({ colorScheme: "light" });
}
