"""Waiting for an issue to be closed, with the sleeps and the server replaced."""

import asyncio
from unittest.mock import AsyncMock, MagicMock, call, patch

import httpx
import pytest
from timmy import dispatcher
from timmy.dispatcher import DispatchStatus, _poll_issue_completion, wait_for_completion

from dropin.doubles import (
    GITEA,
    READ_HEADERS,
    PlainAnswer,
    ScriptedClient,
    Wire,
    issue_url,
    mock_answer,
    mock_client,
)

OPEN = PlainAnswer(200, {"number": 7, "state": "open"})
CLOSED = PlainAnswer(200, {"number": 7, "state": "closed"})
COMPLETED = ("INFO", "Issue #7 closed — task completed")


def timed_out(seconds, number=7):
    return ("WARNING", f"Timed out waiting for issue #{number} after {seconds}s")


@pytest.fixture
def sleep():
    with patch("timmy.dispatcher.asyncio.sleep", new_callable=AsyncMock) as sleep:
        yield sleep


@pytest.fixture(params=[_poll_issue_completion, wait_for_completion], ids=lambda f: f.__name__)
def wait(request):
    return request.param


async def test_a_closed_issue_is_completed(wait, sleep, replace_httpx, log_lines):
    client = ScriptedClient(CLOSED)
    constructor = replace_httpx(client)
    assert await wait(7) is DispatchStatus.COMPLETED
    constructor.assert_called_once_with(timeout=10)
    (asked,) = client.calls
    assert (asked.method, asked.url, asked.keywords) == (
        "GET",
        issue_url(7),
        {"headers": READ_HEADERS},
    )
    assert (client.entered, client.exited) == (1, 1)
    sleep.assert_not_called()
    assert log_lines() == [COMPLETED]


@pytest.mark.parametrize("opens", [1, 2, 5])
async def test_it_is_asked_for_until_it_is_closed(opens, sleep, replace_httpx, log_lines):
    client = ScriptedClient(*[OPEN] * opens, CLOSED)
    constructor = replace_httpx(client)
    assert await wait_for_completion(7, 30, 600) is DispatchStatus.COMPLETED
    assert sleep.await_args_list == [call(30)] * opens
    assert constructor.call_count == client.entered == client.exited == opens + 1
    assert log_lines() == [COMPLETED]


@pytest.mark.parametrize(
    ("interval", "longest", "asked"),
    [(60, 60, 1), (60, 120, 2), (10, 50, 5), (1, 3, 3), (7200, 7200, 1)],
)
async def test_the_time_runs_out(interval, longest, asked, sleep, replace_httpx, log_lines):
    client = ScriptedClient(*[OPEN] * asked)
    replace_httpx(client)
    assert await wait_for_completion(7, interval, longest) is DispatchStatus.TIMED_OUT
    assert sleep.await_args_list == [call(interval)] * asked
    assert client.answers == []
    assert log_lines() == [timed_out(longest)]


async def test_the_defaults_are_a_minute_and_two_hours(wait, sleep, replace_httpx, log_lines):
    client = mock_client(get=OPEN)
    replace_httpx(client)
    assert await wait(7) is DispatchStatus.TIMED_OUT
    assert sleep.await_args_list == [call(60)] * 120
    assert client.get.await_count == 120
    assert log_lines() == [timed_out(7200)]


async def test_by_name(wait, sleep, replace_httpx):
    replace_httpx(mock_client(get=OPEN))
    assert (await wait(max_wait=4, poll_interval=2, issue_number=7)) is DispatchStatus.TIMED_OUT
    assert sleep.await_args_list == [call(2)] * 2


@pytest.mark.parametrize("longest", [0, -1])
async def test_no_time_is_no_question(longest, sleep, replace_httpx, log_lines):
    constructor = replace_httpx(MagicMock())
    assert await wait_for_completion(7, 60, longest) is DispatchStatus.TIMED_OUT
    constructor.assert_not_called()
    sleep.assert_not_called()
    assert log_lines() == [timed_out(longest)]


