"""A dispatch that is cancelled at its first await, at its second, and so on to its last."""

import asyncio
import contextvars
import gc
import logging

import pytest
import timmy.dispatcher as d
from timmy.dispatcher import _http
from timmy.dispatcher.sandbox import Sandbox

from endurance.process import connections, eventually


class CancelledAt:
    """Awaits a coroutine and cancels the task when it suspends for the n-th time, from 0 on."""

    def __init__(self, coroutine, suspension):
        self._coroutine = coroutine
        self._suspension = suspension
        self.suspensions = 0

    def __await__(self):
        steps = self._coroutine.__await__()
        move, value = steps.send, None
        while True:
            try:
                awaited = move(value)
            except StopIteration as end:
                return end.value
            if self.suspensions == self._suspension:
                asyncio.current_task().cancel()
            self.suspensions += 1
            try:
                move, value = steps.send, (yield awaited)
            except BaseException as error:
                move, value = steps.throw, error


@pytest.fixture(scope="module", params=["native", "httpx"])
def served(request):
    """A sandbox to which one way leads, and where no connection is left at the end."""
    with pytest.MonkeyPatch.context() as patch, Sandbox(gitea="1.26") as gitea:
        gitea.repo = gitea.create_repo("swarm")
        patch.setattr("timmy.dispatcher._http._chosen", request.param)
        patch.setenv("GITEA_URL", gitea.url)
        patch.setenv("GITEA_TOKEN", gitea.token)
        patch.setenv("GITEA_REPO", gitea.repo)
        yield gitea
        port = int(gitea.url.rsplit(":", 1)[1])
        eventually(lambda: connections(port) == 0, "a connection stays open")


@pytest.fixture
def gitea(served, caplog, one_tls_context):
    yield served
    served.clear_faults()
    gc.collect()
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def cancelled_everywhere(start):
    """Cancels at every await in turn; returns how many there are, and what it comes to at last."""
    for suspension in range(1000):
        stepped = CancelledAt(start(), suspension)

        async def main(stepped=stepped):
            return await stepped

        task = asyncio.create_task(main())
        try:
            result = await task
        except asyncio.CancelledError:
            assert task.cancelled()
            assert stepped.suspensions > suspension
        else:
            assert stepped.suspensions <= suspension
            return suspension, result
    raise AssertionError("it never ends")


async def test_a_hand_over_through_gitea(gitea):
    number = gitea.create_issue(gitea.repo, "Design it")
    # A label per run, so that each has to create its own.
    labels = iter(range(1000))

    def start():
        d.AGENT_REGISTRY[d.AgentType.CLAUDE_CODE].gitea_label = f"claude-{next(labels)}"
        return d.dispatch_task("Design it", issue_number=number)

    try:
        awaits, result = await cancelled_everywhere(start)
    finally:
        d.AGENT_REGISTRY[d.AgentType.CLAUDE_CODE].gitea_label = "claude-ready"
    assert result.success
    assert "failed_steps" not in result.metadata
    # Four requests; natively the label takes one wait, whatever it takes.
    assert awaits >= (2 if _http._chosen == "native" else 4)


@pytest.mark.parametrize("before", range(4))
async def test_a_hand_over_during_each_of_its_requests(gitea, monkeypatch, before):
    repo = gitea.create_repo(f"fresh-{_http._chosen}-{before}")
    number = gitea.create_issue(repo, "Design it")
    monkeypatch.setenv("GITEA_REPO", repo)
    gitea.clear_requests()
    gitea.fault(hold=True, skip=before, times=1)
    task = asyncio.create_task(d.dispatch_task("Design it", issue_number=number))
    await asyncio.to_thread(gitea.wait_for_requests, before + 1)
    task.cancel("enough")
    with pytest.raises(asyncio.CancelledError):
        async with asyncio.timeout(5):
            await task
    gitea.release()
    # Whoever comes later posts the one comment that there is, unless it was posted before.
    assert (await d.dispatch_task("Design it", issue_number=number)).success
    comments = [r for r in gitea.requests() if r.path.endswith("/comments")]
    assert len(comments) == 1 + (before == 3)


async def test_a_hand_over_goes_on_in_the_context_of_its_task(gitea, caplog, monkeypatch):
    repo = gitea.create_repo(f"context-{_http._chosen}")
    number = gitea.create_issue(repo, "Design it")
    monkeypatch.setenv("GITEA_REPO", repo)
    task_number = contextvars.ContextVar("task_number", default=None)
    seen = []

    class Sees(logging.Handler):
        def emit(self, record):
            seen.append(task_number.get())

    async def hand_over(n):
        task_number.set(n)
        return await d.dispatch_task("Design it", issue_number=number)

    caplog.set_level(logging.INFO, "timmy.dispatcher")
    handler = Sees()
    d.logger.addHandler(handler)
    try:
        await asyncio.gather(*map(hand_over, range(8)))
    finally:
        d.logger.removeHandler(handler)
    # Where it goes, that the label is there, that all is done.
    assert sorted(seen) == sorted([*range(8)] * 3)


async def test_a_hand_over_that_is_tried_again_and_escalates(gitea, monkeypatch):
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    number = gitea.create_issue(gitea.repo, "Design it")
    gitea.fault(status=503)
    awaits, result = await cancelled_everywhere(
        lambda: d.dispatch_task("Design it", issue_number=number)
    )
    assert result.status is d.DispatchStatus.ESCALATED
    # Twice label and comment, the wait between, the escalation.
    assert awaits >= 6


async def test_a_hand_over_to_an_agent(gitea):
    awaits, result = await cancelled_everywhere(
        lambda: d.dispatch_task("research it", api_endpoint=f"{gitea.url}/agent")
    )
    assert result.success
    assert awaits >= 1


async def test_waiting_for_an_issue(gitea, monkeypatch):
    number = gitea.create_issue(gitea.repo, "Design it")
    sleep = asyncio.sleep

    async def close_meanwhile(_):
        await sleep(0)
        gitea.close_issue(gitea.repo, number)

    monkeypatch.setattr(asyncio, "sleep", close_meanwhile)

    def start():
        gitea.reopen_issue(gitea.repo, number)
        return d.wait_for_completion(number, 10, 60)

    awaits, status = await cancelled_everywhere(start)
    assert status is d.DispatchStatus.COMPLETED
    # A question, the sleep, another question.
    assert awaits >= 3


async def test_one_who_creates_a_label_is_cancelled_and_another_takes_over(gitea):
    gitea.clear_requests()
    numbers = [gitea.create_issue(gitea.repo, f"Design {n}") for n in range(8)]
    gitea.fault("/swarm/labels", method="POST", hold=True, times=1)
    tasks = [asyncio.create_task(d.dispatch_task("Design it", issue_number=n)) for n in numbers]

    def created():
        return [r for r in gitea.requests() if (r.method, r.path[-12:]) == ("POST", "swarm/labels")]

    await asyncio.to_thread(eventually, created, "nobody creates the label")
    # Nobody knows which of them it is; the others wait for it, or have it wait.
    for task in tasks[:4]:
        task.cancel()
    await asyncio.gather(*tasks[:4], return_exceptions=True)
    gitea.release()
    for result in await asyncio.gather(*tasks[4:]):
        assert result.success, result
        assert "failed_steps" not in result.metadata
