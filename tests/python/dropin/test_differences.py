"""What differs on purpose from the module replaced: whole dispatches, seen through mocks.

The numbers are those of the README's list. Timing on a real connection is not shown here.
"""

import asyncio
import sys
from unittest.mock import AsyncMock, MagicMock, patch

import httpx
import pytest
from timmy import dispatcher
from timmy.dispatcher import (
    AGENT_REGISTRY,
    AgentSpec,
    AgentType,
    DispatchStatus,
    TaskType,
    dispatch_task,
)

from dropin.doubles import (
    AGENT_URL,
    GITEA,
    KIMI_LABELS,
    PlainAnswer,
    ScriptedClient,
    Wire,
    dispatch_answers,
    healthy_client,
    mock_answer,
    mock_client,
)

WHOLE_FAILURE = "Failed to apply label and post comment — check Gitea connectivity."


@pytest.fixture
def sleep():
    with patch("asyncio.sleep", AsyncMock()) as sleep:
        yield sleep


def waits(sleep):
    return [made.args[0] for made in sleep.await_args_list]


# 1: an explicit type is what is said everywhere.


async def test_1_on_an_issue(replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    with patch("timmy.dispatcher.infer_task_type") as infer:
        result = await dispatch_task(
            "Design it",
            task_type=TaskType.CODE_REVIEW,
            agent=AgentType.KIMI_CODE,
            issue_number=7,
        )
    assert result.task_type is TaskType.CODE_REVIEW
    assert "**Task type:** `code_review`" in client.calls[2].keywords["json"]["body"]
    infer.assert_not_called()


async def test_1_to_an_api(replace_httpx):
    client = ScriptedClient(PlainAnswer(500, {}), PlainAnswer(200, {}))
    replace_httpx(client)
    with patch("asyncio.sleep", AsyncMock()):
        result = await dispatch_task(
            "Design it", task_type=TaskType.ANALYSIS, api_endpoint=AGENT_URL
        )
    assert (result.task_type, result.agent) == (TaskType.ANALYSIS, AgentType.AGENT_API)
    assert [made.keywords["json"]["task_type"] for made in client.calls] == ["analysis"] * 2


async def test_1_locally():
    result = await dispatch_task("Design it", task_type=TaskType.TRIAGE)
    assert (result.task_type, result.agent) == (TaskType.TRIAGE, AgentType.TIMMY)


async def test_1_is_not_for_a_step_that_calls_the_original(replace_httpx):
    replace_httpx(healthy_client())
    original = dispatcher._dispatch_via_gitea
    with patch.object(dispatcher, "_dispatch_via_gitea", AsyncMock(side_effect=original)):
        result = await dispatch_task(
            "Design it",
            task_type=TaskType.CODE_REVIEW,
            agent=AgentType.KIMI_CODE,
            issue_number=7,
        )
    assert result.task_type is TaskType.ARCHITECTURE


# 2: the escalation names the number of attempts.


@pytest.mark.parametrize("retries", [0, 1, 4])
async def test_2_the_number_of_attempts(retries, replace_httpx):
    client = mock_client(post=mock_answer(404, {}, "no"))
    replace_httpx(client)
    await dispatch_task("Research it", api_endpoint=AGENT_URL, issue_number=7, max_retries=retries)
    body = client.post.await_args.kwargs["json"]["body"]
    assert f"Could not assign to **Agent API** after {retries + 1} attempt(s)." in body


# 5: no redirect is a success.


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_5_a_moved_repository(status, replace_httpx):
    moved = MagicMock(
        status_code=status, headers={"location": "/api/v1/repos/new/name/labels"}, text=""
    )
    client = mock_client(get=moved, post=moved)
    replace_httpx(client)
    result = await dispatch_task("Fix it", issue_number=7, max_retries=0)
    assert result.error == (
        f"{WHOLE_FAILURE} label: {status} moved to new/name; comment: {status} moved to new/name"
    )


async def test_5_a_redirect_that_names_no_repository(replace_httpx):
    moved = mock_answer(302, {})
    replace_httpx(mock_client(get=moved, post=moved))
    result = await dispatch_task("Fix it", issue_number=7, max_retries=0)
    assert "label: 302 redirect, which is not followed: check GITEA_URL" in result.error


# 6: a short wait before a further attempt, where the failure may pass.


@pytest.mark.parametrize(
    "answer",
    [
        httpx.ConnectError("refused"),
        httpx.ReadTimeout("slow"),
        ConnectionResetError(104, "reset"),
        TimeoutError(),
        mock_answer(429, {}),
        mock_answer(500, {}),
        mock_answer(503, {}),
    ],
    ids=lambda answer: str(getattr(answer, "status_code", repr(answer))),
)
async def test_6_it_waits_after_what_may_pass(answer, sleep, replace_httpx):
    replace_httpx(mock_client(get=[answer] * 9, post=[answer] * 9))
    for options in ({"issue_number": 7}, {"agent": "agent_api", "api_endpoint": AGENT_URL}):
        sleep.reset_mock()
        result = await dispatch_task("Fix it", max_retries=2, **options)
        assert result.retry_count == 2
        first, second = waits(sleep)
        assert 0.25 <= first <= 0.5
        assert 0.5 <= second <= 1


@pytest.mark.parametrize(
    "answer",
    [
        httpx.UnsupportedProtocol("no scheme"),
        ValueError("no JSON"),
        *(mock_answer(status, {}) for status in (204, 301, 400, 401, 403, 404, 422, 423)),
    ],
    ids=lambda answer: str(getattr(answer, "status_code", repr(answer))),
)
async def test_6_it_does_not_wait_after_what_stays(answer, sleep, replace_httpx):
    replace_httpx(mock_client(get=[answer] * 9, post=[answer] * 9))
    await dispatch_task("Fix it", max_retries=2, issue_number=7)
    await dispatch_task("Fix it", agent="agent_api", api_endpoint=AGENT_URL)
    sleep.assert_not_called()


async def test_6_the_waits_double_up_to_eight_seconds(sleep, replace_httpx):
    replace_httpx(mock_client(post=mock_answer(503, {})))
    await dispatch_task("Research it", api_endpoint=AGENT_URL, max_retries=9)
    made = waits(sleep)
    for wait, least in zip(made, [0.25, 0.5, 1, 2, 4, 8, 8, 8, 8], strict=True):
        assert least <= wait <= 2 * least


@pytest.mark.parametrize(
    ("asked", "least", "most"),
    [
        ("2", 2, 2),
        ("30", 30, 30),
        ("3600", 30, 30),
        ("0", 0.25, 0.5),
        ("-1", 0.25, 0.5),
        ("soon", 0.25, 0.5),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.25, 0.5),
        ("Wed, 21 Oct 2099 07:28:00 GMT", 30, 30),
        (2, 0.25, 0.5),
        (None, 0.25, 0.5),
        (MagicMock(), 0.25, 0.5),
    ],
    ids=str,
)
@pytest.mark.parametrize(("status", "name"), [(429, "retry-after"), (503, "Retry-After")])
async def test_6_retry_after_is_kept(status, name, asked, least, most, sleep, replace_httpx):
    answer = MagicMock(status_code=status, headers={name: asked}, text="")
    replace_httpx(mock_client(get=answer, post=answer))
    await dispatch_task("Research it", api_endpoint=AGENT_URL)
    await dispatch_task("Fix it", issue_number=7)
    assert len(waits(sleep)) == 2
    assert all(least <= wait <= most for wait in waits(sleep))


