// The package as Node and a browser import it: what Python answers, on every string.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import path from "node:path";
import { test } from "node:test";
import * as core from "timmy-dispatcher-preview";
import { PYTHON, site } from "./browser.js";
import { compare } from "./vectors.js";

const pages = site();
const VECTORS = path.join(import.meta.dirname, "../../tests/vectors");
const vectors = ["inference", "explanation"].map((name) =>
  readFileSync(path.join(VECTORS, `${name}.jsonl`), "utf8"),
);

test("every golden vector in Node", () => {
  const { count, mismatches } = compare(core, ...vectors);
  assert.deepEqual(mismatches, []);
  assert.ok(count > 40_000, `only ${count} comparisons`);
});

test("every golden vector in Chromium", async () => {
  const page = await pages.open("/form");
  const { count, mismatches } = await page.evaluate(async (vectors) => {
    const core = await import("/web/src/inference.js");
    const { compare } = await import("/web/tests/vectors.js");
    await core.init();
    return compare(core, ...vectors);
  }, vectors);
  assert.deepEqual(mismatches, []);
  assert.ok(count > 40_000, `only ${count} comparisons`);
});

test("the tables are Python's", () => {
  const program = `
import json
from timmy.dispatcher import AGENT_REGISTRY, TaskType, select_agent
agents = [dict(name=spec.name, displayName=spec.display_name, interface=spec.interface,
               label=spec.gitea_label) for spec in AGENT_REGISTRY.values()]
types = {name: select_agent(name) for name in TaskType}
print(json.dumps([agents, types]))`;
  const [agents, types] = JSON.parse(execFileSync(PYTHON, ["-c", program], { encoding: "utf8" }));
  assert.deepEqual(core.AGENTS, agents);
  const routes = core.TASK_TYPES.map(({ name, agent }) => [name, agent]);
  assert.deepEqual(Object.fromEntries(routes), types);
  for (const [name, agent] of routes) assert.equal(core.selectAgent(name), agent);
  assert.equal(core.selectAgent("gardening"), "timmy");
});

test("all that is known of a text", () => {
  assert.deepEqual(core.explain("🦀 Clean", "up the swarm"), {
    type: "refactoring",
    agent: "claude_code",
    displayName: "Claude Code",
    interface: "gitea",
    label: "claude-ready",
    matches: [
      {
        keyword: "clean up",
        type: "refactoring",
        spans: [
          { field: "title", start: 3, end: 8 },
          { field: "description", start: 0, end: 2 },
        ],
      },
      {
        keyword: "swarm",
        type: "orchestration",
        spans: [{ field: "description", start: 7, end: 12 }],
      },
    ],
  });
  assert.equal(core.explain("Survey").label, null);
  assert.equal(core.inferTaskType("Survey"), "research");
});

test("random strings, lone surrogates among them, get Python's answer", (t) => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`SEED=${seed}`);
  let state = seed;
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pieces = [
    "\ud83d",
    "\udd80",
    "🦀",
    "İ",
    "\u212a",
    "Σ",
    "ß",
    "e\u0301",
    " ",
    "\n",
    "\0",
    "x",
  ];
  pieces.push(
    "plan",
    "DESIGN",
    "clean",
    "up",
    "spi",
    "e",
    "a",
    "dr",
    "pr",
    "review",
    "swarm",
    "etric",
  );
  const text = () =>
    Array.from({ length: random(9) }, () => pieces[random(pieces.length)]).join("");
  const texts = Array.from({ length: 2000 }, () => [text(), text()]);
  const program = `
import json, sys
from timmy.dispatcher import explain_task_type
def units(text, at):
    return len(text[:at].encode("utf-16-le", "surrogatepass")) // 2
rows = []
for texts in json.load(sys.stdin):
    fields = dict(zip(("title", "description"), texts))
    found = explain_task_type(*texts)
    rows.append([found.task_type, [[match.keyword, match.task_type, [
        [s.field, units(fields[s.field], s.start), units(fields[s.field], s.end)]
        for s in match.spans]] for match in found.matches]])
json.dump(rows, sys.stdout)`;
  const input = JSON.stringify(texts);
  const options = { input, encoding: "utf8", maxBuffer: 2 ** 28 };
  const wanted = JSON.parse(execFileSync(PYTHON, ["-c", program], options));
  texts.forEach(([title, description], at) => {
    const { type, matches } = core.explain(title, description);
    const found = matches.map(({ keyword, type, spans }) => [
      keyword,
      type,
      spans.map(({ field, start, end }) => [field, start, end]),
    ]);
    assert.deepEqual([type, found], wanted[at], JSON.stringify([title, description]));
    assert.equal(core.inferTaskType(title, description), type);
  });
});

test("memory is given back", async () => {
  const { initSync } = await import("../core/core.js");
  const { memory } = initSync(); // loaded by the package already
  const text = "review the plan 🦀 ".repeat(2000);
  const call = (at) =>
    core.explain(text.slice(0, (at * 7919) % text.length), text.slice(0, at % 97));
  for (let at = 0; at < 300; at++) call(at);
  const before = memory.buffer.byteLength;
  for (let at = 0; at < 3000; at++) call(at);
  assert.equal(memory.buffer.byteLength, before);
});

test("a call before the module is there says what to do", async () => {
  const page = await pages.open("/form");
  const said = await page.evaluate(async () => {
    const core = await import("/web/src/inference.js?fresh");
    try {
      return core.inferTaskType("plan");
    } catch (error) {
      return error.message;
    }
  });
  assert.equal(said, "the WASM module is not loaded: await init() first");
});
