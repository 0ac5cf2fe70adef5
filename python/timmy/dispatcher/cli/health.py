"""`doctor`, and the commands that look after the ledger's file."""

from collections import Counter
from typing import Annotated, Any

import typer
from rich.text import Text
from timmy.dispatcher.durable import (
    Dispatcher,
    DispatcherError,
    Finding,
    Inspection,
    check_ledger,
    inspect_ledger,
)

from . import interrupts
from .app import ENVIRONMENT, ExitCode, Json, app
from .dispatches import plain
from .display import line, print_json, results, visible
from .place import LEDGER_ENVIRONMENT, Ledger, ask, end, place_of, prepare, shown
from .registry import Endpoints
from .worker import (
    WORKER_ENVIRONMENT,
    Accounts,
    Deadlines,
    Idempotent,
    PublicUrl,
    ReceiveAt,
    Slots,
    Times,
    options,
)

Restored = Annotated[
    bool,
    typer.Option("--restored", help="It was restored from an older copy: look up what is open."),
]

_MARKS = {
    "ok": ("ok      ", "green"),
    "warning": ("warning ", "yellow"),
    "error": ("ERROR   ", "bold red"),
}


@app.command(epilog=f"{ENVIRONMENT}\n{LEDGER_ENVIRONMENT}\n{WORKER_ENVIRONMENT}")
def doctor(
    ledger: Ledger = None,
    accounts: Accounts = None,
    endpoints: Endpoints = None,
    slots: Slots = None,
    deadlines: Deadlines = None,
    idempotent: Idempotent = None,
    times: Times = None,
    receive: ReceiveAt = None,
    public_url: PublicUrl = None,
    as_json: Json = False,
) -> None:
    """See what is wrong, and what to do about it.

    Looks at everything that durable dispatch needs: settings, server, token and its scopes,
    repository, labels, agents' accounts and endpoints, webhook, clock, ledger and workers. Nothing
    is changed. Exit code 1 where something cannot work. Give it the options, or the environment,
    of `run`.
    """
    given = options(
        accounts,
        endpoints,
        slots,
        deadlines,
        idempotent,
        times,
        receive,
        public_url,
        as_json=as_json,
    )
    try:
        findings = interrupts.run(Dispatcher(place_of(ledger), **given).examine())
    except DispatcherError as error:
        end(error, as_json=as_json)
    if as_json:
        print_json([plain(finding) for finding in findings])
    else:
        _print_findings(findings)
    wrong = any(finding.severity == "error" for finding in findings)
    raise typer.Exit(ExitCode.FAILED if wrong else ExitCode.SUCCESS)


def _print_findings(findings: tuple[Finding, ...]) -> None:
    console = results()
    width = max((len(finding.check) for finding in findings), default=0)
    for finding in findings:
        check = f"{visible(finding.check):<{width}}  "
        line(
            console,
            Text.assemble(_MARKS[finding.severity], (check, "bold"), visible(finding.found)),
        )
        if finding.advice:
            indent = " " * (len(_MARKS["ok"][0]) + width + 2)
            line(
                console,
                Text.assemble(
                    indent, "→ " if _fits(console, "→") else "-> ", visible(finding.advice)
                ),
            )
    counts = Counter(str(finding.severity) for finding in findings)
    line(console)
    line(
        console,
        ", ".join(
            f"{counts[severity]} {one if counts[severity] == 1 else several}"
            for severity, one, several in _WORDS
            if counts[severity]
        )
        + ".",
    )


_WORDS = (
    ("ok", "as it should be", "as they should be"),
    ("warning", "warning", "warnings"),
    ("error", "error", "errors"),
)


def _fits(console: Any, text: str) -> bool:
    """Tell whether the terminal's encoding has these characters."""
    return not console.options.ascii_only or text.isascii()


files = typer.Typer(
    help="Look after the file that keeps dispatches.", no_args_is_help=True, rich_markup_mode=None
)
app.add_typer(files, name="ledger")


async def _nothing(dispatcher: Dispatcher) -> None:
    """Opening it was all."""


def _seen(place: str, *, as_json: bool) -> Inspection | None:
    try:
        return interrupts.run(inspect_ledger(place))
    except DispatcherError as error:
        end(error, as_json=as_json)


@files.command(epilog=LEDGER_ENVIRONMENT)
def migrate(ledger: Ledger = None, as_json: Json = False) -> None:
    """Bring the ledger to the version of this program, or make it.

    Every command does that too; this one does nothing else. Older programs cannot open it then.
    """
    place = prepare(ledger, make=True, as_json=as_json)
    before = _seen(place, as_json=as_json)
    ask(ledger, _nothing, as_json=as_json, make=True)
    after = _seen(place, as_json=as_json)
    old, new = before and before.version, after and after.version
    named = shown(place)
    if as_json:
        print_json({"ledger": named, "from": old, "to": new})
    elif old is None:
        line(results(), f"{visible(named)} is made, with version {new}.")
    elif old == new:
        line(results(), f"{visible(named)} has version {new} already.")
    else:
        line(results(), f"{visible(named)} had version {old} and has {new} now.")


@files.command(epilog=LEDGER_ENVIRONMENT)
def check(ledger: Ledger = None, restored: Restored = False, as_json: Json = False) -> None:
    """Read the whole file and say what is wrong with it. Exit code 1 if anything is.

    With --restored, once after it was restored from an older copy and before anybody works on it:
    every open dispatch is looked up on Gitea; what was handed over since the copy was made, or
    cannot be looked up, stays held.
    """
    place = prepare(ledger, make=False, as_json=as_json)
    try:
        wrong = interrupts.run(check_ledger(place))
    except DispatcherError as error:
        end(error, as_json=as_json)
    looked_up: dict[str, str | None] = {}
    if restored and not wrong:
        found = ask(ledger, Dispatcher.restored, as_json=as_json)
        looked_up = {str(id_): held for id_, held in found.items()}
    seen = _seen(place, as_json=as_json)
    if as_json:
        more = {"restored": looked_up} if restored else {}
        facts = plain(seen) if seen else {}
        print_json({"ledger": shown(place), "wrong": list(wrong), **more, **facts})
    elif wrong:
        for what in wrong:
            line(results(), Text.assemble(("ERROR   ", "bold red"), visible(what)))
        line(results(), "Stop every worker, keep a copy, and go back to the last good backup.")
    elif seen is not None:
        workers = f"{len(seen.workers)} at work" if seen.workers else "nobody at work"
        line(results(), f"{visible(shown(place))}: whole; version {seen.version}, {workers}.")
        for id_, held in looked_up.items():
            line(results(), f"{id_}  {visible(held) if held else 'goes on'}")
    raise typer.Exit(ExitCode.FAILED if wrong else ExitCode.SUCCESS)
