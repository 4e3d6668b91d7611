// The REST interface beside the pages: what a test seeds and checks without clicking.

import assert from "node:assert/strict";
import { setTimeout as pause } from "node:timers/promises";
import { request } from "playwright-core";

export const USER = "admin";
export const PASSWORD = "correct horse battery";

export async function openApi(url) {
  const anonymous = await request.newContext({ baseURL: url, ignoreHTTPSErrors: true });
  const answer = await anonymous.post("/authenticate", { data: { username: USER, password: PASSWORD } });
  assert.equal(answer.status(), 200, await answer.text());
  const { access_token: token } = await answer.json();
  await anonymous.dispose();
  const context = await request.newContext({ baseURL: url, ignoreHTTPSErrors: true, extraHTTPHeaders: { authorization: `Bearer ${token}` } });
  const json = async (path) => {
    const answer = await context.get(path);
    assert.equal(answer.status(), 200, `${path}: ${await answer.text()}`);
    return answer.json();
  };
  const [platform] = Object.keys((await json("/vui/platforms")).links);
  return { context, json, platform, base: `/vui/platforms/${platform}`, stop: () => context.dispose() };
}

// Asks until there is an answer, with a deadline.
export async function eventually(what, question, deadlineMs = 20_000) {
  const began = Date.now();
  for (;;) {
    const answer = await question();
    if (answer) return answer;
    assert.ok(Date.now() - began < deadlineMs, `not within ${deadlineMs} ms: ${what}`);
    await pause(50);
  }
}

// Topic and value of a writable number of the demonstration building.
export async function writablePoint(api) {
  return eventually("a writable number", async () => {
    const points = await api.json(`${api.base}/devices?read-all=true&config=true`);
    const found = Object.entries(points).find(([topic, point]) => /^[\w/ -]+$/.test(topic) && point.writable && typeof point.value === "number" && (point.config.Type ?? "float") === "float");
    return found && { topic: found[0], value: found[1].value };
  });
}
