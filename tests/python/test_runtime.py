"""Event loops, reloading, and processes that end with work in flight."""

import subprocess
import sys

import pytest
import timmy.dispatcher as d
import uvloop
from timmy.dispatcher.sandbox import Sandbox

IN_FLIGHT = """
import asyncio, os, sys
import timmy.dispatcher as d
from timmy.dispatcher.sandbox import Sandbox

gitea = Sandbox(gitea="1.26")
gitea.start()
repo = gitea.create_repo("swarm")
number = gitea.create_issue(repo, "Design it")
os.environ.update(GITEA_URL=gitea.url, GITEA_TOKEN=gitea.token, GITEA_REPO=repo)
gitea.fault("/labels", hold=True)

async def main():
    tasks = [asyncio.create_task(d.dispatch_task("design", issue_number=number)) for _ in range(5)]
    assert await asyncio.to_thread(gitea.wait_for_requests, 5, 20)
    {ending}

asyncio.run(main())
"""


@pytest.mark.parametrize("ending", ["return", "sys.exit(0)"])
def test_an_end_with_requests_in_flight_is_quiet(ending):
    code = IN_FLIGHT.format(ending=ending)
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")


def test_uvloop(monkeypatch):
    with Sandbox(gitea="1.26") as gitea:
        repo = gitea.create_repo("swarm")
        number = gitea.create_issue(repo, "Design it")
        monkeypatch.setenv("GITEA_URL", gitea.url)
        monkeypatch.setenv("GITEA_TOKEN", gitea.token)
        monkeypatch.setenv("GITEA_REPO", repo)
        assert uvloop.run(d.dispatch_task("Design it", issue_number=number)).success
        assert [label["name"] for label in gitea.issue_labels(repo, number)] == ["claude-ready"]


def test_reload():
    code = """
import asyncio, importlib
import timmy.dispatcher as d
importlib.reload(d)
result = asyncio.run(d.dispatch_task("triage"))
assert result.success and isinstance(result, d.DispatchResult)
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
