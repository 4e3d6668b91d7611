// The journeys that must not break: first run, live values, a write found in the history, the keyboard, hostile names, and every page as it looks.

import assert from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { PASSWORD, USER, eventually, openApi, writablePoint } from "./lib/api.mjs";
import { NARROWEST, WIDE, assertAccessible, assertNoSidewaysScroll, assertQuiet, inspect, openPage, startBrowser } from "./lib/browser.mjs";
import { startServer } from "./lib/server.mjs";

let server;
let browser;
let api;
const SECONDS = 1_000;

before(async () => {
  server = await startServer();
  browser = await startBrowser();
});

after(async () => {
  await api?.stop();
  await browser?.stop();
  const end = await server?.stop();
  if (end) assert.equal(end.code, 0, `the server ended with ${end.code ?? end.signal}`);
});

const at = (path) => server.url + path;
const pathOf = (page) => new URL(page.url()).pathname;

async function logIn(page) {
  await page.goto(at("/login"));
  await page.getByLabel("User name").fill(USER);
  await page.getByLabel("Password").fill(PASSWORD);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.waitForURL((url) => url.pathname !== "/login");
}

test("a newcomer enters the code, becomes administrator and sees the overview", async () => {
  const page = await openPage(browser.context);
  await page.goto(at("/"));
  assert.equal(pathOf(page), "/setup");
  await inspect(page, "setup");

  await page.getByLabel("One-time code").fill("AAAA-AAAA-AAAA");
  await page.getByLabel("User name").fill(USER);
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password once more").fill(PASSWORD);
  await page.getByRole("button", { name: /Create account/ }).click();
  await page.getByRole("alert").waitFor();
  await assertAccessible(page, "setup refused");
  page.expected(/status 4\d\d: POST .*\/setup|console error: Failed to load resource/);

  await page.getByLabel("One-time code").fill(await server.code());
  await page.getByLabel("Password", { exact: true }).fill(PASSWORD);
  await page.getByLabel("Password once more").fill(PASSWORD);
  await page.getByRole("button", { name: /Create account/ }).click();
  await page.getByRole("navigation", { name: "Main" }).waitFor();
  assert.equal(pathOf(page), "/");
  api = await openApi(server.url);

  await page.locator(".menu summary").click();
  await page.getByRole("button", { name: "Log out" }).click();
  await page.waitForURL(at("/login") + "**");
  await inspect(page, "login");
  await logIn(page);
  assert.equal(pathOf(page), "/");
  assertQuiet(page);
  await page.close();
});

test("a wrong password is refused with a sentence", async () => {
  const other = await startBrowser();
  try {
    const page = await openPage(other.context);
    await page.goto(at("/devices"));
    assert.equal(pathOf(page), "/login", "a stranger saw a page");
    await page.getByLabel("User name").fill(USER);
    await page.getByLabel("Password").fill("wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").waitFor();
    await assertAccessible(page, "login refused");
    page.expected(/status 4\d\d: POST .*\/login|console error: Failed to load resource/);
    await page.getByLabel("Password").fill(PASSWORD);
    await page.getByRole("button", { name: "Log in" }).click();
    await page.waitForURL(at("/devices"));
    assertQuiet(page);
  } finally {
    await other.stop();
  }
});

test("a value of the building changes before one's eyes", async () => {
  const page = await openPage(browser.context);
  await page.goto(at("/devices"));
  const values = () => page.locator("[data-point] [data-value]").allTextContents();
  await eventually("values are shown", async () => (await values()).length > 0);
  const first = (await values()).join("|");
  await eventually("a value changes without reloading", async () => (await values()).join("|") !== first);
  assertQuiet(page);
  await page.close();
});

