// The element with inference="ranked", in a real page.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openWithStillClock, site, waitForEngine } from "./browser.js";

const pages = site();
const form = (fields = {}) => `/form?${new URLSearchParams({ inference: "ranked", ...fields })}`;
const preview = (page) => page.locator("task-type-preview");
const type = (page) => page.locator(".ttp-type");
const why = (page) => page.locator(".ttp-why");
const note = (page) => page.locator(".ttp-note");
const value = (page) => preview(page).evaluate((element) => element.value);
const loaded = (page) => page.requests.filter((name) => /ranked|model/.test(name));
/** The rules find nothing in it; ranking is sure. */
const SURE = "The login crashes now and then, nobody knows why";
/** The rules say code_review; ranking something else, and is not so sure. */
const UNSURE = "The review page crashes sometimes";

/** Opens a page, and waits for its ranking. */
async function ranked(path) {
  const page = await pages.open(path);
  await page.locator(".ttp-first").waitFor();
  return page;
}

/** Field, start and end of what is highlighted under a name. */
const highlighted = (page, name) =>
  page.evaluate((name) => {
    const fields = ["title", "description"].map((name) => document.forms[0].elements[name]);
    const marks = [...(CSS.highlights.get(name) ?? [])];
    return marks.map((range) => {
      const box = range.getBoundingClientRect();
      const inside = (field) => {
        const around = field.getBoundingClientRect();
        return box.top >= around.top && box.bottom <= around.bottom;
      };
      const field = fields.find(inside);
      return [field.name, field.value.slice(range.startOffset, range.endOffset)];
    });
  }, name);

const rows = (page) =>
  page
    .locator(".ttp-bars")
    .first()
    .locator("li")
    .evaluateAll((all) =>
      all.map((row) => [...row.children].map((cell) => cell.textContent || cell.style.width)),
    );

test("nothing of it is loaded where nobody asks", async () => {
  const page = await pages.open(form({ inference: "exact", title: SURE }));
  await type(page).waitFor();
  assert.deepEqual(loaded(page), []);
  assert.equal(await page.locator(".ttp-ranked").count(), 0);
});

test("ranking shows bars, the words for and against, and the agent", async () => {
  const page = await ranked(form({ title: SURE }));
  assert.equal(loaded(page).length, 3, loaded(page).join());
  assert.equal(await type(page).innerText(), "Complex reasoning");
  assert.equal(await value(page), "complex_reasoning");
  const found = await preview(page).evaluate(({ explanation }) => explanation);
  const { types, evidence } = found.ranking;
  assert.equal(await page.locator(".ttp-agent").innerText(), found.displayName);
  assert.equal(found.agent, types[0].agent);
  const share = `${(types[0].probability / 100).toFixed(1)}%`;
  const shown = await rows(page);
  assert.equal(shown.length, 5);
  assert.deepEqual(shown[0], ["Complex reasoning", share, `${types[0].probability / 100}%`]);
  const rest = page.locator("details .ttp-bars li");
  assert.equal(await rest.count(), 9);
  assert.equal(await rest.first().isVisible(), false);
  await page.locator("summary").focus();
  await page.keyboard.press("Enter");
  assert.equal(await rest.first().isVisible(), true);

  const some = evidence.slice(0, 12);
  const words = (sign) => some.filter(({ weight }) => weight * sign > 0).map(({ text }) => text);
  assert.ok(words(-1).length && words(1).length, JSON.stringify(some));
  const lowered = (texts) => texts.map((text) => text.toLowerCase());
  const marked = await why(page).locator("mark").allInnerTexts();
  assert.deepEqual(lowered(marked), words(1).slice(0, 6));
  const against = page.locator(".ttp-against");
  assert.match(await against.innerText(), /^against it: /);
  assert.deepEqual(lowered(await against.locator("mark").allInnerTexts()), words(-1));
  const inside = async (name) =>
    lowered((await highlighted(page, name)).map(([, text]) => text)).sort();
  assert.deepEqual(await inside("task-type-preview"), words(1).sort());
  assert.deepEqual(await inside("task-type-preview-against"), words(-1).sort());
  assert.deepEqual(page.errors, []);
});

