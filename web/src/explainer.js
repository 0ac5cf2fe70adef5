/**
 * Where explanations come from: the WASM module, else the server, else nowhere.
 *
 * @module
 */
import { explain, init } from "./inference.js";

/** @import { Agent, Explanation } from "./inference.js" */

/**
 * @typedef {object} Options
 * @property {string | URL} [wasm] where the WASM module is, by default beside the package's files
 * @property {string | URL} [fallback] the server's endpoint, asked where WASM cannot run
 * @property {Record<string, Agent>} [routes] who gets which task type, where a server sends some
 *   of them to others than the built-in routes do
 */

/** @typedef {"wasm" | "server" | "none"} Engine */

/** How long a person has to pause before the server is asked, in milliseconds. */
const ASK_AFTER = 250;

export class Explainer {
  /** @type {Engine | undefined} undefined while the module is loading */
  engine;
  /** @type {Promise<void>} */
  ready;
  #fallback;
  #routes;

  /** @param {Options} options */
  constructor({ wasm, fallback, routes = {} }) {
    this.#fallback = fallback;
    this.#routes = routes;
    this.ready = init(wasm).then(
      () => void (this.engine = "wasm"),
      (reason) => {
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
    const route = this.#routes[explanation.type];
    return route ? { ...explanation, ...route, agent: route.name } : explanation;
  }

  /**
   * By the server, after a pause; null where it gives no answer.
   *
   * @param {string} title
   * @param {string} description
   * @param {AbortSignal} signal ends both the pause and the request
   * @returns {Promise<Explanation | null>} rejected where the signal ended it
   */
  async ask(title, description, signal) {
    await new Promise((resolve) => setTimeout(resolve, ASK_AFTER));
    signal.throwIfAborted();
    try {
      const body = new URLSearchParams({ title, description });
      const headers = { Accept: "application/json" };
      const url = /** @type {string | URL} */ (this.#fallback);
      const response = await fetch(url, { method: "POST", body, headers, signal });
      return response.ok ? await response.json() : null;
    } catch {
      signal.throwIfAborted();
      return null;
    }
  }
}
