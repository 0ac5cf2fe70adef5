"""`_dispatch_via_api`: one POST to an agent, and what becomes of its answer."""

from dataclasses import replace
from types import SimpleNamespace
from unittest.mock import MagicMock, patch

import httpx
import pytest
from timmy import dispatcher
from timmy.dispatcher import (
    AGENT_REGISTRY,
    AgentType,
    DispatchResult,
    DispatchStatus,
    TaskType,
    _dispatch_via_api,
)

from dropin.doubles import AGENT_URL, PlainAnswer, ScriptedClient, mock_answer, mock_client


def hand_over(title="Research it", description="d", criteria=("A",), issue=7, endpoint=AGENT_URL):
    return _dispatch_via_api(
        AgentType.AGENT_API, title, description, list(criteria), issue, endpoint
    )


def failed(error):
    return DispatchResult(
        TaskType.RESEARCH, AgentType.AGENT_API, 7, DispatchStatus.FAILED, error=error
    )


async def test_the_task_is_posted_once(replace_httpx, log_lines):
    client = ScriptedClient(PlainAnswer(202, {"job": 9}))
    constructor = replace_httpx(client)
    assert await hand_over() == DispatchResult(
        TaskType.RESEARCH,
        AgentType.AGENT_API,
        7,
        DispatchStatus.ASSIGNED,
        metadata={"response": {"job": 9}},
    )
    constructor.assert_called_once_with(timeout=30)
    (call,) = client.calls
    assert (call.method, call.url) == ("POST", AGENT_URL)
    assert list(call.keywords) == ["json"]
    assert list(call.keywords["json"].items()) == [
        ("title", "Research it"),
        ("description", "d"),
        ("acceptance_criteria", ["A"]),
        ("issue_number", 7),
        ("agent", "agent_api"),
        ("task_type", "research"),
    ]
    assert (client.entered, client.exited) == (1, 1)
    assert log_lines() == [
        ("INFO", f"Dispatched 'Research it' to API agent agent_api at {AGENT_URL}")
    ]


@pytest.mark.parametrize("status", [200, 201, 202])
@pytest.mark.parametrize(
    "body",
    [{}, [], {"a": [1, {"b": None}]}, "text", 7, 2.5, True, None, "\ud800"],
    ids=ascii,
)
async def test_whatever_the_agent_says_is_kept(status, body, replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(status, body, content=b"something")))
    result = await hand_over()
    assert result.status is DispatchStatus.ASSIGNED
    assert result.metadata == {"response": body}
    assert type(result.metadata["response"]) is type(body)


@pytest.mark.parametrize("content", [b"", "", None, 0], ids=repr)
async def test_an_answer_without_content_is_not_read(content, replace_httpx):
    answer = MagicMock(status_code=200, content=content)
    replace_httpx(mock_client(post=answer))
    assert (await hand_over()).metadata == {"response": {}}
    answer.json.assert_not_called()


async def test_an_answer_of_mocks(replace_httpx):
    answer = MagicMock(status_code=201)
    replace_httpx(mock_client(post=answer))
    assert (await hand_over()).metadata["response"] is answer.json.return_value


@pytest.mark.parametrize("status", [203, 204, 301, 302, 400, 401, 404, 422, 500, 503])
async def test_another_status_is_a_failure(status, replace_httpx, log_lines):
    replace_httpx(ScriptedClient(PlainAnswer(status, {"job": 9}, "no %s")))
    assert await hand_over() == failed(f"API agent returned {status}: no %s")
    assert log_lines() == []


@pytest.mark.parametrize(
    ("text", "shown"),
    [("", ""), ("x" * 201, "x" * 200), ("\N{TEST TUBE}" * 201, "\N{TEST TUBE}" * 200)],
    ids=["empty", "201", "astral"],
)
async def test_two_hundred_characters_of_a_refusal(text, shown, replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(404, {}, text)))
    assert (await hand_over()).error == f"API agent returned 404: {shown}"


@pytest.mark.parametrize(
    "error",
    [
        httpx.ConnectError("All connection attempts failed"),
        httpx.ReadTimeout(""),
        ValueError("50% bad"),
        KeyError("k"),
        TypeError("not JSON serializable"),
    ],
    ids=repr,
)
async def test_an_exception_is_a_failure(error, replace_httpx, log_lines, caplog):
    replace_httpx(mock_client(post=error))
    assert await hand_over() == failed(str(error))
    assert log_lines() == [("WARNING", f"API dispatch to {AGENT_URL} failed: {error}")]
    assert caplog.records[-1].args == (AGENT_URL, error)


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (PlainAnswer(404, {}, None), "'NoneType' object is not subscriptable"),
        (None, "'NoneType' object has no attribute 'status_code'"),
    ],
    ids=["no text", "None"],
)
async def test_an_answer_that_is_none(answer, said, replace_httpx, log_lines):
    replace_httpx(ScriptedClient(answer))
    assert await hand_over() == failed(said)
    assert log_lines() == [("WARNING", f"API dispatch to {AGENT_URL} failed: {said}")]


async def test_a_success_that_cannot_be_read(replace_httpx, log_lines):
    error = ValueError("Expecting value: line 1 column 1 (char 0)")
    replace_httpx(ScriptedClient(PlainAnswer(200, error, content=b"<html>")))
    assert await hand_over() == failed(str(error))
    assert log_lines() == [
        ("INFO", f"Dispatched 'Research it' to API agent agent_api at {AGENT_URL}"),
        ("WARNING", f"API dispatch to {AGENT_URL} failed: {error}"),
    ]


