"""What is decided before anything is kept or sent."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest
from timmy import dispatcher as dispatching
from timmy.dispatcher import _core
from timmy.dispatcher.durable import (
    AgentOptions,
    Dispatcher,
    DispatcherError,
    Phase,
    PullRequest,
    Receive,
    Refused,
    Task,
)

from durable.world import NOWHERE


@pytest.fixture
def plan(alone):
    return alone().plan


def test_a_plan_says_who_would_get_it_and_touches_nothing(alone, ledger):
    plan = alone(gates=["checklist"]).plan(
        Task("Design the LLM router", acceptance_criteria=["It fails over"], issue_number=7),
        gates=["approved", PullRequest(without_checks=True), "pull_request", "https://g.example"],
        max_reassignments=1,
        callback="https://owner.example/told",
    )
    assert plan.task.task_type is dispatching.TaskType.ARCHITECTURE
    assert plan.task.acceptance_criteria == ("It fails over",)
    [agent] = plan.agents
    assert (agent.name, agent.interface) == (dispatching.AgentType.CLAUDE_CODE, "gitea")
    assert (agent.display_name, agent.label, agent.endpoint) == (
        "Claude Code",
        "claude-ready",
        None,
    )
    assert (plan.repo, plan.decided_by, plan.hold) == ("timmy/swarm", "exact", None)
    assert plan.gates == (
        "approved",
        PullRequest(without_checks=True),
        "pull_request",
        "https://g.example",
    )
    assert (plan.max_reassignments, plan.callback) == (1, "https://owner.example/told")
    assert alone(gates=["tested"]).plan(Task("Triage it")).gates == ("tested",)
    assert not ledger.exists()


def test_registered_agents_and_changed_routes_are_known(plan, monkeypatch):
    spec = replace(
        dispatching.AGENT_REGISTRY[dispatching.AgentType.KIMI_CODE],
        name="docs",
        gitea_label="docs-ready",
        strengths=frozenset({dispatching.TaskType.CREATIVE}),
    )
    monkeypatch.setitem(dispatching.AGENT_REGISTRY, "docs", spec)
    monkeypatch.setitem(dispatching._TASK_ROUTING, dispatching.TaskType.CREATIVE, "docs")
    task = Task("x", task_type=dispatching.TaskType.CREATIVE, issue_number=1)
    planned = plan(task, when_busy="fallback")
    assert [agent.name for agent in planned.agents] == ["docs", "timmy"]
    assert planned.fallback == ("timmy",)
    assert [agent.name for agent in plan(task, route=["kimi_code", "docs"]).agents] == [
        "kimi_code",
        "docs",
    ]


@pytest.mark.parametrize(
    ("task", "why"),
    [
        (Task(" "), "`title` is required"),
        (Task("Design it"), "give `issue_number`"),
        (Task("Design it", issue_number=0), "no issue 0"),
        (Task("Research it", issue_number=1), "No API endpoint configured for agent agent_api"),
        (Task("Research it", api_endpoint="agent"), "no http or https URL"),
        (Task("Triage it", agent="eve"), 'unknown agent "eve"; known are claude_code'),
        (Task("Triage it", task_type="triaging"), 'unknown task type "triaging"'),
        (Task("Triage it", max_retries=-1), "max_retries must be 0 or more"),
        (Task(7), "the task cannot be read"),
    ],
)
def test_a_task_that_is_not_taken_says_what_is_missing(plan, task, why):
    with pytest.raises(Refused, match=why) as refused:
        plan(task)
    assert isinstance(refused.value, ValueError)
    assert isinstance(refused.value, DispatcherError)
    assert isinstance(refused.value, RuntimeError)
    assert NOWHERE.gitea_token not in str(refused.value)


def test_mistakes_of_the_program_are_errors_at_once(alone, ledger):
    with pytest.raises(TypeError, match="leese"):
        alone(leese=3)
    with pytest.raises(TypeError, match="sequence"):
        alone(gates="approved")
    with pytest.raises(TypeError, match="not 7"):
        alone().plan(Task("Triage it"), gates=[7])
    with pytest.raises(TypeError, match="not 'Triage it'"):
        alone().plan("Triage it")
    with pytest.raises(TypeError, match="list"):
        alone().plan(Task("Triage it", acceptance_criteria="one"))
    for name in ("", "approved", "https://gate.example"):
        with pytest.raises(ValueError, match="cannot be called"):
            alone().gate(name)
    with pytest.raises(TypeError, match="coroutine function"):
        alone().local_agent("timmy")(7)
    for wrong in (0, -1, float("inf"), float("nan")):
        with pytest.raises(ValueError, match=r"lease is|JSON"):
            alone(lease=wrong).plan(Task("Triage it"))
    assert not ledger.exists()


async def test_a_local_agent_that_cannot_be_is_refused_before_the_ledger_is_there(alone, ledger):
    for name, why in [("eve", "unknown agent 'eve'"), ("kimi_code", "is reached by gitea")]:
        dispatcher = alone()

        @dispatcher.local_agent(name)
        async def work(assignment):
            pass

        with pytest.raises(Refused, match=why):
            await dispatcher.__aenter__()
    with pytest.raises(Refused, match="unknown agent"):
        await alone(agents={"eve": AgentOptions()}).__aenter__()
    with pytest.raises(Refused, match="an IP address and a port"):
        await alone(receive=Receive(address="here", secret="s")).__aenter__()
    assert not ledger.exists()


async def test_a_ledger_is_a_path_or_a_url(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for given in ("a.db", tmp_path / "b.db", "sqlite:///c.db", f"sqlite:///{tmp_path}/d.db"):
        async with Dispatcher(given, settings=NOWHERE):
            pass
    assert {file.name for file in tmp_path.iterdir()} == {"a.db", "b.db", "c.db", "d.db"}


@pytest.mark.parametrize(
    "given", ["", "sqlite://a.db", "sqlite:///", "sqlite:///:memory:", ":memory:", "mysql://h/d"]
)
async def test_what_names_no_ledger_is_refused(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(Refused, match="ledger"):
        await Dispatcher(given, settings=NOWHERE).__aenter__()
    assert list(tmp_path.iterdir()) == []


def test_secrets_are_not_shown():
    receive = Receive(address="127.0.0.1:0", secret="s3cret-s3cret")
    assert "s3cret" not in repr(receive)
    shown = repr(Dispatcher("postgresql://me:s3cret@host/data"))
    assert shown == "Dispatcher('postgresql://***@host/data')"


def test_the_phases_are_those_of_the_core():
    assert list(Phase) == _core.phases()


def test_values_can_be_pickled_and_compared(plan):
    planned = plan(Task("Triage it"))
    assert pickle.loads(pickle.dumps(planned)) == planned


def test_who_only_hands_over_does_not_import_it():
    code = (
        "import sys, timmy.dispatcher as d; "
        "assert 'timmy.dispatcher.durable' not in sys.modules; "
        "from timmy.dispatcher import Dispatcher, DispatcherError, Task; "
        "assert Dispatcher.__module__.startswith('timmy.dispatcher.durable'); "
        "assert not hasattr(d, 'Dispatchers')"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
