"""A server that is killed, loops and threads, cancellation at each request, a fork."""

import asyncio
import re
import subprocess
import sys

import pytest
import timmy.dispatcher as d

REQUESTS = {
    "label list": ("GET", "*/swarm/labels"),
    "label create": ("POST", "*/swarm/labels"),
    "label add": ("POST", "*/issues/1/labels"),
    "comment": ("POST", "*/issues/1/comments"),
}

#: A server that says where it is, holds one request, and says when it has come.
SERVER = """
import sys
from timmy.dispatcher.sandbox import Sandbox

version, token, method, path, before = sys.argv[1:]
with Sandbox(version, token=token) as gitea:
    gitea.create_issue(gitea.create_repo("swarm"), "Design it")
    gitea.fault(path, method=method, hold=True)
    print(gitea.url, flush=True)
    gitea.wait_for_requests(int(before) + 1, 60)
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.mark.parametrize("step", REQUESTS)
async def test_a_server_that_is_killed(gitea, monkeypatch, step):
    method, path = REQUESTS[step]
    before = str(list(REQUESTS).index(step))
    arguments = ["-c", SERVER, gitea.sandbox.gitea, gitea.token, method, path, before]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    server = await asyncio.create_subprocess_exec(sys.executable, *arguments, **pipes)
    url = (await server.stdout.readline()).decode().strip()
    monkeypatch.setenv("GITEA_URL", url)
    task = asyncio.create_task(d.dispatch_task("Design it", issue_number=1, max_retries=0))
    assert await server.stdout.readline() == b"held\n"
    server.kill()
    result = await task
    await server.wait()
    # Whether a killed server's port still takes connections is the system's business.
    lost = rf"(cannot connect to|broke off|{re.escape(url.partition('://')[2])}|: )+"
    if step == "comment":
        assert (result.status, result.label_applied) == (d.DispatchStatus.ASSIGNED, "claude-ready")
        assert re.match(lost, result.metadata["failed_steps"]["comment"])
    else:
        assert result.status is d.DispatchStatus.ESCALATED
        assert re.search(f"label: {lost}.*; comment: {lost}", result.error)


async def test_a_server_that_is_back(gitea, monkeypatch):
    number = gitea.open_issue()
    monkeypatch.setenv("GITEA_URL", "http://127.0.0.1:1")

    async def come_back(_seconds):
        monkeypatch.setenv("GITEA_URL", gitea.url)

    monkeypatch.setattr(asyncio, "sleep", come_back)
    result = await d.dispatch_task("Design it", issue_number=number)
    assert (result.success, result.retry_count) == (True, 1)


def test_one_loop_after_another(gitea):
    number = gitea.open_issue()
    for _ in range(20):
        assert asyncio.run(d.dispatch_task("Design it", issue_number=number)).success
    assert len(gitea.comments(number)) == 20


async def cancelled(gitea, task, requests):
    """Cancel a task once so many requests have come; it must end by that and send no more."""
    await asyncio.to_thread(gitea.sandbox.wait_for_requests, requests, 20)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        # Nothing releases what is held: it ends by the cancellation or not at all.
        await asyncio.wait_for(task, 20)
    assert len(gitea.sandbox.requests()) == requests


@pytest.mark.parametrize("step", REQUESTS)
async def test_cancellation_at_each_request(gitea, way, step):
    number = gitea.open_issue()
    gitea.sandbox.clear_requests()
    method, path = REQUESTS[step]
    gitea.sandbox.fault(path, method=method, hold=True)
    task = asyncio.create_task(d.dispatch_task("Design it", issue_number=number))
    await cancelled(gitea, task, list(REQUESTS).index(step) + 1)
    gitea.sandbox.clear_faults()
    # Nothing is left behind that the next hand-over would wait for.
    assert (await d.dispatch_task("Design it", issue_number=number)).success


async def test_cancellation_of_a_post_to_an_agent(gitea, way, agent_url):
    gitea.sandbox.fault("/agent", hold=True)
    task = asyncio.create_task(d.dispatch_task("Research it", api_endpoint=agent_url))
    await cancelled(gitea, task, 1)


async def test_cancellation_of_a_wait(gitea, way):
    gitea.sandbox.fault(hold=True)
    await cancelled(gitea, asyncio.create_task(d.wait_for_completion(1)), 1)


async def test_cancellation_between_attempts(gitea, way, monkeypatch):
    sleeping = asyncio.Event()
    real_sleep = asyncio.sleep

    async def sleep(seconds):
        sleeping.set()
        await real_sleep(60 + seconds)

    gitea.sandbox.fault(status=503)
    task = asyncio.create_task(d.dispatch_task("Design it", issue_number=1))
    monkeypatch.setattr(asyncio, "sleep", sleep)
    await sleeping.wait()
    await cancelled(gitea, task, 2)


async def test_cancellation_of_who_waits_for_a_label(gitea, way):
    first, second = gitea.open_issue(), gitea.open_issue()
    gitea.sandbox.clear_requests()
    gitea.sandbox.fault("*/swarm/labels", method="POST", hold=True)
    creating = asyncio.create_task(d.dispatch_task("Design it", issue_number=first))
    await asyncio.to_thread(gitea.sandbox.wait_for_requests, 2, 20)
    waiting = asyncio.create_task(d.dispatch_task("Design it", issue_number=second))
    await cancelled(gitea, waiting, 3)
    gitea.sandbox.release()
    assert (await creating).label_applied == "claude-ready"
    assert len(gitea.labels("claude-ready")) == 1


@pytest.mark.parametrize("after_effect", [False, True])
async def test_cancellation_of_who_creates_lets_the_next_one(gitea, way, after_effect):
    first, second = gitea.open_issue(), gitea.open_issue()
    gitea.sandbox.clear_requests()
    held = {"hold": True, "times": 1, "after_effect": after_effect}
    gitea.sandbox.fault("*/swarm/labels", method="POST", **held)
    creating = asyncio.create_task(d.dispatch_task("Design it", issue_number=first))
    await asyncio.to_thread(gitea.sandbox.wait_for_requests, 2, 20)
    waiting = asyncio.create_task(d.dispatch_task("Design it", issue_number=second))
    await asyncio.to_thread(gitea.sandbox.wait_for_requests, 3, 20)
    creating.cancel()
    assert (await waiting).label_applied == "claude-ready"
    assert creating.cancelled()
    # It looked for the label again, and made one only where there was none.
    made = [one for one in gitea.sequence() if one == "POST /labels"]
    assert len(made) == (1 if after_effect else 2)
    assert len(gitea.labels("claude-ready")) == 1


FORK = """
import asyncio, os, sys
import timmy.dispatcher as d

assert asyncio.run(d.dispatch_task("Design it", issue_number=1)).success
child = os.fork()
if child == 0:
    done = asyncio.run(asyncio.wait_for(d.dispatch_task("Design it", issue_number=1), 20))
    os._exit(0 if done.success else 1)
status = os.waitpid(child, 0)[1]
assert asyncio.run(d.dispatch_task("Design it", issue_number=1)).success
sys.exit(status)
"""


def test_a_forked_child_dispatches(gitea):
    number = gitea.open_issue()
    done = subprocess.run(
        [sys.executable, "-c", FORK], capture_output=True, timeout=60, check=False
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert len(gitea.comments(number)) == 3
