// The element in a real page, with WASM.
import assert from "node:assert/strict";
import { test } from "node:test";
import { openWithStillClock, site, waitForEngine } from "./browser.js";

const pages = site();
const form = (fields = {}) => `/form?${new URLSearchParams(fields)}`;
const preview = (page) => page.locator("task-type-preview");
const type = (page) => page.locator(".ttp-type");
const value = (page) => preview(page).evaluate((element) => element.value);

/** Field, start and end of everything that is highlighted. */
const highlighted = (page) =>
  page.evaluate(() => {
    const fields = ["title", "description"].map((name) => [name, document.forms[0].elements[name]]);
    const marks = [...(CSS.highlights.get("task-type-preview") ?? [])];
    return marks.map((range) => {
      const box = range.getBoundingClientRect();
      const inside = ([, field]) => {
        const around = field.getBoundingClientRect();
        return box.top >= around.top && box.bottom <= around.bottom;
      };
      return [fields.find(inside)?.[0], range.startOffset, range.endOffset];
    });
  });

/** What a form would send, as the server sees it. */
async function sent(page) {
  await page.click("text=Send");
  await page.waitForURL("**/echo");
  return Object.fromEntries(JSON.parse(await page.locator("body").innerText()));
}

test("typing shows type, agent and words, and asks the server nothing", async () => {
  const page = await pages.open(form());
  await preview(page).getByText("Type a title").waitFor();
  await waitForEngine(page, "wasm");
  const before = page.requests.length;
  const title = page.getByLabel("Title");
  await title.pressSequentially("Design the LLM router");
  assert.equal(await type(page).innerText(), "Architecture");
  assert.equal(await page.locator(".ttp-agent").innerText(), "Claude Code");
  assert.equal(await page.locator(".ttp-how").innerText(), "by the label claude-ready");
  assert.equal(await page.locator(".ttp-why").innerText(), "because of Design");
  await title.fill("Bump a version");
  assert.equal(await type(page).innerText(), "Routine coding");
  assert.equal(await page.locator(".ttp-why").innerText(), "no keyword speaks for another kind");
  await title.fill("Survey");
  assert.equal(await page.locator(".ttp-how").innerText(), "over HTTP");
  await title.fill("");
  await page.getByLabel("Description").fill("coordinate");
  assert.equal(await type(page).innerText(), "Orchestration");
  assert.equal(await page.locator(".ttp-how").innerText(), "in process");
  assert.deepEqual(page.requests.slice(before), []);
  assert.deepEqual(page.errors, []);
});

test("fields that hold text already are previewed", async () => {
  const page = await pages.open(form({ title: "Clean", description: "up the mess" }));
  await type(page).waitFor();
  assert.equal(await page.locator("mark").innerText(), "Clean up");
  assert.deepEqual(await highlighted(page), [
    ["title", 0, 5],
    ["description", 0, 2],
  ]);
});

test("ranges count UTF-16 units, so an emoji or a lone surrogate before them moves them right", async () => {
  const page = await pages.open(
    form({ title: "🦀 plan", description: "👩‍👩‍👧 İ a roadmap 🦀🦀 epic" }),
  );
  await type(page).waitFor();
  const found = await page.evaluate(() => {
    const fields = document.forms[0].elements;
    const preview = document.querySelector("task-type-preview");
    return preview.explanation.matches.map(({ keyword, spans: [span] }) => [
      keyword,
      fields[span.field].value.slice(span.start, span.end),
    ]);
  });
  assert.deepEqual(found, [
    ["plan", "plan"],
    ["roadmap", "roadmap"],
    ["epic", "epic"],
  ]);
  assert.deepEqual(await highlighted(page), [
    ["title", 3, 7],
    ["description", 13, 20],
    ["description", 26, 30],
  ]);
  await page.getByLabel("Title").evaluate((field) => {
    field.value = "\ud800plan";
    field.dispatchEvent(new Event("input", { bubbles: true }));
  });
  assert.deepEqual((await highlighted(page))[0], ["title", 1, 5]);
});