test("a written point shows its value and is found in the history", async () => {
  const page = await openPage(browser.context);
  const { topic, value } = await writablePoint(api);
  const wanted = value + 1;
  await page.goto(at(`/devices/${topic}`));
  await page.getByLabel(/^New value/).fill(String(wanted));
  await page.getByRole("button", { name: "Write" }).click();
  await page.getByText(/^Written: /).waitFor();
  assert.equal(Number(await page.getByLabel(/^New value/).inputValue()), wanted, "pressing Write again would undo the write");
  await eventually("the written value is shown", async () => Number(await page.locator(".reading [data-value]").textContent()) === wanted);
  await page.getByText(new RegExp(`by ${USER}`)).first().waitFor();

  await eventually("the written value is in the history", async () => {
    const answer = await api.context.get(`${api.base}/historians/platform.historian/topics/${topic}?order=LAST_TO_FIRST&count=50`);
    return answer.status() === 200 && (await answer.json())[topic]?.value?.some(([, stored]) => stored === wanted);
  });
  await page.reload();
  await page.getByText("Readings as a table").click();
  await eventually("the written value is in the table", async () => (await page.locator("[data-chart-rows] td.num").allTextContents()).some((text) => Number(text) === wanted));
  await page.locator("[data-chart] canvas").waitFor();

  await page.getByLabel(/^New value/).fill("warm");
  await page.getByRole("button", { name: "Write" }).click();
  await page.getByRole("alert").first().waitFor();
  page.expected(/status 4\d\d: POST|console error: Failed to load resource/);

  await page.goto(at(`/devices/${topic}`));
  await page.getByRole("button", { name: "Revert" }).click();
  await eventually("the point is back", async () => Number(await page.locator(".reading [data-value]").textContent()) !== wanted);
  assertQuiet(page);
  await page.close();
});

test("an agent is stopped and started on its page", async () => {
  const page = await openPage(browser.context);
  const running = async () => (await api.json(`${api.base}/agents/listener/running`)).running;
  await page.goto(at("/agents/listener"));
  for (const [name, state] of [["Stop", false], ["Start", true]]) {
    await page.getByRole("button", { name: `${name} listener` }).first().click();
    const yes = page.locator("[data-confirm-dialog] [data-yes]");
    const asked = await yes.waitFor({ timeout: 1 * SECONDS }).then(() => true, () => false);
    if (asked) await yes.click();
    await eventually(`${name} worked`, async () => (await running()) === state);
    await page.getByRole("button", { name: state ? "Stop listener" : "Start listener" }).first().waitFor();
  }
  assertQuiet(page);
  await page.close();
});

test("hostile names are shown as text and never act", async () => {
  const page = await openPage(browser.context);
  const hostile = ["<img src=x onerror=alert(1)>", "\u202Eevil", "'\"><script>alert(2)</script>", "{{7*7}}", "n".repeat(300)];
  for (const name of hostile) {
    const answer = await api.context.post(`${api.base}/agents/platform.driver/configs?config-name=${encodeURIComponent(name)}`, { data: { name } });
    assert.ok([201, 400].includes(answer.status()), `${name}: ${answer.status()} ${await answer.text()}`);
  }
  const csv = 'Point Name,Volttron Point Name,Units,Starting Value,Type,Writable\n"<b>x</b>","<img src=x onerror=alert(3)>","<i>F</i>",1,float,TRUE\n';
  await api.context.put(`${api.base}/agents/platform.driver/configs/registry_configs/hostile.csv`, { data: csv, headers: { "content-type": "text/csv" } });
  const device = { driver_type: "fake", driver_config: {}, registry_config: "config://registry_configs/hostile.csv", interval: 1 };
  await api.context.put(`${api.base}/agents/platform.driver/configs/devices/${encodeURIComponent("<u>campus</u>")}/b/d`, { data: device });
  await api.context.put(`${api.base}/agents/listener/tag`, { data: { tag: "<img src=x onerror=alert(4)>" } });

  const hostilePoint = `/devices/${["<u>campus</u>", "b", "d", "<img src=x onerror=alert(3)>"].map(encodeURIComponent).join("/")}`;
  for (const path of ["/", "/agents", "/agents/listener", "/agents/platform.driver", "/devices", hostilePoint, `/search?q=${encodeURIComponent("<img")}`]) {
    await page.goto(at(path));
    assert.equal(await page.locator("img[onerror], main u, main i, main b > script").count(), 0, path);
    await assertAccessible(page, `hostile ${path}`);
    await page.setViewportSize(NARROWEST);
    await assertNoSidewaysScroll(page, `hostile ${path}`);
    await page.setViewportSize(WIDE);
  }
  await page.goto(at("/agents/platform.driver"));
  await page.getByText("<img src=x onerror=alert(1)>").first().waitFor({ state: "attached" });
  assertQuiet(page);
  await page.close();
});

