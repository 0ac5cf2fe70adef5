/**
 * Pieces of the page, and names as people read them.
 *
 * @module
 */

/**
 * @template {keyof HTMLElementTagNameMap} T
 * @param {T} tag
 * @param {string} name
 * @param {string} [text]
 * @returns {HTMLElementTagNameMap[T]}
 */
export function element(tag, name, text = "") {
  const made = document.createElement(tag);
  if (name) made.className = `ttp-${name}`;
  made.textContent = text;
  return made;
}

/**
 * Changes a text only where it differs, for whatever watches it.
 *
 * @param {HTMLElement} element
 * @param {string} text
 */
export function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** @param {string} name such as `code_review` */
export function titled(name) {
  return name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");
}