test("it follows what is typed, and an emptied form has neither bars nor words", async () => {
  const page = await ranked(form({ title: SURE }));
  const before = page.requests.length;
  await page.getByLabel("Title").fill("🦀 Roadmap for the next quarter");
  assert.equal(await type(page).innerText(), "Planning");
  assert.equal((await rows(page))[0][0], "Planning");
  const marks = await highlighted(page, "task-type-preview");
  assert.deepEqual(marks[0], ["title", "Roadmap"]);
  await page.getByLabel("Title").fill("");
  await preview(page).getByText("Type a title").waitFor();
  assert.equal(await page.locator(".ttp-first").isVisible(), false);
  assert.equal(await page.evaluate(() => CSS.highlights.size), 0);
  assert.equal(await value(page), null);
  assert.equal(page.requests.length, before);
});

test("until the model is there, the exact rules speak", async () => {
  const page = await pages.open("about:blank");
  let release;
  const released = new Promise((resolve) => (release = resolve));
  await page.route("**/model.bin", async (route) => {
    await released;
    await route.continue();
  });
  await page.goto(pages.url + form({ title: UNSURE }));
  await note(page).getByText("Ranking is loading; these are the exact rules.").waitFor();
  assert.equal(await value(page), "code_review");
  await page.getByLabel("Title").fill(SURE);
  assert.equal(await value(page), "routine_coding");
  assert.equal(await page.locator(".ttp-first").count(), 0);
  release();
  await page.locator(".ttp-first").waitFor();
  assert.equal(await value(page), "complex_reasoning");
  assert.equal(await note(page).isVisible(), false);
});

for (const [what, files] of [
  ["the model is absent", "**/model.bin"],
  ["the module is absent", "**/ranked_bg*"],
  ["the model is none", "none"],
]) {
  test(`where ${what}, that is said and the exact rules stay`, async () => {
    const page = await pages.open("about:blank");
    const warnings = [];
    page.on("console", (message) => warnings.push(message.text()));
    if (files === "none")
      await page.route("**/model.bin", (route) => route.fulfill({ body: "<p>" }));
    else await page.route(files, (route) => route.fulfill({ status: 404 }));
    await page.goto(pages.url + form({ title: UNSURE }));
    await note(page).getByText("Ranking cannot be loaded; these are the exact rules.").waitFor();
    assert.equal(await value(page), "code_review");
    await page.getByLabel("Title").fill("plan it");
    assert.equal(await type(page).innerText(), "Planning");
    assert.ok(await note(page).isVisible());
    const told = warnings.filter((text) => text.startsWith("task-type-preview: no ranking:"));
    assert.equal(told.length, 1, warnings.join("\n"));
    if (files === "none") assert.match(told[0], /not a model/);
    assert.deepEqual(page.errors, []);
  });
}

test("where even the code for it is absent, that is said and the exact rules stay", async () => {
  const page = await pages.open("about:blank");
  await page.route("**/ranked-view*", (route) => route.fulfill({ status: 404 }));
  await page.goto(pages.url + form({ title: UNSURE }));
  await preview(page).getByText("Ranking cannot be loaded; these are the exact rules.").waitFor();
  await type(page).getByText("Code review").waitFor();
  await page.getByLabel("Title").fill("plan it");
  assert.equal(await value(page), "planning");
  assert.equal(await preview(page).getByText("Ranking cannot be loaded").count(), 1);
  assert.deepEqual(page.errors, []);
});

