"""`_apply_gitea_label` drives the client it is given: find or create, then add."""

from unittest.mock import AsyncMock, MagicMock

import httpx
import pytest
from timmy.dispatcher import _apply_gitea_label

from dropin.doubles import (
    GITEA,
    KIMI_LABELS,
    LABELS,
    REPO,
    WRITE_HEADERS,
    PlainAnswer,
    ScriptedClient,
    issue_labels_url,
    mock_answer,
    mock_client,
)

ON_ISSUE = PlainAnswer(200, KIMI_LABELS[1:])
WARNED_LIST = "Failed to list labels: "
WARNED_CREATE = "Failed to create label 'kimi-ready': "
WARNED_APPLY = "Failed to apply label 'kimi-ready' to #7: "


def apply(client, *more, issue_number=7, **named):
    return _apply_gitea_label(
        client, GITEA, REPO, WRITE_HEADERS, issue_number, "kimi-ready", *more, **named
    )


async def test_a_label_that_is_there_is_added():
    client = ScriptedClient(PlainAnswer(200, KIMI_LABELS), ON_ISSUE)
    assert await apply(client) is True
    listed, added = client.calls
    assert (listed.method, listed.url, listed.keywords) == (
        "GET",
        LABELS,
        {"headers": WRITE_HEADERS},
    )
    assert (added.method, added.url, added.keywords) == (
        "POST",
        issue_labels_url(7),
        {"headers": WRITE_HEADERS, "json": {"labels": [7]}},
    )


@pytest.mark.parametrize(
    ("more", "named", "color"),
    [((), {}, "#0075ca"), (("#ff0000",), {}, "#ff0000"), ((), {"label_color": "0f0"}, "0f0")],
)
async def test_a_label_that_is_not_there_is_created(more, named, color):
    client = ScriptedClient(
        PlainAnswer(200, KIMI_LABELS[:1]), PlainAnswer(201, {"id": 31}), PlainAnswer(200, {})
    )
    assert await apply(client, *more, **named) is True
    _, created, added = client.calls
    assert (created.method, created.url, created.keywords) == (
        "POST",
        LABELS,
        {"headers": WRITE_HEADERS, "json": {"name": "kimi-ready", "color": color}},
    )
    assert added.keywords["json"] == {"labels": [31]}


async def test_the_headers_given_are_the_headers_sent():
    client = ScriptedClient(PlainAnswer(200, KIMI_LABELS), ON_ISSUE)
    headers = {"X-Own": "1"}
    await _apply_gitea_label(client, GITEA, REPO, headers, 7, "kimi-ready")
    assert all(call.keywords["headers"] is headers for call in client.calls)
    assert headers == {"X-Own": "1"}


async def test_the_client_is_not_entered_or_left():
    client = ScriptedClient(PlainAnswer(200, KIMI_LABELS), ON_ISSUE)
    await apply(client)
    assert (client.entered, client.exited) == (0, 0)


@pytest.mark.parametrize("number", [0, -1, "7", "a/b", None, True, 2.5])
async def test_the_number_is_put_into_the_address_as_it_is(number):
    client = ScriptedClient(PlainAnswer(200, KIMI_LABELS), ON_ISSUE)
    assert await apply(client, issue_number=number) is True
    assert client.calls[1].url == issue_labels_url(number)


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("body", [{}, None, {"id": 7}, ValueError("no JSON"), "text"], ids=repr)
async def test_a_success_is_taken_by_its_status(status, body, log_lines):
    client = ScriptedClient(PlainAnswer(200, KIMI_LABELS), PlainAnswer(status, body))
    assert await apply(client) is True
    assert log_lines() == []


@pytest.mark.parametrize("status", [202, 204, 301, 400, 401, 403, 404, 409, 422, 423, 500, 503])
async def test_another_status_is_a_quiet_failure(status, log_lines):
    client = ScriptedClient(PlainAnswer(200, KIMI_LABELS), PlainAnswer(status, {}, "no"))
    assert await apply(client) is False
    assert len(client.calls) == 2
    assert log_lines() == []


@pytest.mark.parametrize("status", [202, 204, 400, 401, 403, 404, 409, 422, 500, 503])
async def test_a_label_that_is_not_created_is_not_added(status, log_lines):
    client = ScriptedClient(PlainAnswer(200, []), PlainAnswer(status, {"id": 31}, "no"))
    assert await apply(client) is False
    assert client.sequence == [("GET", LABELS), ("POST", LABELS)]
    assert log_lines() == []


@pytest.mark.parametrize("body", [{}, {"id": None}, {"name": "kimi-ready"}])
async def test_a_created_label_without_an_id_is_not_added(body, log_lines):
    client = ScriptedClient(PlainAnswer(200, []), PlainAnswer(201, body))
    assert await apply(client) is False
    assert len(client.calls) == 2
    assert log_lines() == []


@pytest.mark.parametrize("identity", [0, "31", 2.5])
async def test_an_id_is_sent_as_it_came(identity):
    listed = ScriptedClient(
        PlainAnswer(200, [{"id": identity, "name": "kimi-ready"}]), PlainAnswer(200, {})
    )
    created = ScriptedClient(
        PlainAnswer(200, []), PlainAnswer(201, {"id": identity}), PlainAnswer(200, {})
    )
    for client in (listed, created):
        assert await apply(client) is True
        assert client.calls[-1].keywords["json"] == {"labels": [identity]}


