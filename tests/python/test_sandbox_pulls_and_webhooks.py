"""The sandbox's pull requests, webhooks and late commits; Rust's tests hold the facts."""

import hashlib
import hmac
import http.client
import http.server
import json
import queue
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, get_args

import pytest
from timmy.dispatcher.sandbox import GiteaVersion, Sandbox, StatusState

PATIENCE = 20.0


@pytest.fixture(params=get_args(GiteaVersion))
def gitea(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
    with Sandbox(request.param) as sandbox:
        yield sandbox


@pytest.fixture
def repo(gitea: Sandbox) -> str:
    repo = gitea.create_repo("swarm")
    gitea.create_issue(repo, "Write a README")
    gitea.create_user("kimi", "kimi-token", "all")
    gitea.add_writer(repo, "kimi")
    return repo


Received = tuple[Mapping[str, str], bytes]


@contextmanager
def receiver() -> Iterator[tuple[str, "queue.Queue[Received]"]]:
    got: queue.Queue[Received] = queue.Queue()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            got.put((self.headers, body))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/hook", got
        finally:
            server.shutdown()
            thread.join()


def test_a_pull_request_from_its_branch_to_the_issue_that_it_closes(
    gitea: Sandbox, repo: str
) -> None:
    head = gitea.push(repo, "work")
    number = gitea.create_pull(repo, "Fix", "work", "Closes #1")
    assert gitea.pull(repo, number)["head"]["sha"] == head
    [row] = gitea.timeline(repo, 1)
    assert (row["type"], row["ref_action"]) == ("pull_ref", "closes")
    assert row["ref_issue"]["number"] == number

    with pytest.raises(ValueError, match="approve your own pull"):
        gitea.review_pull(repo, number, gitea.owner, "APPROVED")
    review = gitea.review_pull(repo, number, "kimi", "APPROVED")
    gitea.set_status(repo, "work", "ci/test")
    reviews = gitea.act("kimi", "GET", f"/repos/{repo}/pulls/{number}/reviews")
    [(seen, state, official, stale)] = [
        (r["id"], r["state"], r["official"], r["stale"]) for r in reviews
    ]
    assert (seen, state, official, stale) == (review, "APPROVED", True, False)
    status = gitea.act("kimi", "GET", f"/repos/{repo}/commits/{head}/status")
    assert (status["state"], status["total_count"]) == ("success", 1)

    gitea.push(repo, "work")
    assert gitea.act("kimi", "GET", f"/repos/{repo}/pulls/{number}/reviews/{review}")["stale"]
    gitea.merge_pull(repo, number)
    assert gitea.pull(repo, number)["merged"]
    assert gitea.issue(repo, 1)["state"] == "closed"
    with pytest.raises(ValueError, match="405"):
        gitea.merge_pull(repo, number)


@pytest.mark.parametrize("state", get_args(StatusState))
def test_every_state_of_a_check_is_taken(gitea: Sandbox, repo: str, state: StatusState) -> None:
    gitea.set_status(repo, "main", "ci", state)
    [status] = gitea.act("kimi", "GET", f"/repos/{repo}/commits/main/statuses")
    assert status["status"] == state


def test_anybody_may_act_and_what_is_removed_is_gone(gitea: Sandbox, repo: str) -> None:
    path = f"/repos/{repo}/issues/1/comments"
    comment = gitea.act("kimi", "POST", path, {"body": "on it"})
    assert comment["user"]["login"] == "kimi"
    edited = f"/repos/{repo}/issues/comments/{comment['id']}"
    assert gitea.act("kimi", "PATCH", edited, {"body": "done"})["body"] == "done"
    gitea.delete_comment(repo, comment["id"])
    assert gitea.comments(repo, 1) == []
    gitea.delete_issue(repo, 1)
    with pytest.raises(ValueError, match="404"):
        gitea.act("kimi", "GET", path.removesuffix("/comments"))
    with pytest.raises(ValueError, match="nobody"):
        gitea.act("nobody", "GET", "/user")
    with pytest.raises(KeyError):
        gitea.push("timmy/nowhere", "work")
    assert gitea.requests() == []


def test_webhooks_arrive_signed_and_are_remembered(gitea: Sandbox, repo: str) -> None:
    with receiver() as (url, got):
        hook = gitea.create_hook(repo, url, "issues", secret="s3cret")
        gitea.close_issue(repo, 1)
        headers, body = got.get(timeout=PATIENCE)
        [sent] = gitea.wait_for_deliveries(1, PATIENCE)
    assert headers["X-Gitea-Event"] == headers["X-Gitea-Event-Type"] == "issues"
    signature = hmac.new(b"s3cret", body, hashlib.sha256).hexdigest()
    assert headers["X-Gitea-Signature"] == signature
    assert json.loads(body)["action"] == "closed"
    assert (sent.hook, sent.event, sent.event_type) == (hook, "issues", "issues")
    assert (sent.id, sent.url) == (headers["X-Gitea-Delivery"], url)
    assert (sent.payload.encode(), sent.status, sent.error) == (body, 204, None)


def test_webhooks_are_lost_repeated_and_overtaken(gitea: Sandbox, repo: str) -> None:
    with receiver() as (url, got):
        gitea.create_hook(repo, url, "issues")
        gitea.delivery_fault("issue_comment", lose=True, times=1)
        gitea.delivery_fault("issue_comment", repeat=1)
        gitea.delivery_fault("issues", overtake=True, times=1)
        gitea.create_comment(repo, 1, "lost")
        gitea.close_issue(repo, 1)
        gitea.create_comment(repo, 1, "seen")
        gitea.create_comment(repo, 1, "twice")
        told = [json.loads(got.get(timeout=PATIENCE)[1]) for _ in range(5)]
        lost, *_ = gitea.wait_for_deliveries(6, PATIENCE)
    said = [(event.get("comment") or event["issue"])["body"] for event in told]
    assert [event["action"] for event in told] == [
        "created",
        "created",
        "closed",
        "created",
        "created",
    ]
    assert said == ["seen", "seen", "", "twice", "twice"]
    assert (lost.status, lost.error) == (None, "lost on order")


@pytest.mark.parametrize("kinds", [{}, {"lose": True, "repeat": 1}, {"repeat": 1_001}])
def test_faults_of_webhooks_that_cannot_be(gitea: Sandbox, kinds: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"fault|repeated"):
        gitea.delivery_fault(**kinds)


def test_webhooks_to_this_machine_are_refused_where_they_are_not_allowed() -> None:
    with Sandbox(webhook_hosts="external") as gitea:
        repo = gitea.create_repo("swarm")
        gitea.create_hook(repo, "http://127.0.0.1:1/", "issues")
        gitea.create_issue(repo, "x")
        [sent] = gitea.wait_for_deliveries(1, PATIENCE)
        assert sent.status is None
        assert "ALLOWED_HOST_LIST" in (sent.error or "")
        with pytest.raises(TimeoutError, match="1 of 2 webhooks"):
            gitea.wait_for_deliveries(2, 0)


def post_comment(gitea: Sandbox, repo: str) -> int:
    connection = http.client.HTTPConnection(gitea.url.removeprefix("http://"), timeout=PATIENCE)
    headers = {"Authorization": f"token {gitea.token}", "Content-Type": "application/json"}
    path = f"/api/v1/repos/{repo}/issues/1/comments"
    try:
        connection.request("POST", path, '{"body": "late"}', headers)
        return connection.getresponse().status
    finally:
        connection.close()


def test_an_effect_comes_when_its_client_has_given_up(gitea: Sandbox, repo: str) -> None:
    gitea.fault("/comments", drop=True, commit_late="release", times=1)
    gitea.fault("/comments", status=504, commit_late=0.05, times=1)
    with pytest.raises(http.client.RemoteDisconnected):
        post_comment(gitea, repo)
    with pytest.raises(TimeoutError):
        gitea.wait_for_late_effects(0)
    assert gitea.comments(repo, 1) == []
    gitea.release()
    gitea.wait_for_late_effects(PATIENCE)
    assert len(gitea.comments(repo, 1)) == 1
    assert post_comment(gitea, repo) == 504
    gitea.wait_for_late_effects(PATIENCE)
    assert len(gitea.comments(repo, 1)) == 2
    with pytest.raises(ValueError, match="committed late"):
        gitea.fault(hold=True, commit_late=1)
