"""Writes the golden vectors of inference: what every build of the core has to answer.

    python tests/vectors/generate.py [path/to/the/replaced/dispatcher.py]

The texts come from a fixed seed and from the keywords in `src/infer/signals.rs`, the answers from
`explain` below. The argument is the module that this project replaces: it is asked for every
answer, too, and has to agree.

`inference.jsonl`: one JSON array a line, all ASCII:

    [title, description, task type]

`explanation.jsonl`: some of them with the evidence:

    [title, description, task type, agent, [[keyword, task type, [span, …]], …]]

A span is `[field, start, end, start, end]`: first in code points, then in UTF-16 units. Matches
are in order of position, then of priority, then of length.

A lone surrogate is written as `\\ud800`; whoever cannot hold one reads it as U+FFFD, which is as
long in both units and matches as little.
"""

import importlib.util
import json
import random
import re
import sys
import unicodedata
from pathlib import Path
from types import ModuleType, SimpleNamespace

HERE = Path(__file__).parent
SIGNALS_SOURCE = HERE.parent.parent / "src/infer/signals.rs"
SEED = 1072

PROSE = (
    "fix the button on login page so that it does not jump when users click twice and token is "
    "gone from local storage after a time of idle add retry to upload bump version rename flag"
)
FOREIGN_PROSE = "größe élève Ärger кнопку страница вход 修复 按钮 İstanbul ΣΑΣ ǅ ﬁx 🚀 👩‍💻 naïve ½"
FILLER = PROSE.split()
FOREIGN = FOREIGN_PROSE.split()
AGENTS = {
    "claude_code": "architecture refactoring complex_reasoning code_review",
    "kimi_code": "parallel_implementation routine_coding fast_iteration",
    "agent_api": "research analysis specialized",
    "timmy": "triage planning creative orchestration",
}
AGENT_OF = {task_type: agent for agent, types in AGENTS.items() for task_type in types.split()}
# Each lowers into nothing that a keyword holds, or, the last two, into an i with a dot and a k.
STRANGERS = "ſıкаеорсхѕіΑΒΕΚéöåÅ\u0307\u200b\u00ad\ufeff\x00\x1c\x85\u2028ßﬀ\u0130\u212a"
SURROGATES = "\ud800\udbff\udc00\udfff\ud83d\udca9"
SEPARATORS = [" ", " ", " ", "", "", "\n", "\t", "-", "_", ".", ", ", "/", "\u00a0", "\u3000"]


def signals() -> list[tuple[str, list[str]]]:
    """The keywords of each task type, in order of priority."""
    source = SIGNALS_SOURCE.read_text(encoding="utf-8").partition("const SIGNALS")[2]
    table = []
    for member, keywords in re.findall(r"TaskType::(\w+),\s*&\[(.*?)\]", source, re.DOTALL):
        name = re.sub(r"(?<!^)(?=[A-Z])", "_", member).lower()
        table.append((name, re.findall(r'"([^"]+)"', keywords)))
    return table


TABLE = signals()
KEYWORDS = [keyword for _, keywords in TABLE for keyword in keywords]


def explain(title: str, description: str) -> tuple[str, list]:
    """The type and the evidence, the simplest way: look at every place for every keyword."""
    lowered = []
    origins = []
    for field, text in [("title", title), (None, " "), ("description", description)]:
        for index, character in enumerate(text):
            for part in character.lower():
                lowered.append(part)
                origins.append((field, index))
    lowered = "".join(lowered)
    texts = {"title": title, "description": description}

    found = []
    for start in range(len(lowered)):
        for task_type, keywords in TABLE:
            for keyword in sorted(keywords, key=len):
                if lowered.startswith(keyword, start):
                    spans = []
                    places = origins[start : start + len(keyword)]
                    for field, text in texts.items():
                        indices = [index for at, index in places if at == field]
                        if indices:
                            spans.append(span(text, field, indices[0], indices[-1] + 1))
                    found.append([keyword, task_type, spans])
    types = {task_type for _, task_type, _ in found}
    return next((name for name, _ in TABLE if name in types), "routine_coding"), found


