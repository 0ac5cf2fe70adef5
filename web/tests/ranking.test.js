// Ranking as Node and a browser import it: what Python answers, on every string.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import path from "node:path";
import { test } from "node:test";
import { AGENTS, TASK_TYPES, selectAgent } from "timmy-dispatcher-preview";
import { initRankingSync, rankTaskTypes } from "timmy-dispatcher-preview/ranking";
import { PYTHON, site } from "./browser.js";
import { compareRankings } from "./vectors.js";

const pages = site();
const HERE = import.meta.dirname;
const CORE = path.join(HERE, "../core");
const VECTORS = readFileSync(path.join(HERE, "../../tests/vectors/ranking.jsonl"), "utf8");
const wasm = readFileSync(path.join(CORE, "ranked_bg.wasm"));
const shipped = readFileSync(path.join(CORE, "model.bin"));

test("every golden vector in Node, bit for bit", () => {
  const { count, mismatches } = compareRankings(rankTaskTypes, TASK_TYPES, VECTORS);
  assert.deepEqual(mismatches, []);
  assert.ok(count >= 150, `only ${count} rankings`);
});

test("every golden vector in Chromium, bit for bit", async () => {
  const page = await pages.open("/form");
  const { count, mismatches } = await page.evaluate(async (vectors) => {
    const { TASK_TYPES } = await import("/web/src/inference.js");
    const { initRanking, rankTaskTypes } = await import("/web/src/ranking.js");
    const { compareRankings } = await import("/web/tests/vectors.js");
    await initRanking();
    return compareRankings(rankTaskTypes, TASK_TYPES, vectors);
  }, VECTORS);
  assert.deepEqual(mismatches, []);
  assert.ok(count >= 150, `only ${count} rankings`);
});

test("all types, each with its agent, and the words with their places", () => {
  const { types, evidence } = rankTaskTypes("🦀🦀 Roadmap", "for the next quarter, a roadmap");
  assert.equal(types.length, 14);
  assert.equal(
    types.reduce((sum, { probability }) => sum + probability, 0),
    10_000,
  );
  assert.ok(types.every(({ probability }) => Number.isInteger(probability)));
  assert.deepEqual(types.map(({ type }) => type).sort(), TASK_TYPES.map(({ name }) => name).sort());
  for (const { type, agent } of types) assert.equal(agent, selectAgent(type));
  assert.ok(AGENTS.some(({ name }) => name === types[0].agent));
  assert.equal(types[0].type, "planning");
  const { weight, ...found } = evidence[0];
  assert.ok(weight > 0);
  assert.deepEqual(found, {
    text: "roadmap",
    spans: [
      { field: "title", start: 5, end: 12 },
      { field: "description", start: 24, end: 31 },
    ],
  });
  assert.deepEqual(rankTaskTypes("").evidence, []);
});

/** What Python says of texts, in the shape and the units of JavaScript. */
function byPython(texts, model = "") {
  const program = `
import json, sys
from timmy.dispatcher import RankedClassifier
model = RankedClassifier.load(sys.argv[1]) if sys.argv[1] else RankedClassifier.built_in()
def units(text, at):
    return len(text[:at].encode("utf-16-le", "surrogatepass")) // 2
rows = []
for texts in json.load(sys.stdin):
    fields = dict(zip(("title", "description"), texts))
    found = model.rank(*texts)
    rows.append({"types": [
        {"type": o.task_type, "agent": o.agent, "probability": round(o.probability * 10_000)}
        for o in found.types], "evidence": [
        {"text": o.text, "weight": o.weight, "spans": [{"field": s.field,
            "start": units(fields[s.field], s.start), "end": units(fields[s.field], s.end)}
            for s in o.spans]} for o in found.evidence]})
json.dump(rows, sys.stdout)`;
  const options = { input: JSON.stringify(texts), encoding: "utf8", maxBuffer: 2 ** 28 };
  return JSON.parse(execFileSync(PYTHON, ["-c", program, model], options));
}

