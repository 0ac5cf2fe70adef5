"""The sandbox from Python: a context manager, a fixture, faults by keyword."""

import asyncio
import dataclasses
import http.client
import json
import os
import socket
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

import pytest
from timmy.dispatcher import sandbox as module
from timmy.dispatcher.sandbox import GiteaVersion, Request, Sandbox, sandbox_fixture

PATIENCE = 20.0

gitea_sandbox = sandbox_fixture("1.25", "1.26")


class Reply(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


def call(gitea: Sandbox, method: str, path: str, body: object = None) -> Reply:
    host, port = gitea.url.removeprefix("http://").split(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=PATIENCE)
    try:
        headers = {"Authorization": f"token {gitea.token}", "Content-Type": "application/json"}
        data = None if body is None else json.dumps(body)
        connection.request(method, path, data, headers)
        response = connection.getresponse()
        return Reply(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


class Swarm(NamedTuple):
    gitea: Sandbox
    repo: str
    number: int
    labels: str
    comments: str

    def comment(self) -> Reply:
        return call(self.gitea, "POST", self.comments, {"body": "hello"})


def swarm_of(gitea: Sandbox) -> Swarm:
    repo = gitea.create_repo("swarm")
    number = gitea.create_issue(repo, "Design the LLM router", "body")
    root = f"/api/v1/repos/{repo}"
    return Swarm(gitea, repo, number, f"{root}/labels", f"{root}/issues/{number}/comments")


@pytest.fixture
def swarm() -> Iterator[Swarm]:
    with Sandbox() as gitea:
        yield swarm_of(gitea)


def in_thread(work: Callable[[], Reply]) -> tuple[threading.Thread, list[Reply]]:
    replies: list[Reply] = []
    thread = threading.Thread(target=lambda: replies.append(work()))
    thread.start()
    return thread, replies


def test_what_is_made_is_served(gitea_sandbox: Sandbox) -> None:
    swarm = swarm_of(gitea_sandbox)
    gitea, repo = swarm.gitea, swarm.repo
    assert (repo, swarm.number) == ("timmy/swarm", 1)
    label = gitea.create_label(repo, "kimi-ready", "#f60")
    added = call(gitea, "POST", f"/api/v1/repos/{repo}/issues/1/labels", {"labels": [label]})
    assert added.status == 200
    assert added.json() == gitea.issue_labels(repo, 1) == gitea.labels(repo)
    assert gitea.labels(repo)[0]["color"] == "ff6600"
    made = swarm.comment()
    assert made.status == 201
    assert [made.json()] == gitea.comments(repo, 1)
    gitea.create_comment(repo, 1, "by hand")
    assert [comment["body"] for comment in gitea.comments(repo, 1)] == ["hello", "by hand"]
    issue = call(gitea, "GET", f"/api/v1/repos/{repo}/issues/1").json()
    assert issue == gitea.issue(repo, 1)
    assert (issue["state"], issue["comments"]) == ("open", 2)
    gitea.close_issue(repo, 1)
    assert gitea.issue(repo, 1)["state"] == "closed"
    gitea.reopen_issue(repo, 1)
    assert gitea.issue(repo, 1)["closed_at"] is None


@pytest.mark.parametrize(("version", "shown"), [("1.25", 51), ("1.26", 30)])
def test_the_versions_page_labels_differently(version: GiteaVersion, shown: int) -> None:
    with Sandbox(version) as gitea:
        repo = gitea.create_repo("swarm")
        label = gitea.page_2_label(repo, "kimi-ready")
        listed = call(gitea, "GET", f"/api/v1/repos/{repo}/labels")
        assert listed.headers["X-Total-Count"] == "51"
        assert len(listed.json()) == shown
        second = call(gitea, "GET", f"/api/v1/repos/{repo}/labels?page=2&limit=50").json()
        assert [found["id"] for found in second] == [label]
        assert gitea.duplicate_label(repo, "kimi-ready") > label


def test_repos_change_under_a_client(gitea_sandbox: Sandbox) -> None:
    swarm = swarm_of(gitea_sandbox)
    gitea = swarm.gitea
    gitea.archive_repo(swarm.repo)
    assert swarm.comment().status == 423
    assert gitea.rename_repo(swarm.repo, "hive") == "timmy/hive"
    moved = swarm.comment()
    assert (moved.status, moved.body) == (301, b"")
    assert moved.headers["Location"] == "/api/v1/repos/timmy/hive/issues/1/comments"
    gitea.set_issues_enabled("timmy/hive", False)
    assert call(gitea, "GET", "/api/v1/repos/timmy/hive/issues/1").status == 404
    gitea.rename_user("timmy", "tim")
    assert call(gitea, "GET", "/api/v1/repos/timmy/hive/labels").status == 307


def test_other_users_may_less(swarm: Swarm) -> None:
    gitea, repo = swarm.gitea, swarm.repo
    gitea.create_user("guest", "guest-token", "write:issue")
    gitea.token = "guest-token"
    label = {"name": "l", "color": "#fff"}
    assert call(gitea, "POST", swarm.labels, label).status == 403
    assert swarm.comment().status == 201
    gitea.lock_issue(repo, 1)
    assert swarm.comment().status == 403
    gitea.add_writer(repo, "guest")
    assert swarm.comment().status == 201
    assert call(gitea, "POST", swarm.labels, label).status == 201
    gitea.create_user("narrow", "narrow-token", "read:issue")
    gitea.token = "narrow-token"
    assert "required=[write:issue]" in swarm.comment().json()["message"]
    gitea.set_private(repo, True)
    assert call(gitea, "GET", swarm.labels).status == 404


def test_requests_are_recorded(swarm: Swarm) -> None:
    swarm.comment()
    call(swarm.gitea, "POST", "/agent/kimi", {"task": "x"})
    comment, agent = swarm.gitea.requests()
    assert (comment.method, comment.path, comment.status) == ("POST", swarm.comments, 201)
    assert (comment.json(), comment.body) == ({"body": "hello"}, b'{"body": "hello"}')
    assert comment.header("authorization") == "token sandbox-token"
    assert comment.header("x-none") is None
    assert [name for name, _ in comment.headers[-2:]] == ["Authorization", "Content-Type"]
    assert (agent.path, agent.status) == ("/agent/kimi", 202)
    with pytest.raises(dataclasses.FrozenInstanceError):
        comment.status = 500  # type: ignore[misc]
    assert comment == Request(
        comment.method, comment.path, comment.headers, comment.body, comment.status
    )
    swarm.gitea.clear_requests()
    assert swarm.gitea.requests() == []


def test_waiting_for_requests(swarm: Swarm) -> None:
    thread, _ = in_thread(swarm.comment)
    (arrived,) = swarm.gitea.wait_for_requests(1, timeout=PATIENCE)
    assert arrived.method == "POST"
    assert len(swarm.gitea.comments(swarm.repo, 1)) == 1
    thread.join()
    with pytest.raises(TimeoutError, match=r"1 of 2 requests in 0.01 s: POST /api"):
        swarm.gitea.wait_for_requests(2, timeout=0.01)
    with pytest.raises(ValueError, match="-1"):
        swarm.gitea.wait_for_requests(1, timeout=-1)


def test_waiting_does_not_keep_the_interpreter(swarm: Swarm) -> None:
    async def main() -> list[Request]:
        waiting = asyncio.to_thread(swarm.gitea.wait_for_requests, 1, PATIENCE)
        _, requests = await asyncio.gather(asyncio.to_thread(swarm.comment), waiting)
        return requests

    assert len(asyncio.run(main())) == 1


def test_a_status_with_retry_after(swarm: Swarm) -> None:
    fault = swarm.gitea.fault
    fault("/comments", method="POST", status=429, message="slow", retry_after=2, times=1)
    fault(status=503, retry_after=datetime(2027, 1, 1, tzinfo=UTC), times=1)
    fault(status=503, body="gone", headers={"X-Proxy": "yes"}, skip=1, times=1)
    first, second, third, fourth, fifth = (swarm.comment() for _ in range(5))
    assert (first.status, first.headers["Retry-After"]) == (429, "2")
    assert first.json()["message"] == "slow"
    assert second.headers["Retry-After"] == "Fri, 01 Jan 2027 00:00:00 GMT"
    assert (third.status, fifth.status) == (201, 201)
    assert (fourth.status, fourth.body, fourth.headers["X-Proxy"]) == (503, b"gone", "yes")
    assert len(swarm.gitea.comments(swarm.repo, 1)) == 2


@pytest.mark.parametrize("after_effect", [False, True])
@pytest.mark.parametrize("how", ["drop", "reset"])
def test_dropped_connections(swarm: Swarm, how: str, after_effect: bool) -> None:
    swarm.gitea.fault(after_effect=after_effect, drop=how == "drop", reset=how == "reset")
    expected = http.client.RemoteDisconnected if how == "drop" else ConnectionResetError
    with pytest.raises(expected):
        swarm.comment()
    assert len(swarm.gitea.comments(swarm.repo, 1)) == int(after_effect)
    assert swarm.gitea.requests()[0].status is None


def test_truncated_huge_and_dripping_answers(swarm: Swarm) -> None:
    fault = swarm.gitea.fault
    fault(truncate=True, times=1)
    fault(truncate=3, body=b"0123456789", times=1)
    fault(truncate=0, times=1)
    fault(huge=2_000_000, times=1)
    fault(drip=0.001, body="0123", times=1)
    with pytest.raises(http.client.IncompleteRead):
        swarm.comment()
    with pytest.raises(http.client.IncompleteRead) as cut:
        swarm.comment()
    assert (cut.value.partial, cut.value.expected) == (b"012", 7)
    with pytest.raises(http.client.IncompleteRead) as cut:
        swarm.comment()
    assert cut.value.partial == b""
    assert len(swarm.comment().body) == 2_000_000
    assert swarm.comment().body == b"0123"
    # The truncated and the dripping ones were real.
    assert len(swarm.gitea.comments(swarm.repo, 1)) == 4


def test_answers_in_place_of_giteas(swarm: Swarm) -> None:
    fault = swarm.gitea.fault
    issue = f"/api/v1/repos/{swarm.repo}/issues/1"
    fault("/issues/1", zeroed_issue=True)
    fault(redirect="/api/v1/repos/timmy/new", times=1)
    fault(redirect="http://elsewhere.example/", status=307, times=1)
    fault(body=b"[NaN]", times=1)
    zeroed = call(swarm.gitea, "GET", issue)
    assert (zeroed.status, zeroed.json()["number"], zeroed.json()["state"]) == (200, 0, "")
    moved, elsewhere, replaced = (swarm.comment() for _ in range(3))
    assert (moved.status, moved.headers["Location"]) == (301, "/api/v1/repos/timmy/new")
    assert (elsewhere.status, elsewhere.headers["Location"]) == (307, "http://elsewhere.example/")
    assert (replaced.status, replaced.body) == (200, b"[NaN]")
    assert swarm.gitea.comments(swarm.repo, 1) == []
    swarm.gitea.clear_faults()
    assert call(swarm.gitea, "GET", issue).json()["number"] == 1


def test_delays(swarm: Swarm) -> None:
    swarm.gitea.fault(delay=0.05)
    begun = time.monotonic()
    assert swarm.comment().status == 201
    assert time.monotonic() - begun >= 0.05


@pytest.mark.parametrize("after_effect", [False, True])
def test_holds(swarm: Swarm, after_effect: bool) -> None:
    gitea = swarm.gitea
    gitea.fault("/comments", hold=True, after_effect=after_effect)
    thread, replies = in_thread(swarm.comment)
    (held,) = gitea.wait_for_requests(1, timeout=PATIENCE)
    assert held.status is None
    assert len(gitea.comments(swarm.repo, 1)) == int(after_effect)
    gitea.release()
    thread.join()
    assert replies[0].status == 201


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ({}, "one kind, not 0"),
        ({"message": "x"}, "one kind, not 0"),
        ({"drop": True, "status": 503}, "one kind, not 2: status, drop"),
        ({"status": 99}, "cannot answer 99"),
        ({"status": 503, "headers": {"a b": "c"}}, "cannot send the header"),
        ({"status": 503, "retry_after": "2\r\nX: y"}, "cannot send the header"),
        ({"delay": -1.0}, "-1 seconds"),
    ],
)
def test_faults_that_cannot_be(swarm: Swarm, fault: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swarm.gitea.fault(**fault)


def test_what_is_not_there_or_not_allowed(swarm: Swarm) -> None:
    with pytest.raises(KeyError, match="no repo"):
        swarm.gitea.create_issue("timmy/nope", "x")
    with pytest.raises(KeyError, match="no issue 7"):
        swarm.gitea.issue(swarm.repo, 7)
    with pytest.raises(ValueError, match="invalid color"):
        swarm.gitea.create_label(swarm.repo, "l", "orange")
    with pytest.raises(ValueError, match="already"):
        swarm.gitea.create_repo("swarm")
    with pytest.raises(ValueError, match=r"known are 1\.25, 1\.26"):
        Sandbox("1.27").start()  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="loopback"):
        Sandbox(host="0.0.0.0").start()
    with pytest.raises(ValueError, match="no IP address"):
        Sandbox(host="localhost").start()
    with pytest.raises(OSError, match="cannot start"):
        Sandbox(port=int(swarm.gitea.url.rpartition(":")[2])).start()