@pytest.mark.parametrize("number", [0, "7", None, "a/b"], ids=repr)
async def test_the_number_is_carried_as_it_is(number, sleep, replace_httpx, log_lines):
    client = ScriptedClient(OPEN, CLOSED)
    replace_httpx(client)
    await wait_for_completion(number, 1, 1)
    await wait_for_completion(number, 1, 1)
    assert [asked.url for asked in client.calls] == [issue_url(number)] * 2
    assert log_lines() == [
        timed_out(1, number),
        ("INFO", f"Issue #{number} closed — task completed"),
    ]


@pytest.mark.parametrize(
    "body",
    [
        {"state": "open"},
        {"state": "Closed"},
        {"state": "closed "},
        {"state": None},
        {"state": ["closed"]},
        {},
        {"number": 7},
    ],
    ids=repr,
)
async def test_only_closed_is_closed(body, sleep, replace_httpx, log_lines):
    replace_httpx(ScriptedClient(PlainAnswer(200, body), CLOSED))
    assert await wait_for_completion(7, 1, 9) is DispatchStatus.COMPLETED
    assert sleep.await_count == 1
    assert log_lines() == [COMPLETED]


async def test_a_number_need_not_be_there(sleep, replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(200, {"state": "closed"})))
    assert await wait_for_completion(7) is DispatchStatus.COMPLETED


@pytest.mark.parametrize("status", [201, 202, 204, 301, 404, 429, 500, 503])
async def test_only_a_200_says_anything(status, sleep, replace_httpx, log_lines):
    replace_httpx(ScriptedClient(PlainAnswer(status, {"state": "closed"}), CLOSED))
    assert await wait_for_completion(7, 1, 9) is DispatchStatus.COMPLETED
    assert sleep.await_count == 1
    assert log_lines() == [COMPLETED]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (httpx.ConnectError("refused"), "refused"),
        (httpx.ReadTimeout(""), ""),
        (RuntimeError("50% bad"), "50% bad"),
        (PlainAnswer(200, ValueError("no JSON")), "no JSON"),
        (PlainAnswer(200, None), "'NoneType' object has no attribute 'get'"),
        (PlainAnswer(200, [1]), "'list' object has no attribute 'get'"),
        (None, "'NoneType' object has no attribute 'status_code'"),
    ],
    ids=["refused", "timeout", "own", "no JSON", "null", "array", "None"],
)
async def test_an_error_is_logged_and_waited_out(answer, said, sleep, replace_httpx, log_lines):
    client = ScriptedClient(answer, OPEN, answer, CLOSED)
    replace_httpx(client)
    assert await wait_for_completion(7, 1, 9) is DispatchStatus.COMPLETED
    warning = ("WARNING", f"Poll error for issue #7: {said}")
    assert log_lines() == [warning, warning, COMPLETED]
    assert (client.entered, client.exited) == (4, 4)


async def test_errors_all_the_time(sleep, replace_httpx, log_lines):
    replace_httpx(mock_client(get=httpx.ConnectError("refused")))
    assert await wait_for_completion(7, 1, 5) is DispatchStatus.TIMED_OUT
    assert log_lines() == [("WARNING", "Poll error for issue #7: refused")] * 5 + [timed_out(5)]


@pytest.mark.parametrize("step", ["constructor", "enter", "exit"])
async def test_a_client_that_cannot_live_is_an_error(step, sleep, replace_httpx, log_lines):
    client = mock_client(get=OPEN)
    constructor = replace_httpx(client)
    {"constructor": constructor, "enter": client.__aenter__, "exit": client.__aexit__}[
        step
    ].side_effect = RuntimeError("no CA")
    assert await wait_for_completion(7, 1, 2) is DispatchStatus.TIMED_OUT
    assert log_lines() == [("WARNING", "Poll error for issue #7: no CA")] * 2 + [timed_out(2)]


async def test_the_client_sees_what_went_wrong(sleep, replace_httpx):
    error = RuntimeError("boom")
    client = mock_client(get=[error, CLOSED])
    replace_httpx(client)
    await wait_for_completion(7, 1, 9)
    first, second = client.__aexit__.await_args_list
    assert first.args[:2] == (RuntimeError, error)
    assert second.args == (None, None, None)


async def test_a_client_may_keep_what_was_raised(sleep, replace_httpx, log_lines):
    client = mock_client(get=[RuntimeError("boom"), CLOSED])
    client.__aexit__.return_value = True
    replace_httpx(client)
    assert await wait_for_completion(7, 1, 9) is DispatchStatus.COMPLETED
    assert log_lines() == [COMPLETED]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, asyncio.CancelledError])
