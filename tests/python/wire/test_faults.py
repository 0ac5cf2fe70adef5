"""Every fault at every request: what comes of it, what the error says, what is sent again.

What may have had its effect is not sent twice: a comment, a label that is made, a post to an
agent. A question, and the adding of a label by its id, are asked once more on a fresh connection.
"""

import re
from typing import NamedTuple

import pytest
import timmy.dispatcher as d
from timmy.dispatcher.sandbox import Sandbox


class Step(NamedTuple):
    """A request of a hand-over: how a fault finds it, and what fails with it."""

    method: str
    path: str
    fails: str
    #: Whether it is asked again where the connection broke.
    again: bool


STEPS = {
    "label list": Step("GET", "*/swarm/labels", "label", True),
    "label create": Step("POST", "*/swarm/labels", "label", False),
    "label add": Step("POST", "*/issues/1/labels", "label", True),
    "comment": Step("POST", "*/issues/1/comments", "comment", False),
    "agent": Step("POST", "/agent", "agent", False),
}

#: Connections that break: asked again where that is harmless.
BROKEN = {
    "drop": {"drop": True},
    "drop after the effect": {"drop": True, "after_effect": True},
    "reset": {"reset": True},
    "reset after the effect": {"reset": True, "after_effect": True},
    "truncated": {"truncate": True},
    "truncated to nothing": {"truncate": 0},
}

HUGE = 17 * 1024 * 1024


async def hand_over(gitea, step):
    if step == "agent":
        url = f"{gitea.sandbox.url}/agent"
        return await d.dispatch_task("Research it", api_endpoint=url, max_retries=0)
    return await d.dispatch_task("Fix it", issue_number=1, max_retries=0)


def failure(result, step):
    """Why the step failed; the other one of a hand-over went well."""
    if step == "agent":
        assert result.status is d.DispatchStatus.ESCALATED
        return result.error
    fails = STEPS[step].fails
    assert result.status is d.DispatchStatus.ASSIGNED
    assert list(result.metadata["failed_steps"]) == [fails]
    assert (result.label_applied is None) == (fails == "label")
    assert (result.comment_id is None) == (fails == "comment")
    return result.metadata["failed_steps"][fails]


def sent(gitea, step):
    """How often the request was sent."""
    pattern = re.compile(STEPS[step].path.replace("*", ".*") + r"(\?.*)?$")
    method = STEPS[step].method
    return sum(one.method == method and bool(pattern.search(one.path)) for one in gitea.seen())


@pytest.fixture(params=STEPS)
def step(request, gitea):
    gitea.open_issue()
    return request.param


def order(gitea, step, **fault):
    gitea.sandbox.fault(STEPS[step].path, method=STEPS[step].method, **fault)


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_connection_that_breaks(gitea, step, fault, log):
    order(gitea, step, **BROKEN[fault])
    reason = failure(await hand_over(gitea, step), step)
    assert reason.startswith(f"{gitea.host} broke off: ")
    assert sent(gitea, step) == (2 if STEPS[step].again else 1)
    assert gitea.token not in log()


@pytest.mark.parametrize("fault", BROKEN)
async def test_a_connection_that_breaks_once(gitea, step, fault):
    order(gitea, step, **BROKEN[fault], times=1)
    result = await hand_over(gitea, step)
    if STEPS[step].again:
        assert result.success
        assert result.metadata == {}
        assert sent(gitea, step) == 2
    else:
        failure(result, step)
        assert sent(gitea, step) == 1


#: Answers: never asked again within an attempt, whatever they are.
ANSWERS = {
    "400": ({"status": 400, "message": "no"}, "400 "),
    "401": ({"status": 401}, "401 "),
    "403": ({"status": 403}, "403 "),
    "404": ({"status": 404}, "404 "),
    "409": ({"status": 409}, "409 "),
    "423": ({"status": 423}, "423 "),
    "429": ({"status": 429, "retry_after": 1}, "429 "),
    "500": ({"status": 500}, "500 "),
    "500 after the effect": ({"status": 500, "after_effect": True}, "500 "),
    "503": ({"status": 503, "body": "plain"}, "503 "),
    "301": ({"redirect": "/elsewhere"}, "301 "),
    "307": ({"redirect": "/elsewhere", "status": 307}, "307 "),
    "huge error": ({"status": 502, "body": "x" * 2_000_000}, "502 "),
    "huge message": ({"status": 502, "message": "x" * 2_000_000}, "502 "),
}


@pytest.mark.parametrize("fault", ANSWERS)
async def test_an_answer_that_refuses(gitea, way, step, fault, log):
    options, starts = ANSWERS[fault]
    order(gitea, step, **options)
    reason = failure(await hand_over(gitea, step), step)
    assert reason.removeprefix("API agent returned ").startswith(starts.strip())
    assert len(reason) < 300
    assert sent(gitea, step) == 1
    assert gitea.token not in log()
    assert len(max(log().splitlines(), key=len)) < 1000


