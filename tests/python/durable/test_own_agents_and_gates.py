"""A program's own local agents and gates run on the loop that opened the dispatcher."""

import asyncio
import contextvars
import logging
import threading
from dataclasses import replace

import pytest
from timmy.dispatcher import DispatchStatus, TaskType
from timmy.dispatcher.durable import (
    Assignment,
    Dispatcher,
    Escalation,
    Phase,
    Question,
    Task,
    Verdict,
)

from durable.world import NOWHERE, eventually, until

TASK = Task("Triage it", acceptance_criteria=["sorted"], max_retries=0)


def working(dispatcher, result="done"):
    """Gives a dispatcher a Timmy that is done at once."""

    @dispatcher.local_agent
    async def work(assignment):
        return result

    return dispatcher


async def outcome_of(dispatcher, task=TASK, **wishes):
    async with dispatcher:
        return await (await dispatcher.submit(task, **wishes)).wait(timeout=60)


async def test_what_it_returns_is_the_result(alone):
    dispatcher = alone()
    given = []
    here = contextvars.ContextVar("here", default="nowhere")

    @dispatcher.local_agent("timmy", idempotent=True, deadline=60)
    async def work(assignment):
        given.append((assignment, here.get(), threading.get_ident()))
        here.set("changed by a call")
        await asyncio.sleep(0)
        return {"sorted": [1, None, "\ud800"]}

    here.set("where it was opened")
    async with dispatcher:
        here.set("elsewhere")
        dispatch = await dispatcher.submit(TASK)
        outcome = await dispatch.wait(timeout=60)
        await (await dispatcher.submit(TASK)).wait(timeout=60)
    assert (outcome.status, outcome.phase) == (DispatchStatus.COMPLETED, Phase.COMPLETED)
    assert outcome.success
    assert outcome.finished
    assert outcome.result == {"sorted": [1, None, "\ufffd"]}
    [attempt] = outcome.attempts
    assert (attempt.fence, attempt.agent, attempt.outcome) == (1, "timmy", "complete")
    assert attempt.started_at <= attempt.ended_at
    task = Task("Triage it", "", ("sorted",), TaskType.TRIAGE, max_retries=0)
    first = Assignment(id=dispatch.id, fence=1, agent="timmy", task=task, repo="timmy/swarm")
    assert given[0] == (first, "where it was opened", threading.get_ident())
    # Each call has a context of its own.
    assert given[1][1] == "where it was opened"


@pytest.mark.parametrize(
    ("work", "why"),
    [
        ("raise ValueError(TOKEN)", "ValueError: ***"),
        ("raise KeyError", "KeyError"),
        ("return object()", "TypeError: Object of type object is not JSON serializable"),
        ("return float('nan')", "ValueError: Out of range float values"),
        ("raise asyncio.CancelledError", "CancelledError"),
        (
            "asyncio.current_task().uncancel(); await asyncio.wait_for(asyncio.sleep(9), 0.01)",
            "TimeoutError",
        ),
    ],
)
async def test_an_exception_is_a_failed_attempt(alone, caplog, work, why):
    dispatcher = alone()
    namespace = {"asyncio": asyncio, "TOKEN": NOWHERE.gitea_token}
    exec(f"async def work(assignment):\n    {work}", namespace)
    dispatcher.local_agent(namespace["work"])
    with caplog.at_level(logging.ERROR, "timmy.dispatcher"):
        outcome = await outcome_of(dispatcher)
    assert (outcome.status, outcome.phase) == (DispatchStatus.ESCALATED, Phase.ESCALATED)
    assert outcome.reason.startswith(why)
    assert outcome.attempts[0].reason.startswith(why)
    assert outcome.result is None
    [record] = [record for record in caplog.records if record.exc_info]
    assert record.exc_info[2].tb_next is not None or "JSON" in why or "range" in why


async def test_what_is_no_coroutine_function_fails_the_attempt(alone, caplog):
    dispatcher = alone()
    dispatcher.local_agent(lambda assignment: 7)
    outcome = await outcome_of(dispatcher)
    assert outcome.reason.startswith("TypeError: ")
    assert caplog.records[-1].exc_info


async def test_what_may_pass_is_tried_again_by_the_same_agent(alone):
    dispatcher = alone()
    fences = []

    @dispatcher.local_agent
    async def work(assignment):
        fences.append(assignment.fence)
        if assignment.fence == 1:
            raise ConnectionResetError("the line is dead")
        return "done"

    outcome = await outcome_of(dispatcher, Task("Triage it", max_retries=1))
    assert fences == [1, 2]
    assert outcome.result == "done"
    assert outcome.attempts[0].reason == "ConnectionResetError: the line is dead"


