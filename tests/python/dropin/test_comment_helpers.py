"""What is said on an issue: the text of a comment, and the posting of it."""

from unittest.mock import AsyncMock, MagicMock

import httpx
import pytest
from timmy.dispatcher import TaskType, _format_assignment_comment, _post_gitea_comment

from dropin.doubles import (
    GITEA,
    REPO,
    WRITE_HEADERS,
    PlainAnswer,
    ScriptedClient,
    comments_url,
    mock_answer,
    mock_client,
)


def post(client, body="Hello", issue_number=7):
    return _post_gitea_comment(client, GITEA, REPO, WRITE_HEADERS, issue_number, body)


def comment(description="Do it", criteria=("A", "B"), name="Kimi Code", task=TaskType.ANALYSIS):
    return _format_assignment_comment(name, task, description, criteria)


def test_the_whole_comment():
    assert comment("All of\nit", ["It works", "It is tested"]) == (
        "## Assigned to Kimi Code\n\n"
        "**Task type:** `analysis`\n\n"
        "**Description:**\nAll of\nit\n\n"
        "**Acceptance criteria:**\n- It works\n- It is tested\n\n"
        "---\n*Dispatched by Timmy agent dispatcher.*"
    )


@pytest.mark.parametrize("criteria", [[], (), None, "", 0, {}], ids=repr)
def test_no_criteria(criteria):
    assert "**Acceptance criteria:**\n_None specified_\n\n---" in comment(criteria=criteria)


@pytest.mark.parametrize(
    ("criteria", "lines"),
    [
        (["one"], "- one"),
        (("a", "b"), "- a\n- b"),
        ("ab", "- a\n- b"),
        ({"k": 1, "l": 2}, "- k\n- l"),
        ([1, None, 2.5, True], "- 1\n- None\n- 2.5\n- True"),
        ([["x"], {"y": 1}], "- ['x']\n- {'y': 1}"),
        ([TaskType.TRIAGE], "- triage"),
        (["a\nb", "- c", ""], "- a\nb\n- - c\n- "),
        (["%s {x} \N{TEST TUBE} \ud800"], "- %s {x} \N{TEST TUBE} \ud800"),
    ],
    ids=ascii,
)
def test_criteria_are_written_as_they_are(criteria, lines):
    assert f"**Acceptance criteria:**\n{lines}\n\n---" in comment(criteria=criteria)


@pytest.mark.parametrize(("criteria", "lines"), [("ab", "- a\n- b"), ("", "")])
def test_criteria_from_an_iterator(criteria, lines):
    assert f"**Acceptance criteria:**\n{lines}\n\n---" in comment(criteria=iter(criteria))


@pytest.mark.parametrize("criteria", [7, True, object()], ids=["int", "bool", "object"])
def test_criteria_must_be_iterable(criteria):
    with pytest.raises(TypeError, match="not iterable"):
        comment(criteria=criteria)


@pytest.mark.parametrize("given", ["", None, 7, "a `b` **c**", "\udfff\0"], ids=ascii)
def test_name_and_description_are_written_as_they_are(given):
    text = comment(description=given, name=given)
    assert text.startswith(f"## Assigned to {given}\n\n")
    assert f"**Description:**\n{given}\n\n**Acc" in text


@pytest.mark.parametrize("task", list(TaskType))
def test_every_type_is_named(task):
    assert f"**Task type:** `{task.value}`\n" in comment(task=task)


def test_a_type_is_anything_with_a_value():
    assert "**Task type:** `own`\n" in comment(task=MagicMock(value="own"))
    with pytest.raises(AttributeError, match="'str' object has no attribute 'value'"):
        comment(task="analysis")


def test_the_comment_can_be_asked_for_by_name():
    assert _format_assignment_comment(
        acceptance_criteria=[], description="d", task_type=TaskType.TRIAGE, display_name="T"
    ) == comment("d", [], "T", TaskType.TRIAGE)


async def test_a_comment_is_posted_once(log_lines):
    client = ScriptedClient(PlainAnswer(201, {"id": 42, "body": "Hello"}))
    assert await post(client) == 42
    (call,) = client.calls
    assert (call.method, call.url, call.keywords) == (
        "POST",
        comments_url(7),
        {"headers": WRITE_HEADERS, "json": {"body": "Hello"}},
    )
    assert (client.entered, client.exited) == (0, 0)
    assert log_lines() == []


@pytest.mark.parametrize("status", [200, 201])
@pytest.mark.parametrize("identity", [42, 0, "42", 2.5, [1], None], ids=repr)
async def test_the_id_is_returned_as_it_came(status, identity, log_lines):
    assert await post(ScriptedClient(PlainAnswer(status, {"id": identity}))) == identity
    assert log_lines() == []


async def test_an_answer_without_an_id_is_quietly_none(log_lines):
    assert await post(ScriptedClient(PlainAnswer(201, {}))) is None
    assert log_lines() == []