def test_its_life() -> None:
    gitea = Sandbox(owner="tim", token="secret")
    assert repr(gitea) == "<Sandbox of Gitea 1.26 not running>"
    with pytest.raises(RuntimeError, match="not started"):
        _ = gitea.url
    gitea.stop()
    assert gitea.start() is gitea
    with pytest.raises(RuntimeError, match="running already"):
        gitea.start()
    assert "secret" not in repr(gitea)
    assert gitea.url in repr(gitea)
    assert gitea.create_repo("swarm") == "tim/swarm"
    address = ("127.0.0.1", int(gitea.url.rpartition(":")[2]))
    gitea.stop()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)
    assert gitea.labels("tim/swarm") == []
    with gitea:
        assert gitea.create_repo("swarm") == "tim/swarm"


def test_the_port_is_free_again_at_once() -> None:
    with Sandbox() as gitea:
        call(gitea, "GET", "/api/v1/version")
        port = int(gitea.url.rpartition(":")[2])
    with Sandbox(port=port) as again:
        assert call(again, "GET", "/api/v1/version").status == 200


@pytest.mark.parametrize("gitea_sandbox", ["1.25"], indirect=True)
def test_a_test_chooses_its_gitea(gitea_sandbox: Sandbox) -> None:
    assert gitea_sandbox.gitea == "1.25"


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        _ = module.nope


