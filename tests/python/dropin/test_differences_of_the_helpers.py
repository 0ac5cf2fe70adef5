"""What differs on purpose in finding a label and in waiting, seen through mocks.

The numbers are those of the README's list.
"""

import asyncio
import time
from unittest.mock import AsyncMock, MagicMock, call, patch

import httpx
import pytest
from timmy.dispatcher import DispatchStatus, _apply_gitea_label, dispatch_task, wait_for_completion

from dropin.doubles import (
    GITEA,
    KIMI_LABELS,
    LABELS,
    REPO,
    WRITE_HEADERS,
    PlainAnswer,
    ScriptedClient,
    issue_labels_url,
    issue_url,
    mock_answer,
    mock_client,
)

OPEN = PlainAnswer(200, {"number": 7, "state": "open"})
CLOSED = PlainAnswer(200, {"number": 7, "state": "closed"})


def apply(client, repo=REPO):
    return _apply_gitea_label(client, GITEA, repo, WRITE_HEADERS, 7, "kimi-ready")


def others(count):
    return [{"id": 1000 + number, "name": f"a{number}"} for number in range(count)]


def page(labels, total=None):
    headers = {} if total is None else {"X-Total-Count": str(total)}
    return httpx.Response(200, headers=headers, json=labels)


# 3: one label, the one with the lowest id, and really on the issue.


@pytest.mark.parametrize("ids", [(9, 7), (7, 9), (30, 7, 12), (7, 7)])
async def test_3_the_lowest_id_of_one_name(ids):
    labels = [{"id": identity, "name": "kimi-ready"} for identity in ids]
    client = ScriptedClient(PlainAnswer(200, labels), PlainAnswer(200, {}))
    assert await apply(client) is True
    assert client.calls[1].keywords["json"] == {"labels": [7]}


async def test_3_a_label_of_the_next_page():
    client = ScriptedClient(
        page(others(30), 61), page(others(30), 61), page(KIMI_LABELS[1:], 61), page(KIMI_LABELS)
    )
    assert await apply(client) is True
    assert client.sequence == [
        ("GET", LABELS),
        ("GET", f"{LABELS}?page=2&limit=30"),
        ("GET", f"{LABELS}?page=3&limit=30"),
        ("POST", issue_labels_url(7)),
    ]
    assert client.calls[1].keywords == {"headers": WRITE_HEADERS}


async def test_3_a_name_that_ends_its_page_may_go_on():
    last = [*others(29), {"id": 9, "name": "kimi-ready"}]
    client = ScriptedClient(page(last, 31), page(KIMI_LABELS[1:], 31), page(KIMI_LABELS))
    assert await apply(client) is True
    assert client.calls[2].keywords["json"] == {"labels": [7]}


async def test_3_no_page_is_asked_for_that_is_not_needed():
    client = ScriptedClient(page([*KIMI_LABELS, *others(28)], 500), page(KIMI_LABELS))
    assert await apply(client) is True
    assert len(client.calls) == 2


@pytest.mark.parametrize(
    "headers",
    [{"x-total-count": "many"}, {"x-total-count": 99}, {}, None, MagicMock(), {"link": "<x>"}],
    ids=str,
)
async def test_3_a_count_that_is_none_is_not_believed(headers):
    first = MagicMock(status_code=200, json=lambda: others(3), headers=headers)
    client = ScriptedClient(first, PlainAnswer(201, {"id": 8}), PlainAnswer(200, {}))
    assert await apply(client) is True
    assert client.calls[1].url == LABELS


async def test_3_an_empty_page_ends_the_search():
    client = ScriptedClient(
        page(others(2), 99), page([], 99), PlainAnswer(201, {"id": 8}), PlainAnswer(200, {})
    )
    assert await apply(client) is True
    assert [made.method for made in client.calls] == ["GET", "GET", "POST", "POST"]


@pytest.mark.parametrize(
    "body",
    [[], [{"id": 8}], [7], ["7"], [None], [[7]], [{"id": "7"}], [{"name": "kimi-ready"}]],
    ids=repr,
)
@pytest.mark.parametrize("kind", ["json", "text", "httpx"])
async def test_3_an_array_without_the_label_is_a_failure(kind, body, log_lines):
    answer = {
        "json": PlainAnswer(200, body),
        "text": MagicMock(status_code=200, text=httpx.Response(200, json=body).text),
        "httpx": httpx.Response(200, json=body),
    }[kind]
    assert await apply(ScriptedClient(PlainAnswer(200, KIMI_LABELS), answer)) is False
    assert log_lines() == []


