"""`dispatch_task`: who gets a task and by which way, with nothing replaced but the network."""

import asyncio
import inspect
from dataclasses import replace
from unittest.mock import MagicMock, patch

import pytest
from timmy import dispatcher
from timmy.dispatcher import (
    AGENT_REGISTRY,
    AgentSpec,
    AgentType,
    DispatchResult,
    DispatchStatus,
    TaskType,
    dispatch_task,
)

from dropin.doubles import (
    AGENT_URL,
    PlainAnswer,
    ScriptedClient,
    comments_url,
    healthy_client,
)

LOCAL = [
    ("Triage the bugs", "triage"),
    ("Plan the week", "planning"),
    ("Write a story", "creative"),
    ("Coordinate the swarm", "orchestration"),
]


def dispatching(title, agent, task, issue):
    return ("INFO", f"Dispatching task {title!r} → {agent} (type={task}, issue=#{issue})")


@pytest.mark.parametrize(("title", "task"), LOCAL)
async def test_timmys_own_tasks_stay_here(title, task, replace_httpx, log_lines):
    constructor = replace_httpx(MagicMock())
    assert await dispatch_task(title, "All of it", issue_number=7) == DispatchResult(
        TaskType(task),
        AgentType.TIMMY,
        7,
        DispatchStatus.ASSIGNED,
        metadata={"local": True, "description": "All of it"},
    )
    constructor.assert_not_called()
    assert log_lines() == [
        dispatching(title, "timmy", task, 7),
        ("INFO", f"Timmy handling task locally: {title!r} (issue #7)"),
    ]


@pytest.mark.parametrize(
    ("title", "agent", "task"),
    [("Design it", "claude_code", "architecture"), ("Fix it", "kimi_code", "routine_coding")],
)
async def test_without_an_issue_a_gitea_agents_task_stays_here(title, agent, task, log_lines):
    result = await dispatch_task(title)
    assert (result.task_type, result.agent, result.issue_number) == (task, AgentType.TIMMY, None)
    assert result.metadata == {"local": True, "description": ""}
    assert log_lines()[0] == dispatching(title, agent, task, None)


async def test_a_task_on_an_issue_goes_through_gitea(replace_httpx, log_lines):
    client = healthy_client()
    replace_httpx(client)
    result = await dispatch_task("Quick fix", issue_number=7, acceptance_criteria=["A", "B"])
    assert result == DispatchResult(
        TaskType.FAST_ITERATION,
        AgentType.KIMI_CODE,
        7,
        DispatchStatus.ASSIGNED,
        comment_id=42,
        label_applied="kimi-ready",
    )
    assert "- A\n- B" in client.calls[2].keywords["json"]["body"]
    assert log_lines() == [
        dispatching("Quick fix", "kimi_code", "fast_iteration", 7),
        ("INFO", "Applied label 'kimi-ready' to issue #7 for Kimi Code"),
        ("INFO", "Dispatched issue #7 to Kimi Code (label='kimi-ready', comment=42)"),
    ]


@pytest.mark.parametrize("issue", [None, 7])
async def test_research_goes_to_the_api(issue, replace_httpx, log_lines):
    client = ScriptedClient(PlainAnswer(202, {"job": 1}))
    replace_httpx(client)
    result = await dispatch_task("Survey it", issue_number=issue, api_endpoint=AGENT_URL)
    assert (result.status, result.agent, result.metadata) == (
        DispatchStatus.ASSIGNED,
        AgentType.AGENT_API,
        {"response": {"job": 1}},
    )
    assert log_lines()[0] == dispatching("Survey it", "agent_api", "research", issue)
    assert len(client.calls) == 1


async def test_by_position(replace_httpx):
    client = ScriptedClient(PlainAnswer(500, {}, "no"))
    replace_httpx(client)
    result = await dispatch_task(
        "Fix it", "d", ["c"], None, AgentType.AGENT_API, None, AGENT_URL, 0
    )
    assert (result.status, result.retry_count) == (DispatchStatus.ESCALATED, 0)
    assert client.calls[0].keywords["json"]["acceptance_criteria"] == ["c"]