async def test_6_nothing_waits_after_a_replaced_step(sleep):
    failed = dispatcher.DispatchResult("t", "a", None, DispatchStatus.FAILED, error="503")
    with patch("timmy.dispatcher._dispatch_local", AsyncMock(return_value=failed)):
        await dispatch_task("Plan it", max_retries=3)
    sleep.assert_not_called()


async def test_6_the_wait_can_be_cancelled(replace_httpx):
    replace_httpx(mock_client(post=mock_answer(503, {})))
    with (
        patch("asyncio.sleep", AsyncMock(side_effect=asyncio.CancelledError)),
        pytest.raises(asyncio.CancelledError),
    ):
        await dispatch_task("Research it", api_endpoint=AGENT_URL)


# 7: what failed is said.

CAUSES = {
    "401": (PlainAnswer(401, {}, '{"message":"bad"}'), "401 unauthorized, check GITEA_TOKEN: bad"),
    "403": (PlainAnswer(403, {}, "{}"), "403 forbidden"),
    "scope": (
        PlainAnswer(
            403,
            {},
            '{"message":"token does not have at least one of required scope(s), '
            'required=[write:issue], token scope=read:issue"}',
        ),
        "403 forbidden: required scope write:issue",
    ),
    "404": (PlainAnswer(404, {}, '{"message":"not found"}'), "404 not found: issue #7"),
    "423": (PlainAnswer(423, {}, '{"message":"archived"}'), "423 locked: archived"),
    "422": (PlainAnswer(422, {}, "<html>"), "422 refused"),
    "429": (PlainAnswer(429, {}, ""), "429 too many requests"),
    "500": (
        PlainAnswer(500, {}, '{"message":""}'),
        "500 of the server, which also means that there is no such issue: issue #7",
    ),
    "refused": (httpx.ConnectError("connection refused"), "connection refused"),
    "no id": (PlainAnswer(201, {}), "the answer to the comment holds no id"),
}