for (const [fields, said] of [
  [{ inference: "<b>guess</b>" }, 'unknown inference "<b>guess</b>"; known are exact, ranked'],
  [{ "min-confidence": "2" }, 'min-confidence is "2"; it is a number from 0 to 1'],
  [{ "min-confidence": "-0.1" }, 'min-confidence is "-0.1"; it is a number from 0 to 1'],
  [{ "min-confidence": "high" }, 'min-confidence is "high"; it is a number from 0 to 1'],
  [{ "below-confidence": "guess" }, /^unknown below-confidence "guess"; known are exact, ask, /],
]) {
  test(`a setting that cannot be is told: ${JSON.stringify(fields)}`, async () => {
    const page = await pages.open(form({ title: SURE, ...fields }));
    await why(page)
      .getByText(/^(unknown|min-conf)/)
      .waitFor();
    const text = await why(page).innerText();
    if (typeof said === "string") assert.equal(text, said);
    else assert.match(text, said);
    assert.equal(await type(page).isVisible(), false);
    assert.equal(await value(page), null);
    const right = Object.keys(fields).map((name) => [name, name === "inference" ? "ranked" : ""]);
    await preview(page).evaluate((element, right) => {
      for (const [name, text] of right) element.setAttribute(name, text);
    }, right);
    await type(page).getByText("Complex reasoning").waitFor();
    assert.equal(await value(page), "complex_reasoning");
    assert.deepEqual(page.errors, []);
  });
}

test("below the minimum it goes as it was chosen: exact rules, a type, or a person", async () => {
  const page = await ranked(form({ title: UNSURE, "min-confidence": " 0.999 " }));
  const { types } = await preview(page).evaluate(({ explanation }) => explanation.ranking);
  assert.notEqual(types[0].type, "code_review");
  const name = (await rows(page))[0][0];
  const unsure = `${name} is only ${(types[0].probability / 100).toFixed(1)}% likely, below 99.9%`;
  const choose = (below) =>
    preview(page).evaluate(
      (element, below) => element.setAttribute("below-confidence", below),
      below,
    );

  assert.equal(await value(page), "code_review");
  assert.equal(await why(page).innerText(), "because of review");
  assert.equal(await note(page).innerText(), `${unsure}; these are the exact rules.`);
  assert.deepEqual(await highlighted(page, "task-type-preview"), [["title", "review"]]);
  assert.deepEqual(await highlighted(page, "task-type-preview-against"), []);

  await choose("triage");
  assert.equal(await value(page), "triage");
  assert.equal(await page.locator(".ttp-agent").innerText(), "Timmy");
  assert.equal(await why(page).innerText(), `${unsure}, so it is Triage`);
  assert.equal(await page.locator(".ttp-use").innerText(), "Use Timmy");

  await choose("ask");
  assert.equal(await value(page), null);
  assert.equal(await type(page).isVisible(), false);
  assert.equal(await page.locator(".ttp-use").isVisible(), false);
  assert.equal(
    await why(page).innerText(),
    `${unsure}: a person has to say what kind of work it is`,
  );
  assert.equal(await page.locator(".ttp-first").isVisible(), true);
  await page.locator("output").getByText("Not sure: a person").waitFor({ state: "attached" });
  await page.click("text=Send");
  await page.waitForURL("**/echo");
  const posted = Object.fromEntries(JSON.parse(await page.locator("body").innerText()));
  assert.deepEqual(posted, { title: UNSURE, description: "", assigned_to: "" });
});

test("a probability that is just the minimum is enough, as in Python", async () => {
  const page = await ranked(form({ title: UNSURE }));
  const { probability } = await preview(page).evaluate(
    ({ explanation }) => explanation.ranking.types[0],
  );
  const minimum = (at) =>
    preview(page).evaluate((element, at) => element.setAttribute("min-confidence", at), at);
  await minimum(probability / 10_000);
  assert.notEqual(await value(page), "code_review");
  await minimum((probability + 1) / 10_000);
  assert.equal(await value(page), "code_review");
});

