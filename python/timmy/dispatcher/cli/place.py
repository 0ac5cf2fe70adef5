"""Where the ledger is, how it is opened for a question, and how a dispatch in it is named."""

import os
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, NoReturn, TypeVar
from uuid import UUID

import typer
from timmy.dispatcher.durable import (
    Dispatcher,
    DispatcherError,
    Refused,
    inspect_ledger,
    ledger_place,
)

from . import interrupts
from .app import ExitCode, fail

T = TypeVar("T")

LEDGER_ENVIRONMENT = """\b
The ledger:
  TIMMY_LEDGER   a file, an sqlite:/// or a postgresql:// URL;
                 default ~/.local/state/timmy-dispatcher/dispatch.db
"""

Ledger = Annotated[
    str | None,
    typer.Option(
        "--ledger",
        metavar="PLACE",
        envvar="TIMMY_LEDGER",
        help="Where dispatches are kept: a file, or postgresql://…",
    ),
]
DispatchId = Annotated[
    str,
    typer.Argument(metavar="ID", help="The dispatch; a beginning or an end of its id will do."),
]

#: More than a ledger holds.
EVERYTHING = 10**9
#: So many of an id's last digits are shown where it is named beside others: they are random.
_SHOWN = 8
_MAKING = "`submit` and `run` make one; --ledger or TIMMY_LEDGER names another."
#: A part of an id must have so many digits.
_FEWEST = 4


def place_of(ledger: str | None) -> str:
    """Return what was named, or the default, below XDG's folder for state."""
    if ledger:
        return ledger
    state = os.environ.get("XDG_STATE_HOME", "")
    folder = Path(state) if os.path.isabs(state) else Path.home() / ".local" / "state"
    return str(folder / "timmy-dispatcher" / "dispatch.db")


def file_of(place: str) -> Path | None:
    """Return the file of a ledger; None for one that is in a database server."""
    scheme, separator, rest = place.partition("://")
    if not separator:
        return Path(place)
    if scheme in ("postgresql", "postgres"):
        return None
    if scheme != "sqlite" or not rest.startswith("/"):
        shown = place.rpartition("@")[2]
        raise Refused(
            f"A ledger is a file, sqlite:///a/file or postgresql://…, not {shown!r}: "
            "--ledger or TIMMY_LEDGER names it."
        )
    return Path(rest.removeprefix("/"))


def prepare(ledger: str | None, *, make: bool, as_json: bool) -> str:
    """Return the place of a ledger that is there, or may be made: for its owner alone."""
    place = place_of(ledger)
    try:
        file = file_of(place)
    except Refused as error:
        end(error, as_json=as_json)
    if file is None:
        if not make and not _is_there(place, as_json=as_json):
            fail(f"There is no ledger at {shown(place)}.\n{_MAKING}", as_json=as_json)
        return place
    # Tasks and answers of agents are in it, and in the files that SQLite puts beside it.
    os.umask(0o077)
    if make:
        try:
            file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            fail(f"The folder of the ledger cannot be made: {error}", as_json=as_json)
    elif not file.is_file():
        fail(f"There is no ledger at {file}.\n{_MAKING}", as_json=as_json)
    return place


def _is_there(place: str, *, as_json: bool) -> bool:
    try:
        return interrupts.run(inspect_ledger(place)) is not None
    except DispatcherError as error:
        end(error, as_json=as_json)


def shown(place: str) -> str:
    """Return the place of a ledger without a password; of a file as it was named."""
    return ledger_place(place) if "://" in place else place


def end(error: DispatcherError, *, as_json: bool) -> NoReturn:
    """End with what a dispatcher raised: usage where the arguments are wrong."""
    code = ExitCode.USAGE if isinstance(error, Refused) else ExitCode.FAILED
    # The core speaks of arguments.
    said = str(error).replace("`issue_number`", "`issue_number` (--issue N)")
    if said.startswith("No API endpoint configured"):
        said += " --agent-endpoint AGENT=URL says where it takes tasks, or TIMMY_AGENT_ENDPOINTS."
    fail(said, as_json=as_json, code=code)


def ask(
    ledger: str | None,
    question: Callable[[Dispatcher], Awaitable[T]],
    *,
    as_json: bool,
    make: bool = False,
    **options: Any,
) -> T:
    """Open the ledger as one who looks and steers, ask, and leave."""
    place = prepare(ledger, make=make, as_json=as_json)

    async def asked() -> T:
        async with Dispatcher.visit(place, **options) as dispatcher:
            return await question(dispatcher)

    try:
        return interrupts.run(asked())
    except DispatcherError as error:
        end(error, as_json=as_json)


class NotFoundError(DispatcherError):
    """A part of an id that names nothing, or too much."""


def short(id: UUID) -> str:
    """Return the end of an id, by which people name it."""
    return id.hex[-_SHOWN:]


def one_of(ids: Iterable[UUID], part: str, what: str, where: str) -> UUID:
    """Return the id of which *part* is the beginning or the end, or say how to go on."""
    digits = part.strip().lower().replace("-", "")
    known = list(ids)
    found = [id for id in known if id.hex.startswith(digits) or id.hex.endswith(digits)]
    if len(digits) < _FEWEST:
        raise NotFoundError(f"{part!r} is too short: give at least {_FEWEST} digits of the id")
    if not found:
        raise NotFoundError(f"There is no {what} {part!r}; {where} shows them")
    if len(found) > 1:
        names = ", ".join(str(id) for id in found[:3])
        raise NotFoundError(f"{part!r} is the beginning or end of {len(found)} ids: {names}, …")
    return found[0]


async def find(dispatcher: Dispatcher, part: str) -> UUID:
    """Return the dispatch that is named by its id or a part of it."""
    try:
        return UUID(part)
    except ValueError:
        pass
    records = await dispatcher.list(finished=True, limit=EVERYTHING)
    return one_of((record.id for record in records), part, "dispatch", "`list --all`")


def when(time: datetime | None) -> str:
    """Return a time as people here read it; `-` for none."""
    return "-" if time is None else time.astimezone().strftime("%Y-%m-%d %H:%M:%S")