async def test_the_client_sees_what_went_wrong(replace_httpx):
    error = ValueError("no JSON")
    client = mock_client(post=PlainAnswer(200, error, content=b"x"))
    replace_httpx(client)
    await hand_over()
    ((kind, value, _),) = [call.args for call in client.__aexit__.await_args_list]
    assert (kind, value) == (ValueError, error)


@pytest.mark.parametrize("step", ["constructor", "enter", "exit"])
async def test_a_client_that_cannot_live_is_a_failure(step, replace_httpx, log_lines):
    client = mock_client(post=mock_answer(200, {"job": 9}))
    constructor = replace_httpx(client)
    broken = {
        "constructor": constructor,
        "enter": client.__aenter__,
        "exit": client.__aexit__,
    }[step]
    broken.side_effect = RuntimeError("no CA")
    assert await hand_over() == failed("no CA")
    assert log_lines()[-1] == ("WARNING", f"API dispatch to {AGENT_URL} failed: no CA")


@pytest.mark.parametrize("endpoint", [None, ""])
async def test_no_endpoint_is_a_failure(endpoint, replace_httpx, log_lines):
    constructor = replace_httpx(mock_client())
    assert await hand_over(endpoint=endpoint) == failed(
        "No API endpoint configured for agent agent_api."
    )
    constructor.assert_not_called()
    assert log_lines() == []


@pytest.mark.parametrize("agent", list(AgentType))
async def test_the_agent_is_named_in_the_refusal(agent):
    result = await _dispatch_via_api(agent, "t", "d", [])
    assert result.error == f"No API endpoint configured for agent {agent.value}."
    assert (result.agent, result.issue_number) == (agent, None)


async def test_the_agents_own_endpoint(replace_httpx):
    client = ScriptedClient(PlainAnswer(200, {}), PlainAnswer(200, {}))
    replace_httpx(client)
    spec = replace(AGENT_REGISTRY[AgentType.AGENT_API], api_endpoint="http://own.invalid/x")
    with patch.dict(AGENT_REGISTRY, {AgentType.AGENT_API: spec}):
        await hand_over(endpoint=None)
        await hand_over()
    assert [call.url for call in client.calls] == ["http://own.invalid/x", AGENT_URL]


async def test_a_spec_needs_only_what_is_used(replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(200, {}), PlainAnswer(200, {})))
    with patch.dict(AGENT_REGISTRY, {AgentType.AGENT_API: SimpleNamespace(api_endpoint=AGENT_URL)}):
        assert (await hand_over(endpoint=None)).success
    with patch.dict(AGENT_REGISTRY, {AgentType.AGENT_API: SimpleNamespace()}):
        assert (await hand_over()).success


async def test_an_endpoint_that_is_a_url_object(replace_httpx, log_lines):
    client = ScriptedClient(PlainAnswer(200, {}))
    replace_httpx(client)
    url = httpx.URL("http://agent.invalid/u")
    assert (await hand_over(endpoint=url)).success
    assert client.calls[0].url is url
    assert log_lines()[-1][1].endswith("at http://agent.invalid/u")


async def test_an_agent_that_is_not_registered(replace_httpx):
    replace_httpx(mock_client())
    with pytest.raises(KeyError, match="nobody"):
        await _dispatch_via_api("nobody", "t", "d", [], 7, AGENT_URL)


@pytest.mark.parametrize("criteria", [[], ["a", 1], None, ("a",), "text"], ids=repr)
@pytest.mark.parametrize("issue", [None, 0, "7"], ids=repr)
async def test_what_was_given_is_posted(criteria, issue, replace_httpx):
    client = ScriptedClient(PlainAnswer(200, {}))
    replace_httpx(client)
    result = await _dispatch_via_api(
        AgentType.AGENT_API, "t\ud800", "\N{TEST TUBE}", criteria, issue, AGENT_URL
    )
    posted = client.calls[0].keywords["json"]
    assert posted["acceptance_criteria"] is criteria
    assert posted["issue_number"] is issue
    assert (posted["title"], posted["description"]) == ("t\ud800", "\N{TEST TUBE}")
    assert result.issue_number is issue


@pytest.mark.parametrize("length", [60, 61, 200])
async def test_sixty_characters_of_the_title_are_logged(length, replace_httpx, log_lines):
    replace_httpx(ScriptedClient(PlainAnswer(200, {})))
    await hand_over("r" * length)
    assert log_lines()[0][1].startswith(f"Dispatched {'r' * 60!r} to API agent")


async def test_the_settings_do_not_matter(replace_httpx):
    replace_httpx(ScriptedClient(PlainAnswer(200, {})))
    with patch("timmy.dispatcher.settings", None):
        assert (await hand_over()).success


async def test_a_real_client_over_a_mock_transport(monkeypatch):
    seen, original = [], httpx.AsyncClient

    def answer(request):
        seen.append(request)
        return httpx.Response(202, content=b'{"n": NaN, "t": "\\ud800"}')

    monkeypatch.setattr(
        httpx, "AsyncClient", lambda **o: original(transport=httpx.MockTransport(answer), **o)
    )
    result = await hand_over(criteria=[])
    assert result.metadata["response"]["t"] == "\ud800"
    assert result.metadata["response"]["n"] != result.metadata["response"]["n"]
    assert seen[0].headers["content-type"] == "application/json"
    assert "authorization" not in seen[0].headers


async def test_an_inference_of_the_hosts_own(replace_httpx):
    client = ScriptedClient(PlainAnswer(200, {}))
    replace_httpx(client)
    with patch.object(dispatcher, "infer_task_type", return_value=TaskType.CREATIVE) as infer:
        result = await hand_over()
    infer.assert_called_once_with("Research it", "d")
    assert result.task_type is TaskType.CREATIVE
    assert client.calls[0].keywords["json"]["task_type"] == "creative"
