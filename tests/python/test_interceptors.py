"""What people put between httpx and the network sees the requests, and nothing else does."""

from unittest.mock import AsyncMock, MagicMock, patch

import httpx
import pytest
import respx
import timmy.dispatcher as d
import vcr
from timmy.dispatcher import _http

ISSUE = "http://gitea.test/api/v1/repos/o/r/issues/3"
CLOSED = {"number": 3, "state": "closed"}

CASSETTE = """
interactions:
- request:
    body: ''
    headers: {}
    method: GET
    uri: http://gitea.test/api/v1/repos/o/r/issues/3
  response:
    body: {string: '{"number":3,"state":"closed"}'}
    headers: {content-type: [application/json]}
    status: {code: 200, message: OK}
version: 1
"""


@pytest.fixture(autouse=True)
def gitea(monkeypatch):
    monkeypatch.setenv("GITEA_URL", "http://gitea.test")
    monkeypatch.setenv("GITEA_TOKEN", "t")
    monkeypatch.setenv("GITEA_REPO", "o/r")


async def test_a_mocked_client(monkeypatch):
    client = AsyncMock()
    client.__aenter__.return_value = client
    client.get.return_value = MagicMock(status_code=200, json=lambda: [])
    client.post.return_value = MagicMock(status_code=201, json=lambda: {"id": 12})
    settings = MagicMock(
        gitea_enabled=True, gitea_token="t", gitea_url="http://gitea", gitea_repo="o/r"
    )
    with patch("httpx.AsyncClient", return_value=client) as made:
        monkeypatch.setattr(d, "settings", settings)
        result = await d._dispatch_via_gitea(d.AgentType.CLAUDE_CODE, 7, "t", "d", [])
    made.assert_called_once_with(timeout=15)
    assert result.success
    assert result.comment_id == 12
    assert [call.kwargs["json"] for call in client.post.await_args_list[:2]] == [
        {"name": "claude-ready", "color": "#0075ca"},
        {"labels": [12]},
    ]


async def test_a_replaced_step_is_called_as_before(monkeypatch):
    given = d.DispatchResult(
        d.TaskType.ARCHITECTURE, d.AgentType.CLAUDE_CODE, 7, d.DispatchStatus.FAILED, error="no"
    )
    step = AsyncMock(return_value=given)
    escalate = AsyncMock()
    monkeypatch.setattr(d, "_dispatch_via_gitea", step)
    monkeypatch.setattr(d, "_log_escalation", escalate)
    result = await d.dispatch_task("Design it", issue_number=7, max_retries=2)
    assert result is given
    assert (result.status, result.retry_count) == (d.DispatchStatus.ESCALATED, 2)
    assert step.await_args_list[0].args == (d.AgentType.CLAUDE_CODE, 7, "Design it", "", [])
    escalate.assert_awaited_once_with(7, d.AgentType.CLAUDE_CODE, "no")


async def test_respx():
    with respx.mock(base_url="http://gitea.test/api/v1/repos/o/r") as routes:
        routes.get("/issues/3").mock(return_value=httpx.Response(200, json=CLOSED))
        assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.COMPLETED
        assert routes.calls.call_count == 1


async def test_pytest_httpx(httpx_mock):
    httpx_mock.add_response(url=ISSUE, json=CLOSED)
    assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.COMPLETED


async def test_vcr(tmp_path):
    cassette = tmp_path / "issue.yaml"
    cassette.write_text(CASSETTE, encoding="utf-8")
    with vcr.use_cassette(str(cassette), record_mode="none") as played:
        assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.COMPLETED
        assert played.play_count == 1


async def test_a_patched_method():
    answer = MagicMock(status_code=200, json=lambda: CLOSED)
    with patch("httpx.AsyncClient.get", AsyncMock(return_value=answer)) as get:
        assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.COMPLETED
    get.assert_awaited_once()


async def test_a_patched_transport(monkeypatch, caplog):
    async def answer(self, request):
        return httpx.Response(200, json=CLOSED)

    caplog.set_level("DEBUG", "timmy.dispatcher")
    monkeypatch.setattr(_http, "_told", set())
    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", answer)
    for _ in range(2):
        assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.COMPLETED
    told = [record for record in caplog.records if record.levelname == "DEBUG"]
    assert len(told) == 1
    assert "httpx.AsyncHTTPTransport.handle_async_request" in told[0].getMessage()


def test_httpx_as_its_makers_made_it_is_not_gone_through():
    assert _http.choose() is None


def test_what_was_replaced_and_put_back_is_not_gone_through():
    class Own(httpx.AsyncClient):
        async def get(self, *args, **kwargs):
            return await super().get(*args, **kwargs)

    for _ in range(2):
        with patch("httpx.AsyncClient", Own):
            assert [_http.choose(), _http.choose()] == [Own, Own]
        assert _http.choose() is None
        with patch("httpx.AsyncClient.post", AsyncMock()):
            assert [_http.choose(), _http.choose()] == [httpx.AsyncClient] * 2
        assert _http.choose() is None


def test_a_choice_is_checked(monkeypatch):
    with pytest.raises(ValueError, match="not auto, native, httpx"):
        d.use_http("fast")
    monkeypatch.setenv("TIMMY_DISPATCHER_HTTP", "fast")
    with pytest.raises(ValueError, match="TIMMY_DISPATCHER_HTTP: 'fast'"):
        _http.choose()
