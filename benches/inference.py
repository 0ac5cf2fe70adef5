"""Inference from Python, beside another implementation if there is one: `make bench`.

Texts are prose without a keyword unless the table says otherwise. Python keeps the UTF-8 form of a
non-ASCII string once it was asked for; "new strings" are those that were never asked.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from types import ModuleType

import comparison
from timmy import dispatcher

RANDOM = Random(7)
ASCII = (
    "fix the button on login page so that it does not jump when users click twice and token is "
    "gone from local storage after some time add retry to uploads bump version rename flag"
)
MIXED = ASCII + " кнопка на странице входа прыгает größe élève 修复 按钮 🚀 токен потерян"


def prose(length: int, words: str = ASCII) -> str:
    """Return words up to a length in characters."""
    vocabulary = words.split()
    text = ""
    while len(text) < length:
        text += RANDOM.choice(vocabulary) + " "
    return text[:length]


def with_keywords(text: str, *keywords: str) -> str:
    """Return a text with keywords spread over it."""
    parts = [len(text) * place // (len(keywords) + 1) for place in range(len(keywords) + 2)]
    pieces = [text[start:end] for start, end in pairwise(parts)]
    return "".join(f"{piece} {word} " for piece, word in zip(pieces, [*keywords, ""], strict=True))


TITLE = prose(40)
FEW = with_keywords(prose(2000), "spike", "performance", "fast")
FIRST = "Design " + with_keywords(prose(2000), "spike", "performance", "fast")
Function = Callable[..., object]


@dataclass
class Case:
    """A row: a text that is judged as a description, or as a title where there is no title."""

    name: str
    title: str | None
    text: str
    new: bool = False

    def run(self, function: Function) -> Callable[[], Callable[[], int]]:
        """Return a run that calls a function for about a millisecond.

        That is less than what a busy machine gives a process at a time, so that most rounds are
        not interrupted, be the function slow or fast.
        """
        self.call(function, [self.text])
        begin = time.perf_counter()
        self.call(function, [self.text] * 5)
        # New strings come one by one, so there are no more of them than a cache holds.
        most = 100 if self.new else 5_000
        count = max(1, min(most, int(0.005 / (time.perf_counter() - begin))))

        def prepare() -> Callable[[], int]:
            texts = [self.text] * count
            if self.new:
                texts = [text[:1] + text[1:] for text in texts]
            return lambda: self.call(function, texts)

        return prepare

    def call(self, function: Function, texts: list[str]) -> int:
        """Call a function with each text."""
        if title := self.title:
            for text in texts:
                function(title, text)
        else:
            for text in texts:
                function(text)
        return len(texts)

    def bytes(self) -> int:
        """Return how much text a call gets."""
        return len(((self.title or "") + self.text).encode())


INFERENCE = [
    Case("title of 40 characters", None, TITLE),
    Case("2 KB", TITLE, prose(2000)),
    Case("2 KB, keyword last", TITLE, prose(1994) + "poc"),
    Case("2 KB, three keywords", TITLE, FEW),
    Case("2 KB, mixed non-ASCII", TITLE, prose(2000, MIXED)),
    Case("2 KB, mixed non-ASCII, new strings", TITLE, prose(2000, MIXED), new=True),
    Case("200 KB", TITLE, prose(200_000)),
]

EXPLANATION = [
    Case("2 KB", TITLE, prose(2000)),
    Case("2 KB, keyword last", TITLE, prose(1994) + "poc"),
    Case("2 KB, three keywords", TITLE, FEW),
    Case("2 KB, four keywords, the best first", TITLE, FIRST),
]


def inference(other: ModuleType | None, rounds: int) -> None:
    """Print the table of `infer_task_type`."""
    implementations = {"this": dispatcher} | ({"other": other} if other else {})
    rows = [("`infer_task_type`", *implementations, "ratio" if other else "GB/s")]
    for case in INFERENCE:
        runs = {name: case.run(of.infer_task_type) for name, of in implementations.items()}
        seconds = comparison.medians(runs, rounds)
        speed = f"{case.bytes() / seconds['this'] / 1e9:.2f}"
        last = f"{seconds['other'] / seconds['this']:.0f}×" if other else speed
        rows.append((case.name, *map(comparison.duration, seconds.values()), last))
    comparison.table(*rows)


def look(*texts: str) -> object:
    """Explain and look at the matches."""
    return dispatcher.explain_task_type(*texts).matches


def explanation(rounds: int) -> None:
    """Print the table of `explain_task_type`, which finds the matches when they are looked at."""
    functions: dict[str, Function] = {
        "`infer_task_type`": dispatcher.infer_task_type,
        "`explain_task_type`": dispatcher.explain_task_type,
        "`explain_task_type(…).matches`": look,
    }
    rows = [("", *functions)]
    for case in EXPLANATION:
        runs = {name: case.run(function) for name, function in functions.items()}
        infer, *explain = comparison.medians(runs, rounds).values()
        cells = [f"{comparison.duration(seconds)} ({seconds / infer:.1f}×)" for seconds in explain]
        rows.append((case.name, comparison.duration(infer), *cells))
    comparison.table(*rows)


def main() -> None:
    """Print the tables."""
    arguments = comparison.arguments(__doc__ or "")
    inference(arguments.against, arguments.rounds)
    print()
    explanation(arguments.rounds)


main()
