"""Hand-overs on a real socket, and through what a caller put in place of a name."""

import asyncio
import json
import os
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from unittest.mock import AsyncMock, MagicMock, patch

import pytest
import timmy.dispatcher as d


class Gitea(BaseHTTPRequestHandler):
    """Answers as a server does whose repo has the label claude-ready."""

    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        length = int(self.headers.get("Content-Length", 0))
        self.server.seen.append((self.command, self.path, self.rfile.read(length), self.headers))
        if self.path.endswith("/repos/o/r/labels"):
            known = [{"id": 7, "name": "claude-ready"}]
            document = known if self.command == "GET" else {"id": 8}
        elif self.path.endswith("/comments"):
            document = {"id": 99}
        elif self.path.endswith("/labels"):
            document = [{"id": 7}, {"id": 8}]
        else:
            document = {"number": 5, "state": "closed"}
        body = json.dumps(document).encode()
        self.send_response(200 if self.command == "GET" else 201)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_GET = do_POST = answer  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def gitea(monkeypatch):
    with ThreadingHTTPServer(("127.0.0.1", 0), Gitea) as server:
        server.daemon_threads = True
        server.seen = []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        monkeypatch.setenv("GITEA_URL", f"http://127.0.0.1:{server.server_port}/")
        monkeypatch.setenv("GITEA_TOKEN", "sekrit")
        monkeypatch.setenv("GITEA_REPO", "o/r")
        yield server
        server.shutdown()


async def test_a_task_is_labelled_then_commented(gitea, caplog):
    caplog.set_level("INFO", "timmy.dispatcher")
    result = await d.dispatch_task("Design the router", "All of it", ["It works"], issue_number=5)
    assert (result.status, result.comment_id, result.label_applied) == (
        d.DispatchStatus.ASSIGNED,
        99,
        "claude-ready",
    )
    base = "/api/v1/repos/o/r"
    assert [(method, path) for method, path, _, _ in gitea.seen] == [
        ("GET", f"{base}/labels"),
        ("POST", f"{base}/issues/5/labels"),
        ("POST", f"{base}/issues/5/comments"),
    ]
    assert gitea.seen[1][2] == b'{"labels":[7]}'
    assert all(headers["Authorization"] == "token sekrit" for _, _, _, headers in gitea.seen)
    assert "Dispatched issue #5 to Claude Code (label='claude-ready', comment=99)" in caplog.text
    assert "sekrit" not in caplog.text


async def test_many_at_once_create_one_label(gitea):
    results = await asyncio.gather(
        *(d.dispatch_task("Quick fix", issue_number=number) for number in range(20))
    )
    assert {result.label_applied for result in results} == {"kimi-ready"}
    created = [
        path for method, path, _, _ in gitea.seen if method == "POST" and "issues" not in path
    ]
    assert len(created) == 1


async def test_an_explicit_type_is_what_the_comment_says(gitea):
    result = await d.dispatch_task("Quick fix", task_type=d.TaskType.CODE_REVIEW, issue_number=5)
    assert result.task_type is d.TaskType.CODE_REVIEW
    assert b"`code_review`" in gitea.seen[-1][2]


async def test_waiting_ends_when_the_issue_is_closed(gitea):
    assert await d.wait_for_completion(5, 1, 3) is d.DispatchStatus.COMPLETED


async def test_no_server_escalates_and_says_why(monkeypatch):
    monkeypatch.setenv("GITEA_URL", "http://me:secret@127.0.0.1:1")
    monkeypatch.setenv("GITEA_TOKEN", "sekrit")
    monkeypatch.setenv("GITEA_REPO", "o/r")
    with patch("asyncio.sleep", AsyncMock()) as sleep:
        result = await d.dispatch_task("Design it", issue_number=5)
    assert result.status is d.DispatchStatus.ESCALATED
    assert result.retry_count == 1
    assert "check Gitea connectivity. label: cannot connect to 127.0.0.1:1" in result.error
    assert "secret" not in result.error
    assert sleep.await_count == 1


async def test_a_mocked_client_is_gone_through(monkeypatch):
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


async def test_respx_intercepts(monkeypatch):
    import httpx
    import respx

    monkeypatch.setenv("GITEA_URL", "http://gitea.test")
    monkeypatch.setenv("GITEA_TOKEN", "t")
    monkeypatch.setenv("GITEA_REPO", "o/r")
    with respx.mock(base_url="http://gitea.test/api/v1/repos/o/r") as routes:
        routes.get("/issues/3").mock(
            return_value=httpx.Response(200, json={"number": 3, "state": "closed"})
        )
        assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.COMPLETED
        assert routes.calls.call_count == 1


async def test_strangers_are_refused_before_any_request():
    with pytest.raises(ValueError, match="known are claude_code, kimi_code, agent_api, timmy"):
        await d.dispatch_task("x", agent="nobody")
    with pytest.raises(ValueError, match="unknown task type"):
        await d.dispatch_task("x", task_type="gardening")
    with pytest.raises(ValueError, match="must not be negative"):
        await d.dispatch_task("x", max_retries=-1)


async def test_cancellation_is_prompt(gitea):
    never = asyncio.Event()

    class Slow(Gitea):
        def answer(self):
            threading.Event().wait(30)

        do_GET = do_POST = answer  # noqa: N815

    with ThreadingHTTPServer(("127.0.0.1", 0), Slow) as server:
        server.daemon_threads = True
        server.block_on_close = False
        threading.Thread(target=server.serve_forever, daemon=True).start()
        os.environ["GITEA_URL"] = f"http://127.0.0.1:{server.server_port}"
        task = asyncio.create_task(d.dispatch_task("Design it", issue_number=5))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(never.wait(), 0.1)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        server.shutdown()


def test_a_forked_child_dispatches(gitea):
    code = """
import asyncio, os, sys
import timmy.dispatcher as d
assert asyncio.run(d.dispatch_task("Design it", issue_number=5)).success
child = os.fork()
if child == 0:
    done = asyncio.run(asyncio.wait_for(d.dispatch_task("Design it", issue_number=6), 10))
    os._exit(0 if done.success else 1)
sys.exit(os.waitpid(child, 0)[1])
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False)
    assert (ran.returncode, ran.stderr) == (0, b"")