@pytest.mark.parametrize("where", ["get", "json", "sleep"])
async def test_more_than_an_exception_escapes(where, error, sleep, replace_httpx, log_lines):
    client = mock_client(get=OPEN)
    if where == "get":
        client.get.side_effect = error()
    elif where == "json":
        client.get.return_value = PlainAnswer(200, error())
    else:
        sleep.side_effect = error()
    replace_httpx(client)
    with pytest.raises(error):
        await wait_for_completion(7, 1, 9)
    assert log_lines() == []
    assert client.__aexit__.await_count == 1


async def test_an_exception_of_a_replaced_sleep_escapes(sleep, replace_httpx):
    sleep.side_effect = ValueError("no clock")
    replace_httpx(mock_client(get=OPEN))
    with pytest.raises(ValueError, match="no clock"):
        await wait_for_completion(7)


async def test_sleep_patched_where_it_lives(replace_httpx):
    replace_httpx(mock_client(get=OPEN))
    with patch("asyncio.sleep", new_callable=AsyncMock) as sleep:
        assert await wait_for_completion(7, 2, 4) is DispatchStatus.TIMED_OUT
    assert sleep.await_args_list == [call(2)] * 2


async def test_a_sleep_that_closes_the_issue(replace_httpx, monkeypatch):
    issue = {"state": "open"}

    async def sleep(_seconds):
        issue["state"] = "closed"

    monkeypatch.setattr("timmy.dispatcher.asyncio.sleep", sleep)
    replace_httpx(mock_client(get=PlainAnswer(200, issue)))
    assert await wait_for_completion(7) is DispatchStatus.COMPLETED


async def test_the_settings_are_read_once_at_the_start(sleep, settings, replace_httpx):
    client = ScriptedClient(OPEN, CLOSED)
    replace_httpx(client)
    sleep.side_effect = lambda _: setattr(settings, "gitea_url", "http://elsewhere.invalid")
    await wait_for_completion(7)
    assert [asked.url for asked in client.calls] == [issue_url(7)] * 2


@pytest.mark.parametrize(
    ("enabled", "token", "header"),
    [(False, "s3cret", "token s3cret"), (True, "", "token "), (True, None, "token None")],
)
async def test_the_switch_and_the_token_are_not_asked_about(
    enabled, token, header, sleep, settings, replace_httpx
):
    settings.gitea_enabled, settings.gitea_token = enabled, token
    client = ScriptedClient(CLOSED)
    replace_httpx(client)
    assert await wait_for_completion(7) is DispatchStatus.COMPLETED
    assert client.calls[0].keywords == {"headers": {"Authorization": header}}


async def test_settings_that_are_mocks(sleep, replace_httpx):
    client = ScriptedClient(CLOSED)
    replace_httpx(client)
    with patch("timmy.dispatcher.settings") as settings:
        await wait_for_completion(7)
    assert client.calls[0].url == (
        f"{settings.gitea_url}/api/v1/repos/{settings.gitea_repo}/issues/7"
    )


async def test_answers_that_are_mocks(sleep, replace_httpx):
    replace_httpx(mock_client(get=[MagicMock(), mock_answer(200, {"state": "closed"})]))
    assert await wait_for_completion(7, 1, 9) is DispatchStatus.COMPLETED
    assert sleep.await_count == 1


async def test_a_replaced_logger(sleep, replace_httpx):
    replace_httpx(mock_client(get=OPEN))
    with patch.object(dispatcher, "logger") as logger:
        await wait_for_completion(7, 2, 4)
    logger.warning.assert_called_once_with("Timed out waiting for issue #%s after %ss", 7, 4)


async def test_a_real_client_over_a_mock_transport(sleep, monkeypatch):
    wire, original = Wire({("GET", issue_url(7)): (200, {"state": "closed"})}), httpx.AsyncClient
    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **o: original(transport=httpx.MockTransport(wire), **o)
    )
    assert await wait_for_completion(7) is DispatchStatus.COMPLETED
    assert wire.requests[0].headers["authorization"] == READ_HEADERS["Authorization"]
    assert "content-type" not in wire.requests[0].headers
    assert str(wire.requests[0].url).startswith(GITEA)
