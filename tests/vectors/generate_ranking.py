"""Writes `ranking.jsonl` from the shipped model: run it after `make train`.

One line for each task of the evaluation set and for some odd texts: title, description, the
probabilities in the order of the types, and the five weightiest words with weight and spans in
code points. Rust and Python are held against them.
"""

import json
from pathlib import Path

from timmy.dispatcher import TaskType, rank_task_types

HERE = Path(__file__).parent
ODD = [
    ("", ""),
    ("?", ""),
    ("ÄRGER mit 🦀", "Straße, İstanbul, ﬁx"),
    ("0", "12 34"),
    ("getURLFor_x", "race race, race"),
    ("🦀🦀 plan", "x\u0000y"),
]


def answer(title: str, description: str) -> list[object]:
    """Return the vector of a text."""
    ranking = rank_task_types(title, description)
    probabilities = {one.task_type: round(one.probability * 10_000) for one in ranking.types}
    words = [
        [found.text, found.weight, [[s.field, s.start, s.end] for s in found.spans]]
        for found in ranking.evidence[:5]
    ]
    return [title, description, [probabilities[t] for t in TaskType], words]


def main() -> None:
    """Write the file."""
    with (HERE.parent / "routing" / "evaluation.jsonl").open(encoding="utf-8") as lines:
        tasks = [json.loads(line) for line in lines]
    texts = ODD + [(task["title"], task["description"]) for task in tasks]
    with (HERE / "ranking.jsonl").open("w", encoding="ascii") as out:
        for text in texts:
            out.write(json.dumps(answer(*text)) + "\n")


if __name__ == "__main__":
    main()