@pytest.mark.parametrize("body", [KIMI_LABELS, [None, {"id": "x"}, {"id": 7}], [{"id": 7}]])
async def test_3_an_array_with_the_label_is_a_success(body):
    for answer in (PlainAnswer(200, body), httpx.Response(200, json=body)):
        assert await apply(ScriptedClient(PlainAnswer(200, KIMI_LABELS), answer)) is True


async def test_3_the_result_says_that_the_label_is_not_there(replace_httpx):
    replace_httpx(
        ScriptedClient(
            PlainAnswer(200, KIMI_LABELS), PlainAnswer(200, []), PlainAnswer(201, {"id": 42})
        )
    )
    result = await dispatch_task("Fix it", issue_number=7)
    assert (result.label_applied, result.metadata) == (
        None,
        {"failed_steps": {"label": "200, but label kimi-ready is not on issue #7"}},
    )


class Repository:
    """A repository without labels, whose every answer takes its time."""

    def __init__(self):
        self.labels = []
        self.created = 0

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def get(self, url, **_):
        listed = list(self.labels)
        await asyncio.sleep(0)
        return PlainAnswer(200, listed)

    async def post(self, url, *, json, **_):
        await asyncio.sleep(0)
        if url.endswith("/comments"):
            return PlainAnswer(201, {"id": 42})
        if "/issues/" in url:
            return PlainAnswer(200, [{"id": json["labels"][0]}])
        self.created += 1
        self.labels.append({"id": self.created, "name": json["name"]})
        await asyncio.sleep(0)
        return PlainAnswer(201, {"id": self.created})


async def test_3_many_at_once_create_one_label(replace_httpx, settings):
    repository = Repository()
    replace_httpx(repository)
    settings.gitea_repo = "many/at-once"
    results = await asyncio.gather(
        *(dispatch_task("Fix it", issue_number=number) for number in range(30))
    )
    assert repository.created == 1
    assert {result.label_applied for result in results} == {"kimi-ready"}


async def test_3_one_creation_for_each_name_and_repository(replace_httpx, settings):
    first, second = Repository(), Repository()
    await asyncio.gather(*(apply(first, "one/of-two") for _ in range(9)), apply(second, "two/of-2"))
    assert (first.created, second.created) == (1, 1)


async def test_3_a_creation_that_fails_lets_the_next_one_try():
    class Failing(Repository):
        async def post(self, url, **options):
            if url.endswith("/repo/labels") and not self.created:
                self.created += 1
                await asyncio.sleep(0)
                raise httpx.ConnectError("refused")
            return await super().post(url, **options)

    repository = Failing()
    applied = await asyncio.gather(*(apply(repository, "failing/repo") for _ in range(5)))
    assert sorted(applied) == [False, True, True, True, True]
    assert repository.created == 2


def test_3_a_later_loop_creates_again():
    for _ in range(2):
        repository = Repository()
        assert asyncio.run(apply(repository, "two/loops")) is True
        assert repository.created == 1


# 4: a list that cannot be read is a failure.


@pytest.mark.parametrize("status", [201, 204, 301, 401, 403, 404, 500, 503])
async def test_4_a_list_that_cannot_be_read(status, log_lines):
    client = ScriptedClient(PlainAnswer(status, KIMI_LABELS))
    assert await apply(client) is False
    assert client.sequence == [("GET", LABELS)]
    assert log_lines() == []


async def test_4_the_result_says_why(replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(404, {}), PlainAnswer(201, {"id": 42})))
    result = await dispatch_task("Fix it", issue_number=7)
    assert result.metadata == {"failed_steps": {"label": f"404 not found: repository {REPO}"}}


async def test_4_a_later_page_that_cannot_be_read():
    client = ScriptedClient(page(others(30), 61), PlainAnswer(500, {}))
    assert await apply(client) is False
    assert len(client.calls) == 2


# 8: waiting takes no longer than it may, and ends where it is hopeless.


@pytest.fixture
def sleep():
    with patch("asyncio.sleep", AsyncMock()) as sleep:
        yield sleep


@pytest.mark.parametrize(
    ("interval", "longest", "slept"),
    [
        (60, 100, [60, 40]),
        (2, 3, [2, 1]),
        (60, 1, [1]),
        (0.5, 1.25, [0.5, 0.5, 0.25]),
        (2.5, 5.0, [2.5, 2.5]),
        (0.7, 2.1, [0.7, 0.7, 0.7]),
    ],
)
async def test_8_the_last_sleep_is_what_is_left(
    interval, longest, slept, sleep, replace_httpx, log_lines
):
    client = mock_client(get=OPEN)
    replace_httpx(client)
    assert await wait_for_completion(7, interval, longest) is DispatchStatus.TIMED_OUT
    assert [made.args[0] for made in sleep.await_args_list] == slept
    assert client.get.await_count == len(slept)
    assert log_lines()[-1] == ("WARNING", f"Timed out waiting for issue #7 after {longest}s")


