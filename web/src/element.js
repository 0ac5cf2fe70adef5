/**
 * `<task-type-preview>`: what kind of work a task is, who will get it and which words say so,
 * while a person types.
 *
 * @module
 */
import { element, titled, write } from "./dom.js";
import { Explainer } from "./explainer.js";
import { Marks } from "./highlight.js";
import { adopt } from "./style.js";

/** @import { Engine, Options } from "./explainer.js" */
/** @import { Explanation, Match } from "./inference.js" */
/** @import { RankedView } from "./ranked-view.js" */
/** @import { Server } from "./server.js" */

/** @typedef {HTMLInputElement | HTMLTextAreaElement | HTMLSelectElement} Field */

/** How long a type has to stand before a screen reader is told, in milliseconds. */
const ANNOUNCE_AFTER = 700;
/** How many matches are marked and how many different words named: enough to see why. */
const [MARKS, WORDS] = [200, 6];
const HINT = "Type a title to see what kind of work it is and who gets it.";

/** @type {Explainer} */
let explainer;

/**
 * Attributes: `for-title`, `for-description` and `for-agent` name fields, by their name in the form
 * or by their id; `name` names the task type in the form's data. `inference` is "exact" (default) or
 * "ranked", `min-confidence` and `below-confidence` say from where ranking decides, and what else.
 *
 * Fires `task-type-change` when another type stands in `value`.
 */
export class TaskTypePreview extends (globalThis.HTMLElement ?? Object) {
  static formAssociated = true;
  static observedAttributes = [
    "for-title",
    "for-description",
    "for-agent",
    "inference",
    "min-confidence",
    "below-confidence",
  ];

  #internals = this.attachInternals();
  #parts = parts();
  /** Ends what the element has outside of itself. @type {AbortController | undefined} */
  #connected;
  /** @type {AbortController | undefined} */
  #request;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #announcement;
  #marks = new Marks((name) => this.#field(name));
  /** @type {Explanation | null} */
  #explanation = null;
  /** @type {string | null} */
  #value = null;
  /** What the server was asked about last. */
  #asked = "";
  #announcing = "";
  /** Set while what ranks is loaded. @type {Promise<void> | undefined} */
  #loading;
  /** What ranks, and shows it; loaded when it is asked for. @type {RankedView | undefined} */
  #view;

  constructor() {
    super();
    this.#internals.role = "group";
    this.#internals.ariaLabel = "Task type preview";
    this.#parts.use.addEventListener("click", () => this.#use());
  }

  /** The form that it belongs to. */
  get form() {
    return this.#internals.form;
  }

  /** The task type, as in the form's data; null while there is none. */
  get value() {
    return this.#value;
  }

  /** All that is known of the text; null while there is no text or no answer. */
  get explanation() {
    return this.#explanation;
  }

  /** What answers. @type {Engine | undefined} */
  get engine() {
    return explainer.engine;
  }

