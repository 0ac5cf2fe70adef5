"""The plain steps around a hand-over: the check of the title and the lines of a failed attempt."""

from unittest.mock import MagicMock, patch

import pytest
from timmy import dispatcher
from timmy.dispatcher import (
    AgentType,
    DispatchResult,
    DispatchStatus,
    TaskType,
    _log_dispatch_result,
    _validate_task,
)

BLANKS = ["", " ", "\t\n\r\x0b\x0c", "\x1c\x1d\x1e\x1f", "\x85\xa0\u2003\u2028\u3000"]


def a_result(status=DispatchStatus.FAILED, error="went bad"):
    return DispatchResult(TaskType.TRIAGE, AgentType.TIMMY, 7, status, error=error)


@pytest.mark.parametrize("title", BLANKS, ids=ascii)
def test_a_blank_title_is_a_failed_result(title):
    assert _validate_task(title, None, None, None) == DispatchResult(
        TaskType.ROUTINE_CODING,
        AgentType.TIMMY,
        None,
        DispatchStatus.FAILED,
        error="`title` is required.",
    )


@pytest.mark.parametrize("issue", [7, 0, None, "7"])
def test_a_refusal_says_what_was_given(issue):
    refused = _validate_task(" ", TaskType.RESEARCH, AgentType.AGENT_API, issue)
    assert (refused.task_type, refused.agent, refused.issue_number) == (
        TaskType.RESEARCH,
        AgentType.AGENT_API,
        issue,
    )


def test_names_that_are_plain_text_are_kept_in_a_refusal():
    refused = _validate_task("", "own type", "own agent", 7)
    assert (refused.task_type, refused.agent) == ("own type", "own agent")


@pytest.mark.parametrize("title", ["x", " x ", "\x00", "\u200b", "\ud800", "0"], ids=ascii)
def test_a_title_that_is_not_blank_passes(title):
    assert _validate_task(title, None, None, None) is None


@pytest.mark.parametrize("title", [None, 7, ["x"]], ids=repr)
def test_a_title_is_text(title):
    with pytest.raises(AttributeError, match="strip"):
        _validate_task(title, None, None, None)


def test_anything_that_can_be_stripped_is_a_title():
    title = MagicMock()
    assert _validate_task(title, None, None, None) is None
    title.strip.assert_called_once_with()


@pytest.mark.parametrize("title", BLANKS, ids=ascii)
async def test_nothing_happens_to_a_task_without_a_title(title, log_lines, replace_httpx):
    constructor = replace_httpx(MagicMock())
    result = await dispatcher.dispatch_task(
        title, "d", ["c"], TaskType.ANALYSIS, AgentType.KIMI_CODE, 7, "http://agent.invalid", 3
    )
    assert result == DispatchResult(
        TaskType.ANALYSIS,
        AgentType.KIMI_CODE,
        7,
        DispatchStatus.FAILED,
        error="`title` is required.",
    )
    assert log_lines() == []
    constructor.assert_not_called()


@pytest.mark.parametrize("status", [DispatchStatus.ASSIGNED, DispatchStatus.COMPLETED])
def test_a_success_is_not_logged(status, log_lines):
    _log_dispatch_result("Fix it", a_result(status), 1, 2)
    assert log_lines() == []


@pytest.mark.parametrize(
    "status", [status for status in DispatchStatus if not a_result(status).success]
)
def test_a_failure_is_one_line(status, log_lines):
    _log_dispatch_result("Fix it", a_result(status), 0, 2)
    assert log_lines() == [("WARNING", "Dispatch attempt 1 failed for task 'Fix it': went bad")]


@pytest.mark.parametrize(("attempt", "retries"), [(1, 1), (1, 2), (7, 3)])
def test_a_failed_retry_is_two_lines(attempt, retries, log_lines):
    _log_dispatch_result("Fix it", a_result(), attempt, retries)
    assert log_lines() == [
        ("INFO", f"Retry {attempt}/{retries} for task 'Fix it'"),
        ("WARNING", f"Dispatch attempt {attempt + 1} failed for task 'Fix it': went bad"),
    ]


def test_the_lines_keep_their_templates_and_values(caplog):
    caplog.set_level("INFO")
    _log_dispatch_result("Fix it", a_result(), 1, 2)
    assert [(record.msg, record.args) for record in caplog.records] == [
        ("Retry %d/%d for task %r", (1, 2, "Fix it")),
        ("Dispatch attempt %d failed for task %r: %s", (2, "Fix it", "went bad")),
    ]


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("x" * 60, "x" * 60),
        ("x" * 61, "x" * 60),
        ("\N{TEST TUBE}" * 70, "\N{TEST TUBE}" * 60),
        ("it's %s", "it's %s"),
        ("", ""),
    ],
    ids=["60", "61", "astral", "quote", "empty"],
)
def test_sixty_characters_of_a_title_are_shown(title, shown, log_lines):
    _log_dispatch_result(title, a_result(), 0, 0)
    assert log_lines() == [("WARNING", f"Dispatch attempt 1 failed for task {shown!r}: went bad")]


@pytest.mark.parametrize("error", [None, "", "50% of it", RuntimeError("boom")], ids=repr)
def test_the_error_is_shown_as_it_is(error, log_lines):
    _log_dispatch_result("Fix it", a_result(error=error), 0, 0)
    assert log_lines() == [("WARNING", f"Dispatch attempt 1 failed for task 'Fix it': {error}")]


def test_a_replaced_logger_gets_the_lines():
    with patch("timmy.dispatcher.logger") as logger:
        _log_dispatch_result("Fix it", a_result(), 1, 1)
    logger.info.assert_called_once_with("Retry %d/%d for task %r", 1, 1, "Fix it")
    logger.warning.assert_called_once_with(
        "Dispatch attempt %d failed for task %r: %s", 2, "Fix it", "went bad"
    )


def test_a_mock_is_a_result():
    result = MagicMock(success=False, error="bad")
    with patch.object(dispatcher, "logger") as logger:
        _log_dispatch_result("t", result, 0, 1)
        _log_dispatch_result("t", MagicMock(), 0, 1)
    assert logger.warning.call_count == 1
