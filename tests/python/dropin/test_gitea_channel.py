"""`_dispatch_via_gitea`: a label, then a comment, and what the result says of both."""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import AsyncMock, MagicMock, patch

import httpx
import pytest
from timmy import dispatcher
from timmy.dispatcher import (
    AGENT_REGISTRY,
    AgentType,
    DispatchResult,
    DispatchStatus,
    TaskType,
    _dispatch_via_gitea,
    _format_assignment_comment,
)

from dropin.doubles import (
    GITEA,
    KIMI_LABELS,
    LABELS,
    WRITE_HEADERS,
    PlainAnswer,
    ScriptedClient,
    Wire,
    comments_url,
    dispatch_answers,
    healthy_client,
    issue_labels_url,
    mock_answer,
    mock_client,
)

NO_LABEL = PlainAnswer(500, {}, "no")
WHOLE_FAILURE = "Failed to apply label and post comment — check Gitea connectivity."
NOT_CONFIGURED = "Gitea integration not configured (no token or disabled)."


def hand_over(agent=AgentType.KIMI_CODE, issue=7, title="Quick fix", description="", criteria=()):
    return _dispatch_via_gitea(agent, issue, title, description, list(criteria))


async def test_a_label_and_a_comment(replace_httpx, log_lines):
    client = healthy_client()
    constructor = replace_httpx(client)
    result = await hand_over(description="All", criteria=["A"])
    assert result == DispatchResult(
        TaskType.FAST_ITERATION,
        AgentType.KIMI_CODE,
        7,
        DispatchStatus.ASSIGNED,
        comment_id=42,
        label_applied="kimi-ready",
    )
    constructor.assert_called_once_with(timeout=15)
    assert (client.entered, client.exited) == (1, 1)
    assert client.sequence == [
        ("GET", LABELS),
        ("POST", issue_labels_url(7)),
        ("POST", comments_url(7)),
    ]
    body = _format_assignment_comment("Kimi Code", TaskType.FAST_ITERATION, "All", ["A"])
    assert [call.keywords for call in client.calls] == [
        {"headers": WRITE_HEADERS},
        {"headers": WRITE_HEADERS, "json": {"labels": [7]}},
        {"headers": WRITE_HEADERS, "json": {"body": body}},
    ]
    assert log_lines() == [
        ("INFO", "Applied label 'kimi-ready' to issue #7 for Kimi Code"),
        ("INFO", "Dispatched issue #7 to Kimi Code (label='kimi-ready', comment=42)"),
    ]


async def test_an_agent_without_a_label_gets_a_comment(replace_httpx, log_lines):
    client = ScriptedClient(PlainAnswer(201, {"id": 5}))
    replace_httpx(client)
    result = await hand_over(AgentType.TIMMY)
    assert (result.success, result.comment_id, result.label_applied) == (True, 5, None)
    assert client.sequence == [("POST", comments_url(7))]
    assert log_lines() == [("INFO", "Dispatched issue #7 to Timmy (label=None, comment=5)")]


async def test_a_label_without_a_comment_is_still_assigned(replace_httpx, log_lines):
    replace_httpx(ScriptedClient(PlainAnswer(200, KIMI_LABELS), PlainAnswer(200, {}), NO_LABEL))
    result = await hand_over()
    assert (result.status, result.comment_id, result.label_applied, result.error) == (
        DispatchStatus.ASSIGNED,
        None,
        "kimi-ready",
        None,
    )
    assert log_lines() == [
        ("INFO", "Applied label 'kimi-ready' to issue #7 for Kimi Code"),
        ("WARNING", "Comment on #7 returned 500: no"),
        ("INFO", "Dispatched issue #7 to Kimi Code (label='kimi-ready', comment=None)"),
    ]


async def test_a_comment_without_a_label_is_still_assigned(replace_httpx, log_lines):
    replace_httpx(
        ScriptedClient(
            PlainAnswer(200, KIMI_LABELS), PlainAnswer(403, {}), PlainAnswer(201, {"id": 42})
        )
    )
    result = await hand_over()
    assert (result.status, result.comment_id, result.label_applied, result.error) == (
        DispatchStatus.ASSIGNED,
        42,
        None,
        None,
    )
    assert log_lines() == [
        ("WARNING", "Could not apply label 'kimi-ready' to issue #7"),
        ("INFO", "Dispatched issue #7 to Kimi Code (label=None, comment=42)"),
    ]


async def test_a_comment_with_the_id_0_counts(replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(201, {"id": 0})))
    result = await hand_over(AgentType.TIMMY)
    assert (result.status, result.comment_id) == (DispatchStatus.ASSIGNED, 0)


async def test_neither_is_a_failure(replace_httpx, log_lines):
    replace_httpx(
        ScriptedClient(PlainAnswer(200, KIMI_LABELS), httpx.ConnectError("refused"), NO_LABEL)
    )
    result = await hand_over()
    assert (result.status, result.comment_id, result.label_applied) == (
        DispatchStatus.FAILED,
        None,
        None,
    )
    assert result.error.startswith(WHOLE_FAILURE)
    assert (result.retry_count, result.metadata) == (0, {})
    assert log_lines() == [
        ("WARNING", "Failed to apply label 'kimi-ready' to #7: refused"),
        ("WARNING", "Could not apply label 'kimi-ready' to issue #7"),
        ("WARNING", "Comment on #7 returned 500: no"),
    ]


