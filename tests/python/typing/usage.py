"""Typical uses of the package, for `mypy --strict`; nothing here is run.

A use that must be refused carries the error's code: mypy complains where there is no such error.
"""

from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, assert_type

import pytest
from timmy.dispatcher import (
    AGENT_REGISTRY,
    AgentSpec,
    AgentType,
    Classifier,
    Dispatcher,
    DispatcherError,
    DispatchResult,
    DispatchStatus,
    Explanation,
    Match,
    RankedClassifier,
    Ranking,
    Span,
    Task,
    TaskType,
    dispatch_task,
    explain_task_type,
    infer_task_type,
    rank_task_types,
    select_agent,
    use_http,
    wait_for_completion,
)
from timmy.dispatcher.durable import (
    AgentOptions,
    Assignment,
    Dispatch,
    Event,
    Outcome,
    Phase,
    Plan,
    PullRequest,
    Question,
    Record,
    Story,
    Verdict,
)
from timmy.dispatcher.ranking import Example
from timmy.dispatcher.sandbox import Request, Sandbox, gitea_sandbox, sandbox_fixture


async def hand_over() -> None:
    result = await dispatch_task("Design the LLM router")
    assert_type(result, DispatchResult)
    await dispatch_task(
        "Design the LLM router",
        "With failover.",
        acceptance_criteria=["Failover works"],
        task_type=TaskType.ARCHITECTURE,
        agent=AgentType.CLAUDE_CODE,
        issue_number=7,
        api_endpoint="http://agent.example/tasks",
        max_retries=2,
    )
    assert_type(result.task_type, TaskType)
    assert_type(result.agent, AgentType)
    assert_type(result.status, DispatchStatus)
    assert_type(result.success, bool)
    assert_type(result.comment_id, int | None)
    assert_type(result.label_applied, str | None)
    assert_type(result.error, str | None)
    assert_type(await wait_for_completion(7, poll_interval=5, max_wait=60), DispatchStatus)
    # Floats work too; the annotations are those of the module that this one replaces.
    await wait_for_completion(7, 0.5)  # type: ignore[arg-type]


async def refused() -> None:
    await dispatch_task()  # type: ignore[call-arg]
    await dispatch_task(7)  # type: ignore[arg-type]
    await dispatch_task("x", task_type="architecure")  # type: ignore[arg-type]
    await dispatch_task("x", agent=TaskType.TRIAGE)  # type: ignore[arg-type]
    await dispatch_task("x", acceptance_criteria="one")  # type: ignore[arg-type]
    await dispatch_task("x", issue="7")  # type: ignore[call-arg]
    await wait_for_completion("7")  # type: ignore[arg-type]
    (await dispatch_task("x")).succes  # type: ignore[attr-defined]  # noqa: B018
    dispatch_task("x").status  # type: ignore[attr-defined]  # noqa: B018


def read_the_text() -> None:
    assert_type(infer_task_type("Design it"), TaskType)
    assert_type(select_agent(TaskType.TRIAGE), AgentType)
    explanation = explain_task_type("Clean", "up the mess")
    assert_type(explanation, Explanation)
    assert_type(explanation.deciding, tuple[Match, ...])
    assert_type(explanation.matches[0].spans, tuple[Span, ...])
    explanation.matches[0].spans[0].start = 3  # type: ignore[misc]
    infer_task_type(None)  # type: ignore[arg-type]


def own_table() -> None:
    classifier = Classifier([(TaskType.PLANNING, ["retro", "kickoff"])], TaskType.CREATIVE)
    assert_type(classifier.infer("Retro"), TaskType)
    assert_type(classifier.explain("Retro", "of May"), Explanation)
    assert_type(Classifier.from_toml(""), Classifier)
    assert_type(Classifier.from_file("signals.toml"), Classifier)
    Classifier({"planning": ["retro"]})  # type: ignore[dict-item]


def own_agent() -> None:
    AGENT_REGISTRY[AgentType.AGENT_API] = AgentSpec(
        name=AgentType.AGENT_API,
        display_name="Agent API",
        strengths=frozenset({TaskType.RESEARCH}),
        gitea_label=None,
        interface="api",
        api_endpoint="http://agent.example/tasks",
    )
    AgentSpec(AgentType.TIMMY)  # type: ignore[call-arg]