@pytest.mark.parametrize("name", CAUSES)
async def test_7_a_comment_that_failed_beside_a_label(name, replace_httpx):
    answer, cause = CAUSES[name]
    replace_httpx(ScriptedClient(PlainAnswer(200, KIMI_LABELS), PlainAnswer(200, {}), answer))
    result = await dispatch_task("Fix it", issue_number=7)
    assert (result.status, result.error) == (DispatchStatus.ASSIGNED, None)
    assert result.metadata == {"failed_steps": {"comment": cause}}


@pytest.mark.parametrize("name", [name for name in CAUSES if name != "no id"])
async def test_7_a_label_that_failed_beside_a_comment(name, replace_httpx):
    answer, cause = CAUSES[name]
    replace_httpx(
        ScriptedClient(PlainAnswer(200, KIMI_LABELS), answer, PlainAnswer(201, {"id": 42}))
    )
    result = await dispatch_task("Fix it", issue_number=7)
    assert (result.status, result.comment_id) == (DispatchStatus.ASSIGNED, 42)
    assert result.metadata == {"failed_steps": {"label": cause}}


@pytest.mark.parametrize("name", CAUSES)
async def test_7_a_whole_failure_names_the_causes(name, sleep, replace_httpx):
    answer, cause = CAUSES[name]
    replace_httpx(
        ScriptedClient(
            PlainAnswer(200, KIMI_LABELS), PlainAnswer(423, {}), answer, PlainAnswer(201, {})
        )
    )
    result = await dispatch_task("Fix it", issue_number=7, max_retries=0)
    assert result.error == f"{WHOLE_FAILURE} label: 423 locked; comment: {cause}"


async def test_7_a_replaced_helper_does_not_say_why(replace_httpx):
    replace_httpx(mock_client(post=mock_answer(404, {})))
    with patch("timmy.dispatcher._apply_gitea_label", return_value=False):
        result = await dispatch_task("Fix it", issue_number=7, max_retries=0)
        assert result.error == f"{WHOLE_FAILURE} comment: 404 not found: issue #7"
        with patch("timmy.dispatcher._post_gitea_comment", return_value=None):
            result = await dispatch_task("Fix it", issue_number=7, max_retries=0)
            assert result.error == WHOLE_FAILURE
        with patch("timmy.dispatcher._post_gitea_comment", return_value=9):
            result = await dispatch_task("Fix it", issue_number=7)
            assert result.metadata == {"failed_steps": {"label": "failed"}}


async def test_7_success_says_nothing(replace_httpx):
    replace_httpx(healthy_client())
    assert (await dispatch_task("Fix it", issue_number=7)).metadata == {}


# 9: no token, no user and password.


@pytest.mark.parametrize("way", ["label", "comment", "agent"])
async def test_9_what_an_exception_says(way, sleep, settings, replace_httpx, log_lines):
    settings.gitea_url = "http://me:pass:word@gitea.invalid"
    error = httpx.ConnectError(f"{settings.gitea_url}/x?token={settings.gitea_token} refused")
    replace_httpx(mock_client(get=error if way == "label" else mock_answer(200, []), post=error))
    options = {"api_endpoint": "http://you:hush@agent.invalid"} if way == "agent" else {}
    result = await dispatch_task(
        "Research it" if way == "agent" else "Fix it", issue_number=7, **options
    )
    said = "\n".join([repr(result), *(text for _, text in log_lines())])
    assert "http://***@gitea.invalid" in said
    assert not [word for word in ("pass:word", "me:", "hush", "you:") if word in said]
    if way != "agent":
        assert "s3cret" not in said