  connectedCallback() {
    const root = /** @type {Document | ShadowRoot} */ (this.getRootNode());
    const connected = (this.#connected = new AbortController());
    const { signal } = connected;
    const { line, use, why, said } = this.#parts;
    this.replaceChildren(line, why, use, said); // a restored page holds old ones
    const release = adopt(root);
    signal.addEventListener("abort", release);
    for (const type of ["input", "change"]) root.addEventListener(type, this, { signal });
    this.refresh();
    explainer.ready.then(() => signal.aborted || this.refresh());
  }

  disconnectedCallback() {
    this.#connected?.abort();
    this.#request?.abort();
    clearTimeout(this.#announcement);
    this.#marks.clear();
    this.#asked = "";
    this.#announcing = this.#parts.said.value;
    this.#view?.leave();
  }

  attributeChangedCallback() {
    this.#asked = "";
    if (this.isConnected) this.refresh();
  }

  formAssociatedCallback() {
    if (this.isConnected) this.refresh();
  }

  /** Every field has its first value again by now. */
  formResetCallback() {
    this.refresh();
  }

  formStateRestoreCallback() {
    this.refresh();
  }

  /** @param {Event} event */
  handleEvent({ target }) {
    if (target === this.#field("for-title") || target === this.#field("for-description")) {
      this.refresh();
    } else if (target === this.#field("for-agent")) {
      this.#offer();
    }
  }

  /** Reads the fields again; for a page that changes them by script. */
  refresh() {
    if (
      !this.#view &&
      (this.getAttribute("inference") ?? explainer.options.inference ?? "exact") !== "exact"
    )
      this.#load();
    const title = this.#field("for-title")?.value ?? "";
    const description = this.#field("for-description")?.value ?? "";
    const text = `${title}\n${description}`;
    const asked = explainer.server ? text : "";
    if (asked && asked === this.#asked) return this.#offer();
    this.#asked = asked;
    this.#request?.abort();
    if (!text.trim()) {
      this.#show(null, HINT);
    } else if (explainer.engine === "wasm") {
      this.#show(explainer.explain(title, description));
    } else if (explainer.server) {
      this.#ask(explainer.server, title, description);
    } else {
      this.#show(null);
    }
  }

  /**
   * @param {Server} server
   * @param {string} title
   * @param {string} description
   */
  async #ask(server, title, description) {
    const { signal } = (this.#request = new AbortController());
    this.#carry(null); // a form sent before the answer must not hold an older text's type
    try {
      const inference = this.#view ? "ranked" : "exact";
      this.#show(await server.ask({ title, description, inference }, signal));
    } catch {
      // A newer text has been asked for, or the element is gone.
    }
  }

  /** What is no way of inference is loaded too, for it says so. */
  #load() {
    this.#loading ??= import("./ranked-view.js").then(
      ({ RankedView }) => {
        this.#view = new RankedView(this, explainer, (name) => this.#field(name));
        this.attributeChangedCallback();
      },
      () => this.append("Ranking cannot be loaded; these are the exact rules."),
    );
  }

  /** @param {string | null} value */
  #carry(value) {
    this.#internals.setFormValue(value);
    if (value === this.#value) return;
    this.#value = value;
    this.dispatchEvent(new Event("task-type-change"));
  }

  /**
   * @param {Explanation | null} explanation
   * @param {string} [instead] what to say without one, or without words
   */
  #show(explanation, instead = "") {
    const { line, type, agent, how, why } = this.#parts;
    let said = "";
    if (this.#view) [explanation, instead, said] = this.#view.show(explanation, instead);
    this.#explanation = explanation;
    line.hidden = !explanation;
    /** @type {Match[]} */
    let deciding = [];
    if (explanation) {
      deciding = explanation.matches.filter((match) => match.type === explanation.type);
      write(type, titled(explanation.type));
      write(agent, explanation.displayName);
      write(how, way(explanation));
      why.replaceChildren(...this.#reasons(deciding, instead));
    } else {
      write(why, instead);
    }
    this.#marks.show(deciding.slice(0, MARKS).flatMap((match) => match.spans));
    this.#offer();
    this.#announce(explanation ? `${type.textContent}, for ${agent.textContent}` : said);
    this.#carry(explanation?.type ?? null);
  }

  /**
   * "because of" and the words, as they stand in the fields; text nodes alone, for a title is a
   * stranger's.
   *
   * @param {Match[]} deciding
   * @param {string} otherwise
   * @returns {(Node | string)[]}
   */
  #reasons(deciding, otherwise) {
    if (!deciding.length) return [otherwise || "no keyword speaks for another kind"];
    /** @type {Map<string, string>} */
    const words = new Map();
    for (const { keyword, spans } of deciding) {
      if (words.size === WORDS) break;
      const pieces = spans.map(({ field, start, end }) =>
        this.#field(`for-${field}`)?.value.slice(start, end),
      );
      if (!words.has(keyword)) words.set(keyword, pieces.join(" "));
    }
    return [
      "because of",
      ...[...words.values()].flatMap((word) => [" ", element("mark", "", word)]),
    ];
  }

  /** Offers the agent where the form has a field that can hold it. */
  #offer() {
    const { use } = this.#parts;
    const field = this.#field("for-agent");
    const agent = this.#explanation?.agent;
    use.hidden = !agent || !field || !holds(field, agent);
    if (use.hidden) return;
    const chosen = field?.value === agent;
    use.ariaDisabled = String(chosen); // not `disabled`, which would take the focus away
    write(use, `${chosen ? "Using" : "Use"} ${this.#explanation?.displayName}`);
  }

  /** The one place where the agent's field changes: a person asked for it. */
  #use() {
    const field = this.#field("for-agent");
    const agent = this.#explanation?.agent;
    if (!field || !agent || field.value === agent) return;
    field.value = agent;
    for (const type of ["input", "change"]) field.dispatchEvent(new Event(type, { bubbles: true }));
  }

  /** @param {string} text */
  #announce(text) {
    const { said } = this.#parts;
    if (text === this.#announcing) return;
    this.#announcing = text;
    clearTimeout(this.#announcement);
    this.#announcement = setTimeout(() => write(said, text), ANNOUNCE_AFTER);
  }

  /**
   * @param {string} attribute
   * @returns {Field | null}
   */
  #field(attribute) {
    const name = this.getAttribute(attribute);
    if (!name) return null;
    const root = /** @type {Document | ShadowRoot} */ (this.getRootNode());
    const found = this.form?.elements.namedItem(name) ?? root.getElementById?.(name);
    return found instanceof HTMLElement && "value" in found ? /** @type {Field} */ (found) : null;
  }
}

/**
 * Defines `<task-type-preview>`; a second time does nothing.
 *
 * @param {Options} [options]
 * @returns {void}
 */
export function define(options = {}) {
  if (customElements.get("task-type-preview")) return;
  explainer = new Explainer(options);
  customElements.define("task-type-preview", TaskTypePreview);
}

function parts() {
  const [type, to, agent] = [
    element("span", "type"),
    element("span", "to", "for"),
    element("b", "agent"),
  ];
  const [how, use] = [element("span", "how"), element("button", "use")];
  use.type = "button";
  const line = element("div", "line");
  line.append(type, to, agent, how);
  return {
    line,
    type,
    agent,
    how,
    use,
    why: element("div", "why"),
    said: element("output", "said"),
  };
}

/** @param {Explanation} explanation */
function way({ interface: by, label }) {
  if (label) return `by the label ${label}`;
  return by === "api" ? "over HTTP" : by === "local" ? "in process" : "";
}

/**
 * @param {Field} field
 * @param {string} agent
 */
function holds(field, agent) {
  if (field.disabled || ("readOnly" in field && field.readOnly)) return false;
  if (!("options" in field)) return true;
  return [...field.options].some((option) => option.value === agent && !option.disabled);
}
