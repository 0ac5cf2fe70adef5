// The package as npm packs it, installed into a folder of its own.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import {
  cpSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import path from "node:path";
import { after, before, test } from "node:test";
import { build } from "vite";
import { launch } from "./browser.js";

const WEB = path.dirname(import.meta.dirname);
const folder = mkdtempSync(path.join(tmpdir(), "package-"));
const installed = path.join(folder, "node_modules/timmy-dispatcher-preview");
const run = (command, args, cwd = folder) => execFileSync(command, args, { cwd, encoding: "utf8" });
const MIME = { ".html": "text/html", ".js": "text/javascript", ".wasm": "application/wasm" };
const server = createServer((request, response) => {
  const { pathname } = new URL(request.url, "http://localhost");
  try {
    const bytes = readFileSync(path.join(folder, pathname));
    response.setHeader("Content-Type", MIME[path.extname(pathname)] ?? "text/plain");
    response.end(bytes);
  } catch {
    response.writeHead(404).end();
  }
});
let packed;
let browser;

before(async () => {
  [packed] = JSON.parse(run("npm", ["pack", "--json", "--pack-destination", folder], WEB));
  mkdirSync(installed, { recursive: true });
  run("tar", ["-xzf", path.join(folder, packed.filename), "-C", installed, "--strip-components=1"]);
  cpSync(path.join(WEB, "tests/vite"), folder, { recursive: true });
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  browser = await launch();
});

after(async () => {
  await browser?.close();
  server.close();
  rmSync(folder, { recursive: true });
});

test("it holds the sources, the module, the types and what people read, and no more", () => {
  const wanted = ["LICENSE", "README.md", "package.json"];
  for (const module of ["core", "ranked"]) {
    wanted.push(`core/${module}.d.ts`, `core/${module}.js`, `core/${module}_bg.wasm`);
  }
  wanted.push("core/model.bin");
  for (const name of readdirSync(path.join(WEB, "src"))) {
    wanted.push(`src/${name}`, `types/${name.replace(".js", ".d.ts")}`);
  }
  assert.deepEqual(packed.files.map(({ path }) => path).sort(), wanted.sort());
});

test("the lock file names no registry", () => {
  const lock = readFileSync(path.join(WEB, "package-lock.json"), "utf8");
  assert.doesNotMatch(lock, /"resolved"/);
});

test("Node imports it without waiting", () => {
  const program = `
    import { init, inferTaskType } from "timmy-dispatcher-preview";
    import { define } from "timmy-dispatcher-preview/element";
    console.log(inferTaskType("Clean", "up the mess"), typeof define, await init());`;
  const said = run("node", ["--input-type=module", "--eval", program]);
  assert.equal(said, "refactoring function undefined\n");
});

test("Node ranks without waiting", () => {
  const program = `
    import { initRanking, rankTaskTypes } from "timmy-dispatcher-preview/ranking";
    console.log(rankTaskTypes("Roadmap for the next quarter").types[0].type, await initRanking());`;
  const said = run("node", ["--input-type=module", "--eval", program]);
  assert.equal(said, "planning undefined\n");
});

test("a strict TypeScript program finds its types", () => {
  const options = ["--strict", "--noEmit", "--module", "esnext", "--moduleResolution", "bundler"];
  options.push("--target", "es2022", "--lib", "es2022,dom", "--types", "");
  const tsc = path.join(WEB, "node_modules/.bin/tsc");
  try {
    run(tsc, [...options, "types.ts"]);
  } catch ({ stdout }) {
    assert.fail(stdout);
  }
});

/** Opens a page, and returns the previewed type. */
async function previewed(pathname) {
  const page = await browser.newPage();
  const warnings = [];
  page.on("console", (message) => warnings.push(message.text()));
  page.requests = [];
  page.on("request", (request) => page.requests.push(new URL(request.url()).pathname));
  await page.goto(`http://127.0.0.1:${server.address().port}${pathname}`);
  await page.locator(".ttp-type").waitFor();
  assert.equal(
    await page.evaluate(() => document.querySelector("task-type-preview").engine),
    "wasm",
  );
  assert.deepEqual(
    warnings.filter((text) => text.startsWith("task-type-preview")),
    [],
  );
  return page;
}

const loaded = (page, what) => page.requests.filter((pathname) => what.test(pathname));

test("a page built by Vite", async () => {
  await build({ root: folder, configFile: false, logLevel: "error", base: "./" });
  const assets = readdirSync(path.join(folder, "dist/assets"));
  const count = (ending) => assets.filter((name) => name.endsWith(ending)).length;
  assert.deepEqual([count(".wasm"), count(".bin")], [2, 1], assets.join());
  const page = await previewed("/dist/index.html");
  assert.equal(await page.locator(".ttp-type").innerText(), "Code review");
  assert.equal(await page.locator("#inferred").innerText(), "planning of 4");
  assert.deepEqual(loaded(page, /ranked|model/), []);
  await page
    .locator("task-type-preview")
    .evaluate((one) => one.setAttribute("inference", "ranked"));
  await page.locator(".ttp-bars").first().waitFor();
  assert.equal(loaded(page, /ranked|model/).length, 3);
});

test("a plain page with a script tag", async () => {
  const tag = '<script type="module" src="/node_modules/timmy-dispatcher-preview/src/define.js">';
  const html = readFileSync(path.join(folder, "index.html"), "utf8");
  const plain = html.replace(/<script.*?>/, tag);
  assert.notEqual(plain, html);
  writeFileSync(path.join(folder, "plain.html"), plain);
  const page = await previewed("/plain.html");
  assert.equal(await page.locator(".ttp-type").innerText(), "Code review");
});