def own_client(make: Callable[..., AbstractAsyncContextManager[Any]]) -> None:
    use_http("native")
    use_http(make)
    use_http(3)  # type: ignore[arg-type]
    use_http("htpx")  # type: ignore[arg-type]


def stand_in() -> None:
    with Sandbox("1.25", token="t", port=0) as gitea:
        repo = gitea.create_repo("swarm")
        number = gitea.create_issue(repo, "Design it")
        assert_type(number, int)
        gitea.fault("/labels", method="GET", status=503, retry_after=2, times=1)
        assert_type(gitea.requests(), list[Request])
        assert_type(gitea.url, str)
        gitea.fault("/labels", statsu=503)  # type: ignore[call-arg]
    Sandbox("1.24")  # type: ignore[arg-type]


both_kinds = sandbox_fixture("1.25", "1.26")
fixtures: list[Callable[..., Iterator[Sandbox]]] = [gitea_sandbox, both_kinds]


@pytest.mark.parametrize("gitea_sandbox", ["1.25"], indirect=True)
def test_of_a_user(gitea_sandbox: Sandbox) -> None:
    gitea_sandbox.create_repo("swarm")


def rank() -> None:
    ranking = rank_task_types("Roadmap")
    assert_type(ranking, Ranking)
    assert_type(ranking.task_type, TaskType)
    assert_type(ranking.types[0].probability, float)
    assert_type(ranking.evidence[0].spans[0], Span)
    ranking.types = ()  # type: ignore[misc]
    model = RankedClassifier.train([Example("Roadmap", "", TaskType.PLANNING)])
    model.save("ours.bin")
    assert_type(RankedClassifier.load("ours.bin").rank("Roadmap"), Ranking)
    assert_type(model.evaluate([]).calibration_error, float)


async def durable() -> None:
    dispatcher = Dispatcher(
        "sqlite:///data/dispatch.db",
        agents={"claude_code": AgentOptions(gitea_user="claude", deadline=3600)},
        when_busy="fallback",
        gates=["approved", PullRequest(without_checks=True)],
        poll=5,
        lease=30.0,
    )
    Dispatcher("a.db", leese=3)  # type: ignore[call-arg]
    Dispatcher("a.db", when_busy="wait")  # type: ignore[arg-type]
    Dispatcher("a.db", lease="30 s")  # type: ignore[arg-type]

    @dispatcher.local_agent
    async def work(assignment: Assignment) -> dict[str, str]:
        return {"title": assignment.task.title}

    @dispatcher.local_agent("writer", idempotent=True)
    async def write(assignment: Assignment) -> None: ...

    @dispatcher.local_agent  # type: ignore[type-var]
    def no_coroutine_function(assignment: Assignment) -> None: ...

    @dispatcher.gate("tested")
    async def tested(question: Question) -> bool | str:
        return "no tests" if question.fence else True

    @dispatcher.gate("judged")
    async def judged(question: Question) -> Verdict:
        return Verdict("pending", "later", evidence={"at": 7})

    # A decorated function stays what it was.
    assert_type(await work(Assignment(**{})), dict[str, str])

    async with dispatcher as opened:
        assert_type(opened, Dispatcher)
        dispatch = await opened.submit(
            Task("Design it", issue_number=7), priority=1, gates=[], route=[AgentType.TIMMY]
        )
        assert_type(dispatch, Dispatch)
        outcome = await dispatch
        assert_type(outcome, Outcome)
        assert_type(outcome.status, DispatchStatus)
        assert_type(outcome.phase, Phase)
        assert_type(await dispatch.get(), Record)
        assert_type(await dispatch.story(), Story)
        assert_type(await opened.list(finished=True), tuple[Record, ...])
        assert_type(opened.plan(Task("Design it")), Plan)
        async for event in opened.events(after=7):
            assert_type(event, Event)
        outcome.phase = Phase.QUEUED  # type: ignore[misc]
    async with Dispatcher.visit("a.db") as visitor:
        try:
            await visitor.cancel(dispatch.id)
        except DispatcherError as error:
            assert_type(error, DispatcherError)
