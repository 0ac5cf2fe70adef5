/**
 * Ranking for Node, which reads module and model from the package: nothing to wait for.
 *
 * @module
 */
import { readFileSync } from "node:fs";
import "./node.js";
import { MODEL } from "./model.js";
import { initRankingSync } from "./ranking.js";

initRankingSync(
  readFileSync(new URL("../core/ranked_bg.wasm", import.meta.url)),
  readFileSync(MODEL),
);

export { initRankingSync, rankTaskTypes } from "./ranking.js";

/**
 * Does nothing: module and model are loaded.
 *
 * @returns {Promise<void>}
 */
export async function initRanking() {}
