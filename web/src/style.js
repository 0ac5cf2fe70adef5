/**
 * The look, in the page's own colours: text is the page's, and what lies behind it only tints the
 * page's background, so that it reads on dark and light alike.
 *
 * @module
 */
const CSS_TEXT = `
task-type-preview {
  --ttp-accent: var(--task-type-preview-accent, currentColor);
  --ttp-mark: var(--task-type-preview-mark, color-mix(in srgb, #f59e0b 32%, transparent));
  display: grid; grid-template-columns: 1fr auto; gap: 0 1em; align-content: start;
  min-height: 3.4em; line-height: 1.6;
}
task-type-preview[hidden], .ttp-line[hidden], .ttp-use[hidden] { display: none; }
.ttp-line { display: flex; flex-wrap: wrap; gap: 0 .5em; align-items: baseline; }
.ttp-type { border-inline-start: .25em solid var(--ttp-accent); padding-inline-start: .5em; font-weight: 600; }
.ttp-how, .ttp-why { font-size: .875em; }
.ttp-how { color: var(--task-type-preview-muted, inherit); }
.ttp-why { grid-column: 1; }
.ttp-why mark { color: inherit; background: var(--ttp-mark); border-radius: .2em; padding: .05em .25em; }
.ttp-use {
  grid-area: 1 / 2 / span 2; align-self: center; min-height: 2.2em; padding: 0 .8em;
  font: inherit; color: inherit; background: none; cursor: pointer;
  border: 1px solid var(--ttp-accent); border-radius: .4em;
}
.ttp-use:hover { background: color-mix(in srgb, currentColor 12%, transparent); }
.ttp-use:focus-visible { outline: 2px solid var(--ttp-accent); outline-offset: 2px; }
.ttp-use[aria-disabled=true] { border-style: dashed; cursor: default; }
.ttp-said { position: absolute; width: 1px; height: 1px; overflow: hidden; clip-path: inset(50%); white-space: nowrap; }
::highlight(task-type-preview) {
  background-color: var(--task-type-preview-mark, color-mix(in srgb, #f59e0b 32%, transparent));
  text-decoration: underline;
}
`;

/** @type {CSSStyleSheet | undefined} */
let look;

/**
 * Gives a document or shadow root a style sheet; it goes with the last that needs it.
 *
 * @param {Document | ShadowRoot} root
 * @param {CSSStyleSheet} [sheet] by default the element's look
 * @param {string} [who] what needs it
 * @returns {() => void} what the element does when it has left
 */
export function adopt(root, sheet = (look ??= parsed(CSS_TEXT)), who = "task-type-preview") {
  const others = root.adoptedStyleSheets.filter((one) => one !== sheet);
  root.adoptedStyleSheets = [...others, sheet];
  return () => {
    if (root.querySelector(who)) return;
    root.adoptedStyleSheets = root.adoptedStyleSheets.filter((one) => one !== sheet);
  };
}

/** @param {string} text */
export function parsed(text) {
  const sheet = new CSSStyleSheet();
  sheet.replaceSync(text);
  return sheet;
}