async def test_8_real_time_counts(replace_httpx):
    client = mock_client()
    client.get.side_effect = lambda *_, **__: time.sleep(0.02) or OPEN
    replace_httpx(client)
    assert await wait_for_completion(7, 0, 0.1) is DispatchStatus.TIMED_OUT
    assert 1 <= client.get.await_count <= 5


async def test_8_beside_a_replaced_sleep_the_machines_own_time_does_not_count(sleep, replace_httpx):
    client = mock_client()
    client.get.side_effect = lambda *_, **__: time.sleep(0.1) or OPEN
    replace_httpx(client)
    assert await wait_for_completion(7, 1, 3) is DispatchStatus.TIMED_OUT
    assert sleep.await_args_list == [call(1)] * 3


async def test_8_a_replaced_sleep_of_nothing_ends_all_the_same(sleep, replace_httpx):
    client = mock_client()
    client.get.side_effect = lambda *_, **__: time.sleep(0.6) or OPEN
    replace_httpx(client)
    assert await wait_for_completion(7, 0, 0.5) is DispatchStatus.TIMED_OUT
    assert client.get.await_count == 2
    assert sleep.await_args_list == [call(0)]


@pytest.mark.parametrize(
    ("status", "why"),
    [
        (401, "401 unauthorized, check GITEA_TOKEN"),
        (403, "403 forbidden"),
        (404, "404 not found: issue #7"),
        (410, "410 refused"),
    ],
)
async def test_8_three_equal_refusals_end_it(status, why, sleep, replace_httpx, log_lines):
    client = mock_client(get=PlainAnswer(status, {}))
    replace_httpx(client)
    assert await wait_for_completion(7) is DispatchStatus.FAILED
    assert client.get.await_count == 3
    assert sleep.await_count == 2
    assert log_lines() == [
        ("WARNING", f"Stopped waiting for issue #7: {why}, three times in a row")
    ]


@pytest.mark.parametrize(
    "between",
    [OPEN, PlainAnswer(403, {}), PlainAnswer(500, {}), httpx.ConnectError("x"), MagicMock()],
    ids=["open", "403", "500", "error", "mock"],
)
async def test_8_refusals_must_be_equal_and_in_a_row(between, sleep, replace_httpx):
    missing = PlainAnswer(404, {})
    answers = [missing, missing, between, missing, missing, between, missing, CLOSED]
    replace_httpx(mock_client(get=answers))
    assert await wait_for_completion(7) is DispatchStatus.COMPLETED
    assert sleep.await_count == 7


@pytest.mark.parametrize("status", [400, 408, 429, 500, 502, 503])
async def test_8_what_may_pass_is_waited_out(status, sleep, replace_httpx):
    client = mock_client(get=PlainAnswer(status, {}))
    replace_httpx(client)
    assert await wait_for_completion(7, 1, 9) is DispatchStatus.TIMED_OUT
    assert client.get.await_count == 9


@pytest.mark.parametrize(
    "body",
    [
        {"number": 0, "state": "closed"},
        {"number": 0, "state": ""},
        {"number": 7, "state": ""},
        {"number": 7},
        {"number": 7, "state": None},
    ],
    ids=repr,
)
async def test_8_a_zeroed_issue_is_no_answer(body, sleep, replace_httpx, log_lines):
    replace_httpx(ScriptedClient(PlainAnswer(200, body), CLOSED))
    assert await wait_for_completion(7, 1, 9) is DispatchStatus.COMPLETED
    assert sleep.await_count == 1
    assert log_lines() == [("INFO", "Issue #7 closed — task completed")]


@pytest.mark.parametrize("number", [7, "7", None, MagicMock()], ids=str)
async def test_8_any_other_number_is_an_answer(number, sleep, replace_httpx):
    replace_httpx(
        ScriptedClient(PlainAnswer(200, {"number": number, "state": "closed"}, content=b"x"))
    )
    assert await wait_for_completion(7) is DispatchStatus.COMPLETED


async def test_8_a_mocks_number_is_not_read(sleep, replace_httpx):
    answer = mock_answer(200)
    answer.json.return_value = MagicMock(get={"state": "closed"}.get)
    client = mock_client(get=answer)
    replace_httpx(client)
    assert await wait_for_completion(7) is DispatchStatus.COMPLETED
    client.get.assert_awaited_once()
    assert client.get.await_args.args == (issue_url(7),)