test("a hostile title is text", async () => {
  const title = '<img src=x onerror="globalThis.hit = 1"> design <mark>';
  const page = await pages.open(form({ title }));
  await type(page).waitFor();
  await page.getByLabel("Description").fill("</mark><script>globalThis.hit = 1</script> ADR");
  assert.deepEqual(await page.locator("mark").allInnerTexts(), ["design", "ADR"]);
  assert.equal(await preview(page).locator("img, script").count(), 0);
  assert.equal(await page.evaluate(() => globalThis.hit), undefined);
});

test("of a very long text some words are marked and named", async () => {
  const page = await pages.open(form({ title: "x" }));
  await type(page).waitFor();
  await page.getByLabel("Description").fill("plan roadmap epic spike milestone ".repeat(4000));
  assert.equal((await highlighted(page)).length, 200);
  assert.equal(await page.locator("mark").count(), 5);
});

test("the form carries the type", async () => {
  const page = await pages.open(form({ title: "Review it" }));
  await type(page).waitFor();
  assert.equal(await value(page), "code_review");
  assert.deepEqual(await sent(page), {
    title: "Review it",
    description: "",
    assigned_to: "",
    task_type: "code_review",
  });
});

test("an empty form carries none", async () => {
  const page = await pages.open(form());
  await preview(page).getByText("Type a title").waitFor();
  assert.deepEqual(await sent(page), { title: "", description: "", assigned_to: "" });
});

test("reset goes back to what the fields held first", async () => {
  const page = await pages.open(form({ title: "Review it" }));
  await type(page).waitFor();
  await page.getByLabel("Title").fill("plan");
  assert.equal(await value(page), "planning");
  await page.click("text=Use Timmy");
  await page.click("text=Reset");
  assert.equal(await type(page).innerText(), "Code review");
  assert.deepEqual(await highlighted(page), [["title", 0, 6]]);
  assert.equal(await page.getByLabel("Agent").inputValue(), "");
  await page.evaluate(() => (document.forms[0].elements.title.defaultValue = ""));
  await page.evaluate(() => document.forms[0].reset());
  assert.equal(await value(page), null);
  assert.deepEqual(await highlighted(page), []);
});

test("the agent changes by the button alone, and what a person chose stays", async () => {
  const page = await pages.open(form({ title: "Review it" }));
  const agent = page.getByLabel("Agent");
  const use = page.locator(".ttp-use");
  await type(page).waitFor();
  assert.equal(await agent.inputValue(), "");
  await page.evaluate(() => {
    globalThis.heard = [];
    for (const name of ["input", "change"]) {
      document.addEventListener(name, (event) => heard.push(`${name} ${event.target.name}`));
    }
  });
  await page.getByLabel("Description").focus();
  await page.keyboard.press("Tab");
  await page.keyboard.press("Tab");
  assert.equal(await use.evaluate((button) => button === document.activeElement), true);
  await page.keyboard.press("Enter");
  assert.equal(await agent.inputValue(), "claude_code");
  assert.deepEqual(await page.evaluate(() => heard), ["input assigned_to", "change assigned_to"]);
  assert.equal(await use.innerText(), "Using Claude Code");
  assert.equal(await use.getAttribute("aria-disabled"), "true");
  assert.equal(await use.evaluate((button) => button === document.activeElement), true);

  await page.getByLabel("Title").fill("plan it");
  assert.equal(await agent.inputValue(), "claude_code");
  assert.equal(await use.innerText(), "Use Timmy");
  await agent.selectOption("timmy");
  assert.equal(await use.innerText(), "Using Timmy");
  await page.getByLabel("Title").fill("Bump a version"); // Kimi's, whom the list does not hold
  assert.equal(await use.isVisible(), false);
  assert.equal(await agent.inputValue(), "timmy");
});