#: Successes that cannot be read. Adding a label believes its status, unless a list lacks it.
UNREADABLE = {
    "not JSON": b"<html>",
    "nothing": b"",
    "invalid UTF-8": b'{"id": "\xff\xfe"}',
    "deep": b"[" * 100_000,
    "text": b'"' + b"x" * 100_000 + b'"',
    "null": b"null",
    "no id": b'{"name": "kimi-ready"}',
}


@pytest.mark.parametrize("answer", UNREADABLE)
async def test_a_success_that_cannot_be_read(gitea, step, answer):
    order(gitea, step, status=200 if step.startswith("label") else 201, body=UNREADABLE[answer])
    result = await hand_over(gitea, step)
    assert sent(gitea, step) == 1
    believed = {
        "label add": UNREADABLE,
        # No list at all is an empty one, and an agent may answer with any JSON or nothing.
        "label list": {"null"},
        "agent": {"nothing", "text", "null", "no id"},
    }
    if answer in believed.get(step, ()):
        assert result.success
        assert result.metadata.keys() <= {"response"}
    else:
        assert len(failure(result, step)) < 300


async def test_an_answer_that_is_huge(gitea, step):
    order(gitea, step, huge=HUGE)
    reason = failure(await hand_over(gitea, step), step)
    assert reason == f"the answer of {gitea.host} is larger than 16 MiB"
    assert sent(gitea, step) == 1


@pytest.mark.parametrize("fault", [{"delay": 0.05}, {"drip": 0.0005}], ids=["delay", "drip"])
async def test_a_slow_answer_is_an_answer(gitea, step, fault):
    order(gitea, step, **fault)
    result = await hand_over(gitea, step)
    assert (result.success, result.metadata.get("failed_steps")) == (True, None)
    assert sent(gitea, step) == 1


async def test_a_second_attempt_sends_what_failed_again(gitea, step, slept):
    order(gitea, step, status=503, times=1)
    also = {"label": "comment", "comment": "label add"}.get(STEPS[step].fails)
    if also:
        order(gitea, also, status=503, times=1)
    if step == "agent":
        url = f"{gitea.sandbox.url}/agent"
        result = await d.dispatch_task("Research it", api_endpoint=url)
    else:
        result = await d.dispatch_task("Fix it", issue_number=1)
    assert (result.success, result.retry_count, len(slept)) == (True, 1, 1)
    if also:
        assert len(gitea.comments(1)) == 1


async def test_the_escalation_fails_too(gitea, way, log, slept):
    gitea.open_issue()
    gitea.sandbox.fault(status=503, message="down")
    result = await d.dispatch_task("Fix it", issue_number=1)
    assert result.status is d.DispatchStatus.ESCALATED
    assert log().count("Comment on #1 returned 503: ") == 3


QUESTIONS = {
    "drop": ({"drop": True}, 2),
    "reset": ({"reset": True}, 2),
    "truncated": ({"truncate": True}, 2),
    "huge": ({"huge": HUGE}, 1),
    "500": ({"status": 500}, 1),
    "429": ({"status": 429, "retry_after": 9}, 1),
    "redirect": ({"redirect": "/elsewhere"}, 1),
    "zeroed issue": ({"zeroed_issue": True}, 1),
    "not JSON": ({"body": "<html>"}, 1),
    "invalid UTF-8": ({"body": b'{"state": "closed\xff"}'}, 1),
    "huge error": ({"status": 502, "body": "x" * 2_000_000}, 1),
}


@pytest.mark.parametrize("fault", QUESTIONS)
async def test_a_question_of_a_wait(gitea, slept, fault, log):
    number = gitea.open_issue()
    gitea.sandbox.close_issue(gitea.repo, number)
    options, times = QUESTIONS[fault]
    gitea.sandbox.fault(f"/issues/{number}", **options, times=times)
    assert await d.wait_for_completion(number, 5, 50) is d.DispatchStatus.COMPLETED
    # The question that failed, and the one that was answered.
    assert len(gitea.seen()) == times + 1
    assert slept == [5]
    assert len(log()) < 1000


@pytest.mark.parametrize("answered", [0, 1, 2, 3])
async def test_an_idle_connection_that_the_server_closed(answered, monkeypatch):
    """A server that restarts: the next hand-over meets connections that are gone."""
    with Sandbox() as gitea:
        port = int(gitea.url.rpartition(":")[2])
        monkeypatch.setenv("GITEA_URL", gitea.url)
        monkeypatch.setenv("GITEA_TOKEN", gitea.token)
        monkeypatch.setenv("GITEA_REPO", gitea.create_repo("swarm"))
        for _ in range(answered):
            assert (await d.dispatch_task("Fix it", issue_number=_issue(gitea))).success
    with Sandbox(port=port) as gitea:
        gitea.create_repo("swarm")
        result = await d.dispatch_task("Fix it", issue_number=_issue(gitea), max_retries=0)
        assert (result.success, result.metadata) == (True, {})


def _issue(gitea):
    return gitea.create_issue("timmy/swarm", "Fix it")
