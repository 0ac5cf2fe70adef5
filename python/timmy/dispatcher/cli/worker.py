"""`run`, the worker: claims, hands over, watches, reviews, until it is stopped."""

import asyncio
import importlib
import math
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable
from typing import Annotated, Any, cast

import typer
from rich.console import ConsoleDimensions, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text
from timmy import dispatcher
from timmy.dispatcher.durable import (
    AgentOptions,
    Dispatcher,
    DispatcherError,
    Event,
    Phase,
    Receive,
    Record,
    Timing,
)

from . import interrupts
from .app import ENVIRONMENT, ExitCode, Json, app, fail
from .dispatches import COLUMNS, cells, event_details, plain
from .display import line, notes, print_json, results, visible
from .place import LEDGER_ENVIRONMENT, Ledger, end, prepare, short, shown, when
from .registry import (
    Endpoints,
    Pairs,
    change,
    check_agent,
    of_agents,
    pairs,
    repeatable,
    set_endpoints,
)

WORKER_ENVIRONMENT = """\b
The worker, where no option says it (several are separated by blanks):
  TIMMY_AGENT_ACCOUNTS   agents' accounts on Gitea: claude_code=claude-bot …
  TIMMY_AGENT_ENDPOINTS  where agents take tasks over HTTP: agent_api=https://…
  TIMMY_AGENT_SLOTS      how many tasks they may hold at once: kimi_code=3 …
  TIMMY_AGENT_DEADLINES  how long they have for a task: claude_code=8h …
  TIMMY_IDEMPOTENT_AGENTS  who bears the same task twice: agent_api timmy …
  TIMMY_TIMES            how long everything else takes: poll=5s grace=20m …
  TIMMY_RECEIVE          where webhooks are received: ADDRESS:PORT
  TIMMY_PUBLIC_URL       the address under which others reach that
  TIMMY_WEBHOOK_SECRET   what webhooks and callbacks are signed with; no option,
                         for options are seen by everybody on the machine
"""

Accounts = Annotated[
    list[str] | None,
    repeatable(
        "--agent-account",
        "AGENT=USER",
        variable="TIMMY_AGENT_ACCOUNTS",
        text="An agent's account on Gitea, by which its signs of life are known",
    ),
]
Slots = Annotated[
    list[str] | None,
    repeatable(
        "--agent-slots",
        "AGENT=N",
        variable="TIMMY_AGENT_SLOTS",
        text="How many tasks an agent may hold at once",
    ),
]
Deadlines = Annotated[
    list[str] | None,
    repeatable(
        "--agent-deadline",
        "AGENT=TIME",
        variable="TIMMY_AGENT_DEADLINES",
        text="How long an agent has for a task, as 8h",
    ),
]
Idempotent = Annotated[
    list[str] | None,
    repeatable(
        "--idempotent",
        "AGENT",
        variable="TIMMY_IDEMPOTENT_AGENTS",
        text="An agent that bears the same task twice: its endpoint honours Idempotency-Key, "
        "its function may be run again after its process was lost",
    ),
]
Times = Annotated[
    list[str] | None,
    repeatable(
        "--time",
        "NAME=TIME",
        variable="TIMMY_TIMES",
        text="How long something takes, as poll=5s (s, m, h or d); there are "
        + ", ".join(Timing.__annotations__),
    ),
]
ReceiveAt = Annotated[
    str | None,
    typer.Option(
        "--receive",
        metavar="ADDRESS:PORT",
        envvar="TIMMY_RECEIVE",
        show_envvar=False,
        help="Where webhooks and agents' callbacks are received.",
    ),
]
PublicUrl = Annotated[
    str | None,
    typer.Option(
        "--public-url",
        metavar="URL",
        envvar="TIMMY_PUBLIC_URL",
        show_envvar=False,
        help="The address under which others reach that.",
    ),
]