test("random strings, lone surrogates among them, get Python's answer", (t) => {
  const seed = Number(process.env.SEED ?? Date.now() % 2 ** 31);
  t.diagnostic(`SEED=${seed}`);
  let state = seed;
  const random = (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
  const pieces = ["\ud83d", "\udd80", "🦀", "İ", "\u212a", "Σ", "ΟΔΟΣ", "ß", "e\u0301", "\n", "\0"];
  pieces.push(
    " ",
    " ",
    " ",
    "?",
    "12",
    "²",
    "٣",
    "camelCase",
    "URLFor",
    "_",
    "-",
    "日本",
    "\ufeff",
  );
  pieces.push("plan", "Review", "crash", "why", "the", "a", "prototype", "x", "𝐀b", "ﬁx");
  const text = () =>
    Array.from({ length: random(14) }, () => pieces[random(pieces.length)]).join("");
  const texts = Array.from({ length: 1000 }, () => [text(), text()]);
  const wanted = byPython(texts);
  texts.forEach((fields, at) => {
    assert.deepEqual(rankTaskTypes(...fields), wanted[at], JSON.stringify(fields));
  });
});

test("a very long word and a very long text are ranked", () => {
  for (const text of ["x".repeat(300_000), "race 🦀 ".repeat(50_000)]) {
    const { types, evidence } = rankTaskTypes("plan", text);
    assert.equal(
      types.reduce((sum, { probability }) => sum + probability, 0),
      10_000,
    );
    for (const { spans } of evidence) {
      for (const { field, end } of spans) assert.ok(end <= (field === "title" ? 4 : text.length));
    }
  }
});

test("a model of one's own ranks as in Python, and what is none says so and changes nothing", () => {
  const folder = mkdtempSync(path.join(tmpdir(), "model-"));
  const ours = path.join(folder, "ours.bin");
  try {
    const program = `
import sys
from timmy.dispatcher import RankedClassifier, TaskType
from timmy.dispatcher.ranking import Example
tasks = [(TaskType.CREATIVE, "poem"), (TaskType.TRIAGE, "crash"), (TaskType.PLANNING, "quarter")]
examples = [Example(f"{word} {n}", "", of) for of, word in tasks for n in "abcdef"]
RankedClassifier.train(examples).save(sys.argv[1])`;
    execFileSync(PYTHON, ["-c", program, ours]);
    const texts = [
      ["A poem", "about a crash"],
      ["crash", ""],
      ["🦀 quarter", "crash?"],
    ];
    const before = rankTaskTypes(...texts[0]);
    initRankingSync(wasm, readFileSync(ours));
    assert.deepEqual(
      texts.map((fields) => rankTaskTypes(...fields)),
      byPython(texts, ours),
    );
    initRankingSync(wasm, shipped);
    for (const [bytes, said] of [
      [shipped.subarray(0, 5000), /cut off/],
      [Buffer.from("<!doctype html>"), /not a model/],
      [Buffer.alloc(0), /not a model/],
      [shipped.map((byte, at) => (at === 9000 ? byte ^ 1 : byte)), /damaged/],
    ]) {
      assert.throws(() => initRankingSync(wasm, bytes), said);
    }
    assert.deepEqual(rankTaskTypes(...texts[0]), before);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test("memory is given back", async () => {
  const { initSync } = await import("../core/ranked.js");
  const { memory } = initSync(); // loaded by the package already
  const text = "review why the plan crashed 🦀 ".repeat(400);
  const call = (at) =>
    rankTaskTypes(text.slice(0, (at * 7919) % text.length), text.slice(0, at % 97));
  for (let at = 0; at < 300; at++) call(at);
  const before = memory.buffer.byteLength;
  for (let at = 0; at < 1000; at++) call(at);
  assert.equal(memory.buffer.byteLength, before);
});

test("a call before the model is there says what to do", async () => {
  const page = await pages.open("/form");
  const said = await page.evaluate(async () => {
    const { rankTaskTypes } = await import("/web/src/ranking.js?fresh");
    try {
      return rankTaskTypes("plan");
    } catch (error) {
      return error.message;
    }
  });
  assert.equal(said, "the model is not loaded: await initRanking() first");
});
