"""What follows a failure: further attempts, then a person is asked."""

from unittest.mock import AsyncMock, MagicMock, call, patch

import httpx
import pytest
from timmy import dispatcher
from timmy.dispatcher import (
    AGENT_REGISTRY,
    AgentType,
    DispatchResult,
    DispatchStatus,
    TaskType,
    _log_escalation,
    dispatch_task,
)

from dropin.doubles import (
    AGENT_URL,
    WRITE_HEADERS,
    PlainAnswer,
    ScriptedClient,
    comments_url,
    mock_answer,
    mock_client,
)

REFUSED = "API agent returned 404: no"


@pytest.fixture(autouse=True)
def sleep():
    """No test waits between attempts."""
    with patch("asyncio.sleep", AsyncMock()) as sleep:
        yield sleep


def a_result(status=DispatchStatus.FAILED, error="went bad"):
    return DispatchResult(TaskType.TRIAGE, AgentType.TIMMY, 7, status, error=error)


def research(client, replace_httpx, **options):
    replace_httpx(client)
    return dispatch_task("Research it", api_endpoint=AGENT_URL, **options)


def refusals(count):
    return [PlainAnswer(404, {}, "no") for _ in range(count)]


@pytest.mark.parametrize("retries", [0, 1, 2, 5])
async def test_the_number_of_attempts(retries, replace_httpx, log_lines):
    client = ScriptedClient(*refusals(retries + 1))
    result = await research(client, replace_httpx, max_retries=retries)
    assert result == DispatchResult(
        TaskType.RESEARCH,
        AgentType.AGENT_API,
        None,
        DispatchStatus.ESCALATED,
        error=REFUSED,
        retry_count=retries,
    )
    assert client.answers == []
    lines = [("WARNING", f"Dispatch attempt 1 failed for task 'Research it': {REFUSED}")]
    for attempt in range(1, retries + 1):
        lines += [
            ("INFO", f"Retry {attempt}/{retries} for task 'Research it'"),
            ("WARNING", f"Dispatch attempt {attempt + 1} failed for task 'Research it': {REFUSED}"),
        ]
    lines.append(
        (
            "ERROR",
            f"Task 'Research it' escalated after {retries + 1} failed attempt(s): {REFUSED}",
        )
    )
    assert log_lines()[1:] == lines


async def test_one_retry_is_the_default(replace_httpx):
    client = ScriptedClient(*refusals(2))
    assert (await research(client, replace_httpx)).retry_count == 1
    assert client.answers == []


@pytest.mark.parametrize("failures", [0, 1, 2])
async def test_the_first_success_ends_it(failures, replace_httpx, log_lines):
    client = ScriptedClient(*refusals(failures), PlainAnswer(200, {"job": 1}))
    result = await research(client, replace_httpx, max_retries=5)
    assert (result.status, result.retry_count, result.error) == (
        DispatchStatus.ASSIGNED,
        failures,
        None,
    )
    assert not [text for _, text in log_lines() if "escalated" in text]


async def test_each_attempt_has_a_client_of_its_own(replace_httpx):
    constructor = replace_httpx(*(ScriptedClient(answer) for answer in refusals(3)))
    await dispatch_task("Research it", api_endpoint=AGENT_URL, max_retries=2)
    assert constructor.call_args_list == [call(timeout=30)] * 3


@pytest.mark.parametrize("retries", [True, False])
async def test_a_bool_is_a_number_of_retries(retries, replace_httpx, caplog):
    caplog.set_level("INFO")
    client = ScriptedClient(*refusals(retries + 1))
    assert (await research(client, replace_httpx, max_retries=retries)).retry_count == retries
    assert client.answers == []


@pytest.mark.parametrize("retries", [1.0, "1", None, 1.5], ids=repr)
async def test_only_a_whole_number_counts_retries(retries, replace_httpx):
    client = ScriptedClient(*refusals(2))
    with pytest.raises(TypeError):
        await research(client, replace_httpx, max_retries=retries)
    assert client.calls == []


