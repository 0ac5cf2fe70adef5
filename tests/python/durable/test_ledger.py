"""Submitting, looking and steering, by a worker and by a visitor."""

import asyncio
from datetime import UTC, datetime, timedelta
from uuid import UUID, uuid4

import pytest
from timmy.dispatcher import DispatchStatus, TaskType
from timmy.dispatcher.durable import (
    Dispatch,
    Dispatcher,
    DispatcherError,
    LedgerError,
    NotNow,
    OtherTask,
    Phase,
    Refused,
    Task,
    Unknown,
)

from durable.world import NOWHERE, PACE, eventually, until

#: No process does Timmy's work in these tests, so it waits.
TASK = Task("Triage it", "All of it.", ["It is sorted"], max_retries=3)


async def test_a_submission_is_kept_and_its_record_says_all_of_it(alone):
    before = datetime.now(UTC) - timedelta(seconds=1)
    async with alone(gates=["sorted"]) as dispatcher:
        dispatch = await dispatcher.submit(TASK, priority=7, idempotency_key="key")
        assert dispatch.new
        assert isinstance(dispatch.id, UUID)
        record = await dispatch.get()
    assert record.id == dispatch.id
    assert (record.status, record.phase) == (DispatchStatus.PENDING, Phase.QUEUED)
    assert "no running process handles timmy" in record.reason
    assert (record.agent, record.route, record.fence) == ("timmy", ("timmy",), 0)
    assert record.task == Task(
        "Triage it", "All of it.", ("It is sorted",), TaskType.TRIAGE, max_retries=3
    )
    assert (record.repo, record.gates) == ("timmy/swarm", ("sorted",))
    assert (record.priority, record.idempotency_key, record.reassignments) == (7, "key", 0)
    assert before < record.created_at < datetime.now(UTC) + timedelta(seconds=1)
    assert (record.due_at, record.finished_at) == (None, None)
    assert not record.finished
    assert not record.success


async def test_a_second_submission_under_a_key_is_the_first(alone):
    async with alone() as dispatcher:
        first = await dispatcher.submit(TASK, idempotency_key="key")
        again = await dispatcher.submit(TASK, idempotency_key="key")
        assert (again.id, again.new) == (first.id, False)
        with pytest.raises(OtherTask, match='the idempotency key "key"') as refused:
            await dispatcher.submit(Task("Triage more"), idempotency_key="key")
        assert isinstance(refused.value, ValueError)
        with pytest.raises(Refused, match="`idempotency_key` is empty"):
            await dispatcher.submit(TASK, idempotency_key="")
        assert (await dispatcher.submit(TASK)).new
        same = await dispatcher.dispatch(str(first.id))
        assert (same.id, same.new) == (first.id, False)
        assert str(first.id) in repr(same)


async def test_many_at_once_are_kept_once_each(alone):
    async with alone() as dispatcher:
        dispatches = await asyncio.gather(
            *(dispatcher.submit(TASK, idempotency_key=str(number % 50)) for number in range(200))
        )
        assert len({dispatch.id for dispatch in dispatches}) == 50
        assert sum(dispatch.new for dispatch in dispatches) == 50
        listed = await dispatcher.list()
        assert {record.id for record in listed} == {dispatch.id for dispatch in dispatches}
        assert len(await dispatcher.list(limit=3)) == 3


async def test_what_cannot_be_text_is_kept_as_what_can(alone):
    async with alone() as dispatcher:
        dispatch = await dispatcher.submit(Task("Triage \ud800 it", "\0 \N{PILE OF POO}"))
        task = (await dispatch.get()).task
        assert (task.title, task.description) == ("Triage \ufffd it", "\ufffd \N{PILE OF POO}")