test("the pages are usable by keyboard alone", async () => {
  const page = await openPage(browser.context);
  await page.goto(at("/"));
  await page.keyboard.press("Tab");
  assert.equal(await page.evaluate(() => document.activeElement.textContent), "Skip to content");
  await page.keyboard.press("Enter");
  assert.equal(await page.evaluate(() => document.activeElement.id), "main");

  for (const [name, path] of [["Agents", "/agents"], ["Devices", "/devices"]]) {
    await page.goto(at("/"));
    for (let presses = 0; presses < 30; presses++) {
      await page.keyboard.press("Tab");
      if ((await page.evaluate(() => document.activeElement.textContent.trim())) === name) break;
    }
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement).outlineStyle);
    assert.notEqual(outline, "none", `the focus on ${name} is not visible`);
    await page.keyboard.press("Enter");
    await page.waitForURL(at(path));
  }
  await page.keyboard.press("Control+k");
  assert.equal(await page.evaluate(() => document.activeElement.name), "q");
  await page.keyboard.type("driver");
  await page.keyboard.press("Enter");
  await page.waitForURL(/\/search\?q=driver/);
  assertQuiet(page);
  await page.close();
});

test("the pages work without scripts", async () => {
  const page = await openPage(browser.context);
  const plain = await browser.context.request.get(at("/devices"));
  assert.equal(plain.status(), 200);
  const { topic } = await writablePoint(api);
  assert.ok((await plain.text()).includes(topic.split("/").at(-1)), "points are not in the page itself");
  const headers = plain.headers();
  assert.match(headers["content-security-policy"], /default-src 'none'|default-src 'self'/);
  assert.doesNotMatch(headers["content-security-policy"], /unsafe-inline|unsafe-eval/);
  assert.equal(headers["x-content-type-options"], "nosniff");
  await page.close();
});

test("every page is accessible, fits its window and makes no noise", async () => {
  const page = await openPage(browser.context);
  const { topic } = await writablePoint(api);
  const device = topic.split("/").slice(0, -1).join("/");
  for (const [name, path] of [
    ["overview", "/"],
    ["agents", "/agents"],
    ["agent", "/agents/platform.driver"],
    ["agent-log", "/agents/listener"],
    ["config-new", "/agents/platform.driver/configs"],
    ["config", `/agents/platform.driver/configs/devices/${device}`],
    ["devices", "/devices"],
    ["place", `/devices/${device.split("/").slice(0, -1).join("/")}`],
    ["device", `/devices/${device}`],
    ["point", `/devices/${topic}`],
    ["search", "/search?q=a"],
    ["search-nothing", "/search?q=nothing-is-called-so"],
    ["components", "/components"],
  ]) {
    const answer = await page.goto(at(path));
    assert.equal(answer.status(), 200, path);
    await page.locator("[data-link-state=live], [data-link-state][data-state=live]").first().waitFor({ timeout: 5 * SECONDS, state: "attached" }).catch(() => {});
    await inspect(page, name);
    assertQuiet(page);
  }
  const missing = await page.goto(at("/no/such/page"));
  assert.equal(missing.status(), 404);
  await inspect(page, "not-found");
  page.expected(/status 404|console error: Failed to load resource/);
  assertQuiet(page);
  await page.close();
});

test("devices that fail say why, on every page that shows them", async () => {
  const page = await openPage(browser.context);
  const base = `${api.base}/agents/platform.driver/configs`;
  const csv = "Reference Point Name,Volttron Point Name,Units,Modbus Register,Writable,Point Address\nA,Flow,l/s,>H,TRUE,1\n";
  await api.context.put(`${base}/registry_configs/plant.csv`, { data: csv, headers: { "content-type": "text/csv" } });
  // Nothing listens on the discard port of the loopback interface.
  const chiller = { driver_type: "modbus", driver_config: { device_address: "127.0.0.1", port: 9, slave_id: 1 }, registry_config: "config://registry_configs/plant.csv", interval: 1 };
  await api.context.put(`${base}/devices/plant/cellar/chiller`, { data: chiller });
  await api.context.put(`${base}/devices/plant/cellar/pump`, { data: { ...chiller, registry_config: "config://absent.csv" } });

  await page.goto(at("/"));
  await page.locator("#trouble").getByText("plant/cellar/chiller").waitFor();
  await page.locator("#trouble").getByText("plant/cellar/pump").waitFor();
  await page.locator("#rollup").getByText("platform.driver").waitFor();
  assert.doesNotMatch(await page.locator("#rollup").textContent(), /[{}\\]/, "a reason is shown as JSON");
  await inspect(page, "overview-trouble");
  for (const [name, path] of [["device-failing", "/devices/plant/cellar/chiller"], ["device-misconfigured", "/devices/plant/cellar/pump"], ["point-failing", "/devices/plant/cellar/chiller/Flow"]]) {
    await page.goto(at(path));
    await page.locator("main .notice.bad").first().waitFor();
    await inspect(page, name);
  }
  assertQuiet(page);
  await page.getByLabel(/^New value/).fill("20");
  await page.getByRole("button", { name: "Write" }).click();
  await page.getByRole("alert").first().waitFor();
  assert.equal(await page.getByLabel(/^New value/).inputValue(), "20");
  page.expected(/status 5\d\d: POST|console error: Failed to load resource/);
  for (const name of ["chiller", "pump"]) await api.context.delete(`${base}/devices/plant/cellar/${name}`);
  await page.close();
});