async def test_a_whole_number_of_another_kind(replace_httpx):
    class Count:
        def __index__(self):
            return 2

        def __add__(self, other):
            return 2 + other

    client = ScriptedClient(*refusals(3))
    with patch("timmy.dispatcher._log_dispatch_result") as log:
        count = Count()
        result = await research(client, replace_httpx, max_retries=count)
    assert result.retry_count == 2
    assert all(logged.args[3] is count for logged in log.call_args_list)


async def test_gitea_that_is_not_configured_is_tried_and_escalated(settings, log_lines):
    settings.gitea_token = ""
    result = await dispatch_task("Fix it", issue_number=7)
    error = "Gitea integration not configured (no token or disabled)."
    assert (result.status, result.error, result.retry_count) == ("escalated", error, 1)
    assert [text for _, text in log_lines()][1:] == [
        f"Dispatch attempt 1 failed for task 'Fix it': {error}",
        "Retry 1/1 for task 'Fix it'",
        f"Dispatch attempt 2 failed for task 'Fix it': {error}",
        f"Task 'Fix it' escalated after 2 failed attempt(s): {error}",
    ]


async def test_no_endpoint_is_escalated_on_the_issue(replace_httpx, log_lines):
    client = ScriptedClient(PlainAnswer(201, {"id": 1}))
    constructor = replace_httpx(client)
    result = await dispatch_task("Research it", issue_number=7, max_retries=0)
    error = "No API endpoint configured for agent agent_api."
    assert (result.status, result.error) == (DispatchStatus.ESCALATED, error)
    constructor.assert_called_once_with(timeout=10)
    (posted,) = client.calls
    assert (posted.method, posted.url) == ("POST", comments_url(7))
    assert posted.keywords["headers"] == WRITE_HEADERS
    assert posted.keywords["json"] == {
        "body": (
            "## Dispatch Escalated\n\n"
            "Could not assign to **Agent API** after 1 attempt(s).\n\n"
            f"**Error:** {error}\n\n"
            "Manual intervention required.\n\n"
            "---\n*Timmy agent dispatcher.*"
        )
    }
    assert log_lines()[-1][0] == "ERROR"


async def test_without_an_issue_nobody_is_told(replace_httpx):
    client = ScriptedClient(*refusals(1))
    constructor = replace_httpx(client)
    await dispatch_task("Research it", api_endpoint=AGENT_URL, max_retries=0)
    assert constructor.call_args_list == [call(timeout=30)]


async def test_the_issue_0_is_told(replace_httpx):
    client = ScriptedClient(PlainAnswer(201, {"id": 1}))
    replace_httpx(client)
    await dispatch_task("Research it", issue_number=0, max_retries=0)
    assert client.calls[0].url == comments_url(0)


async def test_a_dead_gitea_is_escalated_and_cannot_be_told(replace_httpx, log_lines):
    refused = httpx.ConnectError("refused")
    replace_httpx(mock_client(get=refused, post=refused))
    result = await dispatch_task("Fix it", issue_number=7)
    assert (result.status, result.retry_count) == (DispatchStatus.ESCALATED, 1)
    assert log_lines()[-1] == ("WARNING", "Failed to post comment on #7: refused")
    assert [level for level, _ in log_lines()].count("ERROR") == 1


@pytest.mark.parametrize("error", [None, ""])
async def test_an_error_that_says_nothing(error):
    with (
        patch("timmy.dispatcher._dispatch_local", AsyncMock(return_value=a_result(error=error))),
        patch("timmy.dispatcher._log_escalation") as escalate,
    ):
        result = await dispatch_task("Triage it", issue_number=7)
    escalate.assert_awaited_once_with(7, AgentType.TIMMY, "unknown error")
    assert result.error == error


async def test_the_last_result_is_the_one_returned():
    results = [a_result(error="first"), a_result(error="second")]
    with patch("timmy.dispatcher._dispatch_local", AsyncMock(side_effect=results)):
        result = await dispatch_task("Triage it")
    assert result is results[1]
    assert [made.retry_count for made in results] == [0, 1]
    assert [made.status for made in results] == [DispatchStatus.FAILED, DispatchStatus.ESCALATED]


