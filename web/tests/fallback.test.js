// The element where WASM cannot run: the server answers.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openWithStillClock, site, waitForEngine } from "./browser.js";

const pages = site();
const form = (fields) => `/form?${new URLSearchParams(fields)}`;
const asked = (page) => page.requests.filter((path) => path.endsWith("/explain")).length;

test("'self' with 'wasm-unsafe-eval' is policy enough for WASM", async () => {
  const csp = "default-src 'self'; script-src 'self' 'wasm-unsafe-eval'";
  const page = await pages.open(form({ csp, title: "Review it" }));
  await page.locator(".ttp-type").waitFor();
  await waitForEngine(page, "wasm");
  assert.equal(asked(page), 0);
  assert.equal(
    await page.locator(".ttp-line").evaluate((line) => getComputedStyle(line).display),
    "flex",
  );
});

for (const [what, fields] of [
  ["a policy of 'self' forbids WASM", { csp: "default-src 'self'" }],
  ["the module is served with a wrong MIME type", { app: "/mime" }],
  ["the module is absent", { app: "/absent" }],
]) {
  test(`where ${what}, the server answers the same`, async () => {
    const title = '🦀 <img src=x onerror="globalThis.hit = 1"> a plan for the';
    const page = await pages.open(form({ ...fields, title, description: "epic 🦀 road" }));
    await waitForEngine(page, "server");
    await page.locator(".ttp-type").waitFor();
    assert.equal(await page.locator(".ttp-type").innerText(), "Planning");
    assert.equal(await page.locator(".ttp-agent").innerText(), "Timmy");
    assert.deepEqual(await page.locator("mark").allInnerTexts(), ["plan", "epic"]);
    assert.equal(await page.evaluate(() => globalThis.hit), undefined);
    const found = await page.evaluate(() => {
      const marks = [...CSS.highlights.get("task-type-preview")];
      return marks.map(({ startOffset, endOffset }) => [startOffset, endOffset]);
    });
    const at = title.indexOf("plan");
    assert.deepEqual(found, [
      [at, at + 4],
      [0, 4],
    ]);

    await page.getByLabel("Description").pressSequentially("map, then review it");
    await page.locator(".ttp-type").getByText("Code review").waitFor();
    await page.click("text=Send");
    await page.waitForURL("**/echo");
    const posted = Object.fromEntries(JSON.parse(await page.locator("body").innerText()));
    assert.equal(posted.task_type, "code_review");
    assert.equal(posted.title, title);
  });
}

test("the server is asked after a pause, and an older question is given up", async () => {
  const page = await openWithStillClock(pages, form({ app: "/slow" }), "server");
  const given = [];
  page.on("requestfailed", (request) => {
    given.push(new URLSearchParams(request.postData()).get("title"));
  });
  page.on("requestfinished", (request) => {
    if (request.method() === "POST") given.push("answered");
  });
  const title = page.getByLabel("Title");
  await title.pressSequentially("Review it");
  assert.equal(asked(page), 0);
  const first = page.waitForRequest("**/explain");
  await page.clock.runFor(250);
  await first;
  assert.equal(asked(page), 1);
  await title.fill("plan it"); // while the server is thinking
  const second = page.waitForRequest("**/explain");
  await page.clock.runFor(250);
  await second;
  await page.locator(".ttp-type").waitFor();
  assert.equal(await page.locator(".ttp-type").innerText(), "Planning");
  assert.deepEqual(given, ["Review it", "answered"]);
  // No older text's type is sent while the newer one's is not known.
  await title.fill("Survey it");
  assert.equal(await page.locator("task-type-preview").evaluate((element) => element.value), null);
});

/** Types a title and waits for the question. */
async function ask(page, title) {
  await waitForEngine(page, "server");
  const asked = page.waitForRequest("**/explain");
  await page.getByLabel("Title").fill(title);
  return asked;
}

test("removal ends a question", async () => {
  const page = await pages.open(form({ app: "/slow" }));
  const request = await ask(page, "Review it");
  const ended = page.waitForEvent("requestfailed", (failed) => failed === request);
  await page.evaluate(() => document.querySelector("task-type-preview").remove());
  await ended;
  assert.match(request.failure().errorText, /ERR_ABORTED/);
  assert.deepEqual(page.errors, []);
});

test("where neither answers, nothing is shown and the form still works", async () => {
  const page = await pages.open(form({ app: "/broken" }));
  const request = await ask(page, "Review it");
  assert.equal((await request.response()).status(), 500);
  await page.locator(".ttp-why").getByText("Type a title").waitFor({ state: "detached" });
  assert.equal(await page.locator(".ttp-line").isVisible(), false);
  assert.deepEqual(page.errors, []);
  await page.click("text=Send");
  await page.waitForURL("**/echo");
  const posted = Object.fromEntries(JSON.parse(await page.locator("body").innerText()));
  assert.deepEqual(posted, { title: "Review it", description: "", assigned_to: "" });
});
