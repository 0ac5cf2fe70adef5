// The picture of the README: `node web/scripts/picture.mjs docs/preview.png`.
import { launch, serve } from "../tests/browser.js";

const server = await serve();
const browser = await launch();
const page = await browser.newPage({
  colorScheme: "dark",
  viewport: { width: 900, height: 620 },
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
await page.screenshot({ path: process.argv[2], caret: "initial" });
await browser.close();
await server.stop();