async def test_a_dead_server_is_a_failure(replace_httpx):
    refused = httpx.ConnectError("All connection attempts failed")
    client = mock_client(get=refused, post=refused)
    replace_httpx(client)
    result = await hand_over()
    assert result.error.startswith(WHOLE_FAILURE)
    assert (client.get.await_count, client.post.await_count) == (1, 1)
    assert client.__aexit__.await_count == 1


@pytest.mark.parametrize(
    ("changed", "value"),
    [
        ("gitea_enabled", False),
        ("gitea_enabled", None),
        ("gitea_enabled", 0),
        ("gitea_token", ""),
        ("gitea_token", None),
    ],
)
async def test_gitea_that_is_not_configured(changed, value, monkeypatch, settings, replace_httpx):
    constructor = replace_httpx(healthy_client())
    monkeypatch.setattr(settings, changed, value)
    assert await hand_over() == DispatchResult(
        TaskType.FAST_ITERATION,
        AgentType.KIMI_CODE,
        7,
        DispatchStatus.FAILED,
        error=NOT_CONFIGURED,
    )
    constructor.assert_not_called()


SETTINGS = {
    "gitea_url": "https://git.invalid/sub",
    "gitea_token": "other",
    "gitea_repo": "me/mine",
    "gitea_enabled": True,
}


