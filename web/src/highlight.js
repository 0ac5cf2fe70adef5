/**
 * Marks inside inputs and textareas, with the CSS Custom Highlight API.
 *
 * @module
 */

/** The name in `::highlight(…)`. */
export const NAME = "task-type-preview";

/** @typedef {AbstractRange & { disconnect(): void }} ValueRange */

/**
 * @param {HTMLElement} field an input or a textarea
 * @param {{ start: number, end: number }[]} spans in UTF-16 units
 * @returns {ValueRange[]} what {@link clear} takes; empty where the browser cannot
 */
export function highlight(field, spans) {
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
  const all = CSS.highlights.get(NAME) ?? new Highlight();
  for (const range of ranges) all.add(range);
  if (all.size) CSS.highlights.set(NAME, all);
  return ranges;
}

/** @param {ValueRange[]} ranges */
export function clear(ranges) {
  const all = globalThis.CSS?.highlights?.get(NAME);
  for (const range of ranges) {
    all?.delete(range);
    range.disconnect();
  }
  if (all?.size === 0) CSS.highlights.delete(NAME);
}
