"""13. Time-outs are totals per request: an answer that drips does not last for ever."""

import httpx
import pytest
import timmy.dispatcher as d
from timmy.dispatcher import _http


@pytest.fixture
def limits(monkeypatch):
    """A way of sending that keeps the limits it is made with."""
    made = []

    def client(timeout):
        made.append(timeout)
        return httpx.AsyncClient(timeout=timeout)

    monkeypatch.setattr(_http, "_chosen", client)
    return made


async def test_the_limits(gitea, limits, agent_url, slept):
    number = gitea.open_issue()
    gitea.sandbox.fault("*/issues/*/*", status=422)
    await d.dispatch_task("Fix it", issue_number=number, max_retries=0)
    await d.dispatch_task("Research it", api_endpoint=agent_url)
    await d.wait_for_completion(number, 1, 1)
    # A hand-over, its escalation, a post to an agent, a question.
    assert limits == [15, 10, 30, 10]


@pytest.mark.parametrize(
    "fault", [{"drip": 0.05}, {"hold": True}, {"delay": 60.0}], ids=["drip", "hold", "delay"]
)
@pytest.mark.parametrize("method", ["get", "post"])
async def test_no_answer_takes_longer(gitea, fault, method):
    gitea.sandbox.fault(**fault)
    number = gitea.open_issue() if not fault else 1
    async with _http.NativeClient(timeout=0.3) as client:
        with pytest.raises(ConnectionError, match=r"no answer from .* within 0\.3 s"):
            await getattr(client, method)(f"{gitea.url}/api/v1/repos/{gitea.repo}/issues/{number}")


async def test_asking_twice_does_not_take_twice_as_long(gitea):
    # The first connection breaks before the limit; alone, the second would be in time.
    gitea.sandbox.fault(delay=0.6)
    gitea.sandbox.fault(drop=True, times=1)
    async with _http.NativeClient(timeout=1) as client:
        with pytest.raises(ConnectionError, match="within 1 s"):
            await client.get(f"{gitea.url}/api/v1/repos/{gitea.repo}/labels")


@pytest.mark.parametrize("gitea", ["1.26"], indirect=True)
async def test_a_dripping_answer_of_a_question_ends(gitea, log):
    """The one test that waits for a real limit: ten seconds."""
    number = gitea.open_issue()
    gitea.sandbox.fault(drip=1.0)
    assert await d.wait_for_completion(number, 60, 5) is d.DispatchStatus.TIMED_OUT
    assert f"Poll error for issue #1: no answer from {gitea.host} within 10 s" in log()
