/**
 * Marks inside inputs and textareas, with the CSS Custom Highlight API.
 *
 * @module
 */

/** The name in `::highlight(…)`, of what speaks for a type. */
const NAME = "task-type-preview";

/** @typedef {AbstractRange & { disconnect(): void }} ValueRange */

/**
 * @param {HTMLElement} field an input or a textarea
 * @param {{ start: number, end: number }[]} spans in UTF-16 units
 * @param {string} [name]
 * @returns {ValueRange[]} what {@link clear} takes; empty where the browser cannot
 */
export function highlight(field, spans, name = NAME) {
  if (!("createValueRange" in field) || !globalThis.CSS?.highlights) return [];
  const create = /** @type {(start: number, end: number) => ValueRange} */ (field.createValueRange);
  /** @type {ValueRange[]} */
  let ranges;
  try {
    ranges = spans.map(({ start, end }) => create.call(field, start, end));
  } catch {
    return []; // an input whose type has no text, such as a number
  }
  // One name for all elements of a page, for a style sheet cannot know more.
  const all = CSS.highlights.get(name) ?? new Highlight();
  for (const range of ranges) all.add(range);
  if (all.size) CSS.highlights.set(name, all);
  return ranges;
}

/**
 * @param {ValueRange[]} ranges
 * @param {string} [name]
 */
export function clear(ranges, name = NAME) {
  const all = globalThis.CSS?.highlights?.get(name);
  for (const range of ranges) {
    all?.delete(range);
    range.disconnect();
  }
  if (all?.size === 0) CSS.highlights.delete(name);
}
