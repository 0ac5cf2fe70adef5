/**
 * What `inference="ranked"` adds to the element: it decides by ranking, and shows how likely each
 * type is, and the words for and against the first. Loaded when an element asks for it.
 *
 * @module
 */
import { element, titled, write } from "./dom.js";
import { Marks } from "./highlight.js";
import { AGENTS } from "./inference.js";
import { initRanking, rankTaskTypes } from "./ranking.js";
import { adopt, parsed } from "./style.js";

/** @import { Field, TaskTypePreview } from "./element.js" */
/** @import { Explainer } from "./explainer.js" */
/** @import { Agent, Explanation } from "./inference.js" */
/** @import { Evidence, RankedType, Ranking } from "./ranking.js" */

/**
 * What a server says of a type: who gets it there, too.
 *
 * @typedef {RankedType & Partial<Agent>} Ranked
 */

/**
 * What the element shows and carries; what it says where that is nothing, or where no word speaks
 * for it; what a screen reader is told where it is nothing.
 *
 * @typedef {[Explanation | null, string, string]} Shown
 */

/** How many types are always to be seen, and how many words are marked: enough to see why. */
const [BARS, WORDS] = [5, 12];
/** How many places of them are marked, at most. */
const MARKS = 200;
const AGAINST = "task-type-preview-against";

const CSS_TEXT = `
.ttp-ranked { grid-column: 1 / -1; font-size: .875em; }
.ttp-ranked [hidden], .ttp-ranked[hidden] { display: none; }
.ttp-bars { list-style: none; margin: .25em 0; padding: 0; }
.ttp-bars li { display: grid; grid-template-columns: 14em 4em 1fr; align-items: center; gap: .5em; }
.ttp-bars li.ttp-first { font-weight: 600; }
.ttp-share { text-align: end; font-variant-numeric: tabular-nums; }
.ttp-bar { height: .6em; min-width: 1px; border-radius: .2em; background: var(--ttp-accent); opacity: .65; }
.ttp-first .ttp-bar { opacity: 1; }
.ttp-ranked summary { cursor: pointer; width: fit-content; }
.ttp-ranked summary:focus-visible { outline: 2px solid var(--ttp-accent); outline-offset: 2px; }
.ttp-against mark {
  color: inherit; border-radius: .2em; padding: .05em .25em; text-decoration: underline dashed;
  background: var(--task-type-preview-against, color-mix(in srgb, #38bdf8 28%, transparent));
}
::highlight(${AGAINST}) {
  background-color: var(--task-type-preview-against, color-mix(in srgb, #38bdf8 28%, transparent));
  text-decoration: underline dashed;
}
@media (max-width: 30em) { .ttp-bars li { grid-template-columns: 10em 3.5em 1fr; } }
`;

/** @type {CSSStyleSheet | undefined} */
let look;

export class RankedView {
  #element;
  #explainer;
  #field;
  #parts = parts();
  /** @type {Promise<void> | undefined} */
  #loading;
  /** @type {"loading" | "ready" | "failed"} */
  #state = "loading";
  #marks;
  /** Why the exact rules are shown. */
  #noted = "";
  /** Takes the look back. @type {(() => void) | undefined} */
  #release;

  /**
   * @param {TaskTypePreview} of the element
   * @param {Explainer} explainer
   * @param {(attribute: string) => Field | null} field the field that an attribute names
   */
  constructor(of, explainer, field) {
    this.#element = of;
    this.#explainer = explainer;
    this.#field = field;
    this.#marks = new Marks(field, AGAINST);
  }

  /** What it has outside of the element goes. */
  leave() {
    this.#marks.clear();
    this.#release?.();
    this.#release = undefined;
  }

