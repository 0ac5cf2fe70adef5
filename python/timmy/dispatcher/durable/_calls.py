"""The calls of a program's own functions: tasks of the loop that opened the dispatcher."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import json
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import timmy.dispatcher as dispatching

from ._config import to_json
from ._reading import assignment, escalation, question
from ._values import Assignment, Escalation, Question, Verdict

LocalAgent = Callable[[Assignment], Awaitable[Any]]
GateFunction = Callable[[Question], Awaitable[bool | str | Verdict]]
CallbackFunction = Callable[[Escalation], Any]
_Answer = Callable[[str | None], None]
_Begin = Callable[[str, _Answer], asyncio.Task[None]]


def log(level: int, text: str) -> None:
    """Write a line of the core's to the log."""
    dispatching.logger.log(level, "%s", text)


class Calls:
    """Begins calls in the running loop, each in a copy of the context in which this was made."""

    def __init__(self) -> None:
        """Take the running loop and the current context."""
        self._loop = asyncio.get_running_loop()
        self._context = contextvars.copy_context()
        self._running: set[asyncio.Task[None]] = set()

    def agent(self, name: str, function: LocalAgent) -> _Begin:
        """Return what the core calls to have a local agent begin."""

        def begin(text: str, answer: _Answer) -> asyncio.Task[None]:
            return self._begin(name, _work(name, function, text, answer), answer)

        return begin

    def gate(self, name: str, function: GateFunction) -> _Begin:
        """Return what the core calls to have a gate asked."""

        def begin(text: str, answer: _Answer) -> asyncio.Task[None]:
            return self._begin(name, _judge(name, function, text, answer), answer)

        return begin

    def callback(self, name: str, function: CallbackFunction) -> _Begin:
        """Return what the core calls to have an owner told."""

        def begin(text: str, answer: _Answer) -> asyncio.Task[None]:
            return self._begin(name, _tell(name, function, text, answer), answer)

        return begin

    def _begin(
        self, name: str, call: Coroutine[Any, Any, None], answer: _Answer
    ) -> asyncio.Task[None]:
        task = self._loop.create_task(call, name=name, context=self._context.copy())

        def done(task: asyncio.Task[None]) -> None:
            self._running.discard(task)
            # Of a task that was cancelled nothing else would come: its traceback keeps the frames.
            answer(None)

        self._running.add(task)  # a loop holds its tasks weakly
        task.add_done_callback(done)
        return task

    async def end(self, limit: float) -> None:
        """Cancel what still runs, and wait for its end for so many seconds."""
        # Tasks of another loop are not touched from here; the core has called them off.
        if self._running and asyncio.get_running_loop() is self._loop:
            for task in self._running:
                task.cancel()
            await asyncio.wait(self._running, timeout=limit)


def _cancelled_from_outside() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _work(name: str, function: LocalAgent, text: str, answer: _Answer) -> None:
    given = assignment(json.loads(text), name)
    try:
        result = to_json({"result": await function(given)})
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _cancelled_from_outside():
            raise  # its dispatch was called off, or the loop ends: nobody is to be told
        dispatching.logger.exception("%s failed at %s of dispatch %s", name, given.fence, given.id)
        # As for dispatch_task: a connection that failed may not fail again.
        transient = isinstance(error, OSError)
        answer(to_json({"error": {"reason": _shown(error), "transient": transient}}))
    else:
        answer(result)


async def _judge(name: str, function: GateFunction, text: str, answer: _Answer) -> None:
    asked = question(json.loads(text))
    try:
        said = verdict(name, await function(asked))
        judged = to_json(
            {"verdict": said.verdict, "reason": said.reason, "evidence": said.evidence}
        )
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _cancelled_from_outside():
            raise
        dispatching.logger.exception("the gate %s failed for dispatch %s", name, asked.id)
        judged = to_json({"verdict": "pending", "reason": _shown(error), "evidence": None})
    answer(judged)


async def _tell(name: str, function: CallbackFunction, text: str, answer: _Answer) -> None:
    told = escalation(json.loads(text))
    try:
        if inspect.iscoroutinefunction(function):
            await function(told)
        else:
            # It may take its time: the loop goes on.
            came = await asyncio.to_thread(function, told)
            if inspect.isawaitable(came):
                await came
    except (Exception, asyncio.CancelledError) as error:
        if isinstance(error, asyncio.CancelledError) and _cancelled_from_outside():
            raise
        dispatching.logger.exception("the callback %s failed for dispatch %s", name, told.id)
        answer(_shown(error))
    else:
        answer("")


def verdict(name: str, said: bool | str | Verdict) -> Verdict:
    """Return what a gate's function said, as a verdict; TypeError for anything else."""
    match said:
        case Verdict():
            if said.verdict not in {"pass", "fail", "pending"}:
                raise ValueError(f"a verdict is pass, fail or pending, not {said.verdict!r}")
            return said
        case bool():
            return Verdict("pass") if said else Verdict("fail", f"{name} says no")
        case str():
            return Verdict("fail", said or f"{name} says no")
        case _:
            raise TypeError(f"a gate returns a bool, a str or a Verdict, not {type(said)}")


def _shown(error: BaseException) -> str:
    text = str(error)
    kind = type(error).__name__
    return f"{kind}: {text}" if text else kind
