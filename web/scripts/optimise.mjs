// Makes a WASM module smaller.
import { execFileSync } from "node:child_process";
import path from "node:path";

/**
 * @param {string} from
 * @param {string} to
 */
export function optimise(from, to) {
  const tool = path.join(import.meta.dirname, "../node_modules/.bin/wasm-opt");
  // The section that says which features are used is for tools, and this is the last of them.
  const flags = ["-Oz", "--converge", "--low-memory-unused", "--strip-target-features"];
  execFileSync(tool, [...flags, from, "--output", to], { stdio: "inherit" });
}