def span(text: str, field: str, start: int, end: int) -> list:
    units = [len(text[:at].encode("utf-16-le", "surrogatepass")) // 2 for at in (start, end)]
    return [field, start, end, *units]


class Texts:
    """Titles and descriptions, the same ones every time."""

    def __init__(self) -> None:
        self.random = random.Random(SEED)
        self.choice = self.random.choice

    def recased(self, text: str) -> str:
        return "".join(self.choice([c.lower(), c.upper()]) for c in text)

    def spoiled(self, keyword: str) -> str:
        """A keyword that lacks a letter, has one too many, or a wrong one."""
        at = self.random.randrange(len(keyword))
        middle = self.choice(["", keyword[at] * 2, self.choice("aeiknrstz -"), keyword[at].upper()])
        return keyword[:at] + middle + keyword[at + 1 :]

    def estranged(self, keyword: str, strangers: str) -> str:
        at = self.random.randrange(len(keyword) + 1)
        return keyword[:at] + self.choice(strangers) + keyword[at + self.random.randrange(2) :]

    def piece(self, strangers: str) -> str:
        keyword = self.choice(KEYWORDS)
        half = self.random.randrange(1, len(keyword))
        return self.choice(
            [
                self.choice(FILLER),
                self.choice(FILLER),
                self.choice(FOREIGN),
                self.recased(keyword),
                self.spoiled(keyword),
                keyword[:half],
                keyword[half:],
                self.estranged(keyword, strangers),
            ]
        )

    def soup(self, longest: int, strangers: str = STRANGERS) -> str:
        pieces = [self.piece(strangers) for _ in range(self.random.randrange(longest))]
        return "".join(piece + self.choice(SEPARATORS) for piece in pieces)

    def prose(self, length: int, words: list[str]) -> str:
        text = ""
        while len(text) < length:
            text += self.choice(words) + " "
        return text[:length]

    def all(self):
        yield from [
            ("", ""),
            (" ", " "),
            ("", "\n"),
            ("\x00", "\x00"),
            ("clean", "up"),
            ("adr", ""),
        ]
        yield from self.of_keywords()
        yield from self.of_pairs()
        yield from self.of_strangers()
        yield from self.of_alignment()
        for _ in range(60):
            words = self.choice([FILLER, FILLER + FOREIGN, FILLER + KEYWORDS])
            long = self.prose(self.random.randrange(500, 4000), words)
            yield self.prose(40, FILLER), self.choice([long, long + self.choice(KEYWORDS)])
        for _ in range(15000):
            yield self.soup(3), self.soup(self.choice([1, 4, 8]))
        for _ in range(2500):
            yield self.soup(3, SURROGATES), self.soup(5, SURROGATES)

    def of_keywords(self):
        for keyword in KEYWORDS:
            for form in [keyword, keyword.upper(), keyword.title(), self.recased(keyword)]:
                yield form, ""
                yield "", form
                yield self.choice(FILLER) + form, form + self.choice(FILLER)
            for at in range(len(keyword) + 1):
                cut = keyword[at + 1 :] if keyword[at : at + 1] == " " else keyword[at:]
                yield keyword[:at], cut
                yield self.recased("x" + keyword[:at]), self.recased(cut + "x")
                yield keyword[:at] + " ", cut
                yield keyword[:at], keyword[at + 1 :]
                yield keyword[:at] + keyword[at + 1 :], ""
            for _ in range(20):
                yield self.spoiled(keyword), self.choice(["", self.spoiled(keyword)])

    def of_pairs(self):
        """Keywords that share letters, as "swarmetric"."""
        for first in KEYWORDS:
            for second in KEYWORDS:
                for shared in range(1, min(len(first), len(second))):
                    if first.endswith(second[:shared]):
                        joined = first + second[shared:]
                        yield joined, ""
                        yield joined[:-1], self.recased(joined[1:])

    def of_strangers(self):
        """Letters replaced by what lowers into them, and by what only looks as if it did."""
        for keyword in KEYWORDS:
            for letter, other in [("i", "\u0130"), ("k", "\u212a"), ("i", "i\u0307"), ("s", "ſ")]:
                if letter in keyword:
                    yield keyword.replace(letter, other), ""
                    yield "", keyword.replace(letter, other, 1).upper()
        places = {
            letter: [k for k in KEYWORDS if letter in k] for letter in "abcdefghiklmnopqrstuvwxyz"
        }
        for code in [*range(0x80, 0xD800), *range(0xE000, sys.maxunicode + 1)]:
            character = chr(code)
            forms = unicodedata.normalize("NFKD", character) + character.casefold()
            letters = [c for c in forms.lower() if c in places]
            if letters:
                keyword = self.choice(places[letters[0]])
                yield keyword.replace(letters[0], character), ""

    def of_alignment(self):
        """Keywords at every distance from both ends, for whoever reads in blocks."""
        for at in range(140):
            for keyword in self.random.sample(KEYWORDS, 5):
                yield "", "." * at + keyword
            keyword = self.choice(
                ["adr", "poc", "clean up", "spi\u212ae", "m\u0130lestone", "plan"]
            )
            yield "x" * at + keyword + "x" * self.random.randrange(70), ""
            yield "\u0439" * at, "\u0439" * (at // 3) + keyword


def load(path: str) -> ModuleType:
    sys.modules["config"] = SimpleNamespace(settings=SimpleNamespace())
    spec = importlib.util.spec_from_file_location("replaced", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules["replaced"] = module
    spec.loader.exec_module(module)
    return module


def main(oracle_path: str | None = None) -> None:
    oracle = oracle_path and load(oracle_path)
    # Through JSON once: a high and a low surrogate that meet there are one character.
    texts = {tuple(json.loads(json.dumps(pair))): None for pair in Texts().all()}
    pick = random.Random(SEED)
    with (
        (HERE / "inference.jsonl").open("w", encoding="ascii") as inference,
        (HERE / "explanation.jsonl").open("w", encoding="ascii") as explanation,
    ):
        for title, description in texts:
            task_type, matches = explain(title, description)
            agent = AGENT_OF[task_type]
            if oracle:
                assert oracle.infer_task_type(title, description) == task_type
                assert oracle.select_agent(task_type) == agent
            vector = [title, description, task_type]
            inference.write(json.dumps(vector, separators=(",", ":")) + "\n")
            # Half of those with several matches, and a few of the rest.
            if pick.random() < (0.5 if len(matches) > 1 else 0.05) and len(matches) < 40:
                vector += [agent, matches]
                explanation.write(json.dumps(vector, separators=(",", ":")) + "\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
