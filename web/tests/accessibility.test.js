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
  });

  test(`a page that sets no variable, ${colorScheme}`, async () => {
    const page = await pages.open("/form?title=Review+it", { colorScheme });
    await page.evaluate(() => {
      document.documentElement.style = "color-scheme: dark light; background: Canvas";
    });
    await page.locator(".ttp-type").waitFor();
    const found = await violations(page);
    // The bare page has no heading or landmark; it is the element that is looked at.
    const pageOnly = /^(landmark-one-main|page-has-heading-one|region):/;
    assert.deepEqual(
      found.filter((one) => !pageOnly.test(one)),
      [],
    );
  });
}

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
