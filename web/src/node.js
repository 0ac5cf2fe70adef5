/**
 * The same for Node, which reads the module from the package: nothing to wait for.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import { initSync } from "./inference.js";

initSync(readFileSync(new URL("../core/core_bg.wasm", import.meta.url)));

export {
  AGENTS,
  KEYWORDS,
  TASK_TYPES,
  explain,
  inferTaskType,
  initSync,
  selectAgent,
} from "./inference.js";

/**
 * Does nothing: the module is loaded.
 *
 * @returns {Promise<void>}
 */
export async function init() {}