def run(code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments, "-c", textwrap.dedent(code)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def assert_quiet(done: subprocess.CompletedProcess[str]) -> None:
    assert (done.returncode, done.stderr) == (0, "")


def test_the_fixture_is_imported_in_a_conftest(tmp_path: Any) -> None:
    (tmp_path / "conftest.py").write_text(
        "from timmy.dispatcher.sandbox import Sandbox, gitea_sandbox\n"
    )
    (tmp_path / "test_mine.py").write_text(
        textwrap.dedent("""
            import pytest

            def test_default(gitea_sandbox):
                assert gitea_sandbox.gitea == "1.26"
                assert gitea_sandbox.create_repo("r") == "timmy/r"

            @pytest.mark.parametrize("gitea_sandbox", ["1.25", "1.26"], indirect=True)
            def test_both(gitea_sandbox):
                gitea_sandbox.create_repo("r")
        """)
    )
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=60, cwd=tmp_path, check=False
    )
    assert "3 passed" in done.stdout, done.stdout + done.stderr


def test_pytest_is_not_imported_and_nothing_is_set() -> None:
    done = run("""
        import os, sys
        before = dict(os.environ)
        from timmy.dispatcher.sandbox import Sandbox
        with Sandbox():
            assert "pytest" not in sys.modules
            assert dict(os.environ) == before
    """)
    assert_quiet(done)


def test_an_interpreter_exits_quietly_with_a_sandbox_that_runs() -> None:
    done = run("""
        import threading, urllib.request
        from timmy.dispatcher.sandbox import Sandbox
        gitea = Sandbox().start()
        gitea.fault(hold=True)
        held = lambda: urllib.request.urlopen(gitea.url + "/api/v1/version")
        threading.Thread(target=held, daemon=True).start()
        gitea.wait_for_requests(1, timeout=20)
    """)
    assert_quiet(done)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_child_is_told_and_does_not_hang() -> None:
    done = run("""
        import os, sys, urllib.request
        from timmy.dispatcher.sandbox import Sandbox
        gitea = Sandbox().start()
        child = os.fork()
        if child == 0:
            try:
                gitea.create_repo("r")
            except RuntimeError as error:
                assert "process" in str(error)
            else:
                raise AssertionError
            with Sandbox() as own:
                own.create_repo("r")
            gitea.stop()
            del gitea
            sys.exit(7)
        _, status = os.waitpid(child, 0)
        assert os.waitstatus_to_exitcode(status) == 7
        assert urllib.request.urlopen(gitea.url + "/api/v1/version").status == 200
        gitea.stop()
    """)
    assert_quiet(done)