@pytest.mark.parametrize("agent", list(AgentType))
async def test_an_agent_that_is_asked_for_gets_it(agent, replace_httpx, log_lines):
    labels = [{"id": 1, "name": "claude-ready"}, {"id": 2, "name": "kimi-ready"}]
    replace_httpx(
        ScriptedClient(PlainAnswer(200, {"id": 9}))
        if agent == "agent_api"
        else ScriptedClient(
            PlainAnswer(200, labels), PlainAnswer(200, {}), PlainAnswer(201, {"id": 9})
        )
    )
    result = await dispatch_task("Fix it", agent=agent, issue_number=7, api_endpoint=AGENT_URL)
    assert (result.success, result.agent) == (True, agent)
    assert log_lines()[0] == dispatching("Fix it", agent.value, "routine_coding", 7)


@pytest.mark.parametrize("nothing", [None, "", 0, False])
async def test_a_false_type_or_agent_is_none_given(nothing):
    result = await dispatch_task("Plan it", task_type=nothing, agent=nothing)
    assert (result.task_type, result.agent) == (TaskType.PLANNING, AgentType.TIMMY)


async def test_a_type_routes_the_task(log_lines):
    await dispatch_task("Plan it", task_type=TaskType.PLANNING)
    assert log_lines()[0] == dispatching("Plan it", "timmy", "planning", None)


async def test_an_agent_may_be_anything_with_a_value(replace_httpx):
    agent = MagicMock(value="own")
    spec = AgentSpec(agent, "Own", frozenset(), None, interface="api", api_endpoint=AGENT_URL)
    client = ScriptedClient(PlainAnswer(200, {}))
    replace_httpx(client)
    with patch.dict(AGENT_REGISTRY, {agent: spec}):
        result = await dispatch_task("Fix it", agent=agent)
    assert result.agent is agent
    assert client.calls[0].keywords["json"]["agent"] == "own"


@pytest.mark.parametrize("issue", [0, "7", "a/b", -1, True, 2.5], ids=repr)
async def test_any_issue_but_none_is_an_issue(issue, replace_httpx, log_lines):
    client = healthy_client()
    replace_httpx(client)
    result = await dispatch_task("Fix it", issue_number=issue)
    assert result.issue_number is issue
    assert client.calls[2].url == comments_url(issue)
    assert log_lines()[0] == dispatching("Fix it", "kimi_code", "routine_coding", issue)


