"""Many event loops, one after another and at once, and loops that end with a request in flight."""

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import timmy.dispatcher as d
import uvloop
from timmy.dispatcher.sandbox import Sandbox

from endurance import scale
from endurance.process import connections, descriptors, eventually

LOOPS = {"asyncio": asyncio.new_event_loop, "uvloop": uvloop.new_event_loop}


@pytest.fixture(params=LOOPS)
def run(request):
    """Runs a coroutine on a loop of its own."""

    def run(coroutine):
        with asyncio.Runner(loop_factory=LOOPS[request.param]) as runner:
            return runner.run(coroutine)

    return run


@pytest.fixture(scope="module")
def served(endless):
    """A sandbox, and the certainty that nothing is left of all the tests of this module."""
    with Sandbox(gitea="1.26") as gitea:
        gitea.repo = gitea.create_repo("swarm")
        gitea.number = gitea.create_issue(gitea.repo, "Design it")
        yield gitea
        port = int(gitea.url.rsplit(":", 1)[1])
        eventually(lambda: connections(port) == 0, "an idle connection stays open")


@pytest.fixture
def gitea(served, monkeypatch):
    monkeypatch.setenv("GITEA_URL", served.url)
    monkeypatch.setenv("GITEA_TOKEN", served.token)
    monkeypatch.setenv("GITEA_REPO", served.repo)
    return served


@pytest.fixture(scope="module")
def descriptors_before(served):
    """How many descriptors are open once everything has been used once."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GITEA_URL", served.url)
        patch.setenv("GITEA_TOKEN", served.token)
        patch.setenv("GITEA_REPO", served.repo)
        for factory in LOOPS.values():
            with asyncio.Runner(loop_factory=factory) as runner:
                runner.run(dispatch(served))
    return descriptors()


@pytest.fixture(autouse=True)
def nothing_left(gitea, endless, descriptors_before, caplog):
    """Whatever a test did, it leaves no request, descriptor or complaint behind."""
    yield
    eventually(lambda: endless.open_connections == 0, "a request is still in flight")
    eventually(lambda: descriptors() <= descriptors_before, "a descriptor stays open")
    assert [record for record in caplog.records if record.name == "asyncio"] == []


async def dispatch(gitea):
    result = await d.dispatch_task("Design it", issue_number=gitea.number)
    assert result.success, result


def held(number):
    return d.dispatch_task("Design it", issue_number=number)


async def in_flight(endless, key, count):
    """Comes back when so many requests wait for their answer."""
    await asyncio.to_thread(eventually, lambda: endless.seen(key) >= count, "no request came")


def test_loops_one_after_another(run, gitea):
    for _ in range(scale.of(300, 3000)):
        run(dispatch(gitea))


def test_a_loop_in_each_of_eight_threads(run, gitea):
    async def several():
        for _ in range(scale.of(5, 100)):
            await asyncio.gather(*(dispatch(gitea) for _ in range(4)))

    with ThreadPoolExecutor(8) as pool:
        for done in [pool.submit(run, several()) for _ in range(8)]:
            done.result()


@pytest.mark.parametrize("way", ["native", "httpx"])
def test_a_loop_that_ends_with_requests_in_flight(run, endless, monkeypatch, way):
    monkeypatch.setattr("timmy.dispatcher._http._chosen", way)
    endless.forget()
    monkeypatch.setenv("GITEA_URL", f"{endless.url}/waiting-end")

    async def main():
        tasks = [asyncio.create_task(held(number)) for number in range(5)]
        await in_flight(endless, "waiting-end", 5)
        return tasks

    for task in run(main()):
        assert task.cancelled()


def test_a_loop_that_is_closed_under_a_request(endless, monkeypatch):
    # What was asked for is answered when nobody is there any more.
    endless.forget()
    monkeypatch.setenv("GITEA_URL", f"{endless.url}/later-1")
    loop = asyncio.new_event_loop()

    async def main():
        task = asyncio.create_task(held(1))
        await in_flight(endless, "later-1", 1)
        return task

    task = loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    # That a pending task is destroyed is Python's own complaint, and this test's intention.
    task._log_destroy_pending = False
    del task
    gc.collect()
    endless.answer_later()


def test_a_time_limit_of_the_caller(run, endless, monkeypatch):
    monkeypatch.setenv("GITEA_URL", f"{endless.url}/waiting-limit")

    async def main():
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await held(1)
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(d.wait_for_completion(1), 0.05)

    run(main())


def test_threads_that_end_with_requests_in_flight(run, endless, monkeypatch):
    endless.forget()
    monkeypatch.setenv("GITEA_URL", f"{endless.url}/waiting-threads")

    async def main():
        tasks = [asyncio.create_task(held(number)) for number in range(3)]
        await in_flight(endless, "waiting-threads", 24)
        for task in tasks:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(isinstance(outcome, asyncio.CancelledError) for outcome in done)

    threads = [threading.Thread(target=lambda: run(main())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
