"""Whatever is cancelled, at whatever point, ends at once and leaves nothing behind."""

import asyncio
import gc
import os
import random

import pytest
from timmy.dispatcher.durable import DispatcherError, Phase, Task

from durable.world import eventually, until

TASK = Task("Triage it")
SEED = int(os.environ.get("SEED") or random.SystemRandom().getrandbits(32))


@pytest.fixture
def draw():
    print(f"repeat with SEED={SEED}")
    return random.Random(SEED)


def owners(ledger):
    return [name for name in os.listdir(ledger.parent) if "-owner-" in name]


async def descriptors():
    gc.collect()
    return len(os.listdir("/proc/self/fd"))


async def cancelled(awaitable, pause):
    """Lets it begin, cancels it, and returns what it came to, if it was done before."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(pause % 3):
        await asyncio.sleep(0)
    await asyncio.sleep(pause / 1_000_000)
    task.cancel()
    [result] = await asyncio.gather(task, return_exceptions=True)
    if isinstance(result, Exception):
        raise result
    return None if isinstance(result, asyncio.CancelledError) else result


async def test_a_submission_is_kept_whole_or_not_at_all(alone, draw):
    async with alone() as dispatcher:
        for number in range(100):
            key = str(number)
            submitting = dispatcher.submit(TASK, idempotency_key=key)
            sure = await cancelled(submitting, draw.randrange(4000))
            again = await dispatcher.submit(TASK, idempotency_key=key)
            assert sure is None or sure.id == again.id
        listed = await dispatcher.list(limit=1000)
        assert len({record.idempotency_key for record in listed}) == len(listed) == 100


async def test_waiting(alone, draw):
    async with alone() as dispatcher:
        dispatch = await dispatcher.submit(TASK)
        before = await descriptors()
        for _ in range(100):
            assert await cancelled(dispatch.wait(), draw.randrange(4000)) is None
            events = dispatcher.events(after=10)
            assert await cancelled(anext(events), draw.randrange(4000)) is None
        waiting = [asyncio.ensure_future(dispatch.wait()) for _ in range(100)]
        await asyncio.sleep(0.01)
        for task in waiting[1:]:
            task.cancel()
        await dispatch.cancel()
        assert (await waiting[0]).phase == Phase.CANCELLED
        assert await descriptors() == before


async def test_opening_and_closing(alone, ledger, draw):
    async with alone() as dispatcher:
        dispatch = await dispatcher.submit(TASK)
    await asyncio.sleep(0)
    before = await descriptors()
    for _ in range(40):
        dispatcher = alone()
        if await cancelled(dispatcher.__aenter__(), draw.randrange(30_000)):
            await cancelled(dispatcher.close(), draw.randrange(30_000))
        del dispatcher

    async def left():
        return owners(ledger), await descriptors()

    await eventually(left, lambda seen: seen == ([], before))
    async with alone() as dispatcher:
        assert (await dispatcher.get(dispatch)).phase == Phase.QUEUED


async def test_a_cancelled_close_is_gone_on_with(alone, ledger):
    dispatcher = alone()
    began = asyncio.Event()

    @dispatcher.local_agent
    async def work(assignment):
        began.set()
        await asyncio.Event().wait()

    await dispatcher.__aenter__()
    await dispatcher.submit(TASK)
    await began.wait()
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(dispatcher.close(timeout=0.5), 0.01)
    with pytest.raises(DispatcherError, match="closed"):
        await dispatcher.list()
    await dispatcher.close()
    assert owners(ledger) == []


async def test_one_that_nobody_has_any_more_is_closed(alone, ledger):
    dispatcher = await alone().__aenter__()
    await dispatcher.submit(TASK)
    assert len(owners(ledger)) == 1
    del dispatcher

    async def left():
        gc.collect()
        return owners(ledger)

    await eventually(left, lambda seen: seen == [])


async def test_opened_and_closed_again_and_again_nothing_is_left(alone, ledger):
    async def once():
        dispatcher = alone()

        @dispatcher.local_agent
        async def work(assignment):
            return "done"

        async with dispatcher:
            dispatch = await dispatcher.submit(TASK)
            assert (await dispatch.wait(timeout=60)).success

    await once()
    before = await descriptors()
    for _ in range(20):
        await once()
    await eventually(descriptors, lambda now: now == before)
    assert owners(ledger) == []
    assert len(asyncio.all_tasks()) == 1


def test_a_closed_loop_loses_its_agents_calls(alone, ledger):
    dispatcher = alone()
    began = asyncio.Event()

    @dispatcher.local_agent
    async def work(assignment):
        began.set()
        await asyncio.Event().wait()

    async def begins():
        await dispatcher.__aenter__()
        dispatch = await dispatcher.submit(TASK)
        await began.wait()
        await until(dispatch, Phase.WORKING)
        return dispatch.id

    loop = asyncio.new_event_loop()
    id = loop.run_until_complete(begins())
    [task] = asyncio.all_tasks(loop)
    loop.close()

    async def goes_on():
        async def left():
            return owners(ledger)

        # The dispatcher cannot do without its loop, and leaves.
        await eventually(left, lambda seen: seen == [])
        other = alone()

        @other.local_agent
        async def work(assignment):
            raise AssertionError("it was run again")

        async with other:
            return await other.wait(id, timeout=60)

    outcome = asyncio.run(goes_on())
    assert (outcome.phase, outcome.fence) == (Phase.WORKER_LOST, 1)
    task._log_destroy_pending = False
    with pytest.raises(DispatcherError, match="closed"):
        asyncio.run(dispatcher.list())


async def test_cancelled_with_its_loop_it_is_lost_at_once(alone):
    """What `asyncio.run` does at its end, to everything at once."""
    runs = []

    def make(idempotent):
        dispatcher = alone()

        @dispatcher.local_agent("timmy", idempotent=idempotent)
        async def work(assignment):
            runs.append(assignment.fence)
            if assignment.fence == 1:
                asyncio.current_task().cancel()
                await asyncio.sleep(0)
            return "done"

        return dispatcher

    async with make(idempotent=False) as dispatcher:
        outcome = await (await dispatcher.submit(TASK)).wait(timeout=60)
    assert (outcome.phase, runs) == (Phase.WORKER_LOST, [1])
    async with make(idempotent=True) as dispatcher:
        outcome = await (await dispatcher.submit(TASK)).wait(timeout=60)
    assert (outcome.result, runs) == ("done", [1, 1, 2])