async def test_steering(alone):
    async with alone() as dispatcher:
        dispatch = await dispatcher.submit(TASK)
        with pytest.raises(NotNow, match="not held"):
            await dispatcher.release(dispatch)
        with pytest.raises(NotNow, match="only what has ended"):
            await dispatcher.retry(dispatch)
        held = await dispatcher.hold(dispatch, "wait for the \ud800 owner")
        assert (held.phase, held.reason) == (Phase.HELD, "wait for the \ufffd owner")
        assert (await dispatcher.release(dispatch)).phase == Phase.QUEUED
        cancelled = await dispatch.cancel()
        assert (cancelled.status, cancelled.phase) == (DispatchStatus.FAILED, Phase.CANCELLED)
        assert cancelled.finished_at is not None
        assert cancelled.finished_at.tzinfo is UTC
        with pytest.raises(NotNow, match="is cancelled"):
            await dispatch.cancel()
        outcome = await dispatch
        assert (outcome.phase, outcome.attempts, outcome.result) == (Phase.CANCELLED, (), None)
        assert await dispatcher.list() == ()
        assert [record.id for record in await dispatcher.list(finished=True)] == [dispatch.id]
        assert (await dispatcher.retry(dispatch.id)).phase == Phase.QUEUED


async def test_another_type_is_another_route(alone):
    async with alone() as dispatcher:
        dispatch = await dispatcher.submit(Task("Triage it", issue_number=3))
        await dispatcher.hold(dispatch, "a person knows better")
        record = await dispatcher.retype(dispatch, TaskType.PLANNING)
        assert (record.phase, record.task.task_type) == (Phase.QUEUED, TaskType.PLANNING)
        with pytest.raises(Refused, match="unknown task type"):
            await dispatcher.retype(dispatch, "plannning")
        await dispatch.cancel()
        with pytest.raises(NotNow, match="not handed out"):
            await dispatcher.retype(dispatch, TaskType.TRIAGE)


async def test_what_is_not_there_is_unknown(alone):
    async with alone() as dispatcher:
        for ask in (dispatcher.get, dispatcher.story, dispatcher.cancel, dispatcher.wait):
            with pytest.raises(Unknown) as unknown:
                await ask(uuid4())
            assert isinstance(unknown.value, LookupError)
        for ask in (dispatcher.hasten, dispatcher.abandon):
            with pytest.raises(Unknown):
                await ask(uuid4())
        with pytest.raises(ValueError, match="no id"):
            await dispatcher.get("seven")


async def test_pausing(alone):
    dispatcher = alone()

    @dispatcher.local_agent
    async def work(assignment):
        return "done"

    async with dispatcher:
        await dispatcher.pause("timmy")
        dispatch = await dispatcher.submit(TASK)
        assert (await dispatch.get()).reason == "timmy is paused"
        await dispatcher.pause()
        assert (await dispatch.get()).reason == "everything is paused"
        await dispatcher.resume()
        await dispatcher.resume("timmy")
        assert (await dispatch.wait()).result == "done"
        with pytest.raises(Refused, match="unknown agent"):
            await dispatcher.pause("eve")


async def test_waiting_has_a_limit_that_changes_nothing(alone):
    async with alone() as dispatcher:
        dispatch = await dispatcher.submit(TASK)
        with pytest.raises(TimeoutError):
            await dispatch.wait(timeout=0.05)
        assert (await dispatch.get()).phase == Phase.QUEUED


async def test_events_are_read_from_the_start_and_then_as_they_come(alone):
    async with alone() as dispatcher:
        first = await dispatcher.submit(TASK)
        seen = []

        async def follow():
            async for event in dispatcher.events():
                seen.append(event)

        following = asyncio.create_task(follow())
        second = await dispatcher.submit(TASK)
        await second.cancel()

        async def known():
            return [(event.dispatch, event.kind) for event in seen]

        expected = [(first.id, "submitted"), (second.id, "submitted"), (second.id, "cancel")]
        await eventually(known, lambda events: len(events) == len(expected))
        assert await known() == expected
        assert [event.seq for event in seen] == sorted(event.seq for event in seen)
        assert seen[-1].body["phase"] == "cancelled"
        assert seen[-1].at.tzinfo is UTC
        story = await second.story()
        assert story.events == tuple(seen[1:])
        assert (story.record.id, story.attempts, story.effects) == (second.id, (), ())
        later = dispatcher.events(after=seen[1].seq)
        assert await anext(later) == seen[2]
        await later.aclose()
    await following


