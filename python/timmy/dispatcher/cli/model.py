"""`timmy-dispatch model`: training, judging and reading models of ranked inference."""

import dataclasses
import json
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text
from timmy.dispatcher import DispatchStatus, TaskType, select_agent
from timmy.dispatcher.durable import Dispatcher, Story
from timmy.dispatcher.ranking import (
    Evaluation,
    Example,
    RankedClassifier,
    rank_task_types,
    read_examples,
    shipped_examples,
)

from .app import Json, app, fail
from .display import line, print_json, print_table, results, visible
from .inference import load_model
from .place import EVERYTHING, LEDGER_ENVIRONMENT, Ledger, ask

commands = typer.Typer(
    help="Train, judge and read the models of ranked inference.",
    no_args_is_help=True,
    rich_markup_mode=None,
)
app.add_typer(commands, name="model")

Model = Annotated[
    str | None,
    typer.Option(
        "--model",
        metavar="FILE",
        help="A model of your own, instead of TIMMY_DISPATCHER_MODEL or the shipped.",
    ),
]


def _read(path: str, *, as_json: bool) -> list[Example]:
    try:
        return read_examples(path)
    except (OSError, ValueError) as error:
        fail(str(error), as_json=as_json)


@commands.command()
def train(
    out: Annotated[str, typer.Option("-o", "--out", metavar="MODEL", help="Where it is written.")],
    data: Annotated[
        list[str] | None,
        typer.Argument(metavar="[DATA.jsonl]...", help="Tasks whose types are known."),
    ] = None,
    more: Annotated[
        list[str] | None,
        typer.Option("--data", metavar="DATA.jsonl", help="The same; repeatable."),
    ] = None,
    base: Annotated[bool, typer.Option("--base", help="Learn from the shipped texts too.")] = False,
    weight: Annotated[
        float,
        typer.Option(
            "--weight", metavar="N", min=0.001, help="With --base: what one of yours counts."
        ),
    ] = 5.0,
    seed: Annotated[
        int, typer.Option("--seed", min=0, max=2**64 - 1, help="What is held back together.")
    ] = 1,
    features: Annotated[
        int, typer.Option("--features", metavar="N", min=1, max=1_000_000, help="The model's size.")
    ] = 32_000,
    as_json: Json = False,
) -> None:
    """Learn a model from JSON lines with title, description and label."""
    paths = [*(data or []), *(more or [])]
    if not paths and not base:
        fail("Which texts? Give a file of them, or --base.", as_json=as_json)
    if not Path(out).parent.is_dir():  # before minutes of learning
        fail(f"There is no folder {Path(out).parent}.", as_json=as_json)
    examples = [one for path in paths for one in _read(path, as_json=as_json)]
    try:
        model = RankedClassifier.train(
            examples, base=base, weight=weight, seed=seed, features=features
        )
        model.save(out)
    except (OSError, ValueError) as error:
        fail(str(error), as_json=as_json)
    texts = len(examples) + (len(shipped_examples()) if base else 0)
    size = Path(out).stat().st_size
    if as_json:
        learned = {"model": out, "texts": texts, "features": model.features}
        print_json({**learned, "bytes": size})
    else:
        line(
            results(),
            f"{visible(out)}: {model.features} features of {texts} texts, {size} bytes",
        )