test("a screen reader is told when the type has changed and stood for a while", async () => {
  const page = await openWithStillClock(pages, form(), "wasm");
  await page.evaluate(() => {
    globalThis.told = [];
    const output = document.querySelector("output");
    const note = () => told.push(output.textContent);
    new MutationObserver(note).observe(output, { childList: true, characterData: true });
  });
  const told = () => page.evaluate(() => globalThis.told);
  const title = page.getByLabel("Title");
  await title.fill("Review");
  await page.clock.runFor(600);
  assert.deepEqual(await told(), []);
  await title.fill("Review it, and audit that");
  await page.clock.runFor(200);
  assert.deepEqual(await told(), ["Code review, for Claude Code"]);
  await title.fill("plan");
  await page.clock.runFor(300);
  await title.fill("Review");
  await page.clock.runFor(5000);
  assert.deepEqual(await told(), ["Code review, for Claude Code"]);
});

test("removal leaves nothing behind, and coming back works", async () => {
  const page = await pages.open(form({ title: "Review it" }));
  await type(page).waitFor();
  const left = await page.evaluate(() => {
    const listening = new Set();
    const { addEventListener } = EventTarget.prototype;
    EventTarget.prototype.addEventListener = function (name, listener, options) {
      if (options?.signal) listening.add(options.signal);
      return addEventListener.call(this, name, listener, options);
    };
    const element = document.querySelector("task-type-preview");
    const parent = element.parentNode;
    element.remove();
    parent.append(element); // listens by the function above from now on
    element.remove();
    globalThis.kept = element;
    return {
      listening: [...listening].filter((signal) => !signal.aborted).length,
      listened: listening.size > 0,
      highlights: CSS.highlights.size,
      sheets: document.adoptedStyleSheets.length,
      parts: document.querySelectorAll("[class^=ttp]").length,
    };
  });
  assert.deepEqual(left, { listening: 0, listened: true, highlights: 0, sheets: 0, parts: 0 });
  await page.getByLabel("Title").fill("plan"); // nobody listens
  assert.equal(await page.evaluate(() => kept.value), "code_review");
  assert.equal(await page.evaluate(() => CSS.highlights.size), 0);
  await page.evaluate(() => document.forms[0].append(kept));
  assert.equal(await value(page), "planning");
  assert.deepEqual(await highlighted(page), [["title", 0, 4]]);
  assert.equal(await page.evaluate(() => document.adoptedStyleSheets.length), 1);
});

test("two forms in a page do not meddle", async () => {
  const page = await pages.open(form({ title: "Review it" }));
  await type(page).waitFor();
  await page.evaluate(() => {
    const copy = document.forms[0].cloneNode(true);
    copy.elements.title.value = "plan";
    document.body.append(copy);
  });
  assert.deepEqual(await page.locator(".ttp-type").allInnerTexts(), ["Code review", "Planning"]);
  await page.evaluate(() => document.forms[0].remove());
  assert.equal(await page.evaluate(() => CSS.highlights.get("task-type-preview").size), 1);
});

test("another type is an event", async () => {
  const page = await pages.open(form());
  await waitForEngine(page, "wasm");
  await page.evaluate(() => {
    globalThis.values = [];
    const element = document.querySelector("task-type-preview");
    element.addEventListener("task-type-change", () => values.push(element.value));
  });
  await page.getByLabel("Title").pressSequentially("plan a review");
  assert.deepEqual(await page.evaluate(() => values), [
    "routine_coding",
    "planning",
    "code_review",
  ]);
});

test("in the example, a form that HTMX swaps in is upgraded, sent and swept away", async () => {
  const page = await pages.open("/");
  for (const [title, kind, agent] of [
    ["Investigate <b>it</b>", "complex_reasoning", "Claude Code"],
    ["Quick fix", "fast_iteration", "Kimi Code"],
  ]) {
    await page.click("text=New task");
    await page.getByLabel("Title").fill(title);
    await type(page).waitFor();
    await page.click("text=Create task");
    await page.locator("#modal form").waitFor({ state: "detached" });
    const row = page.locator("#tasks li").first();
    assert.equal(await row.locator("b").innerText(), title);
    assert.deepEqual(await row.locator("span").allInnerTexts(), [kind, agent]);
    assert.equal(await row.getAttribute("data-preview"), kind);
    assert.equal(await page.evaluate(() => CSS.highlights.size), 0);
    assert.equal(await page.evaluate(() => document.adoptedStyleSheets.length), 0);
  }
  assert.deepEqual(page.errors, []);
});
