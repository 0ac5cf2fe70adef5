"""The commands that look at dispatches and steer them. Whoever runs `run` does the work."""

import dataclasses
import json
from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import typer
from rich.console import Console
from rich.text import Text
from timmy.dispatcher import DispatchStatus, TaskType
from timmy.dispatcher.durable import Dispatcher, Effect, Event, Outcome, Phase, Record, Story

from .app import (
    Json,
    app,
)
from .display import line, notes, print_json, print_table, results, status_text, visible
from .place import (
    EVERYTHING,
    LEDGER_ENVIRONMENT,
    DispatchId,
    Ledger,
    ask,
    find,
    short,
    when,
)
from .registry import Endpoints, set_endpoints


def plain(value: Any) -> Any:
    """Return records as values for JSON, with times as RFC 3339 writes them."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    return str(value) if isinstance(value, UUID) else value


def subject(record: Record) -> str:
    """Return the issue that a dispatch is about; `-` for none."""
    number = record.task.issue_number
    return "-" if number is None else visible(f"{record.repo}#{number}")


def phase_text(record: Record) -> Text:
    """Return the status, and the phase where it says more."""
    text = status_text(record.status)
    if record.phase.value != record.status.value:
        text.append(f" {record.phase.value}", style="none")
    return text


#: Phases that last until a deadline.
_TIMED = {Phase.HANDING_OVER, Phase.HANDED_OVER, Phase.WORKING, Phase.REVIEWING}
COLUMNS = ["id", "status", "agent", "issue", "task", "why"]


def cells(record: Record) -> list[str | Text]:
    """Return a dispatch as a row below `COLUMNS`."""
    return [
        short(record.id),
        phase_text(record),
        visible(record.agent or "-"),
        subject(record),
        visible(record.task.title),
        visible(record.reason),
    ]


@app.command("list", epilog=LEDGER_ENVIRONMENT)
def list_(
    everything: Annotated[bool, typer.Option("-a", "--all", help="What has ended too.")] = False,
    status: Annotated[
        DispatchStatus | None,
        typer.Option("--status", metavar="STATUS", help=f"One of {', '.join(DispatchStatus)}."),
    ] = None,
    agent: Annotated[
        str | None, typer.Option("--agent", metavar="AGENT", help="Whose turn it is.")
    ] = None,
    repo: Annotated[
        str | None, typer.Option("--repo", metavar="NAME", help="About this repository.")
    ] = None,
    limit: Annotated[
        int, typer.Option("-n", "--limit", metavar="N", min=1, help="At most so many.")
    ] = 50,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """List the dispatches that are open, the newest first."""
    # A status may be one of an end.
    finished = everything or status is not None
    filtered = status is not None or agent is not None or repo is not None

    async def listed(dispatcher: Dispatcher) -> tuple[Record, ...]:
        return await dispatcher.list(finished=finished, limit=EVERYTHING if filtered else limit + 1)

    records = [
        record
        for record in ask(ledger, listed, as_json=as_json)
        if status in (None, record.status)
        and agent in (None, record.agent)
        and (repo is None or (record.repo or "").lower() == repo.lower())
    ]
    shown = records[:limit]
    if as_json:
        print_json([plain(record) for record in shown])
        return
    if not shown:
        line(results(), "Nothing." if finished else "Nothing is open; --all shows what has ended.")
        return
    print_table(results(), COLUMNS, [cells(record) for record in shown])
    if len(records) > limit:
        line(notes(), f"There are more; -n {limit * 4} shows more of them.")


@app.command(epilog=LEDGER_ENVIRONMENT)
def show(id: DispatchId, ledger: Ledger = None, as_json: Json = False) -> None:
    """Tell the whole story of a dispatch.

    Its attempts, its effects, what happened, and how that is known.
    """

    async def told(dispatcher: Dispatcher) -> Story:
        return await dispatcher.story(await find(dispatcher, id))

    story = ask(ledger, told, as_json=as_json)
    if as_json:
        print_json(plain(story))
        return
    console = results()
    print_record(console, story.record)
    _print_section(
        console,
        "Attempts",
        ["fence", "agent", "from", "to", "came to", "why"],
        [
            [
                str(attempt.fence),
                visible(attempt.agent),
                when(attempt.started_at),
                when(attempt.ended_at),
                visible(attempt.outcome or "-"),
                visible(attempt.reason or ""),
            ]
            for attempt in story.attempts
        ],
    )
    _print_section(console, "Effects", *effect_table(story.effects))
    _print_section(
        console,
        "Events",
        ["at", "fence", "event", ""],
        [
            [when(event.at), str(event.fence), visible(event.kind), event_details(event)]
            for event in story.events
        ],
    )


def effect_table(effects: tuple[Effect, ...]) -> tuple[list[str], list[list[str | Text]]]:
    """Return the columns and rows that show effects."""
    columns = ["id", "fence", "effect", "state", "sent", "not before", "agent", "as", ""]
    return columns, [
        [
            short(effect.id),
            str(effect.fence),
            visible(effect.effect),
            visible(effect.state),
            str(effect.sends),
            when(effect.not_before),
            visible(effect.agent),
            "-" if effect.remote_id is None else str(effect.remote_id),
            "" if effect.state == "done" else visible(effect.reason),
        ]
        for effect in effects
    ]


def event_details(event: Event) -> str:
    """Return what is known of an event on one line; what there is to know of it comes first."""
    body = dict(event.body)
    told = str(body.pop("reason", ""))
    if event.kind == "settled":
        # Of what was refused the reason says which effect it was.
        body.pop("effect", None)
        body.pop("how", None)
    if (number := body.pop("remote_id", None)) is not None:
        told += f" as {number}"
    parts = [told, *(f"{key}: {_value(item)}" for key, item in body.items())]
    return visible(", ".join(part for part in parts if part and part != event.kind))


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _print_section(
    console: Console, heading: str, columns: list[str], rows: list[list[str | Text]]
) -> None:
    if rows:
        line(console)
        line(console, Text(heading, style="bold"))
        print_table(console, columns, rows)


def print_record(console: Console, record: Record) -> None:
    """Print a dispatch, a line for each thing there is."""
    facts: list[tuple[str, str | Text | None]] = [
        ("id", str(record.id)),
        ("status", phase_text(record)),
        ("why", visible(record.reason) if record.reason else None),
        ("task", visible(record.task.title)),
        ("type", str(record.task.task_type)),
        ("issue", None if record.task.issue_number is None else subject(record)),
        ("agent", visible(record.agent) if record.agent else None),
        ("route", visible(", ".join(record.route))),
        ("gates", visible(", ".join(map(str, record.gates))) if record.gates else None),
        ("priority", str(record.priority) if record.priority else None),
        ("key", visible(record.idempotency_key) if record.idempotency_key else None),
        ("submitted", when(record.created_at)),
        (
            "time until" if record.phase in _TIMED else "next at",
            when(record.due_at) if record.due_at and not record.finished else None,
        ),
        ("ended", when(record.finished_at) if record.finished_at else None),
    ]
    if isinstance(record, Outcome) and record.result is not None:
        facts.append(("result", visible(_value(record.result))))
    there = [(name, value) for name, value in facts if value is not None]
    width = max(len(name) for name, _ in there)
    for name, value in there:
        line(console, Text.assemble((f"{name:<{width}}  ", "dim"), value))


# ---------------------------------------------------------------------------
# Steering
# ---------------------------------------------------------------------------


def _steer(
    ledger: str | None,
    id: str,
    act: Callable[[Dispatcher, UUID], Awaitable[Record]],
    *,
    as_json: bool,
) -> None:
    """Do something to a dispatch and show where it stands then."""

    async def steered(dispatcher: Dispatcher) -> Record:
        return await act(dispatcher, await find(dispatcher, id))

    record = ask(ledger, steered, as_json=as_json)
    if as_json:
        print_json(plain(record))
    else:
        text = Text.assemble(f"{record.id} ", phase_text(record))
        if record.reason:
            text.append(f": {visible(record.reason)}", style="none")
        line(results(), text)


@app.command(epilog=LEDGER_ENVIRONMENT)
def cancel(id: DispatchId, ledger: Ledger = None, as_json: Json = False) -> None:
    """Call a dispatch off; what was handed out is taken back first."""
    _steer(ledger, id, lambda dispatcher, found: dispatcher.cancel(found), as_json=as_json)


@app.command(epilog=LEDGER_ENVIRONMENT)
def retry(id: DispatchId, ledger: Ledger = None, as_json: Json = False) -> None:
    """Try a dispatch again that has ended.

    From the first agent of its route on.
    """
    _steer(ledger, id, lambda dispatcher, found: dispatcher.retry(found), as_json=as_json)


@app.command(epilog=LEDGER_ENVIRONMENT)
def hold(
    id: DispatchId,
    reason: Annotated[
        str, typer.Option("--reason", metavar="TEXT", help="Shown to who asks why it waits.")
    ] = "held by hand",
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Stop everything about a dispatch until it is released."""
    _steer(ledger, id, lambda dispatcher, found: dispatcher.hold(found, reason), as_json=as_json)


