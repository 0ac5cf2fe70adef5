// axe finds nothing in the example and in a form without any style, dark and light.
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { test } from "node:test";
import { site } from "./browser.js";

const pages = site();
const axe = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

async function violations(page) {
  await page.evaluate(axe);
  const found = await page.evaluate(() => axe.run({ resultTypes: ["violations", "incomplete"] }));
  const contrast = found.incomplete.filter(({ id }) => id === "color-contrast");
  return [...found.violations, ...contrast].flatMap(({ id, nodes }) =>
    nodes.map(({ html, failureSummary }) => `${id}: ${html}: ${failureSummary}`),
  );
}

/** A bare page has no heading or landmark; it is the element that is looked at. */
function ofTheElement(found) {
  const pageOnly = /^(landmark-one-main|page-has-heading-one|region):/;
  return found.filter((one) => !pageOnly.test(one));
}

for (const colorScheme of ["dark", "light"]) {
  test(`the example, ${colorScheme}`, async () => {
    const page = await pages.open("/", { colorScheme });
    assert.deepEqual(await violations(page), []);
    await page.click("text=New task");
    assert.deepEqual(await violations(page), []);
    await page.getByLabel("Title").fill("Review the upload path");
    await page.getByLabel("Description").fill("Audit it");
    await page
      .locator("output")
      .getByText("Code review, for Claude Code")
      .waitFor({ state: "attached" });
    assert.deepEqual(await violations(page), []);
    await page.click("text=Use Claude Code");
    assert.deepEqual(await violations(page), []);
    await page.getByLabel("Preview by").selectOption("ranking");
    await page.locator(".ttp-first").waitFor();
    await page.click("summary");
    assert.deepEqual(await violations(page), []);
  });

  test(`a page that sets no variable, ${colorScheme}`, async () => {
    const page = await pages.open("/form?title=Review+it", { colorScheme });
    await page.evaluate(() => {
      document.documentElement.style = "color-scheme: dark light; background: Canvas";
    });
    await page.locator(".ttp-type").waitFor();
    const found = await violations(page);
    assert.deepEqual(ofTheElement(found), []);
  });
}

const SURE = "The login crashes now and then, nobody knows why";
for (const colorScheme of ["dark", "light"]) {
  for (const [what, fields, seen] of [
    ["sure", {}, ".ttp-against mark"],
    ["unsure", { "min-confidence": "1" }, ".ttp-note"],
    ["asking", { "min-confidence": "1", "below-confidence": "ask" }, "text=a person has to say"],
    ["mistaken", { inference: "guess" }, "text=unknown inference"],
  ]) {
    test(`ranking that is ${what}, ${colorScheme}`, async () => {
      const query = new URLSearchParams({ inference: "ranked", title: SURE, ...fields });
      const page = await pages.open(`/form?${query}`, { colorScheme });
      await page.evaluate(() => {
        document.documentElement.style = "color-scheme: dark light; background: Canvas";
      });
      await page.locator(seen).first().waitFor();
      if (what !== "mistaken") await page.click("summary");
      assert.deepEqual(ofTheElement(await violations(page)), []);
    });
  }
}

test("a screen reader finds the bars as lists with numbers", async () => {
  const page = await pages.open(
    `/form?${new URLSearchParams({ inference: "ranked", title: SURE })}`,
  );
  await page.locator(".ttp-first").waitFor();
  const list = page.getByRole("list", { name: "How likely each kind of work is" });
  const [first, ...more] = await list.getByRole("listitem").allInnerTexts();
  assert.match(first.replace(/\s+/g, " "), /^Complex reasoning \d+\.\d%$/);
  assert.equal(more.length, 4);
});

test("a screen reader finds a named group, and the words in it", async () => {
  const page = await pages.open("/form?title=Review+it");
  await page.locator("output").getByText("Code review").waitFor({ state: "attached" });
  const tools = await page.context().newCDPSession(page);
  const { nodes } = await tools.send("Accessibility.getFullAXTree");
  const found = nodes.map(({ role, name }) => `${role?.value} ${name?.value ?? ""}`.trim());
  for (const wanted of ["group Task type preview", "button Use Claude Code", "status", "mark"]) {
    assert.ok(found.includes(wanted), `no ${wanted} in ${found.join("; ")}`);
  }
  assert.equal(await page.locator("output").innerText(), "Code review, for Claude Code");
});
