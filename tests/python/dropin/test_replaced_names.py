"""Every name a suite may patch is gone through, with the arguments it always got."""

import asyncio
import contextvars
import inspect
from unittest.mock import AsyncMock, MagicMock, call, create_autospec, patch

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
    GITEA,
    KIMI_LABELS,
    REPO,
    WRITE_HEADERS,
    PlainAnswer,
    ScriptedClient,
    healthy_client,
    message,
    mock_answer,
    mock_client,
)

TASK = ("Quick fix", "d", ["c"])


def a_result(status=DispatchStatus.ASSIGNED, error=None):
    return DispatchResult(TaskType.TRIAGE, AgentType.TIMMY, 7, status, error=error)


@pytest.fixture
def replaced():
    """A function that patches a name of the dispatcher for the rest of the test."""
    patches = []

    def replace(name, **options):
        patches.append(patch(f"timmy.dispatcher.{name}", **options))
        return patches[-1].start()

    yield replace
    for started in reversed(patches):
        started.stop()


async def test_infer_task_type(replaced, replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    infer = replaced("infer_task_type", return_value=TaskType.ROUTINE_CODING)
    result = await dispatch_task("Design it", "d", issue_number=7)
    assert infer.call_args_list == [call("Design it", "d")] * 2
    assert (result.task_type, result.agent) == (TaskType.ROUTINE_CODING, AgentType.KIMI_CODE)
    assert "`routine_coding`" in client.calls[2].keywords["json"]["body"]


async def test_two_answers_of_an_inference(replaced):
    replaced("infer_task_type", side_effect=[TaskType.ARCHITECTURE, TaskType.CREATIVE])
    result = await dispatch_task("x")
    assert result.task_type is TaskType.CREATIVE


async def test_select_agent(replaced):
    select = replaced("select_agent", return_value=AgentType.TIMMY)
    result = await dispatch_task("Design it", issue_number=7)
    select.assert_called_once_with(TaskType.ARCHITECTURE)
    assert result.agent is AgentType.TIMMY


async def test_select_agent_is_not_asked_when_the_agent_is_known(replaced):
    select = replaced("select_agent")
    await dispatch_task("Design it", agent=AgentType.TIMMY)
    select.assert_not_called()


@pytest.mark.parametrize("nothing", [None, False, 0, ""])
async def test_validate_task_that_lets_pass(nothing, replaced):
    validate = replaced("_validate_task", return_value=nothing)
    assert (await dispatch_task("Plan it", issue_number=7)).success
    validate.assert_called_once_with("Plan it", None, None, 7)


@pytest.mark.parametrize("refusal", [a_result(), "no", 1])
async def test_validate_task_that_refuses(refusal, replaced, log_lines):
    validate = replaced("_validate_task", return_value=refusal)
    options = {"task_type": TaskType.TRIAGE, "agent": AgentType.TIMMY, "issue_number": None}
    assert await dispatch_task("Plan it", **options) is refusal
    validate.assert_called_once_with("Plan it", *options.values())
    assert log_lines() == []


@pytest.mark.parametrize(
    ("strategy", "step"),
    [
        ("gitea", "_dispatch_via_gitea"),
        ("api", "_dispatch_via_api"),
        ("local", "_dispatch_local"),
        ("carrier pigeon", "_dispatch_local"),
        (None, "_dispatch_local"),
        (MagicMock(), "_dispatch_local"),
    ],
    ids=str,
)
async def test_select_dispatch_strategy(strategy, step, replaced):
    select = replaced("_select_dispatch_strategy", return_value=strategy)
    steps = {
        name: replaced(name, return_value=a_result())
        for name in ("_dispatch_via_gitea", "_dispatch_via_api", "_dispatch_local")
    }
    assert (await dispatch_task("Plan it")).success
    select.assert_called_once_with(AgentType.TIMMY, None)
    assert {name: mock.await_count for name, mock in steps.items()} == {
        name: int(name == step) for name in steps
    }


async def test_a_strategy_is_chosen_once_for_all_attempts(replaced):
    select = replaced("_select_dispatch_strategy", return_value="local")
    replaced("_dispatch_local", return_value=a_result(DispatchStatus.FAILED))
    await dispatch_task("Plan it", max_retries=3)
    select.assert_called_once_with(AgentType.TIMMY, None)


async def test_dispatch_via_gitea(replaced):
    made = a_result()
    step = replaced("_dispatch_via_gitea", return_value=made)
    assert await dispatch_task(*TASK, issue_number=7) is made
    step.assert_awaited_once_with(AgentType.KIMI_CODE, 7, "Quick fix", "d", ["c"])


async def test_dispatch_via_api(replaced):
    step = replaced("_dispatch_via_api", return_value=a_result())
    await dispatch_task("Research it", issue_number=7, api_endpoint=AGENT_URL)
    await dispatch_task("Research it")
    assert step.await_args_list == [
        call(AgentType.AGENT_API, "Research it", "", [], 7, AGENT_URL),
        call(AgentType.AGENT_API, "Research it", "", [], None, None),
    ]


async def test_dispatch_local(replaced):
    step = replaced("_dispatch_local", return_value=a_result())
    criteria = ("c",)
    await dispatch_task("Plan it", "d", criteria, issue_number=7)
    step.assert_awaited_once_with("Plan it", "d", criteria, 7)
    assert step.await_args.args[2] is criteria


async def test_a_step_that_calls_the_original(replaced, replace_httpx):
    original = dispatcher._dispatch_via_gitea
    replace_httpx(healthy_client())
    seen = []

    async def step(*arguments):
        seen.append(await original(*arguments))
        return seen[-1]

    replaced("_dispatch_via_gitea", new=step)
    assert await dispatch_task(*TASK, issue_number=7) is seen[0]
    assert seen[0].comment_id == 42


async def test_log_dispatch_result(replaced, log_lines):
    made = a_result(DispatchStatus.FAILED)
    replaced("_dispatch_local", return_value=made)
    log = replaced("_log_dispatch_result")
    await dispatch_task("Plan it", max_retries=1)
    assert log.call_args_list == [call("Plan it", made, 0, 1), call("Plan it", made, 1, 1)]
    assert [level for level, _ in log_lines()] == ["INFO", "ERROR"]


async def test_log_dispatch_result_is_not_asked_after_a_success(replaced):
    log = replaced("_log_dispatch_result")
    await dispatch_task("Plan it")
    log.assert_not_called()


async def test_log_escalation(replaced, log_lines):
    replaced("_dispatch_local", return_value=a_result(DispatchStatus.FAILED, "bad"))
    escalate = replaced("_log_escalation")
    await dispatch_task("Plan it", issue_number=0)
    escalate.assert_awaited_once_with(0, AgentType.TIMMY, "bad")
    escalate.reset_mock()
    await dispatch_task("Plan it")
    escalate.assert_not_called()


HELPER_ARGUMENTS = (f"{GITEA}", REPO, WRITE_HEADERS, 7)


@pytest.mark.parametrize(
    ("answer", "label"),
    [(True, "kimi-ready"), (1, "kimi-ready"), (False, None), (None, None), ("", None)],
)
async def test_apply_gitea_label(answer, label, replaced, replace_httpx):
    client = ScriptedClient(PlainAnswer(201, {"id": 42}))
    replace_httpx(client)
    apply = replaced("_apply_gitea_label", return_value=answer)
    result = await dispatch_task(*TASK, issue_number=7)
    apply.assert_awaited_once_with(client, *HELPER_ARGUMENTS, "kimi-ready")
    assert (result.label_applied, result.comment_id) == (label, 42)


@pytest.mark.parametrize(("answer", "success"), [(99, True), (0, True), ("c", True), (None, False)])
async def test_post_gitea_comment(answer, success, replaced, replace_httpx):
    client = ScriptedClient(PlainAnswer(200, []), PlainAnswer(500, {}))
    replace_httpx(client)
    replaced("_format_assignment_comment", return_value="BODY")
    replaced("_log_escalation")
    post = replaced("_post_gitea_comment", return_value=answer)
    result = await dispatch_task(*TASK, issue_number=7, max_retries=0)
    post.assert_awaited_once_with(client, *HELPER_ARGUMENTS, "BODY")
    assert (result.success, result.comment_id) == (success, answer)


async def test_both_helpers_get_the_same_client(replaced):
    apply = replaced("_apply_gitea_label", return_value=True)
    post = replaced("_post_gitea_comment", return_value=5)
    result = await dispatch_task(*TASK, issue_number=7)
    assert (result.label_applied, result.comment_id) == ("kimi-ready", 5)
    client = apply.await_args.args[0]
    assert client is post.await_args.args[0]
    assert inspect.iscoroutinefunction(client.get)
    assert inspect.iscoroutinefunction(client.post)


async def test_the_escalation_is_posted_by_the_helper(replaced, replace_httpx):
    client = mock_client()
    constructor = replace_httpx(client)
    post = replaced("_post_gitea_comment", return_value=None)
    await dispatcher._log_escalation(7, AgentType.KIMI_CODE, "bad")
    constructor.assert_called_once_with(timeout=10)
    (given,) = post.await_args_list
    assert given.args[:5] == (client, *HELPER_ARGUMENTS)
    assert "**Error:** bad" in given.args[5]


@pytest.mark.parametrize("label", ["robots", None, ""])
async def test_select_label(label, replaced, replace_httpx):
    replace_httpx(mock_client(post=mock_answer(201, {"id": 5})))
    select = replaced("_select_label", return_value=label)
    apply = replaced("_apply_gitea_label", return_value=True)
    result = await dispatch_task(*TASK, issue_number=7)
    select.assert_called_once_with(AgentType.KIMI_CODE)
    assert (result.label_applied, apply.await_count) == (label or None, int(bool(label)))


async def test_format_assignment_comment(replaced, replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    body = MagicMock()
    write = replaced("_format_assignment_comment", return_value=body)
    await dispatch_task(*TASK, issue_number=7)
    write.assert_called_once_with("Kimi Code", TaskType.FAST_ITERATION, "d", ["c"])
    assert client.calls[2].keywords["json"]["body"] is body


async def test_poll_issue_completion(replaced):
    outcome = object()
    poll = replaced("_poll_issue_completion", return_value=outcome)
    assert await dispatcher.wait_for_completion(7) is outcome
    assert await dispatcher.wait_for_completion(7, max_wait=5, poll_interval=2) is outcome
    assert poll.await_args_list == [call(7, 60, 7200), call(7, 2, 5)]


async def test_logger(replaced, log_lines):
    logger = replaced("logger")
    await dispatch_task("Plan it", issue_number=7)
    assert [message(logged) for logged in logger.info.call_args_list] == [
        "Dispatching task 'Plan it' → timmy (type=planning, issue=#7)",
        "Timmy handling task locally: 'Plan it' (issue #7)",
    ]
    assert log_lines() == []


async def test_the_levels_of_a_replaced_logger(replaced):
    logger = replaced("logger")
    replaced("_dispatch_local", return_value=a_result(DispatchStatus.FAILED, "bad"))
    await dispatch_task("Plan it")
    assert [name for name, _, _ in logger.method_calls] == [
        "info",
        "warning",
        "info",
        "warning",
        "error",
    ]
    assert message(logger.error.call_args) == (
        "Task 'Plan it' escalated after 2 failed attempt(s): bad"
    )


async def test_the_registry_replaced(replaced, replace_httpx):
    client = mock_client(post=mock_answer(200, {"ok": 1}))
    replace_httpx(client)
    spec = AgentSpec(AgentType.TIMMY, "T", frozenset(), None, 1, "api", AGENT_URL)
    replaced("AGENT_REGISTRY", new={AgentType.TIMMY: spec})
    assert (await dispatch_task("Plan it")).metadata == {"response": {"ok": 1}}


async def test_the_registry_changed(replace_httpx):
    client = healthy_client()
    replace_httpx(client)
    spec = AgentSpec(AgentType.TIMMY, "Tim", frozenset(), "kimi-ready")
    with patch.dict(AGENT_REGISTRY, {AgentType.TIMMY: spec}):
        result = await dispatch_task("Plan it", issue_number=7)
    assert (result.agent, result.label_applied) == (AgentType.TIMMY, "kimi-ready")
    assert client.calls[2].keywords["json"]["body"].startswith("## Assigned to Tim\n")


async def test_the_routes_changed(log_lines):
    with patch.dict(dispatcher._TASK_ROUTING, {TaskType.PLANNING: AgentType.KIMI_CODE}):
        await dispatch_task("Plan it")
    with patch.dict(dispatcher._TASK_ROUTING, clear=True):
        await dispatch_task("Design it")
    assert [text.split(" (")[0] for _, text in log_lines()[::2]] == [
        "Dispatching task 'Plan it' → kimi_code",
        "Dispatching task 'Design it' → timmy",
    ]


STEPS = {
    "_validate_task": {},
    "infer_task_type": {},
    "select_agent": {},
    "_select_dispatch_strategy": {},
    "_dispatch_via_gitea": {},
    "_dispatch_via_api": {"agent": AgentType.AGENT_API},
    "_dispatch_local": {"agent": AgentType.TIMMY},
    "_select_label": {},
    "_format_assignment_comment": {},
    "_apply_gitea_label": {},
    "_post_gitea_comment": {},
    "_log_dispatch_result": {"agent": AgentType.AGENT_API},
    "_log_escalation": {"agent": AgentType.AGENT_API},
    "logger": {},
}
ERRORS = [ValueError("boom"), asyncio.CancelledError(), KeyboardInterrupt(), SystemExit(3)]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("name", STEPS)
async def test_an_exception_of_a_replaced_step_escapes(name, error, replaced, replace_httpx):
    replace_httpx(mock_client(get=mock_answer(200, KIMI_LABELS), post=mock_answer(200, {})))
    mock = replaced(name)
    (mock.info if name == "logger" else mock).side_effect = error
    with pytest.raises(type(error)) as raised:
        await dispatch_task("Quick fix", issue_number=7, **STEPS[name])
    assert raised.value is error


@pytest.mark.parametrize("name", ["_select_label", "_format_assignment_comment"])
async def test_the_client_sees_what_a_replaced_step_raised(name, replaced, replace_httpx):
    client = mock_client(get=mock_answer(200, KIMI_LABELS), post=mock_answer(200, {}))
    replace_httpx(client)
    error = ValueError("boom")
    replaced(name, side_effect=error)
    with pytest.raises(ValueError, match="boom"):
        await dispatch_task("Quick fix", issue_number=7)
    (left,) = client.__aexit__.await_args_list
    assert left.args[:2] == (ValueError, error)


async def test_a_client_may_keep_what_was_raised(replaced, replace_httpx):
    client = mock_client(get=mock_answer(200, KIMI_LABELS), post=mock_answer(200, {}))
    client.__aexit__.return_value = True
    replace_httpx(client)
    replaced("_format_assignment_comment", side_effect=ValueError("boom"))
    result = await dispatch_task("Quick fix", issue_number=7)
    assert (result.success, result.label_applied, result.comment_id) == (True, "kimi-ready", None)


@pytest.mark.parametrize("name", [name for name in STEPS if name != "logger"])
async def test_an_autospec_accepts_what_it_is_called_with(name, replaced, replace_httpx):
    replace_httpx(mock_client(get=mock_answer(200, KIMI_LABELS), post=mock_answer(200, {})))
    original = getattr(dispatcher, name)
    spec = create_autospec(original, side_effect=original)
    replaced(name, new=spec)
    result = await dispatch_task("Quick fix", issue_number=7, **STEPS[name])
    assert isinstance(result, DispatchResult)
    spec.assert_called()


async def test_a_coroutine_function_replaced_by_a_plain_one(replaced):
    async def later():
        return a_result()

    replaced("_dispatch_local", new=lambda *_: later())
    assert (await dispatch_task("Plan it")).success


@pytest.mark.parametrize("value", [None, 7, a_result()], ids=["None", "int", "result"])
async def test_what_cannot_be_awaited_is_a_type_error(value, replaced):
    replaced("_dispatch_local", new=lambda *_: value)
    with pytest.raises(TypeError, match=r"can't be used in 'await' expression"):
        await dispatch_task("Plan it")


async def test_a_step_that_returns_no_result(replaced):
    replaced("_dispatch_local", return_value=None)
    with pytest.raises(AttributeError, match="retry_count"):
        await dispatch_task("Plan it")


async def test_a_mock_is_a_result(replaced):
    step = replaced("_dispatch_local")
    result = await dispatch_task("Plan it")
    assert result is step.return_value
    assert result.retry_count == 0


async def test_a_future_can_be_awaited(replaced):
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_soon(future.set_result, a_result())
    replaced("_dispatch_local", new=lambda *_: future)
    assert (await dispatch_task("Plan it")).success


async def test_a_step_may_really_wait_and_run_other_tasks(replaced):
    async def step(*_):
        async with asyncio.timeout(5), asyncio.TaskGroup() as group:
            done = group.create_task(asyncio.sleep(0, "done"))
        assert done.result() == "done"
        return a_result()

    replaced("_dispatch_local", new=step)
    assert (await dispatch_task("Plan it")).success


async def test_a_step_sees_the_context_and_task_of_the_caller(replaced):
    request, seen = contextvars.ContextVar("request"), []

    def infer(*_):
        seen.append((request.get(), asyncio.current_task()))
        return TaskType.TRIAGE

    async def step(*_):
        seen.append((request.get(), asyncio.current_task()))
        request.set("changed")
        return a_result()

    replaced("infer_task_type", new=infer)
    replaced("_dispatch_local", new=step)
    request.set("mine")
    await dispatch_task("Plan it")
    assert seen == [("mine", asyncio.current_task())] * 2
    assert request.get() == "changed"


async def test_a_patch_that_ends_is_gone(replaced):
    with patch("timmy.dispatcher._dispatch_local", return_value=a_result()) as step:
        await dispatch_task("Plan it")
    result = await dispatch_task("Plan it")
    assert (step.await_count, result.metadata["local"]) == (1, True)


async def test_a_patch_between_two_attempts_is_seen(replaced):
    replaced("_log_dispatch_result", side_effect=lambda *_: replaced("_dispatch_local"))
    first = replaced("_dispatch_local", return_value=a_result(DispatchStatus.FAILED))
    result = await dispatch_task("Plan it", max_retries=1)
    assert first.await_count == 1
    assert isinstance(result, AsyncMock)


async def test_stop_iteration_becomes_a_runtime_error(replaced):
    replaced("infer_task_type", side_effect=[])
    with pytest.raises(RuntimeError, match="StopIteration"):
        await dispatch_task("Plan it")


async def test_an_exhausted_async_mock_escapes(replaced):
    replaced("_dispatch_local", new=AsyncMock(side_effect=[]))
    with pytest.raises(StopAsyncIteration):
        await dispatch_task("Plan it")


def test_dispatch_task_itself_replaced():
    with patch("timmy.dispatcher.dispatch_task", new_callable=AsyncMock) as dispatch:
        dispatch.return_value = a_result()
        assert asyncio.run(dispatcher.dispatch_task("x")).success
    dispatch.assert_awaited_once_with("x")