@app.command(epilog=LEDGER_ENVIRONMENT)
def release(id: DispatchId, ledger: Ledger = None, as_json: Json = False) -> None:
    """Let a dispatch go on that is held."""
    _steer(ledger, id, lambda dispatcher, found: dispatcher.release(found), as_json=as_json)


@app.command(epilog=LEDGER_ENVIRONMENT)
def retype(
    id: DispatchId,
    task_type: Annotated[TaskType, typer.Argument(metavar="TYPE", help="What kind of work it is.")],
    endpoints: Endpoints = None,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Give a dispatch another type and route.

    Only while it is not handed out; where it is held, it is released.
    """
    set_endpoints(endpoints, as_json=as_json)
    _steer(
        ledger, id, lambda dispatcher, found: dispatcher.retype(found, task_type), as_json=as_json
    )


Agent = Annotated[
    str | None, typer.Argument(metavar="AGENT", help="The agent's name; without it, all.")
]


@app.command(epilog=LEDGER_ENVIRONMENT)
def pause(agent: Agent = None, ledger: Ledger = None, as_json: Json = False) -> None:
    """Give an agent, or all, no more tasks.

    In every worker, until `resume`.
    """
    ask(ledger, lambda dispatcher: dispatcher.pause(agent), as_json=as_json)
    _print_pause(agent, paused=True, as_json=as_json)


@app.command(epilog=LEDGER_ENVIRONMENT)
def resume(agent: Agent = None, ledger: Ledger = None, as_json: Json = False) -> None:
    """Give an agent, or all, tasks again."""
    ask(ledger, lambda dispatcher: dispatcher.resume(agent), as_json=as_json)
    _print_pause(agent, paused=False, as_json=as_json)


def _print_pause(agent: str | None, *, paused: bool, as_json: bool) -> None:
    if as_json:
        print_json({"agent": agent, "paused": paused})
    else:
        who = visible(agent) if agent else "Nobody" if paused else "Everybody"
        what = "gets no more tasks" if agent and paused else "gets tasks"
        line(results(), f"{who} {what}{' any more' if paused and not agent else ''}.")
