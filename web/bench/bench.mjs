// `make bench-web`: a call in Node and in Chromium, the first preview, loading what ranks, and the
// handler of a keystroke.
import os from "node:os";
import * as core from "timmy-dispatcher-preview";
import { launch, serve } from "../tests/browser.js";
import { rankTaskTypes } from "timmy-dispatcher-preview/ranking";
import { calls, rankings } from "./calls.js";

const server = await serve();
const browser = await launch();
const load = os.loadavg()[0].toFixed(1);
console.log(`Node ${process.version}, Chromium ${browser.version()}, load ${load}; µs a call:`);
console.log("Node");
console.table(calls(core));
console.table(rankings(rankTaskTypes));

const page = await browser.newPage();
await page.goto(`${server.url}/form`);
console.log("Chromium");
console.table(
  await page.evaluate(async () => {
    const core = await import("/web/src/inference.js");
    const { calls } = await import("/web/bench/calls.js");
    await core.init();
    return calls(core);
  }),
);
console.table(
  await page.evaluate(async () => {
    const { initRanking, rankTaskTypes } = await import("/web/src/ranking.js");
    const { rankings } = await import("/web/bench/calls.js");
    await initRanking();
    return rankings(rankTaskTypes);
  }),
);

/** Milliseconds from DOMContentLoaded until something is to be seen, nothing cached. */
async function untilSeen(query, selector) {
  const took = [];
  for (let at = 0; at < 20; at++) {
    const context = await browser.newContext();
    const page = await context.newPage();
    await page.addInitScript((selector) => {
      const seen = new MutationObserver(() => {
        const found = document.querySelector(selector);
        if (found && !found.hidden) globalThis.firstSeen ??= performance.now();
      });
      seen.observe(document, { subtree: true, childList: true, attributes: true });
    }, selector);
    await page.goto(`${server.url}/form?title=Review+it&${query}`);
    await page.waitForFunction(() => globalThis.firstSeen);
    took.push(
      await page.evaluate(() => {
        const [{ domContentLoadedEventStart }] = performance.getEntriesByType("navigation");
        return globalThis.firstSeen - domContentLoadedEventStart;
      }),
    );
    await context.close();
  }
  return took;
}
const nothing = "after DOMContentLoaded, nothing cached";
tell(`first preview ${nothing}`, await untilSeen("", ".ttp-line"));
tell(`first ranking ${nothing}`, await untilSeen("inference=ranked", ".ttp-first"));

for (const inference of ["exact", "ranked"]) {
  await page.goto(`${server.url}/form?title=Fix+the+upload&inference=${inference}`);
  await page.locator(inference === "ranked" ? ".ttp-first" : ".ttp-type").waitFor();
  tell(
    `a keystroke in a 2 KB description, handler and layout, ${inference}`,
    await page.evaluate(() => {
      const field = document.forms[0].elements.description;
      const text = "then review the plan of the swarm, and trace what is slow. ".repeat(34);
      const took = [];
      for (let at = 0; at < 400; at++) {
        field.value = text + "design the schema".slice(0, at % 18);
        const start = performance.now();
        field.dispatchEvent(new Event("input", { bubbles: true }));
        document.body.offsetHeight;
        took.push(performance.now() - start);
      }
      return took.slice(50);
    }),
  );
}
await browser.close();
await server.stop();

function tell(what, times) {
  times.sort((one, other) => one - other);
  const at = (share) => times[Math.floor(times.length * share)].toFixed(2);
  console.log(`${what}: median ${at(0.5)} ms, p95 ${at(0.95)} ms`);
}