@pytest.mark.parametrize(
    ("criteria", "lines"),
    [
        (None, "_None specified_"),
        ([], "_None specified_"),
        ((), "_None specified_"),
        (["A"], "- A"),
        (("A", 2), "- A\n- 2"),
        ("ab", "- a\n- b"),
        (iter("ab"), "- a\n- b"),
        (iter(()), ""),
    ],
    ids=["None", "list", "tuple", "A", "A2", "text", "iterator", "empty iterator"],
)
async def test_criteria_of_any_kind(criteria, lines, replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    await dispatch_task("Fix it", acceptance_criteria=criteria, issue_number=7)
    body = client.calls[2].keywords["json"]["body"]
    assert f"**Acceptance criteria:**\n{lines}\n\n---" in body


@pytest.mark.parametrize(
    ("title", "shown"),
    [
        ("x" * 61, "x" * 60),
        ("\N{TEST TUBE}" * 61, "\N{TEST TUBE}" * 60),
        (" padded ", " padded "),
        ("50% {of} it's", "50% {of} it's"),
        ("Rotate the s3cret", "Rotate the s3cret"),
        ("See http://me:pw@host/x", "See http://me:pw@host/x"),
    ],
    ids=["61", "astral", "blanks", "signs", "secret", "url"],
)
async def test_a_title_is_logged_as_it_is(title, shown, replace_httpx, log_lines):
    replace_httpx(healthy_client())
    await dispatch_task(title, agent=AgentType.KIMI_CODE, issue_number=7)
    await dispatch_task(title, agent=AgentType.TIMMY)
    lines = [text for _, text in log_lines()]
    assert sum(line.startswith(f"Dispatching task {shown!r} →") for line in lines) == 2
    assert lines[-1] == f"Timmy handling task locally: {shown!r} (issue #None)"


async def test_a_subclass_of_str_is_a_title(caplog):
    class Title(str):
        __slots__ = ()

    caplog.set_level("INFO")
    title, description = Title("Plan it"), Title("d")
    result = await dispatch_task(title, description)
    assert result.metadata["description"] is description
    assert caplog.records[0].args[0] == "Plan it"


@pytest.mark.parametrize("text", ["\ud800", "\0", "x" * 100_000, "\N{TEST TUBE}"], ids=len)
async def test_a_description_comes_back_as_it_was(text):
    result = await dispatch_task("Plan it", text)
    assert result.metadata["description"] is text


@pytest.mark.parametrize(
    ("title", "description", "said"),
    [
        (None, "", "'NoneType' object has no attribute 'strip'"),
        (7, "", "'int' object has no attribute 'strip'"),
        (b"plan", "", "bytes"),
        ("Plan it", None, 'can only concatenate str (not "NoneType") to str'),
        ("Plan it", 7, 'can only concatenate str (not "int") to str'),
    ],
)
async def test_only_text_is_a_task(title, description, said):
    with pytest.raises((AttributeError, TypeError)) as raised:
        await dispatch_task(title, description)
    assert said in str(raised.value)


async def test_text_that_is_never_looked_at_may_be_anything():
    with patch.object(dispatcher, "infer_task_type", return_value=TaskType.TRIAGE):
        result = await dispatch_task("Plan it", None)
    assert result.metadata == {"local": True, "description": None}


async def test_an_interface_that_nobody_knows_is_local():
    spec = replace(AGENT_REGISTRY[AgentType.KIMI_CODE], interface="carrier pigeon")
    with patch.dict(AGENT_REGISTRY, {AgentType.KIMI_CODE: spec}):
        result = await dispatch_task("Fix it", issue_number=7)
    assert (result.agent, result.metadata["local"]) == (AgentType.TIMMY, True)


async def test_an_interface_changed_in_place(replace_httpx, monkeypatch):
    replace_httpx(ScriptedClient(PlainAnswer(200, {})))
    monkeypatch.setattr(AGENT_REGISTRY[AgentType.KIMI_CODE], "interface", "api")
    monkeypatch.setattr(AGENT_REGISTRY[AgentType.KIMI_CODE], "api_endpoint", AGENT_URL)
    result = await dispatch_task("Fix it", issue_number=7)
    assert (result.agent, result.metadata) == (AgentType.KIMI_CODE, {"response": {}})


async def test_an_agent_that_was_removed_is_a_key_error():
    with patch.dict(AGENT_REGISTRY):
        del AGENT_REGISTRY[AgentType.KIMI_CODE]
        with pytest.raises(KeyError):
            await dispatch_task("Fix it", issue_number=7)


async def test_nothing_runs_before_the_first_await(log_lines):
    coroutine = dispatch_task("Plan it")
    assert inspect.iscoroutine(coroutine)
    assert log_lines() == []
    assert (await coroutine).success


async def test_a_coroutine_can_be_closed_unawaited(log_lines):
    dispatch_task("Plan it").close()
    assert log_lines() == []


async def test_many_at_once_do_not_meet(replace_httpx):
    replace_httpx(*(healthy_client(number) for number in range(100, 120)))
    results = await asyncio.gather(
        *(dispatch_task("Fix it", issue_number=number) for number in range(20))
    )
    assert [result.issue_number for result in results] == list(range(20))
    assert sorted(result.comment_id for result in results) == list(range(100, 120))


def test_each_loop_is_served():
    for _ in range(3):
        assert asyncio.run(dispatch_task("Plan it")).success


async def test_local_by_itself(log_lines):
    assert await dispatcher._dispatch_local("Design it") == DispatchResult(
        TaskType.ARCHITECTURE,
        AgentType.TIMMY,
        None,
        DispatchStatus.ASSIGNED,
        metadata={"local": True, "description": ""},
    )
    await dispatcher._dispatch_local("x" * 61, "d", ["c"], 0)
    assert log_lines() == [
        ("INFO", "Timmy handling task locally: 'Design it' (issue #None)"),
        ("INFO", f"Timmy handling task locally: {'x' * 60!r} (issue #0)"),
    ]
