/**
 * Text → how likely each task type is, learned, with the words that say so: the dispatcher's own
 * ranking as WASM. A module of its own, with the model some 15 times as large as the exact rules,
 * for those who ask for it.
 *
 * @module
 */
import * as ranked from "../core/ranked.js";
import { TASK_TYPES, init } from "./inference.js";
import { MODEL } from "./model.js";

/** @import { Span } from "./inference.js" */

/**
 * A task type, who gets such tasks, and how likely it is, in 1/10,000.
 *
 * @typedef {{ type: string, agent: string, probability: number }} RankedType
 */

/**
 * A word, or two neighbours, that spoke for (above 0) or against (below 0) the first type. The
 * text is lowered, and every number in it is `0`; the weight is by how much it moved the type's
 * logit, in 1/1000 nat; the spans are all its places.
 *
 * @typedef {{ text: string, weight: number, spans: Span[] }} Evidence
 */

/**
 * Every task type, the likeliest first, and the evidence about that, the weightiest first. The
 * probabilities sum to 10,000.
 *
 * @typedef {{ types: RankedType[], evidence: Evidence[] }} Ranking
 */

/**
 * @typedef {object} Sources
 * @property {string | URL} [wasm] where the WASM module is, by default beside the package's files
 * @property {string | URL} [model] where the model is, by default the shipped one
 */

const UTF16 = new TextDecoder("utf-16le");

/** @type {Promise<void> | undefined} */
let loading;
let loaded = false;

/**
 * Loads the WASM module and the model, once, and the exact rules' module where that is not there;
 * {@link rankTaskTypes} wants this to have ended.
 *
 * @param {Sources} [sources]
 * @returns {Promise<void>} rejected where one of them is absent, no model, not served as
 *   application/wasm, or not allowed by the page's Content-Security-Policy
 */
export function initRanking({ wasm, model = MODEL } = {}) {
  const url = wasm ?? new URL("../core/ranked_bg.wasm", import.meta.url);
  loading ??= Promise.all([
    WebAssembly.compileStreaming(fetch(url)),
    fetch(model).then((response) => {
      if (!response.ok) throw new Error(`${response.url} answers ${response.status}`);
      return response.arrayBuffer();
    }),
    init(),
  ]).then(([module, bytes]) => initRankingSync(module, new Uint8Array(bytes)));
  return loading;
}

/**
 * The same with both at hand, after the exact rules' module; a second time changes the model.
 *
 * @param {BufferSource | WebAssembly.Module} module the module or its bytes
 * @param {Uint8Array} model the bytes of a model, the shipped one or one that was trained
 * @returns {void} an Error says what is no model
 */
export function initRankingSync(module, model) {
  ranked.initSync({ module });
  ranked.load(model);
  loaded = true;
}

/**
 * How likely each task type is, and the words for and against the first; as `rank_task_types` in
 * Python.
 *
 * @param {string} title
 * @param {string} [description]
 * @returns {Ranking}
 */
export function rankTaskTypes(title, description = "") {
  if (!loaded) throw new Error("the model is not loaded: await initRanking() first");
  const flat = ranked.rank(title, description);
  const types = TASK_TYPES.map((_, rank) => {
    const { name: type, agent } = TASK_TYPES[flat[2 * rank]];
    return { type, agent, probability: flat[2 * rank + 1] };
  });
  let at = 2 * types.length;
  const evidence = Array.from({ length: flat[at++] }, () => {
    const weight = flat[at++];
    const spans = Array.from({ length: flat[at++] }, () => {
      /** @type {Span} */
      const span = {
        field: flat[at] ? "description" : "title",
        start: flat[at + 1],
        end: flat[at + 2],
      };
      at += 3;
      return span;
    });
    return { text: "", weight, spans };
  });
  const texts = UTF16.decode(Uint16Array.from(flat.subarray(at))).split("\n");
  evidence.forEach((found, index) => (found.text = texts[index]));
  return { types, evidence };
}