@pytest.mark.parametrize("make", [SimpleNamespace, MagicMock], ids=lambda make: make.__name__)
async def test_replaced_settings_are_read_at_the_call(make, replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    with patch("timmy.dispatcher.settings", make(**SETTINGS)):
        assert (await hand_over()).success
    base = "https://git.invalid/sub/api/v1/repos/me/mine"
    assert client.sequence == [
        ("GET", f"{base}/labels"),
        ("POST", f"{base}/issues/7/labels"),
        ("POST", f"{base}/issues/7/comments"),
    ]
    assert {call.keywords["headers"]["Authorization"] for call in client.calls} == {"token other"}


async def test_patched_attributes_of_the_settings(replace_httpx):
    import config

    client = healthy_client()
    replace_httpx(client)
    with (
        patch.object(config.settings, "gitea_repo", "a/b"),
        patch.object(dispatcher.settings, "gitea_token", "fresh"),
    ):
        await hand_over()
    assert client.calls[0].url == f"{GITEA}/repos/a/b/labels"
    assert client.calls[0].keywords["headers"]["Authorization"] == "token fresh"


async def test_settings_that_are_mocks_all_through(replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    with patch("timmy.dispatcher.settings") as settings:
        assert (await hand_over()).success
    base = f"{settings.gitea_url}/api/v1/repos/{settings.gitea_repo}"
    assert client.calls[0].url == f"{base}/labels"
    assert client.calls[0].keywords["headers"] == {
        "Authorization": f"token {settings.gitea_token}",
        "Content-Type": "application/json",
    }


async def test_settings_that_lack_what_is_needed(replace_httpx):
    replace_httpx(healthy_client())
    with (
        patch("timmy.dispatcher.settings", SimpleNamespace(gitea_enabled=True)),
        pytest.raises(AttributeError, match="gitea_token"),
    ):
        await hand_over()


@pytest.mark.parametrize("token", ["t", "kimi", "token", "issue", "7"])
async def test_a_short_token_does_not_spoil_the_lines(token, settings, replace_httpx, log_lines):
    settings.gitea_token = token
    replace_httpx(
        ScriptedClient(
            PlainAnswer(200, KIMI_LABELS), PlainAnswer(200, {}), httpx.ConnectError("token timeout")
        )
    )
    await hand_over(title="Rotate the token")
    assert log_lines() == [
        ("INFO", "Applied label 'kimi-ready' to issue #7 for Kimi Code"),
        ("WARNING", "Failed to post comment on #7: token timeout"),
        ("INFO", "Dispatched issue #7 to Kimi Code (label='kimi-ready', comment=None)"),
    ]


@pytest.mark.parametrize("issue", [0, "7", "a/b", None, 2.5, True], ids=repr)
async def test_the_issue_is_carried_as_it_is(issue, replace_httpx, log_lines):
    client = healthy_client()
    replace_httpx(client)
    result = await hand_over(issue=issue)
    assert result.issue_number is issue
    assert client.calls[2].url == comments_url(issue)
    assert log_lines()[0][1] == f"Applied label 'kimi-ready' to issue #{issue} for Kimi Code"


@pytest.mark.parametrize(
    ("title", "description", "task"),
    [
        ("Design it", "", "architecture"),
        ("x", "then audit", "code_review"),
        ("x", "y", "routine_coding"),
        ("\ud800 plan", "\udfff", "planning"),
    ],
    ids=ascii,
)
async def test_the_type_is_inferred(title, description, task, replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    result = await hand_over(title=title, description=description)
    assert result.task_type is TaskType(task)
    assert f"`{task}`" in client.calls[2].keywords["json"]["body"]


async def test_an_agent_that_is_not_registered(replace_httpx):
    constructor = replace_httpx(healthy_client())
    with pytest.raises(KeyError, match="nobody"):
        await hand_over("nobody")
    with patch.dict(AGENT_REGISTRY, clear=True), pytest.raises(KeyError):
        await hand_over()
    constructor.assert_not_called()


@pytest.mark.parametrize("label", [None, ""])
async def test_an_agent_whose_label_was_taken_away(label, replace_httpx):
    client = ScriptedClient(PlainAnswer(201, {"id": 5}))
    replace_httpx(client)
    spec = replace(AGENT_REGISTRY[AgentType.KIMI_CODE], gitea_label=label)
    with patch.dict(AGENT_REGISTRY, {AgentType.KIMI_CODE: spec}):
        assert (await hand_over()).comment_id == 5


async def test_a_spec_needs_only_what_is_used(replace_httpx, log_lines):
    replace_httpx(healthy_client())
    spec = SimpleNamespace(display_name="K", gitea_label="kimi-ready")
    with patch.dict(AGENT_REGISTRY, {AgentType.KIMI_CODE: spec}):
        assert (await hand_over()).success
    assert log_lines()[-1][1] == "Dispatched issue #7 to K (label='kimi-ready', comment=42)"


async def test_a_new_agent_of_the_hosts_own(replace_httpx):
    client = ScriptedClient(
        PlainAnswer(200, [{"id": 1, "name": "me"}]),
        PlainAnswer(200, {}),
        PlainAnswer(201, {"id": 2}),
    )
    replace_httpx(client)
    spec = SimpleNamespace(display_name="Me", gitea_label="me")
    with patch("timmy.dispatcher.AGENT_REGISTRY", {"me": spec}):
        result = await hand_over("me")
    assert (result.agent, result.label_applied) == ("me", "me")


async def test_the_client_that_is_entered_is_the_one_used(replace_httpx):
    manager, client = MagicMock(), healthy_client()
    manager.__aenter__.return_value = client
    replace_httpx(manager)
    assert (await hand_over()).success
    manager.__aenter__.assert_awaited_once_with()
    manager.__aexit__.assert_awaited_once_with(None, None, None)
    assert len(client.calls) == 3


async def test_the_usual_patch():
    with patch("httpx.AsyncClient") as constructor:
        client = constructor.return_value.__aenter__.return_value
        client.get = AsyncMock(return_value=mock_answer(200, KIMI_LABELS))
        client.post = AsyncMock(return_value=mock_answer(201, {"id": 42}))
        result = await hand_over()
    assert (result.label_applied, result.comment_id) == ("kimi-ready", 42)
    assert client.post.await_args_list[1].args == (comments_url(7),)


async def test_one_answer_for_everything():
    client = mock_client(get=mock_answer(200, []), post=mock_answer(201, {"id": 9}))
    with patch("httpx.AsyncClient", return_value=client):
        result = await hand_over()
    assert (result.label_applied, result.comment_id) == ("kimi-ready", 9)
    assert client.post.await_count == 3


async def test_a_subclass_in_the_place_of_the_client(monkeypatch):
    wire = Wire(dispatch_answers(7))

    class Recorded(httpx.AsyncClient):
        def __init__(self, **options):
            super().__init__(transport=httpx.MockTransport(wire), **options)

    monkeypatch.setattr(httpx, "AsyncClient", Recorded)
    result = await hand_over()
    assert (result.label_applied, result.comment_id) == ("kimi-ready", 42)
    assert len(wire.requests) == 3


async def test_another_class_in_the_place_of_the_client(monkeypatch):
    class Fake:
        made = 0

        def __init__(self, *, timeout):
            Fake.made += timeout

        async def __aenter__(self):
            return healthy_client()

        async def __aexit__(self, *exc_info):
            return None

    monkeypatch.setattr(httpx, "AsyncClient", Fake)
    result = await hand_over()
    assert (result.label_applied, result.comment_id) == ("kimi-ready", 42)
    assert Fake.made == 15


async def test_a_constructor_with_a_transport(monkeypatch):
    wire, original = Wire(dispatch_answers(7)), httpx.AsyncClient
    monkeypatch.setattr(
        httpx,
        "AsyncClient",
        lambda **options: original(transport=httpx.MockTransport(wire), **options),
    )
    result = await hand_over()
    assert result.success
    assert wire.sequence == [
        ("GET", LABELS),
        ("POST", issue_labels_url(7)),
        ("POST", comments_url(7)),
    ]
    assert wire.requests[1].content == b'{"labels":[7]}'
    assert wire.requests[2].headers["authorization"] == WRITE_HEADERS["Authorization"]
    assert wire.requests[0].extensions["timeout"] == dict.fromkeys(
        ("connect", "read", "write", "pool"), 15
    )
