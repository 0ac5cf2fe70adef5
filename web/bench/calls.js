// Microseconds a call, by the module and in plain JavaScript; runs in Node and in a browser.
import { plain } from "./plain.js";

const TITLE = "Fix the upload button on the login page when a token expires";
const WORDS =
  "the button on the login page does not jump when users click twice and a token is gone ";
const TEXTS = {
  "60-character title": [TITLE, ""],
  "2 KB, no keyword": [TITLE, WORDS.repeat(24).slice(0, 2000)],
  "2 KB, 12 keywords": [TITLE, `${WORDS}then review the plan. `.repeat(12).slice(0, 2000)],
};

/** @param {typeof import("../src/inference.js")} core */
export function calls(core) {
  const { infer, explain } = plain(core.KEYWORDS);
  const rows = {};
  for (const [name, [title, description]] of Object.entries(TEXTS)) {
    rows[name] = {
      "infer, WASM": measure(() => core.inferTaskType(title, description)),
      "infer, plain": measure(() => infer(title, description)),
      "explain, WASM": measure(() => core.explain(title, description)),
      "explain, plain": measure(() => explain(title, description)),
    };
  }
  return rows;
}

/** @param {typeof import("../src/ranking.js").rankTaskTypes} rank */
export function rankings(rank) {
  const texts = {
    "200 characters": [TITLE, WORDS.repeat(2).slice(0, 200 - TITLE.length)],
    ...TEXTS,
  };
  // The fast code is there only after some calls.
  for (let at = 0; at < 5000; at++) rank(...texts["200 characters"]);
  const rows = {};
  for (const [name, text] of Object.entries(texts)) {
    rows[name] = { "rank, WASM": measure(() => rank(...text)) };
  }
  return rows;
}

/** The median of rounds, each so short that few are interrupted on a busy machine. */
function measure(call) {
  const rounds = [];
  let times = 1;
  while (rounds.length < 201) {
    const start = performance.now();
    for (let at = 0; at < times; at++) call();
    const took = performance.now() - start;
    if (took < 0.25) times *= 2;
    else rounds.push((took / times) * 1000);
  }
  return Number(rounds.sort((one, other) => one - other)[100].toFixed(2));
}
