"""`timmy-dispatch infer`: what kind of work a task is, by the exact rules or by ranking."""

from typing import Annotated

import typer
from rich.text import Text
from timmy import dispatcher
from timmy.dispatcher._inference import setting
from timmy.dispatcher.ranking import RankedClassifier, Ranking

from .app import Description, Json, Title, app, display_name, fail
from .display import (
    coloured,
    deciding_words,
    evidence_rows,
    evidence_text,
    line,
    print_json,
    print_table,
    results,
    visible,
)

_FOR = "bold green"
_AGAINST = "red"
#: The width of the bar of a certain type.
_BAR = 30
#: How many words are shown to a person; --json has all.
_WORDS = 12


@app.command()
def infer(
    title: Title,
    description: Description = "",
    ranked: Annotated[
        bool, typer.Option("--ranked", help="How likely each type is, by the learned model.")
    ] = False,
    model: Annotated[
        str | None,
        typer.Option(
            "--model",
            metavar="FILE",
            help="With --ranked: a model of your own, else that of TIMMY_DISPATCHER_MODEL.",
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell what kind of work a task is, and which words say so.

    The words that decided are green; other keywords that were found are yellow. With --ranked
    the words for the likeliest type are green, those against it red.
    """
    if ranked:
        _infer_ranked(title, description, model, as_json=as_json)
        return
    if model is not None:
        fail("--model is for --ranked: the exact rules have none.", as_json=as_json)
    explanation = dispatcher.explain_task_type(title, description)
    if as_json:
        matches = [
            {
                "keyword": match.keyword,
                "task_type": match.task_type,
                "decided": match.task_type == explanation.task_type,
                "spans": [
                    {"field": span.field, "start": span.start, "end": span.end}
                    for span in match.spans
                ],
            }
            for match in explanation.matches
        ]
        print_json(
            {
                "title": title,
                "description": description,
                "task_type": explanation.task_type,
                "agent": explanation.agent,
                "words": deciding_words(explanation),
                "matches": matches,
            }
        )
        return
    console = results()
    line(
        console,
        Text.assemble(
            (explanation.task_type, "bold"), " for ", (display_name(explanation.agent), "bold")
        ),
    )
    line(console)
    line(console, evidence_text(title, "title", explanation))
    if description:
        line(console, evidence_text(description, "description", explanation))
    line(console)
    if explanation.matches:
        print_table(console, ["word", "type", "where", ""], evidence_rows(explanation))
    else:
        line(console, f"No keyword found: {explanation.task_type} is what is left.")


def load_model(path: str | None, *, as_json: bool) -> RankedClassifier:
    """Return the model of a file, that of the settings, or the shipped one; end where it cannot be
    read.
    """
    path = path or setting(dispatcher.settings, "ranking_model")
    try:
        return RankedClassifier.load(path) if path else RankedClassifier.built_in()
    except (OSError, ValueError) as error:
        fail(str(error), as_json=as_json)


def _infer_ranked(title: str, description: str, model: str | None, *, as_json: bool) -> None:
    """Tell how likely each type is, and the words for and against the first."""
    ranking = load_model(model, as_json=as_json).rank(title, description)
    if as_json:
        print_json(_document(title, description, ranking))
        return
    console = results()
    line(
        console,
        Text.assemble(
            (ranking.task_type, "bold"),
            f" {ranking.probability:.1%} for ",
            (display_name(ranking.agent), "bold"),
        ),
    )
    line(console)
    width = max(len(one.task_type) for one in ranking.types)
    for one in ranking.types:
        if one.probability < 0.005 and one is not ranking.types[0]:
            break
        bar = "█" * max(1, round(one.probability * _BAR))
        style = _FOR if one is ranking.types[0] else "dim"
        line(
            console,
            Text.assemble(
                f"{one.task_type:<{width}} {one.probability:6.1%} ",
                (bar, style),
            ),
        )
    line(console)
    # The weightiest come last, so that they win where words overlap.
    marks = [
        (span, _FOR if found.weight > 0 else _AGAINST)
        for found in reversed(ranking.evidence[:_WORDS])
        for span in found.spans
    ]
    line(console, coloured(title, "title", marks))
    if description:
        line(console, coloured(description, "description", marks))
    line(console)
    rows = [
        (
            Text(visible(found.text), style=_FOR if found.weight > 0 else _AGAINST),
            f"{found.weight / 1000:+.2f}",
            " ".join(f"{s.field} {s.start}-{s.end}" for s in found.spans),
        )
        for found in ranking.evidence[:_WORDS]
    ]
    if rows:
        print_table(console, ["word", "weight", "where"], rows)
    else:
        line(console, "No word of it is known to the model: this is how frequent types are.")


def _document(title: str, description: str, ranking: Ranking) -> dict[str, object]:
    """Return a ranking as one JSON document."""
    return {
        "title": title,
        "description": description,
        "task_type": ranking.task_type,
        "agent": ranking.agent,
        "probability": ranking.probability,
        "types": [
            {"task_type": one.task_type, "agent": one.agent, "probability": one.probability}
            for one in ranking.types
        ],
        "evidence": [
            {
                "text": found.text,
                "weight": found.weight,
                "spans": [
                    {"field": span.field, "start": span.start, "end": span.end}
                    for span in found.spans
                ],
            }
            for found in ranking.evidence
        ],
    }