async def test_9_what_a_server_says(replace_httpx, log_lines):
    said = "token s3cret is not allowed at http://me:pass@gitea.invalid/x"
    replace_httpx(
        ScriptedClient(
            PlainAnswer(200, KIMI_LABELS), PlainAnswer(200, {}), PlainAnswer(403, {}, said)
        )
    )
    await dispatch_task("Fix it", issue_number=7)
    assert (
        "WARNING",
        "Comment on #7 returned 403: token *** is not allowed at http://***@gitea.invalid/x",
    ) in log_lines()


async def test_9_the_helpers_know_the_token_from_the_headers(log_lines):
    client = mock_client(post=RuntimeError("Bearer 0123456789abcdef was refused"))
    await dispatcher._post_gitea_comment(
        client, GITEA, "o/r", {"Authorization": "token 0123456789abcdef"}, 7, "b"
    )
    assert log_lines() == [("WARNING", "Failed to post comment on #7: Bearer *** was refused")]


# 10: strangers are refused before anything happens; a setting that cannot work fails.


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"agent": "nobody"}, "known are claude_code, kimi_code, agent_api, timmy"),
        ({"task_type": "gardening"}, "known are architecture, refactoring"),
        ({"max_retries": -1}, "max_retries must not be negative"),
    ],
)
async def test_10_strangers(options, said, replace_httpx, log_lines):
    constructor = replace_httpx(MagicMock())
    with pytest.raises(ValueError, match=said):
        await dispatch_task("Fix it", issue_number=7, **options)
    constructor.assert_not_called()
    assert log_lines() == []


async def test_10_an_empty_title_comes_first():
    result = await dispatch_task(" ", agent="nobody", max_retries=-1)
    assert (result.status, result.error) == (DispatchStatus.FAILED, "`title` is required.")


async def test_10_known_names_as_text(replace_httpx):
    result = await dispatch_task("Fix it", task_type="triage", agent="timmy")
    assert result.task_type is TaskType.TRIAGE
    assert result.agent is AgentType.TIMMY


async def test_10_an_agent_of_the_hosts_own_as_text(replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(200, {})))
    spec = AgentSpec("mine", "Mine", frozenset(), None, 1, "api", AGENT_URL)
    with patch.dict(AGENT_REGISTRY, {"mine": spec}):
        result = await dispatch_task("Fix it", agent="mine")
        assert (result.success, result.agent) == (True, "mine")
        with pytest.raises(ValueError, match="timmy, mine"):
            await dispatch_task("Fix it", agent="other")


@pytest.mark.parametrize(
    ("changed", "value", "said"),
    [
        ("gitea_url", "gitea.invalid", "GITEA_URL is"),
        ("gitea_url", "ftp://gitea.invalid", "GITEA_URL is"),
        ("gitea_url", "", "GITEA_URL is"),
        ("gitea_repo", "mine", "GITEA_REPO is"),
        ("gitea_repo", "", "GITEA_REPO is"),
        ("gitea_repo", "a/b/c", "GITEA_REPO is"),
        ("gitea_repo", "../x", "GITEA_REPO is"),
    ],
)
async def test_10_settings_that_cannot_work(
    changed, value, said, sleep, settings, replace_httpx, log_lines
):
    constructor = replace_httpx(MagicMock())
    setattr(settings, changed, value)
    result = await dispatch_task("Fix it", issue_number=7)
    assert (result.status, result.retry_count) == (DispatchStatus.ESCALATED, 1)
    assert result.error.startswith(said)
    assert log_lines()[-1][1].startswith(f"Failed to post escalation comment: {said}")
    assert await dispatcher.wait_for_completion(7) is DispatchStatus.FAILED
    assert log_lines()[-1][1].startswith(f"Stopped waiting for issue #7: {said}")
    constructor.assert_not_called()
    sleep.assert_not_called()


@pytest.mark.parametrize("endpoint", ["agent.invalid/run", "file:///etc/passwd", "http://", "x"])
async def test_10_an_endpoint_that_cannot_work(endpoint, sleep, replace_httpx):
    constructor = replace_httpx(MagicMock())
    result = await dispatch_task("Research it", api_endpoint=endpoint)
    assert result.error.startswith("the API endpoint is ")
    assert result.retry_count == 1
    constructor.assert_not_called()
    sleep.assert_not_called()


