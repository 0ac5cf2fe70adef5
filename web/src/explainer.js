/**
 * Where explanations come from: the WASM module, else the server, else nowhere.
 *
 * @module
 */
import { explain, init } from "./inference.js";

/** @import { Agent, Explanation } from "./inference.js" */
/** @import { Sources } from "./ranking.js" */
/** @import { Server } from "./server.js" */

/**
 * @typedef {object} Options
 * @property {string | URL} [wasm] where the WASM module is, by default beside the package's files
 * @property {string | URL} [fallback] the server's endpoint, asked where WASM cannot run
 * @property {Record<string, Agent>} [routes] who gets which task type, where a server sends some
 *   of them to others than the built-in routes do
 * @property {string} [inference] "exact" (default) or "ranked", for elements that do not say
 * @property {number | string} [minConfidence] the same for `min-confidence`, from 0 (default) to 1
 * @property {string} [belowConfidence] the same for `below-confidence`: "exact" (default), "ask" or
 *   a task type
 * @property {Sources} [ranking] where ranking's module and model are
 */

/** @typedef {"wasm" | "server" | "none"} Engine */

export class Explainer {
  /** @type {Engine | undefined} undefined while the module is loading */
  engine;
  /** @type {Promise<void>} */
  ready;
  /** Answers where the engine is "server". @type {Server | undefined} */
  server;

  /** @param {Options} options */
  constructor(options) {
    this.options = options;
    this.ready = init(options.wasm).then(
      () => void (this.engine = "wasm"),
      async (reason) => {
        const { fallback } = options;
        if (fallback) this.server = new (await import("./server.js")).Server(fallback);
        this.engine = fallback ? "server" : "none";
        console.warn(`task-type-preview: no WASM, by ${this.engine}:`, reason);
      },
    );
  }

  /**
   * By the WASM module, at once.
   *
   * @param {string} title
   * @param {string} description
   * @returns {Explanation}
   */
  explain(title, description) {
    const explanation = explain(title, description);
    const route = this.options.routes?.[explanation.type];
    return route ? { ...explanation, ...route, agent: route.name } : explanation;
  }
}