@pytest.mark.parametrize(
    "labels",
    [
        [],
        (),
        {},
        [{}],
        [{"name": None, "id": 1}],
        [{"name": "Kimi-Ready", "id": 1}],
        [{"name": "kimi-ready ", "id": 1}],
        [{"name": "kimi-ready", "id": None}],
    ],
    ids=repr,
)
async def test_a_list_without_the_label_leads_to_its_creation(labels):
    client = ScriptedClient(
        PlainAnswer(200, labels), PlainAnswer(201, {"id": 31}), PlainAnswer(200, {})
    )
    assert await apply(client) is True
    assert client.calls[1].url == LABELS


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (ValueError("no JSON"), "no JSON"),
        (None, "'NoneType' object is not iterable"),
        (7, "'int' object is not iterable"),
        ([7], "'int' object has no attribute 'get'"),
        (["kimi-ready"], "'str' object has no attribute 'get'"),
        ([None, KIMI_LABELS[1]], "'NoneType' object has no attribute 'get'"),
        ({"labels": []}, "'str' object has no attribute 'get'"),
        ([{"name": "kimi-ready"}], "'id'"),
    ],
    ids=repr,
)
async def test_a_list_that_is_none_is_a_failure(body, said, log_lines):
    client = ScriptedClient(PlainAnswer(200, body))
    assert await apply(client) is False
    assert len(client.calls) == 1
    assert log_lines() == [("WARNING", WARNED_LIST + said)]


async def test_what_comes_behind_the_label_need_not_be_well_formed():
    client = ScriptedClient(PlainAnswer(200, [*KIMI_LABELS, None, "x"]), ON_ISSUE)
    assert await apply(client) is True


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (ValueError("no JSON"), "no JSON"),
        (None, "'NoneType' object has no attribute 'get'"),
        ([{"id": 31}], "'list' object has no attribute 'get'"),
    ],
    ids=repr,
)
async def test_a_creation_that_cannot_be_read_is_a_failure(body, said, log_lines):
    client = ScriptedClient(PlainAnswer(200, []), PlainAnswer(201, body))
    assert await apply(client) is False
    assert len(client.calls) == 2
    assert log_lines() == [("WARNING", WARNED_CREATE + said)]


STEPS = pytest.mark.parametrize(
    ("before", "warned"),
    [
        ([], WARNED_LIST),
        ([PlainAnswer(200, [])], WARNED_CREATE),
        ([PlainAnswer(200, KIMI_LABELS)], WARNED_APPLY),
    ],
    ids=["list", "create", "apply"],
)


@STEPS
@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("All connection attempts failed"),
        httpx.ReadTimeout("slow"),
        RuntimeError("bo%s om"),
        ValueError(),
        OSError(5, "disk"),
        StopAsyncIteration("over"),
    ],
    ids=repr,
)
async def test_an_exception_is_a_failure_that_the_log_names(before, warned, error, log_lines):
    client = ScriptedClient(*before, error)
    assert await apply(client) is False
    assert len(client.calls) == len(before) + 1
    assert log_lines() == [("WARNING", f"{warned}{error}")]


@STEPS
async def test_the_log_record_holds_the_exception_itself(before, warned, caplog):
    error = RuntimeError("boom")
    await apply(ScriptedClient(*before, error))
    assert caplog.records[-1].args[-1] is error


@STEPS
@pytest.mark.parametrize("answer", [None, 7, object()], ids=["None", "int", "object"])
async def test_what_has_no_status_is_no_answer(before, warned, answer, log_lines):
    assert await apply(ScriptedClient(*before, answer)) is False
    ((level, text),) = log_lines()
    assert (level, text) == (
        "WARNING",
        f"{warned}'{type(answer).__name__}' object has no attribute 'status_code'",
    )


@STEPS
async def test_what_cannot_be_awaited_is_a_failure(before, warned, log_lines):
    client = ScriptedClient(*before)

    class Hasty:
        def get(self, url, **keywords):
            return client.get(url, **keywords) if before else None

        def post(self, url, **keywords):
            return client.post(url, **keywords) if client.answers else None

    assert await apply(Hasty()) is False
    assert log_lines() == [
        ("WARNING", f"{warned}object NoneType can't be used in 'await' expression")
    ]


@STEPS
@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, GeneratorExit], ids=repr)
async def test_more_than_an_exception_escapes(before, warned, error, log_lines):
    with pytest.raises(error):
        await apply(ScriptedClient(*before, error()))
    assert log_lines() == []


async def test_mocks_of_mocks():
    client = AsyncMock()
    client.get.return_value = MagicMock(status_code=200, json=MagicMock(return_value=[]))
    client.post.return_value = MagicMock(status_code=201, json=MagicMock(return_value={"id": 5}))
    assert await apply(client) is True
    client.get.assert_awaited_once_with(LABELS, headers=WRITE_HEADERS)
    assert [call.kwargs["json"] for call in client.post.await_args_list] == [
        {"name": "kimi-ready", "color": "#0075ca"},
        {"labels": [5]},
    ]


async def test_a_mock_without_a_status_has_no_labels():
    client = AsyncMock()
    assert await apply(client) is False
    assert (client.get.await_count, client.post.await_count) == (1, 1)


async def test_an_answer_that_counts_down_is_read_no_more_than_before():
    shared = MagicMock(status_code=201)
    shared.json.side_effect = [{"id": 5}]
    client = mock_client(get=mock_answer(200, []), post=shared)
    assert await apply(client) is True
    assert shared.json.call_count == 1


async def test_a_client_held_to_its_specification():
    client = AsyncMock(spec=httpx.AsyncClient)
    client.get.return_value = httpx.Response(200, json=KIMI_LABELS)
    client.post.return_value = httpx.Response(200, json=KIMI_LABELS)
    assert await apply(client) is True


async def test_a_real_client_over_a_mock_transport():
    def answer(request):
        return httpx.Response(200, json=KIMI_LABELS)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        assert await apply(client) is True
        assert not client.is_closed
