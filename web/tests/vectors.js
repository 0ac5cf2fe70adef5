// The golden vectors against an implementation; runs in Node and in a browser.

/**
 * @param {typeof import("../src/inference.js")} core
 * @param {string} inference the text of tests/vectors/inference.jsonl
 * @param {string} explanation the text of tests/vectors/explanation.jsonl
 * @returns {{ count: number, mismatches: unknown[] }}
 */
export function compare(core, inference, explanation) {
  const mismatches = [];
  const rows = (text) => text.trim().split("\n").map(JSON.parse);
  let count = 0;
  const check = (what, found, wanted) => {
    count += 1;
    if (JSON.stringify(found) !== JSON.stringify(wanted)) mismatches.push([what, found, wanted]);
  };
  for (const [title, description, type] of rows(inference)) {
    check([title, description], core.inferTaskType(title, description), type);
    check([title, description], core.explain(title, description).type, type);
  }
  for (const [title, description, type, agent, matches] of rows(explanation)) {
    const found = core.explain(title, description);
    const wanted = matches.map(([keyword, of, spans]) => ({
      keyword,
      type: of,
      // Code points come first in a row, UTF-16 units after them.
      spans: spans.map(([field, , , start, end]) => ({ field, start, end })),
    }));
    check([title, description], found.type, type);
    check([title, description], found.agent, agent);
    check([title, description], found.matches, wanted);
  }
  return { count, mismatches: mismatches.slice(0, 5) };
}

/**
 * @param {typeof import("../src/ranking.js").rankTaskTypes} rankTaskTypes
 * @param {{ name: string }[]} types in their order
 * @param {string} vectors the text of tests/vectors/ranking.jsonl, which counts code points
 * @returns {{ count: number, mismatches: unknown[] }}
 */
export function compareRankings(rankTaskTypes, types, vectors) {
  const mismatches = [];
  const rows = vectors.trim().split("\n").map(JSON.parse);
  for (const row of rows) {
    const [title, description] = row;
    const points = { title, description };
    const before = (field, unit) => [...points[field].slice(0, unit)].length;
    const found = rankTaskTypes(title, description);
    const words = found.evidence
      .slice(0, 5)
      .map(({ text, weight, spans }) => [
        text,
        weight,
        spans.map(({ field, start, end }) => [field, before(field, start), before(field, end)]),
      ]);
    const shares = types.map(
      ({ name }) => found.types.find(({ type }) => type === name).probability,
    );
    const said = [title, description, shares, words];
    if (JSON.stringify(said) !== JSON.stringify(row)) mismatches.push([said, row]);
  }
  return { count: rows.length, mismatches: mismatches.slice(0, 5) };
}
