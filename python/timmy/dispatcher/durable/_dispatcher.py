"""The dispatcher, and a dispatch that was submitted to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Generator, Mapping, Sequence
from dataclasses import asdict, replace
from os import PathLike, fspath
from re import sub
from types import TracebackType
from typing import Any, Literal, Self, TypeVar, Unpack, overload
from uuid import UUID

import timmy.dispatcher as dispatching

from .. import TaskType, _core, _inference
from . import _config, _doctor
from . import _reading as reading
from ._calls import CallbackFunction, Calls, GateFunction, LocalAgent
from ._config import AgentOptions, Busy, Receive, Timing
from ._doctor import Finding
from ._errors import DispatcherError, Refused
from ._values import (
    Effect,
    Event,
    Gate,
    Outcome,
    Plan,
    Record,
    Story,
    Task,
)

_Agent = TypeVar("_Agent", bound=LocalAgent)
_Gate = TypeVar("_Gate", bound=GateFunction)
_Function = TypeVar("_Function")
_Callback = TypeVar("_Callback", bound=CallbackFunction)

#: How long `async with` waits at its end for what is on its way, in seconds.
CLOSE_TIMEOUT = 15.0
#: The name of a callback that was given as a function.
OWNER = "owner"
#: So many events are read at a time.
_EVENTS = 500


class Dispatch:
    """A dispatch that was submitted; awaiting it is :meth:`wait`."""

    def __init__(self, dispatcher: Dispatcher, id: UUID, new: bool) -> None:
        """Is made by :meth:`Dispatcher.submit` and :meth:`Dispatcher.dispatch`."""
        self._dispatcher = dispatcher
        self.id = id
        self.new = new
        """Whether it was not there before."""

    def __repr__(self) -> str:
        """Name its id."""
        return f"Dispatch({str(self.id)!r})"

    async def wait(self, timeout: float | None = None) -> Outcome:  # noqa: ASYNC109
        """Wait until it has ended; TimeoutError after *timeout* seconds, which changes nothing."""
        return await self._dispatcher.wait(self.id, timeout)

    def __await__(self) -> Generator[Any, None, Outcome]:
        """Wait until it has ended."""
        return self.wait().__await__()

    async def get(self) -> Record:
        """Return where it stands."""
        return await self._dispatcher.get(self.id)

    async def story(self) -> Story:
        """Return all that is known of it."""
        return await self._dispatcher.story(self.id)

    async def cancel(self) -> Record:
        """Call it off; what was handed out is taken back first. NotNow where it has ended."""
        return await self._dispatcher.cancel(self.id)


Id = UUID | str | Dispatch
"""A dispatch, or the id of one."""


def _id(of: Id) -> str:
    return str(of.id if isinstance(of, Dispatch) else of)


def _check_named(callback: Any) -> None:
    if callback is not None and not isinstance(callback, str):
        raise TypeError(
            "a function cannot be kept in a ledger: where the work is done, register it under a "
            "name with Dispatcher.callback; here, give that name"
        )


def _limit(limit: int) -> int:
    if limit < 0:
        raise ValueError(f"limit is {limit}; it is a number from 0 on")
    return limit


def _wishes(
    *,
    idempotency_key: str | None = None,
    priority: int = 0,
    when_busy: Busy | None,
    gates: Sequence[Gate] | None,
    route: Sequence[str],
    max_reassignments: int | None,
    repo: str | None,
    callback: str | None,
) -> dict[str, Any]:
    _check_named(callback)
    return {
        "idempotency_key": idempotency_key,
        "priority": priority,
        "when_busy": when_busy,
        "gates": None if gates is None else _config.gates(gates),
        "route": [str(agent) for agent in route],
        "max_reassignments": max_reassignments,
        "repo": repo,
        "callback": callback,
    }


class Dispatcher:
    """Dispatches tasks and forgets none.

    ``async with`` opens it, and at its end claims nothing more, brings what is on its way to its
    end, for at most 15 seconds, and leaves: others look after what is open. It belongs to the
    process that opened it, and its own agents and gates run on the loop that did.

    Every method but `plan`, `local_agent`, `gate` and `callback` needs it open, and can raise
    `LedgerError`.
    """

    def __init__(
        self,
        ledger: str | PathLike[str],
        *,
        settings: Any = None,
        agents: Mapping[str, AgentOptions] | None = None,
        when_busy: Busy = "queue",
        max_reassignments: int = 2,
        gates: Sequence[Gate] = (),
        callback: str | CallbackFunction | None = None,
        receive: Receive | None = None,
        max_in_flight: int = 32,
        inference: Literal["exact", "ranked"] | None = None,
        min_confidence: float | None = None,
        below_confidence: str | None = None,
        ranking_model: str | PathLike[str] | None = None,
        faster: int = 1,
        **timing: Unpack[Timing],
    ) -> None:
        """Describe it; nothing is opened yet.

        Args:
            ledger: A path, ``sqlite:///relative.db`` or ``sqlite:////absolute.db``, a file of the
                dispatcher's own on a local disk, which nothing else may open; or
                ``postgresql://…``, where several machines share it.
            settings: An object with ``gitea_url``, ``gitea_token``, ``gitea_repo`` and
                ``gitea_enabled``, and what says how types are found, as for ``dispatch_task``;
                :data:`timmy.dispatcher.settings` if omitted.
            agents: More about agents of ``AGENT_REGISTRY``, by name.
            when_busy: What happens to a task whose agent has no free slot: ``"queue"`` waits,
                ``"fallback"`` gives it to the next agent of its route that is good at it.
            max_reassignments: How often a task may go to a next agent.
            gates: What must hold before a closed issue counts as done.
            callback: Who is told when a person is asked: a URL, the name of a function that is
                registered by `callback`, or a function, which is then registered as ``owner``.
            receive: Where webhooks and callbacks are received, if anywhere.
            max_in_flight: So many effects are carried out at once.
            inference: How the type of a task is found that has none, ``"exact"`` or ``"ranked"``;
                this and the next three go before those of the settings.
            min_confidence: How likely a ranked type must be, from 0 to 1.
            below_confidence: What a task below that gets: ``"exact"`` rules, a type, or ``"ask"``,
                which holds it until a person has said the type.
            ranking_model: The file of a model of one's own.
            faster: Divides every default time but the retention; for tests and demos.
            timing: Times in seconds, as in `Timing`; they are taken as they are.

        Raises:
            TypeError: There is no such argument, or a gate is none.
            ValueError: Ranking cannot be as these say.
        """
        unknown = timing.keys() - Timing.__annotations__.keys()
        if unknown:
            raise TypeError(f"unexpected keyword arguments: {', '.join(sorted(unknown))}")
        self._place = fspath(ledger)
        self._settings = settings
        self._callbacks: dict[str, CallbackFunction] = {}
        if callback is not None and not isinstance(callback, str):
            if not callable(callback):
                raise TypeError(f"a callback is a URL, a name or a function, not {callback!r}")
            self._callbacks[OWNER] = callback
            callback = OWNER
        self._agents = {str(name): options for name, options in (agents or {}).items()}
        self._ranking = {
            "inference": inference,
            "min_confidence": min_confidence,
            "below_confidence": below_confidence,
            "ranking_model": ranking_model,
        }
        _inference.check(self._ranking)
        self._policy = {
            "when_busy": when_busy,
            "max_reassignments": max_reassignments,
            "gates": _config.gates(gates),
            "callback": callback,
            "receive": receive and asdict(receive),
            "max_in_flight": max_in_flight,
        }
        self._timing = timing
        self._faster = faster
        self._works = True
        self._local_agents: dict[str, LocalAgent] = {}
        self._gates: dict[str, GateFunction] = {}
        self._calls: Calls | None = None
        self._core: _core.DurableDispatcher | None = None
        self._opened = False

    @classmethod
    def visit(
        cls,
        ledger: str | PathLike[str],
        *,
        settings: Any = None,
        when_busy: Busy = "queue",
        max_reassignments: int = 2,
        gates: Sequence[Gate] = (),
        callback: str | None = None,
        inference: Literal["exact", "ranked"] | None = None,
        min_confidence: float | None = None,
        below_confidence: str | None = None,
        ranking_model: str | PathLike[str] | None = None,
        faster: int = 1,
        **timing: Unpack[Timing],
    ) -> Self:
        """Describe one that submits, looks and steers, while other processes do the work."""
        _check_named(callback)
        made = cls(
            ledger,
            settings=settings,
            when_busy=when_busy,
            max_reassignments=max_reassignments,
            gates=gates,
            callback=callback,
            inference=inference,
            min_confidence=min_confidence,
            below_confidence=below_confidence,
            ranking_model=ranking_model,
            faster=faster,
            **timing,
        )
        made._works = False
        return made

    def __repr__(self) -> str:
        """Name the ledger's place, without a password."""
        return f"Dispatcher({sub('://.*@', '://***@', self._place)!r})"

    @overload
    def local_agent(self, agent: _Agent, /) -> _Agent: ...
    @overload
    def local_agent(
        self,
        name: str = "timmy",
        /,
        *,
        idempotent: bool = False,
        deadline: float | None = None,
    ) -> Callable[[_Agent], _Agent]: ...
    def local_agent(self, name: Any = "timmy", /, **options: Any) -> Any:
        """Register the coroutine function that does a local agent's work; a decorator.

        It is given an `Assignment`. What it returns is the result, in values that JSON can hold;
        an exception is a failed attempt, and an OSError (a connection, a timeout) one that may
        pass. It is cancelled when its dispatch is called off.

        Args:
            name: An agent of ``AGENT_REGISTRY`` whose interface is ``local``.
            idempotent: Whether it may be run again after its process was lost; else the attempt
                has failed then.
            deadline: How long it has for a task, in seconds.

        Raises:
            ValueError: There is one of that name already.
            DispatcherError: The dispatcher is open already, or a visitor.
        """
        if callable(name):
            return self.local_agent("timmy")(name)
        agent = str(name)

        def register(function: _Agent) -> _Agent:
            self._register(self._local_agents, "local agent", agent, function)
            if options:
                known = self._agents.get(agent, AgentOptions())
                self._agents[agent] = replace(known, **options)
            return function

        return register

    def gate(self, name: str) -> Callable[[_Gate], _Gate]:
        """Register the coroutine function that is asked as the gate of that name; a decorator.

        It is given a `Question` and returns True, False, the reason why it does not hold, or a
        `Verdict`. An exception counts as pending: it is asked again later. What takes longer than
        10 seconds goes on, and counts as pending until it is done.

        Raises:
            ValueError: A name that is taken or means something else.
            DispatcherError: The dispatcher is open already, or a visitor.
        """
        _config.check_gate_name(name)
        return self._registering(self._gates, "gate", name)

    def callback(self, name: str) -> Callable[[_Callback], _Callback]:
        """Register the function that tells an owner that a person is asked; a decorator.

        It is for dispatches whose *callback* is this name, and is given an `Escalation`. A
        coroutine function runs on the loop, any other in a thread. After an exception it is called
        again later; also where it is not known whether it came to its end, as after its process
        was killed. What takes longer than 10 seconds goes on, and is not begun anew meanwhile.

        Raises:
            ValueError: A name that is taken, or a URL.
            DispatcherError: The dispatcher is open already, or a visitor.
        """
        _config.check_callback_name(name)
        return self._registering(self._callbacks, "callback", name)

    def _registering(
        self, known: dict[str, Any], what: str, name: str
    ) -> Callable[[_Function], _Function]:
        def register(function: _Function) -> _Function:
            self._register(known, what, name, function)
            return function

        return register

    def _register(self, known: dict[str, Any], what: str, name: str, function: Any) -> None:
        if not callable(function):
            kind = "function" if what == "callback" else "coroutine function"
            raise TypeError(f"a {what} is a {kind}, not {function!r}")
        if not self._works:
            raise DispatcherError(f"a visitor does no work; register the {what} where it is done")
        if self._opened:
            raise DispatcherError(f"register the {what} {name!r} before the dispatcher is opened")
        if name in known:
            raise ValueError(f"there is a {what} {name!r} already")
        known[name] = function

    async def __aenter__(self) -> Self:
        """Open the ledger, and work unless it is a visitor.

        Raises:
            LedgerError: The ledger cannot be opened.
            Refused: A setting or an agent cannot work.
            DispatcherError: It is open already, or webhooks cannot be received.
        """
        if self._opened:
            raise DispatcherError("a dispatcher is opened once; make another one")
        self._check_local_agents()
        self._opened = True
        try:
            self._calls = calls = Calls()
            self._core = await _core.DurableDispatcher.open(
                self._described(),
                self._works,
                [(name, calls.agent(name, own)) for name, own in self._local_agents.items()],
                [(name, calls.gate(name, own)) for name, own in self._gates.items()],
                [(name, calls.callback(name, own)) for name, own in self._callbacks.items()],
            )
        except BaseException:
            self._opened = False
            raise
        return self

    def _check_local_agents(self) -> None:
        for name in self._local_agents:
            spec = dispatching.AGENT_REGISTRY.get(name)  # type: ignore[call-overload]
            if spec is None:
                known = ", ".join(map(str, dispatching.AGENT_REGISTRY))
                raise Refused(f"unknown agent {name!r}; known are {known}")
            if spec.interface != "local":
                raise Refused(f"{name} is reached by {spec.interface}; it cannot be a local agent")

    def _described(self) -> str:
        return _config.config(
            self._place,
            self._settings,
            self._ranking,
            self._agents,
            self._policy,
            self._timing,
            self._faster,
        )

    @property
    def _open(self) -> _core.DurableDispatcher:
        if self._core is None:
            raise DispatcherError("the dispatcher is not open: async with dispatcher")
        return self._core

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it."""
        if isinstance(error, GeneratorExit):
            # The coroutine is thrown away and cannot await; the core leaves when nobody has it.
            self._core = None
        else:
            await self.close()

    async def close(self, timeout: float = CLOSE_TIMEOUT) -> None:  # noqa: ASYNC109
        """Claim nothing more, wait for what is on its way, and leave.

        After *timeout* seconds what is still on its way is left for others to look after, and own
        agents that still run are cancelled. Doing it twice does no harm.
        """
        if self._core is None or self._calls is None:
            return
        end = asyncio.get_running_loop().time() + timeout
        await self._core.close(timeout)
        # What was cancelled gets a moment even where none is left.
        await self._calls.end(max(end - asyncio.get_running_loop().time(), 1))

    @property
    def received_at(self) -> str | None:
        """Where webhooks and callbacks are received, ``host:port``, if anywhere."""
        return self._open.received_at()

    def plan(
        self,
        task: Task,
        *,
        when_busy: Busy | None = None,
        gates: Sequence[Gate] | None = None,
        route: Sequence[str] = (),
        max_reassignments: int | None = None,
        repo: str | None = None,
        callback: str | None = None,
    ) -> Plan:
        """Say what would become of a task; touches neither ledger nor network, open or not.

        Raises:
            Refused: The task is not taken; the text names what is missing.
        """
        wishes = _wishes(
            when_busy=when_busy,
            gates=gates,
            route=route,
            max_reassignments=max_reassignments,
            repo=repo,
            callback=callback,
        )
        return reading.plan(_core.plan(self._described(), _config.submission(task, wishes)))

    async def examine(self) -> tuple[Finding, ...]:
        """Look at all that it needs, open or not, and say what is wrong and what to do about it.

        The settings, the server, the token and its scopes, the repository, labels, accounts,
        endpoints, the webhook, the ledger and its workers. Nothing is changed or made. The agents
        are those that are in force in the ledger, and this dispatcher's where it has none yet.
        """
        return await _doctor.examine(self._described())

    async def submit(
        self,
        task: Task,
        *,
        idempotency_key: str | None = None,
        priority: int = 0,
        when_busy: Busy | None = None,
        gates: Sequence[Gate] | None = None,
        route: Sequence[str] = (),
        max_reassignments: int | None = None,
        repo: str | None = None,
        callback: str | None = None,
    ) -> Dispatch:
        """Keep a task; when this returns, it is on the disk.

        A task about an issue that is open here already is that dispatch.

        Args:
            task: The task.
            idempotency_key: Submitted again under it, it is the same dispatch, also after its end.
            priority: Higher goes first.
            when_busy: As for the dispatcher, like the rest; what is omitted is the dispatcher's.
            gates: What must hold before it counts as done.
            route: The agents in the order in which they are tried, instead of the routes.
            max_reassignments: How often it may go to a next agent.
            repo: Another repository than that of the settings, ``owner/name``.
            callback: Who is told when a person is asked: a URL, or the name of a function that the
                process that does the work has registered by `callback`.

        Raises:
            Refused: The task is not taken; the text names what is missing.
            OtherTask: The key belongs to another task.
        """
        wishes = _wishes(
            idempotency_key=idempotency_key,
            priority=priority,
            when_busy=when_busy,
            gates=gates,
            route=route,
            max_reassignments=max_reassignments,
            repo=repo,
            callback=callback,
        )
        id, new = await self._open.submit(_config.submission(task, wishes))
        return Dispatch(self, UUID(id), new)

    async def dispatch(self, id: Id) -> Dispatch:
        """Return one that was submitted before. Unknown where it is not there."""
        return Dispatch(self, (await self.get(id)).id, new=False)

    async def wait(self, id: Id, timeout: float | None = None) -> Outcome:  # noqa: ASYNC109
        """Wait until a dispatch has ended; TimeoutError after *timeout* seconds."""
        waiting = self._open.wait(_id(id))
        async with asyncio.timeout(timeout):
            return reading.outcome(await waiting)

    async def get(self, id: Id) -> Record:
        """Return where a dispatch stands. Unknown where it is not there."""
        return reading.record(await self._open.get(_id(id)))

    async def story(self, id: Id) -> Story:
        """Return all that is known of a dispatch. Unknown where it is not there."""
        return reading.story(await self._open.story(_id(id)))

    async def list(self, *, finished: bool = False, limit: int = 100) -> tuple[Record, ...]:
        """Return the newest dispatches first, unfinished ones only or all.

        ValueError for a negative limit.
        """
        return reading.records(await self._open.list(finished, _limit(limit)))

    async def cancel(self, id: Id) -> Record:
        """Call a dispatch off; what was handed out is taken back first. NotNow if it has ended."""
        return reading.record(await self._open.steer(_id(id), "cancel", ""))

    async def retry(self, id: Id) -> Record:
        """Have what ended tried again, from the first agent of its route on. NotNow before."""
        return reading.record(await self._open.steer(_id(id), "retry", ""))

    async def retype(self, id: Id, task_type: TaskType) -> Record:
        """Give what is not handed out another type and so another route, and release it.

        NotNow where it is handed out or has ended, Refused where that cannot be.
        """
        return reading.record(await self._open.retype(_id(id), str(task_type)))

    async def hold(self, id: Id, reason: str) -> Record:
        """Stop everything about a dispatch until it is released. NotNow if it has ended."""
        return reading.record(await self._open.steer(_id(id), "hold", reason))

    async def release(self, id: Id) -> Record:
        """Let a dispatch that is held go on. NotNow if it is not."""
        return reading.record(await self._open.steer(_id(id), "release", ""))

    async def pause(self, agent: str | None = None) -> None:
        """Give an agent, or all of them, no more tasks; in every process. ValueError if unknown."""
        await self._open.pause(agent and str(agent), True)

    async def resume(self, agent: str | None = None) -> None:
        """Give an agent, or all of them, tasks again."""
        await self._open.pause(agent and str(agent), False)

    async def outbox(self, limit: int = 100) -> tuple[Effect, ...]:
        """Return the effects that are not settled, the oldest first.

        ValueError for a negative limit.
        """
        return reading.effects(await self._open.outbox(_limit(limit)))

    async def hasten(self, effect: UUID | str) -> bool:
        """Have an effect that waits tried at once; False if it does not wait."""
        done: bool = await self._open.hasten(str(effect))
        return done

    async def abandon(self, effect: UUID | str) -> bool:
        """Give an effect up; False if it is on its way this moment, or settled."""
        done: bool = await self._open.abandon(str(effect))
        return done

    async def restored(self) -> dict[UUID, str | None]:
        """Look up what is open in a ledger that was restored from an older copy.

        To be done once, before anybody works on it: fences rise above all that may be in use, and
        what was handed over since the copy was made, or cannot be looked up on Gitea, stays held
        until it is released or cancelled; the rest goes on.

        Returns:
            Each dispatch that was open, with why it stays held, or None where it goes on.
        """
        found: list[tuple[str, str | None]] = await self._open.restored()
        return {UUID(id_): held for id_, held in found}

    async def relocate(self, old: str, new: str) -> int:
        """Go on in a repository that has another name; return with how many dispatches."""
        moved: int = await self._open.relocate(old, new)
        return moved

    async def events(self, after: int | None = 0) -> AsyncIterator[Event]:
        """Yield what happened, from behind that number on, and then what happens.

        With None only what happens from now on.

        It ends when the dispatcher is closed.
        """
        opened = self._open
        if after is None:
            after = await opened.last_event()
        while entries := reading.events(await opened.events(after, _EVENTS)):
            for entry in entries:
                yield entry
                after = entry.seq
