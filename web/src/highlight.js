/**
 * Marks inside inputs and textareas, with the CSS Custom Highlight API.
 *
 * @module
 */

/** The name in `::highlight(…)`, of what speaks for a type. */
const NAME = "task-type-preview";

/** @import { Span } from "./inference.js" */

/** @typedef {AbstractRange & { disconnect(): void }} ValueRange */
/** @typedef {{ createValueRange?: (start: number, end: number) => ValueRange }} Markable */

/** What an element marks in the fields of its form. */
export class Marks {
  #field;
  #name;
  /** @type {ValueRange[]} */
  #ranges = [];

  /**
   * @param {(attribute: string) => HTMLElement | null} field the field that an attribute names
   * @param {string} [name]
   */
  constructor(field, name = NAME) {
    this.#field = field;
    this.#name = name;
  }

  /**
   * Marks these, in UTF-16 units, and nothing else; nothing at all where the browser cannot.
   *
   * @param {Span[]} spans
   */
  show(spans) {
    this.clear();
    for (const name of ["title", "description"]) {
      const field = /** @type {Markable | null} */ (this.#field(`for-${name}`));
      const there = spans.filter((span) => span.field === name);
      try {
        this.#ranges.push(
          ...there.flatMap(({ start, end }) => field?.createValueRange?.(start, end) ?? []),
        );
      } catch {
        // An input whose type has no text, such as a number.
      }
    }
    const all = globalThis.CSS?.highlights;
    if (!all || !this.#ranges.length) return;
    // One name for all elements of a page, for a style sheet cannot know more.
    const marked = all.get(this.#name) ?? new Highlight();
    for (const range of this.#ranges) marked.add(range);
    all.set(this.#name, marked);
  }

  clear() {
    const all = globalThis.CSS?.highlights?.get(this.#name);
    for (const range of this.#ranges) {
      all?.delete(range);
      range.disconnect();
    }
    this.#ranges = [];
    if (all?.size === 0) CSS.highlights.delete(this.#name);
  }
}