  /**
   * Decides, and shows what spoke for and against.
   *
   * @param {Explanation | null} exact what the exact rules say, and from a server the ranking
   * @param {string} instead what to say without one
   * @returns {Shown}
   */
  show(exact, instead) {
    const { section, note, against, all } = this.#parts;
    if (section.parentNode !== this.#element) this.#element.append(section);
    const root = /** @type {Document | ShadowRoot} */ (this.#element.getRootNode());
    this.#release ??= adopt(root, (look ??= parsed(CSS_TEXT)), ".ttp-ranked");
    this.#noted = "";
    /** @type {Ranking | undefined} */
    let ranking;
    /** @type {Evidence[]} */
    let opposed = [];
    /** @type {Shown} */
    let shown = [exact, instead, ""];
    try {
      const settings = this.#settings();
      if (settings && this.#explainer.engine === "wasm") this.#loading ??= this.#load();
      if (settings && exact) {
        ranking = this.#rank(exact);
        if (ranking) {
          const sure = ranking.types[0].probability / 10_000 >= settings.minimum;
          shown = this.#decide(exact, ranking, settings, sure);
          if (sure) opposed = weighty(ranking).filter(({ weight }) => weight < 0);
        } else {
          this.#noted = `${this.#absence()}; these are the exact rules.`;
        }
      }
    } catch (error) {
      if (!(error instanceof SettingError)) throw error;
      shown = [null, error.message, ""];
      ranking = undefined;
      opposed = [];
    }
    write(note, this.#noted);
    note.hidden = !this.#noted;
    this.#oppose(opposed);
    all.hidden = !ranking;
    against.hidden = !opposed.length;
    if (ranking) this.#draw(ranking.types);
    return shown;
  }

  /**
   * By the settings of Python, with its defaults; undefined where the exact rules are wanted.
   */
  #settings() {
    const { inference, minConfidence, belowConfidence } = this.#explainer.options;
    const way = this.#setting("inference", inference, "exact");
    if (!["exact", "ranked"].includes(way)) {
      throw new SettingError(`unknown inference "${way}"; known are exact, ranked`);
    }
    if (way === "exact") return undefined;
    const text = this.#setting("min-confidence", minConfidence, "0");
    const minimum = Number(text);
    if (!(minimum >= 0 && minimum <= 1)) {
      throw new SettingError(`min-confidence is "${text}"; it is a number from 0 to 1`);
    }
    return { minimum, below: this.#setting("below-confidence", belowConfidence, "exact") };
  }

  /**
   * @param {string} attribute
   * @param {string | number | undefined} page what the page says for all its elements
   * @param {string} otherwise
   */
  #setting(attribute, page, otherwise) {
    return this.#element.getAttribute(attribute)?.trim() || String(page ?? "").trim() || otherwise;
  }

  /**
   * The ranking of the text; undefined where it is not there, or not yet.
   *
   * @param {Explanation} exact
   */
  #rank(exact) {
    if (this.#state !== "ready") return exact.ranking;
    const [title, description] = ["for-title", "for-description"].map(
      (name) => this.#field(name)?.value ?? "",
    );
    return rankTaskTypes(title, description);
  }

  /** Why there is none. */
  #absence() {
    if (this.#explainer.server) return "The server does not rank";
    return this.#state === "failed" ? "Ranking cannot be loaded" : "Ranking is loading";
  }

  async #load() {
    try {
      await initRanking(this.#explainer.options.ranking);
      this.#state = "ready";
    } catch (reason) {
      this.#state = "failed";
      console.warn("task-type-preview: no ranking:", reason);
    }
    if (this.#element.isConnected) this.#element.refresh();
  }

  /**
   * As a dispatch by the same settings would.
   *
   * @param {Explanation} exact
   * @param {Ranking} ranking
   * @param {{ minimum: number, below: string }} settings
   * @param {boolean} sure whether the first type is likely enough
   * @returns {Shown}
   */
  #decide(exact, ranking, { minimum, below }, sure) {
    const names = ["exact", "ask", ...ranking.types.map(({ type }) => type)];
    if (!names.includes(below)) {
      throw new SettingError(`unknown below-confidence "${below}"; known are ${names.join(", ")}`);
    }
    const { type, probability } = ranking.types[0];
    if (sure) {
      const words = weighty(ranking).filter(({ weight }) => weight > 0);
      const matches = words.flatMap(({ text, spans }) =>
        spans.map((span) => ({ keyword: text, type, spans: [span] })),
      );
      const found = { type, ...this.#who(type, ranking), matches, ranking };
      return [found, "no word speaks for it; this is how frequent kinds are", ""];
    }
    const least = Number((100 * minimum).toFixed(2));
    const unsure = `${titled(type)} is only ${percent(probability)} likely, below ${least}%`;
    if (below === "ask") {
      const ask = "a person has to say what kind of work it is";
      return [null, `${unsure}: ${ask}`, `Not sure: ${ask}`];
    }
    if (below === "exact") {
      this.#noted = `${unsure}; these are the exact rules.`;
      return [{ ...exact, ranking }, "", ""];
    }
    const named = { type: below, ...this.#who(below, ranking), matches: [], ranking };
    return [named, `${unsure}, so it is ${titled(below)}`, ""];
  }

  /**
   * Who gets tasks of a type.
   *
   * @param {string} type
   * @param {Ranking} ranking
   */
  #who(type, ranking) {
    const ranked = /** @type {Ranked} */ (ranking.types.find((one) => one.type === type));
    const known = /** @type {Agent} */ (
      ranked.displayName !== undefined
        ? { ...ranked, name: ranked.agent }
        : (this.#explainer.options.routes?.[type] ??
          AGENTS.find(({ name }) => name === ranked.agent))
    );
    const { name: agent, displayName, interface: by, label } = known;
    return { agent, displayName, interface: by, label };
  }

  /** @param {Evidence[]} opposed */
  #oppose(opposed) {
    const words = opposed.map(({ spans: [{ field, start, end }] }) =>
      this.#field(`for-${field}`)?.value.slice(start, end),
    );
    const marks = words.flatMap((word) => [" ", element("mark", "", word)]);
    this.#parts.against.replaceChildren("against it:", ...marks);
    this.#marks.show(opposed.flatMap(({ spans }) => spans).slice(0, MARKS));
  }

  /** @param {RankedType[]} types */
  #draw(types) {
    const { bars, rest, summary } = this.#parts;
    for (const list of [bars, rest]) {
      const part = list === bars ? types.slice(0, BARS) : types.slice(BARS);
      while (list.childElementCount < part.length) list.append(row());
      part.forEach(({ type, probability }, index) => {
        const [name, share, bar] = /** @type {HTMLCollectionOf<HTMLElement>} */ (
          list.children[index].children
        );
        write(name, titled(type));
        write(share, percent(probability));
        bar.style.width = `${probability / 100}%`;
      });
    }
    bars.firstElementChild?.classList.add("ttp-first");
    write(summary, `${types.length - BARS} less likely kinds`);
  }
}

/** @param {Ranking} ranking */
function weighty(ranking) {
  return ranking.evidence.slice(0, WORDS);
}

/** A setting that cannot be. */
class SettingError extends Error {}

function parts() {
  const [section, note, against] = [
    element("div", "ranked"),
    element("div", "note"),
    element("div", "against"),
  ];
  const all = element("div", "all");
  const [bars, rest] = [element("ol", "bars"), element("ol", "bars")];
  const [details, summary] = [element("details", "rest"), element("summary", "")];
  bars.ariaLabel = "How likely each kind of work is";
  rest.ariaLabel = "How likely the other kinds are";
  rest.start = BARS + 1;
  details.append(summary, rest);
  all.append(bars, details);
  section.append(note, against, all);
  return { section, note, against, all, bars, rest, summary };
}

/** The row of a type: its name, its share, and a bar, which says no more. */
function row() {
  const made = element("li", "");
  const bar = element("span", "bar");
  bar.ariaHidden = "true";
  made.append(element("span", "name"), element("span", "share"), bar);
  return made;
}

/** @param {number} probability in 1/10,000 */
function percent(probability) {
  return `${(probability / 100).toFixed(1)}%`;
}
