/**
 * Text → task type, by the dispatcher's own core as WASM: the page says what the server will say.
 *
 * @module
 */
import * as core from "../core/core.js";

/**
 * A part of a field, in UTF-16 units, as JavaScript counts.
 *
 * @typedef {{ field: "title" | "description", start: number, end: number }} Span
 */

/**
 * A keyword that stands in a text: one span, or two where it runs from the end of the title into
 * the description.
 *
 * @typedef {{ keyword: string, type: string, spans: Span[] }} Match
 */

/**
 * A task type, who gets such tasks, and what spoke for it. `interface` is how the agent takes its
 * tasks ("gitea", "api" or "local"), `label` what makes it pick up an issue. An element that ranks
 * has the ranking in it, and its matches are the words for the type.
 *
 * @typedef {{
 *   type: string,
 *   agent: string,
 *   displayName: string,
 *   interface: string,
 *   label: string | null,
 *   matches: Match[],
 *   ranking?: import("./ranking.js").Ranking,
 * }} Explanation
 */

/** @typedef {{ name: string, displayName: string, interface: string, label: string | null }} Agent */

/** @typedef {{ name: string, agent: string }} TaskType */

/**
 * The task types, in the order of declaration, each with the agent that is best at it. Filled by
 * {@link init}.
 *
 * @type {TaskType[]}
 */
export const TASK_TYPES = [];

/**
 * The agents, in the order of registration. Filled by {@link init}.
 *
 * @type {Agent[]}
 */
export const AGENTS = [];

/**
 * The keywords, in order of their types' priority. Filled by {@link init}.
 *
 * @type {{ keyword: string, type: string }[]}
 */
export const KEYWORDS = [];

/** @type {Promise<void> | undefined} */
let loading;

/**
 * Loads the WASM module, once; every other function wants this to have ended.
 *
 * @param {string | URL} [url] where the module is, by default beside this file
 * @returns {Promise<void>} rejected where the module is absent, served as anything but
 *   application/wasm, or not allowed by the page's Content-Security-Policy
 */
export function init(url = new URL("../core/core_bg.wasm", import.meta.url)) {
  loading ??= WebAssembly.compileStreaming(fetch(url)).then(initSync);
  return loading;
}

/**
 * The same with the module at hand.
 *
 * @param {BufferSource | WebAssembly.Module} module the module or its bytes
 * @returns {void}
 */
export function initSync(module) {
  core.initSync({ module });
  const [types = [], agents = [], keywords = []] = new TextDecoder()
    .decode(core.tables())
    .split("\n\n")
    .map((table) =>
      table
        .trimEnd()
        .split("\n")
        .map((row) => row.split("\t")),
    );
  for (const [name = "", agent = ""] of types) TASK_TYPES.push({ name, agent });
  for (const [name = "", displayName = "", by = "", label] of agents) {
    AGENTS.push({ name, displayName, interface: by, label: label || null });
  }
  for (const [type = "", keyword = ""] of keywords) KEYWORDS.push({ keyword, type });
}

/**
 * The task type of a text, as `infer_task_type` in Python.
 *
 * @param {string} title
 * @param {string} [description]
 * @returns {string}
 */
export function inferTaskType(title, description = "") {
  loaded();
  return TASK_TYPES[core.explain(title, description)[0]].name;
}

/**
 * The task type of a text, the agent, and every keyword in it by position.
 *
 * @param {string} title
 * @param {string} [description]
 * @returns {Explanation}
 */
export function explain(title, description = "") {
  loaded();
  const flat = core.explain(title, description);
  const { name: type, agent } = TASK_TYPES[flat[0]];
  const {
    displayName,
    interface: by,
    label,
  } = /** @type {Agent} */ (AGENTS.find(({ name }) => name === agent));
  /** @type {Match[]} */
  const matches = [];
  for (let at = 1; at < flat.length; at += 5) {
    /** @type {Span[]} */
    const spans = [];
    const [keyword, titleStart, titleEnd, start, end] = flat.subarray(at, at + 5);
    if (titleEnd) spans.push({ field: "title", start: titleStart, end: titleEnd });
    if (end) spans.push({ field: "description", start, end });
    matches.push({ ...KEYWORDS[keyword], spans });
  }
  return { type, agent, displayName, interface: by, label, matches };
}

/**
 * The agent that gets tasks of this type; Timmy where there is no such type, as in Python.
 *
 * @param {string} type
 * @returns {string}
 */
export function selectAgent(type) {
  loaded();
  return TASK_TYPES.find(({ name }) => name === type)?.agent ?? "timmy";
}

function loaded() {
  if (!TASK_TYPES.length) throw new Error("the WASM module is not loaded: await init() first");
}
