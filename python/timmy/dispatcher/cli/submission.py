"""`submit`: a task that is kept until it has come to its end."""

import sys
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.text import Text
from timmy.dispatcher.durable import Dispatcher, DispatcherError, Outcome, Plan, Record, Task

from .app import (
    ENVIRONMENT,
    EXIT_CODES,
    ChosenAgent,
    ChosenType,
    Criteria,
    Description,
    Endpoint,
    ExitCode,
    Issue,
    Json,
    Title,
    app,
    code_of,
    fail,
)
from .dispatches import plain, print_record
from .display import line, notes, print_json, print_table, results, visible
from .place import (
    LEDGER_ENVIRONMENT,
    Ledger,
    ask,
    end,
    place_of,
)
from .registry import Endpoints, set_endpoints

DETAILS = f"{EXIT_CODES}\n{ENVIRONMENT}\n{LEDGER_ENVIRONMENT}"


class Busy(StrEnum):
    """What happens while an agent has no free slot."""

    QUEUE = "queue"
    FALLBACK = "fallback"


def _description(text: str, file: str | None, *, as_json: bool) -> str:
    """Return the description, from a file or stdin where one was named."""
    if file is None:
        return text
    if text:
        fail("Give --description or --file, not both.", as_json=as_json)
    try:
        return sys.stdin.read() if file == "-" else Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        fail(f"The description cannot be read: {error}", as_json=as_json)


@app.command(epilog=DETAILS)
def submit(
    title: Title,
    description: Description = "",
    file: Annotated[
        str | None,
        typer.Option("--file", metavar="FILE", help="The task in full, from a file; - is stdin."),
    ] = None,
    criteria: Criteria = None,
    issue: Issue = None,
    repo: Annotated[
        str | None, typer.Option("--repo", metavar="NAME", help="Instead of GITEA_REPO.")
    ] = None,
    task_type: ChosenType = None,
    agent: ChosenAgent = None,
    endpoint: Endpoint = None,
    endpoints: Endpoints = None,
    priority: Annotated[
        int, typer.Option("--priority", metavar="N", help="Higher goes first.")
    ] = 0,
    key: Annotated[
        str | None,
        typer.Option(
            "--key", metavar="KEY", help="Submitted again under it, it is the same dispatch."
        ),
    ] = None,
    gates: Annotated[
        list[str] | None,
        typer.Option(
            "--gate",
            metavar="GATE",
            help="What must hold at the end: pull_request, approved, checklist, the URL of an "
            "endpoint, or the name of a function of the worker's; repeatable.",
        ),
    ] = None,
    busy: Annotated[
        Busy | None,
        typer.Option(
            "--busy",
            metavar="queue|fallback",
            help="While its agent has no free slot: it waits, "
            "or the next one that is good at it takes it.",
        ),
    ] = None,
    retries: Annotated[
        int,
        typer.Option("--retries", metavar="N", min=0, help="The same agent again, after failures."),
    ] = 1,
    reassignments: Annotated[
        int | None,
        typer.Option("--reassignments", metavar="N", min=0, help="Other agents, at most."),
    ] = None,
    callback: Annotated[
        str | None,
        typer.Option(
            "--callback",
            metavar="URL",
            help="Is told when a person is asked; or the name of a function of the worker's.",
        ),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would become of it.")
    ] = False,
    wait: Annotated[bool, typer.Option("--wait", help="Until it has come to its end.")] = False,
    max_wait: Annotated[
        float | None,
        typer.Option("--max-wait", metavar="SECONDS", min=0, help="With --wait: when to give up."),
    ] = None,
    ledger: Ledger = None,
    as_json: Json = False,
) -> None:
    """Keep a task until it has come to its end; `run` does the work.

    When this returns, the task is on the disk. A task about an issue that is open in the ledger
    already is that dispatch.
    """
    set_endpoints(endpoints, as_json=as_json)
    task = Task(
        title,
        _description(description, file, as_json=as_json),
        acceptance_criteria=tuple(criteria or ()),
        task_type=task_type,
        agent=agent,
        issue_number=issue,
        api_endpoint=endpoint,
        max_retries=retries,
    )
    wishes: dict[str, Any] = {
        "gates": gates or None,
        "when_busy": None if busy is None else busy.value,
        "max_reassignments": reassignments,
        "repo": repo,
        "callback": callback,
    }
    if dry_run:
        _print_plan(_planned(ledger, task, wishes, as_json=as_json), as_json=as_json)
        return

    async def submitted(dispatcher: Dispatcher) -> tuple[bool, Record | Outcome, bool]:
        dispatch = await dispatcher.submit(task, idempotency_key=key, priority=priority, **wishes)
        if not wait:
            return dispatch.new, await dispatch.get(), False
        if not as_json:
            line(notes(), f"{dispatch.id}: waiting for its end")
        try:
            return dispatch.new, await dispatch.wait(max_wait), False
        except TimeoutError:
            return dispatch.new, await dispatch.get(), True

    new, record, gave_up = ask(ledger, submitted, as_json=as_json, make=True)
    if as_json:
        print_json({**plain(record), "new": new})
    else:
        if not new:
            line(notes(), "It was there already.")
        print_record(results(), record)
    if gave_up:
        raise typer.Exit(ExitCode.TIMED_OUT)
    if wait:
        raise typer.Exit(code_of(record.status))


def _planned(ledger: str | None, task: Task, wishes: dict[str, Any], *, as_json: bool) -> Plan:
    try:
        return Dispatcher.visit(place_of(ledger)).plan(task, **wishes)
    except DispatcherError as error:
        end(error, as_json=as_json)


def _print_plan(plan: Plan, *, as_json: bool) -> None:
    """Say what would become of a task."""
    if as_json:
        print_json(plain(plan))
        return
    console = results()
    where = f" on {plan.repo}#{plan.task.issue_number}" if plan.task.issue_number else ""
    line(console, Text.assemble((str(plan.task.task_type), "bold"), visible(where)))
    rows = [
        [
            Text(visible(agent.display_name), style="bold"),
            visible(agent.name),
            visible(agent.label or agent.endpoint or agent.interface),
            "in place of a busy one" if agent.name in plan.fallback else "",
        ]
        for agent in plan.agents
    ]
    print_table(console, ["tried in this order", "name", "label or endpoint", ""], rows)
    if plan.gates:
        line(console, f"Before it counts as done: {', '.join(map(visible, plan.gates))}")
