"""Stopping a dispatch or a wait, wherever it happens to be."""

import asyncio
import gc
import time
from unittest.mock import AsyncMock, patch

import httpx
import pytest
from timmy import dispatcher
from timmy.dispatcher import AgentType, dispatch_task, wait_for_completion

from dropin.doubles import AGENT_URL, KIMI_LABELS, PlainAnswer

ANSWERS = {
    "labels": PlainAnswer(200, []),
    "create": PlainAnswer(201, {"id": 7}),
    "apply": PlainAnswer(200, KIMI_LABELS),
    "comment": PlainAnswer(201, {"id": 42}),
    "agent": PlainAnswer(200, {"job": 1}),
    "issue": PlainAnswer(200, {"state": "open"}),
}


class Stalling:
    """A client that never answers one kind of request, and says when it has been asked."""

    def __init__(self, stalled):
        self.stalled = stalled
        self.reached = asyncio.Event()
        self.left_once = asyncio.Event()
        self.left = []
        self.asked = []

    async def __aenter__(self):
        await self._step("enter")
        return self

    async def __aexit__(self, kind, error, trace):
        self.left.append(kind)
        self.left_once.set()
        await self._step("exit")

    async def get(self, url, **_):
        return await self._step("labels" if url.endswith("/labels") else "issue")

    async def post(self, url, **_):
        if url == AGENT_URL:
            return await self._step("agent")
        if url.endswith("/comments"):
            return await self._step("comment")
        return await self._step("apply" if "/issues/" in url else "create")

    async def _step(self, name):
        self.asked.append(name)
        if name == self.stalled:
            self.reached.set()
            await asyncio.Event().wait()
        return ANSWERS.get(name)


STEPS = ["enter", "labels", "create", "apply", "comment", "exit"]


@pytest.fixture
def stalled(monkeypatch):
    """A function that puts a stalling client in the place of httpx's."""

    def make(step):
        client = Stalling(step)
        monkeypatch.setattr(httpx, "AsyncClient", lambda **_: client)
        return client

    return make


async def cancelled(client, coroutine):
    task = asyncio.create_task(coroutine)
    async with asyncio.timeout(5):
        await client.reached.wait()
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError) as raised:
        await task
    assert raised.value.args == ("enough",)
    assert task.cancelled()


@pytest.mark.parametrize("step", STEPS)
async def test_a_hand_over_is_cancelled(step, stalled, log_lines):
    client = stalled(step)
    await cancelled(client, dispatch_task("Fix it", issue_number=7))
    assert client.asked == [*STEPS[: STEPS.index(step) + 1], *["exit"] * (step in STEPS[1:5])]
    assert client.left == {"enter": [], "exit": [None]}.get(step, [asyncio.CancelledError])
    assert not [text for _, text in log_lines() if "failed" in text or "escalated" in text]


@pytest.mark.parametrize("step", ["enter", "agent", "exit"])
async def test_a_post_to_an_agent_is_cancelled(step, stalled):
    client = stalled(step)
    await cancelled(client, dispatch_task("Research it", api_endpoint=AGENT_URL, issue_number=7))
    assert "comment" not in client.asked


@pytest.mark.parametrize("step", ["enter", "issue", "exit"])
async def test_a_wait_is_cancelled_while_it_asks(step, stalled, log_lines):
    await cancelled(stalled(step), wait_for_completion(7))
    assert log_lines() == []


async def test_a_wait_is_cancelled_while_it_sleeps(stalled):
    client = stalled(None)
    task = asyncio.create_task(wait_for_completion(7))
    async with asyncio.timeout(5):
        await client.left_once.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


@pytest.mark.parametrize("step", STEPS)
async def test_a_timeout_of_the_caller(step, stalled):
    stalled(step)
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await dispatch_task("Fix it", issue_number=7)


async def test_wait_for_of_the_caller(stalled):
    client = stalled("issue")
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(wait_for_completion(7), 0.01)
    assert client.left == [asyncio.CancelledError]


async def test_one_of_a_group_fails(stalled):
    client = stalled("apply")

    async def fail():
        await client.reached.wait()
        raise ValueError("boom")

    with pytest.raises(ExceptionGroup) as raised:
        async with asyncio.TaskGroup() as group:
            dispatched = group.create_task(dispatch_task("Fix it", issue_number=7))
            group.create_task(fail())
    assert isinstance(raised.value.exceptions[0], ValueError)
    assert dispatched.cancelled()


async def test_a_cancelled_creation_leaves_the_way_free(stalled):
    await cancelled(stalled("create"), dispatch_task("Fix it", issue_number=7))
    stalled(None)
    async with asyncio.timeout(5):
        assert (await dispatch_task("Fix it", issue_number=8)).success


@pytest.mark.parametrize("step", ["_dispatch_via_gitea", "_apply_gitea_label", "_log_escalation"])
async def test_a_replaced_step_is_cancelled(step, stalled, settings):
    client = stalled(None)
    settings.gitea_token = "s3cret" if step == "_apply_gitea_label" else ""

    async def stall(*_):
        client.reached.set()
        try:
            await asyncio.Event().wait()
        finally:
            client.asked.append("cleaned up")

    with patch.object(dispatcher, step, stall):
        await cancelled(client, dispatch_task("Fix it", issue_number=7, max_retries=0))
    assert "cleaned up" in client.asked


async def test_a_step_that_swallows_the_cancellation(stalled):
    client = stalled(None)
    result = dispatcher.DispatchResult("t", "a", 7, dispatcher.DispatchStatus.ASSIGNED)

    async def stubborn(*_):
        client.reached.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return result

    with patch.object(dispatcher, "_dispatch_via_gitea", stubborn):
        task = asyncio.create_task(dispatch_task("Fix it", issue_number=7))
        await client.reached.wait()
        task.cancel()
        assert await task is result


async def test_a_closed_coroutine_cleans_up_quietly(stalled):
    client = stalled("apply")
    coroutine = dispatch_task("Fix it", issue_number=7)
    coroutine.send(None)
    assert client.asked[-1] == "apply"
    coroutine.close()
    assert client.left == [GeneratorExit]
    assert client.asked[-1] == "exit"


async def test_a_forgotten_coroutine_cleans_up_quietly(stalled):
    client = stalled("issue")
    coroutine = wait_for_completion(7)
    coroutine.send(None)
    del coroutine
    gc.collect()
    assert client.left == [GeneratorExit]


async def test_an_exception_thrown_in_from_outside(stalled):
    stalled("apply")
    coroutine = dispatch_task("Fix it", agent=AgentType.KIMI_CODE, issue_number=7)
    coroutine.send(None)
    with pytest.raises(KeyboardInterrupt):
        coroutine.throw(KeyboardInterrupt)


async def test_the_traceback_leads_to_the_cause(stalled):
    stalled(None)

    async def my_own_step(*_):
        raise ValueError("boom")

    with (
        patch.object(dispatcher, "_dispatch_via_gitea", my_own_step),
        pytest.raises(ValueError, match="boom") as raised,
    ):
        await dispatch_task("Fix it", issue_number=7)
    assert raised.traceback[-1].name == "my_own_step"
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


async def test_a_patched_clock_does_not_matter(stalled):
    stalled(None)
    with (
        patch.object(time, "time", return_value=0.0),
        patch.object(time, "monotonic", return_value=0.0),
        patch("asyncio.sleep", AsyncMock()) as sleep,
    ):
        assert await wait_for_completion(7, 1, 3) == "timed_out"
    assert sleep.await_count == 3