async def test_a_visitor_submits_while_others_work(alone, ledger):
    # Before there was any worker at all.
    visitor = Dispatcher.visit(ledger, settings=NOWHERE, **PACE)
    with pytest.raises(DispatcherError, match="does no work"):
        visitor.local_agent(until)
    async with visitor:
        early = await visitor.submit(TASK)
        assert "no" in (await early.get()).reason
        worker = alone()

        @worker.local_agent
        async def work(assignment):
            return str(assignment.id)

        async with worker:
            late = await visitor.submit(TASK)
            for dispatch in (early, late):
                outcome = await dispatch.wait(timeout=60)
                assert (outcome.success, outcome.result) == (True, str(dispatch.id))


async def test_a_moved_repository_is_gone_on_with(alone):
    settings = type(NOWHERE)(**vars(NOWHERE))
    async with alone(settings=settings) as dispatcher:
        dispatch = await dispatcher.submit(Task("Triage it", issue_number=4))
        await dispatcher.hold(dispatch, "the repo moved")
        assert await dispatcher.relocate("timmy/swarm", "timmy/hive") == 1
        record = await dispatch.get()
        assert (record.repo, record.phase) == ("timmy/hive", Phase.QUEUED)
        with pytest.raises(Refused, match="owner/name"):
            await dispatcher.relocate("timmy/hive", "hive")


async def test_it_is_open_once_and_says_so(alone, ledger):
    dispatcher = alone()
    for ask in (dispatcher.list(), dispatcher.submit(TASK)):
        with pytest.raises(DispatcherError, match="not open"):
            await ask
    await dispatcher.close()  # of what was never opened
    async with dispatcher:
        with pytest.raises(DispatcherError, match="opened once"):
            await dispatcher.__aenter__()
        for register in (dispatcher.local_agent, dispatcher.gate("sorted")):
            with pytest.raises(DispatcherError, match="before the dispatcher is opened"):
                register(until)
        await dispatcher.close()
        with pytest.raises(DispatcherError, match="closed"):
            await dispatcher.list()
        assert [event async for event in dispatcher.events()] == []


async def test_a_failed_opening_can_be_repaired(alone, ledger):
    ledger.write_bytes(b"no database, but longer than the header of one" * 9)
    dispatcher = alone()
    with pytest.raises(LedgerError, match="a place of its own"):
        await dispatcher.__aenter__()
    ledger.unlink()
    async with dispatcher:
        assert await dispatcher.list() == ()
    with pytest.raises(LedgerError):
        await Dispatcher(ledger.parent / "nowhere" / "a.db", settings=NOWHERE).__aenter__()


async def test_an_exception_leaves_it_in_order(alone):
    dispatcher = alone()
    with pytest.raises(ZeroDivisionError):
        async with dispatcher:
            dispatch = await dispatcher.submit(TASK)
            raise ZeroDivisionError
    async with alone() as dispatcher:
        again = await dispatcher.dispatch(dispatch)
        assert isinstance(again, Dispatch)
        assert (await again.get()).phase == Phase.QUEUED


async def test_two_in_one_process_share_a_ledger(alone):
    async with alone() as one, alone() as other:
        dispatch = await one.submit(TASK)
        assert (await other.get(dispatch)).id == dispatch.id
        waiting = asyncio.create_task(other.wait(dispatch.id))
        await one.cancel(dispatch)
        assert (await waiting).phase == Phase.CANCELLED


async def test_a_limit_is_not_negative(alone):
    async with alone() as dispatcher:
        for read in (dispatcher.list, dispatcher.outbox):
            assert await read(limit=0) == ()
            with pytest.raises(ValueError, match="limit is -1"):
                await read(limit=-1)