async def test_called_off_it_is_cancelled(alone):
    dispatcher = alone()
    began, ended = asyncio.Event(), asyncio.Event()

    @dispatcher.local_agent
    async def work(assignment):
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with dispatcher:
        dispatch = await dispatcher.submit(TASK)
        await began.wait()
        assert (await until(dispatch, Phase.WORKING)).status == DispatchStatus.IN_PROGRESS
        await dispatch.cancel()
        await asyncio.wait_for(ended.wait(), 60)
        outcome = await dispatch.wait(timeout=60)
        assert outcome.phase == Phase.CANCELLED


async def test_what_still_runs_at_the_end_is_cancelled_and_lost(alone):
    dispatcher = alone()
    began = asyncio.Event()
    ended = []

    @dispatcher.local_agent
    async def work(assignment):
        began.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            await asyncio.sleep(0.01)
            ended.append(assignment.id)
            raise

    async with dispatcher:
        dispatch = await dispatcher.submit(TASK)
        await began.wait()
        await until(dispatch, Phase.WORKING)
        await dispatcher.close(timeout=0)
    assert ended == [dispatch.id]
    # Whoever comes next finds it, and does not do it again.
    async with working(alone()) as dispatcher:
        outcome = await dispatcher.wait(dispatch, timeout=60)
    assert outcome.phase == Phase.WORKER_LOST
    assert outcome.fence == 1


async def test_left_at_any_moment_no_call_is_lost(alone):
    for pause in range(0, 60, 3):
        async with working(alone()) as dispatcher:
            dispatch = await dispatcher.submit(TASK)
            await asyncio.sleep(pause / 1000)
        async with alone() as dispatcher:
            assert (await dispatcher.get(dispatch)).phase in {Phase.QUEUED, Phase.COMPLETED}


async def test_what_is_on_its_way_is_brought_to_its_end_at_the_end(alone):
    dispatcher = alone()
    began, go_on = asyncio.Event(), asyncio.Event()

    @dispatcher.local_agent
    async def work(assignment):
        began.set()
        await go_on.wait()
        return "in time"

    async with dispatcher:
        dispatch = await dispatcher.submit(TASK)
        await began.wait()
        asyncio.get_running_loop().call_later(0.1, go_on.set)
    async with alone() as dispatcher:
        assert (await dispatcher.wait(dispatch, timeout=60)).result == "in time"


@pytest.mark.parametrize(
    ("said", "phase", "reason"),
    [
        ("True", Phase.COMPLETED, "done"),
        ("Verdict('pass', evidence={'tests': 7})", Phase.COMPLETED, "done"),
        ("False", Phase.ESCALATED, "sorted says no"),
        ("'it is a mess'", Phase.ESCALATED, "it is a mess"),
        ("''", Phase.ESCALATED, "sorted says no"),
        ("Verdict('fail', TOKEN)", Phase.ESCALATED, "***"),
    ],
)
async def test_a_gate_decides(alone, said, phase, reason):
    dispatcher = working(alone(gates=["sorted"]))
    asked = []
    namespace = {"asked": asked, "Verdict": Verdict, "TOKEN": NOWHERE.gitea_token}
    exec(f"async def ask(question):\n    asked.append(question)\n    return {said}", namespace)
    dispatcher.gate("sorted")(namespace["ask"])
    submitted = Task("Triage it", max_retries=5)
    outcome = await outcome_of(dispatcher, submitted, max_reassignments=0)
    assert outcome.phase == phase
    assert reason in outcome.reason
    [question] = asked
    task = replace(submitted, task_type=TaskType.TRIAGE)
    assert question == Question(
        id=outcome.id, fence=1, agent="timmy", task=task, repo="timmy/swarm"
    )


async def test_a_gate_is_asked_until_it_decides(alone, caplog):
    dispatcher = working(alone(review_poll=0.01))
    answers = iter([Verdict("pending", "the tests run"), ZeroDivisionError("oops"), 7, True])

    @dispatcher.gate("sorted")
    async def ask(question):
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async with dispatcher:
        dispatch = await dispatcher.submit(TASK, gates=["sorted"])
        assert (await dispatch.wait(timeout=60)).success
        assert next(answers, None) is None
        story = await dispatch.story()
    assert "ZeroDivisionError: oops" in str(story.events)
    kinds = [record.exc_info[0] for record in caplog.records if record.exc_info]
    assert kinds == [ZeroDivisionError, TypeError]


async def test_a_gate_that_nobody_has_keeps_it_in_review(alone):
    async with working(alone()) as dispatcher:
        dispatch = await dispatcher.submit(TASK, gates=["nobody's"])
        await until(dispatch, Phase.REVIEWING)

        async def told():
            return str((await dispatch.story()).events)

        await eventually(told, lambda events: "nobody's" in events)