@commands.command("eval")
def evaluate(
    data: Annotated[str, typer.Argument(metavar="DATA.jsonl", help="Tasks whose types are known.")],
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Tell how often a model is right, the exact rules beside it."""
    examples = _read(data, as_json=as_json)
    if not examples:
        fail(f"There is no task in {data}.", as_json=as_json)
    found = load_model(model, as_json=as_json).evaluate(examples)
    if as_json:
        print_json(dataclasses.asdict(found))
    else:
        _print_evaluation(found)


def _print_evaluation(found: Evaluation) -> None:
    console = results()
    print_table(
        console,
        [f"{found.tasks} tasks", "type", "agent"],
        [
            ("ranked", f"{found.type:.1%}", f"{found.agent:.1%}"),
            ("exact rules", f"{found.exact_type:.1%}", f"{found.exact_agent:.1%}"),
        ],
    )
    line(console)
    rows = [
        (
            one.task_type,
            str(one.tasks),
            f"{one.right / one.tasks:.0%}" if one.tasks else "-",
            f"{one.right / one.said:.0%}" if one.said else "-",
        )
        for one in found.types
    ]
    print_table(console, ["type", "tasks", "found", "right when said"], rows)
    line(console)
    if found.confusions:
        wrong = [(c.right, c.said, str(c.count)) for c in found.confusions[:15]]
        print_table(console, ["is", "taken for", "tasks"], wrong)
        line(console)
    print_table(
        console,
        ["probability", "tasks", "promised", "right"],
        [
            (f"{tenth / 10:.1f}-{(tenth + 1) / 10:.1f}", str(n), f"{promised:.0%}", f"{right:.0%}")
            for tenth, (n, right, promised) in enumerate(
                (one.tasks, one.right, one.promised) for one in found.calibration
            )
            if n
        ],
    )
    line(console, f"Calibration error: {100 * found.calibration_error:.1f} points")


@commands.command()
def show(
    word: Annotated[str, typer.Argument(metavar="WORD", help="A word, or a few.")],
    model: Model = None,
    as_json: Json = False,
) -> None:
    """Tell what a word says for and against each type."""
    weights = load_model(model, as_json=as_json).word_weights(word)
    order = sorted(weights.items(), key=lambda item: -sum(item[1]))
    if as_json:
        rows = [{"task_type": t, "title": a, "description": b} for t, (a, b) in order]
        print_json({"word": word, "weights": rows})
        return

    def cell(weight: int) -> Text:
        style = "green" if weight > 0 else "red" if weight < 0 else ""
        return Text(f"{weight / 1000:+.2f}", style=style)

    print_table(
        results(),
        ["type", "in a title", "in a description"],
        [(str(task_type), cell(title), cell(text)) for task_type, (title, text) in order],
    )


@commands.command(epilog=LEDGER_ENVIRONMENT)
def export(
    out: Annotated[
        str | None,
        typer.Option("-o", "--out", metavar="DATA.jsonl", help="Where it is written; else stdout."),
    ] = None,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Write what a ledger knows better than the rules, as `model train --data` reads it.

    Tasks whose type a person said, with that type; and tasks that a gate took from one agent and
    another one completed, with the likeliest of the types that this agent gets.
    """

    async def stories(dispatcher: Dispatcher) -> list[Story]:
        records = await dispatcher.list(finished=True, limit=EVERYTHING)
        return [await dispatcher.story(record.id) for record in reversed(records)]

    lines = []
    for story in ask(ledger, stories, as_json=as_json):
        label = _corrected(story)
        if label is not None:
            task = story.record.task
            texts = {"title": task.title, "description": task.description}
            lines.append(json.dumps({**texts, "label": str(label), "set": "ledger"}))
    text = "".join(f"{one}\n" for one in lines)
    if out is None:
        typer.echo(text, nl=False)
        return
    Path(out).write_text(text, encoding="utf-8")
    if as_json:
        print_json({"out": out, "tasks": len(lines)})
    else:
        line(results(), f"{len(lines)} tasks are in {visible(out)}.")


def _corrected(story: Story) -> TaskType | None:
    """Return the type that a person or a review gave a task; None where nobody did."""
    said = [event.body.get("evidence") for event in story.events]
    for evidence in reversed(said):
        if isinstance(evidence, dict) and evidence.get("by") in ("caller", "person"):
            return TaskType(evidence["task_type"])
    refused = any(event.kind == "gates failed" for event in story.events)
    record = story.record
    if not refused or record.status is not DispatchStatus.COMPLETED or len(story.attempts) < 2:
        return None
    ranked = rank_task_types(record.task.title, record.task.description).types
    agent = story.attempts[-1].agent
    return next((one.task_type for one in ranked if select_agent(one.task_type) == agent), None)