test("a page's settings hold for elements that do not say otherwise", async () => {
  const page = await pages.open(`/form?app=/own&title=${UNSURE}`);
  await why(page).getByText("a person has to say").waitFor();
  await preview(page).evaluate((element) => element.setAttribute("min-confidence", "0"));
  assert.notEqual(await value(page), null);
  await preview(page).evaluate((element) => element.setAttribute("inference", "exact"));
  assert.equal(await value(page), "code_review");
  assert.equal(await page.locator(".ttp-first").isVisible(), false);
  assert.equal(await page.evaluate(() => CSS.highlights.has("task-type-preview-against")), false);
});

test("hostile texts are texts", async () => {
  const title = '<img src=x onerror="globalThis.hit = 1"> <mark>roadmap</mark> \u202e\0';
  const page = await ranked(form({ title }));
  const description = page.getByLabel("Description");
  for (const text of [
    "</mark><script>globalThis.hit = 1</script> plan the next quarter",
    "roadmap 🦀 ".repeat(3000),
    "x".repeat(50_000),
  ]) {
    await description.fill(text);
    assert.equal(await preview(page).locator("img, script").count(), 0);
    const sizes = await page.evaluate(() => [...CSS.highlights.values()].map(({ size }) => size));
    assert.ok(
      sizes.every((size) => size <= 200),
      sizes.join(),
    );
    assert.ok((await preview(page).locator("mark").count()) <= 18);
  }
  await page.getByLabel("Title").evaluate((field) => {
    field.value = "\ud800roadmap\udc00";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  const found = await preview(page).evaluate(({ explanation }) => explanation.ranking.evidence);
  const word = found.find(({ text }) => text === "roadmap");
  assert.deepEqual(word.spans[0], { field: "title", start: 1, end: 8 });
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
  assert.deepEqual(page.errors, []);
});

test("the form carries the ranked type, and the button its agent", async () => {
  const page = await ranked(form({ title: "Roadmap for the next quarter" }));
  await page.getByLabel("Title").focus();
  for (const key of ["Tab", "Tab", "Tab", "Enter"]) await page.keyboard.press(key);
  await page.click("text=Send");
  await page.waitForURL("**/echo");
  const posted = Object.fromEntries(JSON.parse(await page.locator("body").innerText()));
  assert.equal(posted.task_type, "planning");
  assert.equal(posted.assigned_to, "timmy");
});

test("a screen reader is told the ranked type, not each probability", async () => {
  const page = await openWithStillClock(pages, form(), "wasm");
  const title = page.getByLabel("Title");
  await page.evaluate(() => {
    globalThis.told = [];
    const output = document.querySelector("output");
    const hear = () => told.push(output.textContent);
    new MutationObserver(hear).observe(output, { childList: true, characterData: true });
  });
  await title.fill(SURE);
  await page.locator(".ttp-first").waitFor();
  for (const more of ["", " and customers", " in three parts"]) {
    await title.fill(SURE + more);
    await page.clock.runFor(1000);
  }
  assert.deepEqual(await page.evaluate(() => globalThis.told), [
    "Complex reasoning, for Claude Code",
  ]);
});

test("removal leaves nothing behind, and coming back works", async () => {
  const page = await ranked(form({ title: SURE }));
  const left = await page.evaluate(() => {
    globalThis.kept = document.querySelector("task-type-preview");
    kept.remove();
    const { highlights } = CSS;
    return [highlights.size, document.adoptedStyleSheets.length];
  });
  assert.deepEqual(left, [0, 0]);
  await page.evaluate(() => document.forms[0].append(kept));
  assert.equal(await value(page), "complex_reasoning");
  assert.equal(await page.evaluate(() => document.adoptedStyleSheets.length), 2);
  assert.ok((await highlighted(page, "task-type-preview-against")).length > 0);
  assert.equal(await page.locator(".ttp-ranked").count(), 1);
});

test("one element ranks and another does not", async () => {
  const page = await ranked(form({ title: UNSURE }));
  await page.evaluate(() => {
    const copy = document.forms[0].cloneNode(true);
    copy.querySelector("task-type-preview").setAttribute("inference", "exact");
    document.body.append(copy);
  });
  const types = await page.locator(".ttp-type").allInnerTexts();
  assert.equal(types[1], "Code review");
  assert.notEqual(types[0], "Code review");
  await page.evaluate(() => document.forms[0].remove());
  assert.equal(await page.evaluate(() => CSS.highlights.has("task-type-preview-against")), false);
  await page.evaluate(() => document.forms[0].remove());
  assert.equal(await page.evaluate(() => document.adoptedStyleSheets.length), 0);
});

for (const [what, fields] of [
  ["a policy of 'self' forbids WASM", { csp: "default-src 'self'" }],
  ["the modules are absent", { app: "/absent" }],
]) {
  test(`where ${what}, the server ranks the same`, async () => {
    const title = `🦀 <img src=x onerror="globalThis.hit = 1"> ${SURE}`;
    const there = await ranked(form({ title }));
    const wanted = await preview(there).evaluate(({ explanation }) => explanation);
    const page = await ranked(form({ ...fields, title }));
    await waitForEngine(page, "server");
    const found = await preview(page).evaluate(({ explanation }) => explanation);
    const parts = ["type", "agent", "displayName", "interface", "label", "matches"];
    for (const part of parts) assert.deepEqual(found[part], wanted[part], part);
    assert.deepEqual(found.ranking.evidence, wanted.ranking.evidence.slice(0, 12));
    assert.deepEqual(
      found.ranking.types.map(({ type, agent, probability }) => ({ type, agent, probability })),
      wanted.ranking.types,
    );
    assert.deepEqual(await rows(page), await rows(there));
    const against = "task-type-preview-against";
    assert.deepEqual(await highlighted(page, against), await highlighted(there, against));
    assert.deepEqual(
      loaded(page).filter((name) => !name.includes("view")),
      [],
    );
    assert.equal(await page.evaluate(() => globalThis.hit), undefined);

    await preview(page).evaluate((element) => {
      element.setAttribute("below-confidence", "planning");
      element.setAttribute("min-confidence", "1");
    });
    await type(page).getByText("Planning").waitFor();
    assert.equal(await page.locator(".ttp-agent").innerText(), "Timmy");
    await preview(page).evaluate((element) => element.setAttribute("inference", "exact"));
    await type(page).getByText("Routine coding").waitFor();
    assert.deepEqual(page.errors, []);
  });
}

test("a server that does not rank gives the exact rules, and that is said", async () => {
  const page = await pages.open("about:blank");
  await page.route("**/explain", async (route) => {
    const response = await route.fetch();
    const { ranking, ...exact } = await response.json();
    await route.fulfill({ json: exact });
  });
  await page.goto(pages.url + form({ app: "/absent", title: UNSURE }));
  await note(page).getByText("The server does not rank; these are the exact rules.").waitFor();
  assert.equal(await value(page), "code_review");
});

test("in the example a person chooses ranking, and the task goes as it was shown", async () => {
  const page = await pages.open("/");
  await page.click("text=New task");
  await page.getByLabel("Title").fill(SURE);
  await type(page).getByText("Routine coding").waitFor();
  await page.getByLabel("Preview by").selectOption("ranking");
  await type(page).getByText("Complex reasoning").waitFor();
  await page.click("text=Create task");
  await page.locator("#modal form").waitFor({ state: "detached" });
  const row = page.locator("#tasks li").first();
  assert.deepEqual(await row.locator("span").allInnerTexts(), ["complex_reasoning", "Claude Code"]);
  assert.equal(await page.evaluate(() => CSS.highlights.size), 0);
  assert.equal(await page.evaluate(() => document.adoptedStyleSheets.length), 0);
  assert.deepEqual(page.errors, []);
});
