/** Defines `<task-type-preview>`, with the WASM module of this package and no server. */
import { define } from "./element.js";

define();
