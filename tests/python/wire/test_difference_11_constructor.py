"""11. A client constructor that fails is a failed result."""

import httpx
import pytest
import timmy.dispatcher as d


class Refusing(httpx.AsyncClient):
    def __init__(self, **options):
        raise RuntimeError("no certificates")


class RefusingToEnter(httpx.AsyncClient):
    async def __aenter__(self):
        raise RuntimeError("no certificates")


@pytest.fixture(params=[Refusing, RefusingToEnter])
def refusing(request, monkeypatch):
    monkeypatch.setattr(httpx, "AsyncClient", request.param)


async def test_of_a_hand_over(gitea, refusing, slept, log):
    result = await d.dispatch_task("Fix it", issue_number=gitea.open_issue())
    assert (result.status, result.error) == (d.DispatchStatus.ESCALATED, "no certificates")
    assert "Failed to post escalation comment: no certificates" in log()
    assert (slept, gitea.seen()) == ([], [])


async def test_of_a_post_to_an_agent(gitea, refusing, agent_url):
    result = await d.dispatch_task("Research it", api_endpoint=agent_url)
    assert (result.status, result.error) == (d.DispatchStatus.ESCALATED, "no certificates")


async def test_of_a_question(gitea, refusing, slept, log):
    assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.TIMED_OUT
    assert "Poll error for issue #3: no certificates" in log()