async def test_many_calls_at_once(alone, monkeypatch):
    from timmy import dispatcher as dispatching

    spec = dispatching.AGENT_REGISTRY[dispatching.AgentType.TIMMY]
    monkeypatch.setattr(spec, "max_concurrent", 100)
    dispatcher = alone()

    @dispatcher.local_agent
    async def work(assignment):
        await asyncio.sleep(0)
        return assignment.task.title

    async with dispatcher:
        dispatches = [await dispatcher.submit(Task(f"Triage {n}")) for n in range(100)]
        outcomes = await asyncio.gather(*(dispatch.wait(timeout=60) for dispatch in dispatches))
    assert [outcome.result for outcome in outcomes] == [f"Triage {n}" for n in range(100)]


def escalating(dispatcher):
    """Gives a dispatcher a Timmy that cannot do it."""

    @dispatcher.local_agent
    async def work(assignment):
        raise ValueError("I cannot")

    return dispatcher


async def all_is_settled(dispatcher):
    await eventually(dispatcher.outbox, lambda effects: effects == ())


async def told_of(dispatcher, told, **wishes):
    """The escalation that an owner is told of, and its outcome."""
    async with dispatcher:
        dispatch = await dispatcher.submit(TASK, **wishes)
        outcome = await dispatch.wait(timeout=60)
        await all_is_settled(dispatcher)
    assert outcome.phase == Phase.ESCALATED
    return told, outcome


@pytest.mark.parametrize("kind", ["coroutine function", "function", "object"])
@pytest.mark.parametrize("given", ["directly", "by its name", "with the task"])
async def test_an_owner_is_told_by_a_function(alone, kind, given):
    told = []

    def tell(escalation):
        told.append((escalation, threading.get_ident()))

    async def tell_on_the_loop(escalation):
        await asyncio.sleep(0)
        tell(escalation)

    class Telling:
        async def __call__(self, escalation):
            await tell_on_the_loop(escalation)

    function = {
        "coroutine function": tell_on_the_loop,
        "function": tell,
        "object": Telling(),
    }[kind]
    wishes = {}
    if given == "directly":
        dispatcher = alone(callback=function)
    else:
        if given == "with the task":
            dispatcher = alone()
            wishes = {"callback": "on call"}
        else:
            dispatcher = alone(callback="on call")
        assert dispatcher.callback("on call")(function) is function
    _, outcome = await told_of(escalating(dispatcher), told, **wishes)
    [(escalation, thread)] = told
    assert isinstance(escalation, Escalation)
    assert (escalation.id, escalation.fence) == (outcome.id, 1)
    assert (escalation.reason, outcome.reason) == ("ValueError: I cannot",) * 2
    assert escalation.task == replace(TASK, acceptance_criteria=("sorted",), task_type="triage")
    assert escalation.repo == "timmy/swarm"
    [attempt] = escalation.attempts
    assert (attempt.agent, attempt.outcome) == ("timmy", "escalate")
    # A function that may block does not block the loop.
    assert (thread == threading.get_ident()) == (kind != "function")


async def test_an_owner_who_cannot_be_told_is_told_later(alone, caplog):
    told = []

    def tell(escalation):
        told.append(escalation)
        if len(told) < 3:
            raise OSError(f"no line {NOWHERE.gitea_token}")

    dispatcher = escalating(alone(callback=tell))
    async with dispatcher:
        dispatch = await dispatcher.submit(TASK)
        await dispatch.wait(timeout=60)
        record = await eventually(dispatch.get, lambda record: "no line" in record.reason)
        assert record.reason.startswith("ValueError: I cannot; the callback waits until ")
        assert record.reason.endswith("OSError: no line ***")
        await all_is_settled(dispatcher)
        assert (await dispatch.get()).reason == "ValueError: I cannot"
    assert len(told) == 3
    assert "the callback owner failed for dispatch" in caplog.text


async def test_what_cannot_be_a_callback(alone):
    for name in ("", " ", "https://owner.example/"):
        with pytest.raises(ValueError, match="cannot be called"):
            alone().callback(name)
    for nothing in (7, object()):
        with pytest.raises(TypeError, match="a URL, a name or a function"):
            alone(callback=nothing)
    dispatcher = alone(callback=print)
    with pytest.raises(ValueError, match="a callback 'owner' already"):
        dispatcher.callback("owner")(print)
    async with dispatcher:
        with pytest.raises(TypeError, match=r"under a name with Dispatcher\.callback"):
            await dispatcher.submit(TASK, callback=print)
    with pytest.raises(TypeError, match="give that name"):
        Dispatcher.visit("x.db", callback=print)
