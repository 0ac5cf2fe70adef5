// The pictures of the README: `node web/scripts/picture.mjs docs/preview.png docs/preview-ranked.png`.
import { launch, serve } from "../tests/browser.js";

const [exact, ranked] = process.argv.slice(2);
const server = await serve();
const browser = await launch();
const page = await browser.newPage({
  colorScheme: "dark",
  viewport: { width: 900, height: 700 },
});
await page.goto(server.url);
await page.click("text=New task");
await page.getByLabel("Title").fill("Review the upload path");
await page
  .getByLabel("Description")
  .fill(
    "Retries swallow the first error. Audit what is logged, and review\nwhether a time-out can post the same part twice.",
  );
await page.locator("output").getByText("Code review").waitFor({ state: "attached" });
await page.screenshot({ path: exact, caret: "initial" });

await page.setViewportSize({ width: 900, height: 880 });
await page.getByLabel("Preview by").selectOption("ranking");
await page.getByLabel("Title").fill("Uploads stop in the middle now and then");
await page
  .getByLabel("Description")
  .fill("Nobody knows why. The log has no error; please find out what happens, and write it down.");
await page.locator(".ttp-first").waitFor();
await page.screenshot({ path: ranked, caret: "initial" });
await browser.close();
await server.stop();