@pytest.mark.parametrize(
    "status", [status for status in DispatchStatus if not a_result(status).success]
)
async def test_whatever_is_no_success_is_tried_again(status):
    attempt = AsyncMock(return_value=a_result(status))
    with patch("timmy.dispatcher._dispatch_local", attempt):
        result = await dispatch_task("Triage it")
    assert (attempt.await_count, result.status) == (2, DispatchStatus.ESCALATED)


@pytest.mark.parametrize("status", [DispatchStatus.ASSIGNED, DispatchStatus.COMPLETED])
async def test_a_success_of_either_kind_is_returned_as_it_is(status):
    made = a_result(status, error="still")
    with patch("timmy.dispatcher._dispatch_local", AsyncMock(return_value=made)):
        assert await dispatch_task("Triage it") is made
    assert (made.status, made.error) == (status, "still")


def escalate(error="went bad", agent=AgentType.KIMI_CODE, issue=7):
    return _log_escalation(issue, agent, error)


async def test_an_escalation_by_itself(replace_httpx, log_lines):
    client = ScriptedClient(PlainAnswer(201, {"id": 1}))
    constructor = replace_httpx(client)
    assert await escalate() is None
    constructor.assert_called_once_with(timeout=10)
    body = client.calls[0].keywords["json"]["body"]
    assert "Could not assign to **Kimi Code** after 1 attempt(s).\n\n**Error:** went bad\n" in body
    assert (client.entered, client.exited) == (1, 1)
    assert log_lines() == []


@pytest.mark.parametrize("error", ["", None, 7, "a\nb %s", "\ud800"], ids=ascii)
async def test_the_error_is_written_as_it_is(error, replace_httpx):
    client = ScriptedClient(PlainAnswer(201, {"id": 1}))
    replace_httpx(client)
    await escalate(error)
    assert f"**Error:** {error}\n\nManual" in client.calls[0].keywords["json"]["body"]


@pytest.mark.parametrize(
    ("changed", "value"), [("gitea_enabled", False), ("gitea_token", ""), ("gitea_token", None)]
)
async def test_where_gitea_is_not_used_nobody_is_told(
    changed, value, settings, replace_httpx, log_lines
):
    constructor = replace_httpx(MagicMock())
    setattr(settings, changed, value)
    await escalate()
    constructor.assert_not_called()
    assert log_lines() == []


async def test_a_refused_escalation_is_a_warning(replace_httpx, log_lines):
    replace_httpx(mock_client(post=mock_answer(403, {}, "no")))
    await escalate()
    assert log_lines() == [("WARNING", "Comment on #7 returned 403: no")]


@pytest.mark.parametrize("step", ["constructor", "enter", "exit"])
async def test_a_client_that_cannot_live_is_a_warning(step, replace_httpx, log_lines, caplog):
    client = mock_client(post=mock_answer(201, {"id": 1}))
    constructor = replace_httpx(client)
    error = RuntimeError("no CA")
    {"constructor": constructor, "enter": client.__aenter__, "exit": client.__aexit__}[
        step
    ].side_effect = error
    await escalate()
    assert log_lines() == [("WARNING", "Failed to post escalation comment: no CA")]
    assert caplog.records[-1].args == (error,)


async def test_an_agent_that_is_not_registered_is_a_warning(replace_httpx, log_lines):
    constructor = replace_httpx(MagicMock())
    await escalate(agent="nobody")
    with patch.dict(AGENT_REGISTRY, clear=True):
        await escalate(agent="gone")
    assert log_lines() == [
        ("WARNING", "Failed to post escalation comment: 'nobody'"),
        ("WARNING", "Failed to post escalation comment: 'gone'"),
    ]
    constructor.assert_not_called()


@pytest.mark.parametrize("error", [ValueError("boom"), KeyError("k")], ids=repr)
async def test_a_replaced_comment_that_raises_is_a_warning(error, replace_httpx, log_lines):
    replace_httpx(mock_client())
    with patch.object(dispatcher, "_post_gitea_comment", side_effect=error):
        await escalate()
    assert log_lines() == [("WARNING", f"Failed to post escalation comment: {error}")]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=repr)
async def test_more_than_an_exception_escapes(error, replace_httpx):
    replace_httpx(mock_client(post=error()))
    with pytest.raises(error):
        await escalate()
