"""Inference from Python, beside another implementation if there is one: `make bench`.

Texts are prose without a keyword unless the table says otherwise. Every call of the non-ASCII
case gets a string that was never seen: its UTF-8 form, which Python keeps once it was asked for,
is part of what is measured.
"""

from collections.abc import Callable, Iterator
from itertools import pairwise
from random import Random

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
Infer = Callable[..., object]
Case = tuple[str, str | None, list[str]]


def cases() -> Iterator[Case]:
    """Yield what a row is called, its title and its descriptions; no title: these are titles."""
    yield "title of 40 characters", None, [TITLE] * 5_000
    yield "2 KB", TITLE, [prose(2000)] * 1_000
    yield "2 KB, keyword last", TITLE, [prose(1994) + "poc"] * 1_000
    yield "2 KB, mixed non-ASCII", TITLE, [prose(2000, MIXED) for _ in range(200)]
    yield "2 KB, three keywords", TITLE, [FEW] * 1_000
    yield "200 KB", TITLE, [prose(200_000)] * 5


def run(infer: Infer, title: str | None, texts: list[str]) -> Callable[[], int]:
    """Return what is timed: a call for each text."""

    def titles() -> int:
        for text in texts:
            infer(text)
        return len(texts)

    def descriptions() -> int:
        # A copy, that has no UTF-8 form yet.
        for text in [text[:1] + text[1:] for text in texts] if not texts[0].isascii() else texts:
            infer(title, text)
        return len(texts)

    return descriptions if title else titles


def main() -> None:
    """Print the tables."""
    arguments = comparison.arguments(__doc__ or "")
    implementations = {"this": dispatcher}
    if arguments.against:
        implementations["other"] = arguments.against
    rows = [
        ("`infer_task_type`", *implementations, *(["ratio"] if arguments.against else ["GB/s"]))
    ]
    for name, title, texts in cases():
        runs = {
            which: run(module.infer_task_type, title, texts)
            for which, module in implementations.items()
        }
        seconds = comparison.medians(runs, arguments.rounds)
        size = len(((title or "") + texts[0]).encode())
        last = (
            f"{seconds['other'] / seconds['this']:.0f}×"
            if arguments.against
            else f"{size / seconds['this'] / 1e9:.2f}"
        )
        rows.append((name, *map(comparison.duration, seconds.values()), last))
    comparison.table(*rows)
    print()

    rows = [("`explain_task_type`", "explained", "matches looked at", "inferred", "ratio")]
    for name, text in [
        ("2 KB", prose(2000)),
        ("2 KB, three keywords", FEW),
        ("2 KB, four keywords, the best type's first", FIRST),
    ]:
        texts = [text] * 1_000
        runs = {
            "explained": run(dispatcher.explain_task_type, TITLE, texts),
            "looked": run(lambda *of: dispatcher.explain_task_type(*of).matches, TITLE, texts),
            "inferred": run(dispatcher.infer_task_type, TITLE, texts),
        }
        seconds = comparison.medians(runs, arguments.rounds)
        ratio = f"{seconds['explained'] / seconds['inferred']:.1f}×"
        rows.append((name, *map(comparison.duration, seconds.values()), ratio))
    comparison.table(*rows)


main()