test("another platform that does not answer is shown with the reason, and holds up no page", async () => {
  const page = await openPage(browser.context);
  const serverkey = (await (await api.context.get("/discovery/")).json()).serverkey ?? "xd_PlM_Lq6mp3TnievXH_7eAXQmJdYSxglr25j81YkM";
  const known = { "harbor-of-the-north": { "instance-name": "harbor-of-the-north", "vip-address": "tcp://127.0.0.1:9", serverkey } };
  await writeFile(join(server.home, "external_platform_discovery.json"), JSON.stringify(known));
  await page.goto(at("/platforms"));
  await page.locator("#platforms").getByText("Not linked").waitFor();
  await inspect(page, "platforms");
  await page.getByRole("link", { name: "harbor-of-the-north" }).click();
  await page.locator("main .notice.bad").first().waitFor();
  await inspect(page, "platform");
  await page.goto(at("/"));
  await page.locator("#platforms").getByText("harbor-of-the-north").waitFor();
  await page.locator("#rollup").getByText("harbor-of-the-north").waitFor();
  await inspect(page, "overview-platforms");
  await writeFile(join(server.home, "external_platform_discovery.json"), "{");
  await page.goto(at("/platforms"));
  await page.locator("main .notice.bad").first().waitFor();
  await inspect(page, "platforms-broken-file");
  await writeFile(join(server.home, "external_platform_discovery.json"), "{}");
  await page.locator("#platforms").getByText("linked to no other").waitFor();
  await inspect(page, "platforms-none");
  assertQuiet(page);
  await page.close();
});

test("what was typed outlives the session and the server", async () => {
  const other = await startBrowser();
  try {
    const [page, elsewhere] = [await openPage(other.context), await openPage(other.context)];
    await logIn(page);
    await page.goto(at("/agents/listener/configs"));
    await page.getByLabel("Name").fill("typed");
    await page.getByLabel("Content").fill('{"typed": "once"}');

    await elsewhere.goto(at("/devices"));
    await elsewhere.locator(".menu summary").click();
    await elsewhere.getByRole("button", { name: "Log out" }).click();
    await elsewhere.waitForURL(/\/login/);
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText(/Nothing was sent/).waitFor();
    assert.equal(await page.getByLabel("Content").inputValue(), '{"typed": "once"}');
    await assertAccessible(page, "session ended");
    await logIn(elsewhere);
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved. A running agent has been told.").waitFor();

    const log = elsewhere;
    await log.goto(at("/agents/listener"));
    await page.getByLabel("Content").fill('{"typed": "twice"}');
    await server.kill();
    await page.locator('[data-link-state][data-state="offline"]').waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText(/could not be reached, so nothing was sent/).waitFor();
    assert.equal(await page.getByLabel("Content").inputValue(), '{"typed": "twice"}');
    server = await startServer(["--demo"], server);
    await page.locator('[data-link-state][data-state="live"]').waitFor({ timeout: 30 * SECONDS });
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("Saved. A running agent has been told.").waitFor();

    // Lines of the new run are numbered from one; the page that followed the former run shows them all the same.
    const newest = () => log.locator(".log-line time").last().getAttribute("datetime");
    const restarted = new Date().toISOString();
    await eventually("the log goes on", async () => (await newest()) > restarted, 30 * SECONDS);
    await log.locator('[data-link-state][data-state="live"]').waitFor({ timeout: 30 * SECONDS });
    await log.getByRole("button", { name: "Restart listener" }).click();
    await log.locator(".toasts .notice.good").waitFor();
  } finally {
    await other.stop();
  }
});
