import { AGENTS, init, inferTaskType } from "timmy-dispatcher-preview";
import "timmy-dispatcher-preview/define";

await init();
document.getElementById("inferred").textContent = `${inferTaskType("plan")} of ${AGENTS.length}`;
