"""Which Gitea the tests run against, and the settings that lead there."""

import asyncio
import logging
import os

import httpx
import pytest
import timmy.dispatcher as d

from wire.server import UnusableError, live, sandboxed

#: Set by `make test-live`: the server of GITEA_URL and GITEA_TOKEN takes the sandbox's place.
LIVE = bool(os.environ.get("TIMMY_TEST_LIVE"))
ADDRESS = (os.environ.get("GITEA_URL", ""), os.environ.get("GITEA_TOKEN", ""))


def pytest_sessionstart(session):
    if not LIVE:
        return
    try:
        if not all(ADDRESS):
            raise UnusableError("set GITEA_URL and GITEA_TOKEN")
        # One repo made and removed says more than any look at the token.
        with live(*ADDRESS):
            pass
    except (UnusableError, AssertionError, httpx.HTTPError, httpx.InvalidURL) as error:
        pytest.exit(f"test-live: {error}", returncode=2)


@pytest.fixture(params=["live"] if LIVE else ["1.25", "1.26"])
def gitea(request, monkeypatch):
    """A Gitea with a fresh repo, which the settings name."""
    with live(*ADDRESS) if LIVE else sandboxed(request.param) as gitea:
        monkeypatch.setenv("GITEA_URL", gitea.url)
        monkeypatch.setenv("GITEA_TOKEN", gitea.token)
        monkeypatch.setenv("GITEA_REPO", gitea.repo)
        monkeypatch.delenv("GITEA_ENABLED", raising=False)
        monkeypatch.delenv("TIMMY_DISPATCHER_HTTP", raising=False)
        if not LIVE:
            # A proxy of the machine's has no business with a sandbox.
            for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
                monkeypatch.delenv(name, raising=False)
                monkeypatch.delenv(name.lower(), raising=False)
        yield gitea


@pytest.fixture(params=["native", "httpx"])
def way(request, monkeypatch, gitea):
    """How requests are sent: each way in turn."""
    monkeypatch.setenv("TIMMY_DISPATCHER_HTTP", request.param)
    return request.param


@pytest.fixture
def slept(monkeypatch):
    """The seconds that `asyncio.sleep` was asked for; it sleeps none of them."""
    asked = []

    async def sleep(seconds, result=None):
        asked.append(seconds)
        return result

    monkeypatch.setattr(asyncio, "sleep", sleep)
    return asked


@pytest.fixture
def log(caplog):
    """A function giving the dispatcher's log so far as text."""
    caplog.set_level(logging.DEBUG, "timmy.dispatcher")
    return lambda: "\n".join(record.getMessage() for record in caplog.records)


@pytest.fixture
def agent_url(gitea):
    """The address of an agent that takes tasks over HTTP."""
    return f"{gitea.sandbox.url}/agent"


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """The agents as they are, whatever a test makes of them."""
    monkeypatch.setattr(d, "AGENT_REGISTRY", dict(d.AGENT_REGISTRY))