Local = Annotated[
    list[str] | None,
    repeatable(
        "--local",
        "AGENT=MODULE:FUNCTION",
        text="The coroutine function that does a local agent's work",
    ),
]

OwnGates = Annotated[
    list[str] | None,
    repeatable(
        "--gate",
        "NAME=MODULE:FUNCTION",
        text="The coroutine function that is asked as a gate of one's own",
    ),
]
Callbacks = Annotated[
    list[str] | None,
    repeatable(
        "--callback",
        "NAME=MODULE:FUNCTION",
        text="The function that tells an owner that a person is asked",
    ),
]

#: Phases in which an agent's slot is taken.
_IN_A_SLOT = {Phase.HANDING_OVER, Phase.HANDED_OVER, Phase.WORKING, Phase.WITHDRAWING}
#: Seconds between two looks at the ledger for the live view.
_LOOK = 0.5
#: From so many columns on a terminal is wide.
_WIDE = 100
#: Lines of the live view for what happened last.
_LAST = 4
#: Seconds of each unit.
_UNITS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86400}


class Options(Timing):
    """What `Dispatcher` is told beside its ledger."""

    agents: dict[str, AgentOptions]
    receive: Receive | None


def options(
    accounts: list[str] | None,
    endpoints: list[str] | None,
    slots: list[str] | None,
    deadlines: list[str] | None,
    idempotent: list[str] | None,
    times: list[str] | None,
    receive: str | None,
    public_url: str | None,
    *,
    as_json: bool,
) -> Options:
    """Read the options of a worker; endpoints and slots go into the registry of this process."""
    users = of_agents(accounts, "--agent-account", as_json=as_json)
    given = of_agents(deadlines, "--agent-deadline", as_json=as_json)
    limits = _times(given, "--agent-deadline", as_json=as_json)
    set_endpoints(endpoints, as_json=as_json)
    for name, number in of_agents(slots, "--agent-slots", as_json=as_json).items():
        if not (number.isascii() and number.isdigit() and 0 < int(number) < 100_000):
            fail(f"--agent-slots {name}={number}: give a number from 1 on", as_json=as_json)
        change(name, max_concurrent=int(number))
    twice = set(idempotent or ())
    for name in twice:
        check_agent(name, "--idempotent", as_json=as_json)
    receiver = None
    if receive is not None:
        secret = os.environ.get("TIMMY_WEBHOOK_SECRET", "")
        if not secret:
            fail(
                "--receive needs the secret that webhooks are signed with. Set:\n"
                "  TIMMY_WEBHOOK_SECRET (and the same in the webhook on Gitea)",
                as_json=as_json,
                variables=["TIMMY_WEBHOOK_SECRET"],
            )
        receiver = Receive(address=receive, secret=secret, public_url=public_url)
    timing = _times(pairs(times, "--time", as_json=as_json), "--time", as_json=as_json)
    if unknown := timing.keys() - Timing.__annotations__.keys():
        known = ", ".join(Timing.__annotations__)
        fail(f"--time: there is no {min(unknown)!r}; there are {known}", as_json=as_json)
    return {
        "agents": {
            name: AgentOptions(
                gitea_user=users.get(name), deadline=limits.get(name), idempotent=name in twice
            )
            for name in users.keys() | limits.keys() | twice
        },
        "receive": receiver,
        **cast("Timing", timing),
    }


def _times(given: Pairs, option: str, *, as_json: bool) -> dict[str, float]:
    """Read times, such as 90, 0.5s, 10m, 8h or 7d, in seconds."""
    read = {}
    for name, text in given.items():
        number = text.rstrip("smhd")
        try:
            seconds = float(number) * _UNITS[text[len(number) :]]
        except (ValueError, KeyError):
            seconds = math.nan
        if not 0 < seconds < math.inf:
            fail(f"{option} {name}={text}: give a time as 90s, 10m, 8h or 7d", as_json=as_json)
        read[name] = seconds
    return read