@pytest.mark.parametrize("url", ["http://gitea.invalid/", "http://gitea.invalid/sub//"])
async def test_10_a_trailing_slash_works(url, settings, replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    settings.gitea_url = url
    assert (await dispatch_task("Fix it", issue_number=7)).success
    assert client.calls[0].url.startswith(f"{url.rstrip('/')}/api/v1/repos/")


# 11: a client that cannot be made is a failure.


@pytest.mark.parametrize("step", ["constructor", "enter"])
async def test_11_a_client_that_cannot_be_made(step, replace_httpx, log_lines):
    client = mock_client()
    constructor = replace_httpx(client)
    (constructor if step == "constructor" else client.__aenter__).side_effect = ValueError("no CA")
    result = await dispatcher._dispatch_via_gitea(AgentType.KIMI_CODE, 7, "Fix it", "", [])
    assert (result.status, result.error) == (DispatchStatus.FAILED, "no CA")
    result = await dispatch_task("Fix it", issue_number=7)
    assert (result.status, result.retry_count) == (DispatchStatus.ESCALATED, 1)
    assert log_lines()[-1] == ("WARNING", "Failed to post escalation comment: no CA")


# 12: httpx need not be there.


@pytest.fixture
def without_httpx(monkeypatch, settings):
    monkeypatch.setitem(sys.modules, "httpx", None)
    settings.gitea_url = "http://127.0.0.1:1"


async def test_12_a_dispatch(without_httpx, sleep):
    result = await dispatch_task("Fix it", issue_number=7, max_retries=0)
    assert result.error.startswith(f"{WHOLE_FAILURE} label: cannot connect to 127.0.0.1:1")
    result = await dispatch_task("Research it", api_endpoint="http://127.0.0.1:1/x", max_retries=0)
    assert result.error.startswith("cannot connect to 127.0.0.1:1")


async def test_12_waiting(without_httpx, sleep, log_lines):
    assert await dispatcher.wait_for_completion(7, 1, 1) is DispatchStatus.TIMED_OUT
    assert log_lines()[0][1].startswith("Poll error for issue #7: cannot connect to 127.0.0.1:1")


async def test_12_a_replaced_helper_gets_a_client_all_the_same(without_httpx):
    seen = []

    async def post(client, base, repo, headers, number, body):
        with pytest.raises(ConnectionError, match=r"cannot connect to 127\.0\.0\.1:1"):
            await client.post(f"{base}/x", headers=headers, json={"body": body})
        with pytest.raises(ConnectionError, match=r"cannot connect to 127\.0\.0\.1:1"):
            await client.get(f"{base}/x", headers=headers)
        seen.append((base, repo, number))
        return 5

    with (
        patch("timmy.dispatcher._post_gitea_comment", post),
        patch("timmy.dispatcher._apply_gitea_label", AsyncMock(return_value=True)) as apply,
    ):
        result = await dispatch_task("Fix it", issue_number=7)
    assert (result.comment_id, result.label_applied) == (5, "kimi-ready")
    assert seen == [("http://127.0.0.1:1/api/v1", "rockachopa/dashboard", 7)]
    assert apply.await_count == 1


# 14: lone surrogates become U+FFFD on the wire.


async def test_14_a_real_client_is_given_what_it_can_encode(monkeypatch):
    wire, original = Wire(dispatch_answers(7)), httpx.AsyncClient
    wire.answers["POST", AGENT_URL] = (200, {})
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **o: original(transport=httpx.MockTransport(wire), **o)
    )
    result = await dispatch_task("Fix it", "a\ud800b", ["\udfff"], issue_number=7)
    assert (result.comment_id, result.metadata) == (42, {})
    assert "a\ufffdb" in wire.requests[2].content.decode()
    assert "- \ufffd" in wire.requests[2].content.decode()
    await dispatch_task("Research \ud800", api_endpoint=AGENT_URL, acceptance_criteria=["\ud800"])
    assert '"title":"Research \ufffd"' in wire.requests[3].content.decode()
    assert '"acceptance_criteria":["\ufffd"]' in wire.requests[3].content.decode()
    assert len(wire.requests) == 4


async def test_14_an_encoding_error_of_another_kind_is_a_failure(replace_httpx):
    error = UnicodeEncodeError("ascii", "é", 0, 1, "no")
    client = mock_client(post=error)
    replace_httpx(client)
    result = await dispatch_task("Research it", api_endpoint=AGENT_URL, max_retries=0)
    assert (result.error, client.post.await_count) == (str(error), 1)
