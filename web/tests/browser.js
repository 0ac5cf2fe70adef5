// A server, started as a process, and a browser, for the tests of a file.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before } from "node:test";
import path from "node:path";
import readline from "node:readline";
import { chromium } from "playwright-core";

const HERE = import.meta.dirname;
export const PYTHON = process.env.PYTHON ?? path.join(HERE, "../../.venv/bin/python");
const FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"].concat(
  ["background-networking", "component-update", "sync"].map((what) => `--disable-${what}`),
);

/** @returns {Promise<import("playwright-core").Browser>} */
export function launch() {
  const executablePath = process.env.CHROMIUM ?? "/usr/bin/chromium";
  return chromium.launch({ executablePath, args: FLAGS });
}

/** @returns {Promise<{ url: string, stop(): Promise<void> }>} */
export async function serve() {
  const args = ["-m", "uvicorn", "--app-dir", HERE, "--port", "0", "server:app"];
  const server = spawn(PYTHON, args, { stdio: ["ignore", "ignore", "pipe"] });
  const gone = once(server, "exit");
  const lines = readline.createInterface({ input: server.stderr });
  let said = "";
  const url = await new Promise((resolve, reject) => {
    lines.on("line", (line) => {
      said += `${line}\n`;
      const [, found] = /running on (http:\S+)/.exec(line) ?? [];
      if (found) resolve(found);
    });
    gone.then(() => reject(new Error(`the server ended:\n${said}`)), reject);
  });
  return {
    url,
    async stop() {
      server.kill();
      await gone;
    },
  };
}

/**
 * Starts both before a file's tests and ends both after them.
 *
 * @returns {{ url: string, open(path: string, options?: object): Promise<Page> }}
 * @typedef {import("playwright-core").Page & { requests: string[], errors: string[] }} Page
 */
export function site() {
  const running = {};
  before(async () => {
    [running.server, running.browser] = await Promise.all([serve(), launch()]);
    running.url = running.server.url;
  });
  after(async () => {
    await running.browser?.close();
    await running.server?.stop();
  });
  return Object.assign(running, {
    async open(path, options = {}) {
      const context = await running.browser.newContext(options);
      const page = await context.newPage();
      page.setDefaultTimeout(20_000);
      const requests = [];
      const errors = [];
      page.on("request", (request) => requests.push(new URL(request.url()).pathname));
      page.on("pageerror", (error) => errors.push(error.message));
      await page.goto(new URL(path, running.url).href);
      return Object.assign(page, { requests, errors });
    },
  });
}

/** Opens a page whose clock stands still; `page.clock.runFor` moves it. */
export async function openWithStillClock(pages, path, engine) {
  const page = await pages.open("about:blank");
  await page.clock.install();
  await page.goto(pages.url + path);
  await waitForEngine(page, engine);
  await page.clock.pauseAt(Date.now() + 60_000);
  return page;
}

export function waitForEngine(page, engine) {
  const there = (engine) => document.querySelector("task-type-preview").engine === engine;
  return page.waitForFunction(there, engine);
}
