/**
 * Explanations from a server; loaded where WASM cannot run.
 *
 * @module
 */

/** @import { Explanation } from "./inference.js" */

/** How long a person has to pause before the server is asked, in milliseconds. */
const ASK_AFTER = 250;

export class Server {
  #endpoint;

  /** @param {string | URL} endpoint */
  constructor(endpoint) {
    this.#endpoint = endpoint;
  }

  /**
   * Asks after a pause.
   *
   * @param {Record<string, string>} fields of the form that is posted
   * @param {AbortSignal} signal ends both the pause and the request
   * @returns {Promise<Explanation | null>} null where it gives no answer; rejected where the signal
   *   ended it
   */
  async ask(fields, signal) {
    await new Promise((resolve) => setTimeout(resolve, ASK_AFTER));
    signal.throwIfAborted();
    try {
      const body = new URLSearchParams(fields);
      const headers = { Accept: "application/json" };
      const response = await fetch(this.#endpoint, { method: "POST", body, headers, signal });
      return response.ok ? await response.json() : null;
    } catch {
      signal.throwIfAborted();
      return null;
    }
  }
}
