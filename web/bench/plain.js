// The same logic in plain JavaScript, to compare the speed with; keywords come from the module.

/** @param {{ keyword: string, type: string }[]} keywords in order of priority */
export function plain(keywords) {
  const infer = (title, description = "") => {
    const text = `${title} ${description}`.toLowerCase();
    return keywords.find(({ keyword }) => text.includes(keyword))?.type ?? "routine_coding";
  };
  const explain = (title, description = "") => {
    const text = `${title} ${description}`.toLowerCase();
    const matches = [];
    for (const { keyword, type } of keywords) {
      for (let at = text.indexOf(keyword); at >= 0; at = text.indexOf(keyword, at + 1)) {
        matches.push({ keyword, type, start: at, end: at + keyword.length });
      }
    }
    const found = keywords.find(({ keyword }) => matches.some((one) => one.keyword === keyword));
    matches.sort((one, other) => one.start - other.start);
    return { type: found?.type ?? "routine_coding", matches };
  };
  return { infer, explain };
}