@pytest.mark.parametrize("body", ["", "x" * 70_000, None, 7, "\ud800 \N{TEST TUBE}\0%s"], ids=ascii)
async def test_the_body_is_sent_as_it_is(body):
    client = ScriptedClient(PlainAnswer(201, {"id": 1}))
    await post(client, body)
    assert client.calls[0].keywords["json"] == {"body": body}


@pytest.mark.parametrize("number", [0, "7", None, -3], ids=repr)
async def test_the_number_is_put_into_the_address_and_the_log_as_it_is(number, log_lines):
    client = ScriptedClient(PlainAnswer(404, {}, "gone"))
    assert await post(client, issue_number=number) is None
    assert client.calls[0].url == comments_url(number)
    assert log_lines() == [("WARNING", f"Comment on #{number} returned 404: gone")]


@pytest.mark.parametrize("status", [202, 204, 301, 400, 401, 403, 404, 422, 423, 429, 500, 503])
async def test_another_status_is_a_warning(status, log_lines):
    client = ScriptedClient(PlainAnswer(status, {"id": 42}, "why %s"))
    assert await post(client) is None
    assert len(client.calls) == 1
    assert log_lines() == [("WARNING", f"Comment on #7 returned {status}: why %s")]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("", ""),
        ("x" * 200, "x" * 200),
        ("x" * 201, "x" * 200),
        ("\N{TEST TUBE}" * 300, "\N{TEST TUBE}" * 200),
        ("e\u0301" * 150, "e\u0301" * 100),
        ('{"message":"no"}', '{"message":"no"}'),
        ("a\nb\ttoken", "a\nb\ttoken"),
        ("go to http://host/path?a=b@c", "go to http://host/path?a=b@c"),
    ],
    ids=["empty", "200", "201", "astral", "combining", "json", "blanks", "url"],
)
async def test_two_hundred_characters_of_a_refusal_are_shown(text, shown, log_lines):
    await post(ScriptedClient(PlainAnswer(500, {}, text)))
    assert log_lines() == [("WARNING", f"Comment on #7 returned 500: {shown}")]


async def test_the_warning_keeps_its_template_and_values(caplog):
    await post(ScriptedClient(PlainAnswer(403, {}, "no")))
    (record,) = caplog.records
    assert (record.msg, record.args) == ("Comment on #%s returned %s: %s", (7, 403, "no"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (PlainAnswer(201, ValueError("no JSON")), "no JSON"),
        (PlainAnswer(201, None), "'NoneType' object has no attribute 'get'"),
        (PlainAnswer(200, [{"id": 1}]), "'list' object has no attribute 'get'"),
        (PlainAnswer(201, "text"), "'str' object has no attribute 'get'"),
        (MagicMock(status_code=500, text=None), "'NoneType' object is not subscriptable"),
        (MagicMock(status_code=500, text=7), "'int' object is not subscriptable"),
        (None, "'NoneType' object has no attribute 'status_code'"),
    ],
    ids=["no JSON", "null", "array", "string", "no text", "number as text", "None"],
)
async def test_an_answer_that_cannot_be_read_is_a_warning(answer, said, log_lines):
    assert await post(ScriptedClient(answer)) is None
    assert log_lines() == [("WARNING", f"Failed to post comment on #7: {said}")]


@pytest.mark.parametrize(
    "error",
    [httpx.ConnectError("refused"), httpx.PoolTimeout(""), KeyError("k"), RuntimeError("50%")],
    ids=repr,
)
async def test_an_exception_is_a_warning(error, log_lines, caplog):
    assert await post(ScriptedClient(error)) is None
    assert log_lines() == [("WARNING", f"Failed to post comment on #7: {error}")]
    assert caplog.records[-1].args == (7, error)
    assert caplog.records[-1].exc_info is None


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit], ids=repr)
@pytest.mark.parametrize("where", ["post", "json"])
async def test_more_than_an_exception_escapes(error, where, log_lines):
    answer = error() if where == "post" else PlainAnswer(201, error())
    with pytest.raises(error):
        await post(ScriptedClient(answer))
    assert log_lines() == []


async def test_mocks_of_mocks():
    client = AsyncMock()
    client.post.return_value = mock_answer(201, {"id": 99})
    assert await post(client) == 99
    client.post.assert_awaited_once_with(
        comments_url(7), headers=WRITE_HEADERS, json={"body": "Hello"}
    )


async def test_the_id_of_a_mock_is_a_mock():
    answer = MagicMock(status_code=201)
    assert await post(mock_client(post=answer)) is answer.json.return_value.get.return_value


async def test_a_status_that_is_a_member_of_an_enum():
    answer = PlainAnswer(httpx.codes.CREATED, {"id": 4})
    assert await post(ScriptedClient(answer)) == 4