def _functions(values: list[str] | None, option: str, *, as_json: bool) -> dict[str, Any]:
    """Import functions by their names; modules are looked for in this folder too."""
    named = pairs(values, option, as_json=as_json)
    if named and os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())
    functions: dict[str, Any] = {}
    for key, where in named.items():
        module, separator, name = where.partition(":")
        if not (module and separator and name):
            fail(f"{option} takes {key}=MODULE:FUNCTION, not {where!r}", as_json=as_json)
        try:
            functions[key] = getattr(importlib.import_module(module), name)
        except (ImportError, AttributeError) as error:
            fail(f"{option} {key}: {where} cannot be imported: {error}", as_json=as_json)
    return functions


def _register(
    register: Callable[[str], Callable[[Any], Any]], functions: dict[str, Any], *, as_json: bool
) -> None:
    for name, function in functions.items():
        try:
            register(name)(function)
        except (TypeError, ValueError) as error:
            fail(f"{name}: {error}", as_json=as_json)


@app.command(epilog=f"{ENVIRONMENT}\n{LEDGER_ENVIRONMENT}\n{WORKER_ENVIRONMENT}")
def run(
    ledger: Ledger = None,
    accounts: Accounts = None,
    endpoints: Endpoints = None,
    slots: Slots = None,
    deadlines: Deadlines = None,
    idempotent: Idempotent = None,
    times: Times = None,
    receive: ReceiveAt = None,
    public_url: PublicUrl = None,
    local: Local = None,
    gates: OwnGates = None,
    callbacks: Callbacks = None,
    drain: Annotated[
        float,
        typer.Option(
            "--drain", metavar="SECONDS", min=0, help="When stopped: how long to finish for."
        ),
    ] = 15,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="For services: only warnings and errors.")
    ] = False,
    faster: Annotated[
        int,
        typer.Option(
            "--faster",
            metavar="N",
            min=1,
            help="Everything N times as fast, where --time says nothing else; to try it out.",
        ),
    ] = 1,
    as_json: Json = False,
) -> None:
    """Do the work, until it is stopped.

    Hand tasks over, watch their issues, review, try again, escalate. Several may run on one ledger;
    what one leaves behind, however it ends, the others go on with. SIGTERM or Ctrl-C: nothing more
    is claimed, what is on its way is finished; the second one stops at once. With --json each event
    is one line.
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
    place = prepare(ledger, make=True, as_json=as_json)
    agents = _functions(local, "--local", as_json=as_json)
    judges = _functions(gates, "--gate", as_json=as_json)
    owners = _functions(callbacks, "--callback", as_json=as_json)
    try:
        worker = Dispatcher(place, faster=faster, **given)
        for register, functions in (
            (worker.local_agent, agents),
            (worker.gate, judges),
            (worker.callback, owners),
        ):
            _register(register, functions, as_json=as_json)
        finished = interrupts.run(_Worker(worker, place, drain, quiet, as_json).run())
    except DispatcherError as error:
        end(error, as_json=as_json)
    raise typer.Exit(ExitCode.SUCCESS if finished else ExitCode.INTERRUPTED)


class _Worker:
    """A running worker, and what is shown of it."""

    def __init__(
        self, worker: Dispatcher, place: str, drain: float, quiet: bool, as_json: bool
    ) -> None:
        self.worker = worker
        self.place = shown(place)
        self.drain = drain
        self.quiet = quiet
        self.as_json = as_json
        self.stops: asyncio.Queue[int] = asyncio.Queue()

    async def run(self) -> bool:
        """Work until stopped; False if it was stopped twice."""
        loop = asyncio.get_running_loop()
        # Before the ledger is opened: a service may be stopped at any moment.
        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, self.stops.put_nowait, number)
        async with self.worker:
            showing = asyncio.create_task(self._show())
            stopped = asyncio.create_task(self.stops.get())
            # What is shown ends only by an error.
            await asyncio.wait({showing, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if showing.done():
                stopped.cancel()
                await showing
            again = asyncio.create_task(self.stops.get())
            closing = asyncio.create_task(self.worker.close(self.drain))
            self._say(f"Stopping: what is on its way has {self.drain:g} s; once more stops at once")
            await asyncio.wait({again, closing}, return_when=asyncio.FIRST_COMPLETED)
            showing.cancel()
            await asyncio.gather(showing, return_exceptions=True)
            if again.done() and not closing.done():
                # The ledger is made for it; who works next goes on.
                os._exit(ExitCode.INTERRUPTED)
            again.cancel()
            await closing
            return True

    def _say(self, text: str) -> None:
        if not self.quiet and not self.as_json:
            line(notes(), text)

    async def _show(self) -> None:
        """Show what happens, in the way that is asked for."""
        console = results()
        self._say(f"Working on {self.place}, process {os.getpid()}")
        if self.quiet and not self.as_json:
            await asyncio.Event().wait()
        elif self.as_json or not console.file.isatty() or console.is_dumb_terminal:
            async for event in self.worker.events(after=None):
                if self.as_json:
                    print_json(plain(event), one_line=True)
                else:
                    line(console, event_text(event))
        else:
            await _View(self.worker, self.place).show()


def event_text(event: Event) -> str:
    """Return an event on one line."""
    body = event_details(event)
    return f"{when(event.at)}  {short(event.dispatch)}  {visible(event.kind)}  {body}".rstrip()


class _View:
    """The live view: what is open, who has how many tasks, what happened last."""

    def __init__(self, worker: Dispatcher, place: str) -> None:
        self.worker = worker
        self.place = place
        self.last: deque[Event] = deque(maxlen=_LAST)

    async def show(self) -> None:
        """Draw it until cancelled."""
        following = asyncio.create_task(self._follow())
        try:
            # Lines of the log are put above it by Rich.
            with Live(console=results(), auto_refresh=False, transient=True) as live:
                while True:
                    records = await self.worker.list(limit=500)
                    live.update(self._drawn(records, live.console.size), refresh=True)
                    await asyncio.wait({following}, timeout=_LOOK)
                    if following.done():
                        await following
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    async def _follow(self) -> None:
        async for event in self.worker.events(after=None):
            self.last.append(event)

    def _drawn(self, records: tuple[Record, ...], size: ConsoleDimensions) -> Group:
        held = Counter(record.agent for record in records if record.phase in _IN_A_SLOT)
        statuses = Counter(record.status.value for record in records)
        counts = ", ".join(f"{number} {status}" for status, number in statuses.items())
        table = Table(box=None, show_header=True, header_style="bold", pad_edge=False)
        # A narrow terminal has no room for all.
        columns = [
            number
            for number, column in enumerate(COLUMNS)
            if size.width >= _WIDE or column in ("id", "status", "task")
        ]
        for number in columns:
            table.add_column(COLUMNS[number], no_wrap=True, overflow="ellipsis")
        room = max(size.height - _LAST - 6, 2)
        # Those that move first, then those that wait.
        waiting = sorted(records, key=lambda record: record.phase not in _IN_A_SLOT)
        for record in waiting[:room]:
            row = cells(record)
            table.add_row(*(row[number] for number in columns))
        slots = Text("  ").join(
            Text.assemble(
                f"{visible(spec.name)} ",
                (f"{held[spec.name]}/{spec.max_concurrent}", "bold" if held[spec.name] else "dim"),
            )
            for spec in dispatcher.AGENT_REGISTRY.values()
        )
        more = len(records) - room
        return Group(
            Text.assemble(
                ("timmy-dispatch run ", "bold"),
                f"{visible(self.place)}  ",
                counts or "nothing is open",
            ),
            slots,
            Text(),
            table if records else Text(),
            Text(f"and {more} more" if more > 0 else ""),
            *(Text(event_text(event), no_wrap=True, overflow="ellipsis") for event in self.last),
        )
