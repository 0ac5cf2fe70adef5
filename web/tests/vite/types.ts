// Compiled, never run: what a program in TypeScript sees.
import {
  AGENTS,
  TASK_TYPES,
  explain,
  inferTaskType,
  init,
  selectAgent,
  type Agent,
  type Explanation,
} from "timmy-dispatcher-preview";
import {
  initRanking,
  rankTaskTypes,
  type Evidence,
  type RankedType,
} from "timmy-dispatcher-preview/ranking";
import { TaskTypePreview, define } from "timmy-dispatcher-preview/element";
import "timmy-dispatcher-preview/define";

await init(new URL("/core.wasm", "https://example.org"));
const type: string = inferTaskType("title");
const found: Explanation = explain("title", "description");
const agents: Agent[] = AGENTS;
const names: string[] = TASK_TYPES.map(({ name, agent }) => name + agent + selectAgent(type));
const [span] = found.matches[0]?.spans ?? [];
const field: "title" | "description" | undefined = span?.field;
await initRanking({ model: "/ours.bin" });
const [first] = rankTaskTypes("title", "description").types;
const ranked: RankedType | undefined = first;
const words: Evidence[] = rankTaskTypes("title").evidence;
define({ fallback: "/preview/explain", routes: { triage: agents[0] as Agent } });
define({
  inference: "ranked",
  minConfidence: 0.5,
  belowConfidence: "ask",
  ranking: { wasm: "/w" },
});
const element = document.querySelector("task-type-preview");
const value: string | null | undefined = element instanceof TaskTypePreview ? element.value : null;
// @ts-expect-error a title is text
inferTaskType(3);
const shown: number | undefined =
  element instanceof TaskTypePreview ? element.explanation?.ranking?.types[0]?.probability : 0;
export { field, names, ranked, shown, value, words };
