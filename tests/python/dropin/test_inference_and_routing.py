"""From words to a type, from a type to an agent, and how to hand a task to that agent."""

import dataclasses

import pytest
from timmy import dispatcher
from timmy.dispatcher import (
    _TASK_ROUTING,
    AGENT_REGISTRY,
    AgentSpec,
    AgentType,
    TaskType,
    infer_task_type,
    select_agent,
)

STRENGTHS = {
    AgentType.CLAUDE_CODE: {"architecture", "refactoring", "complex_reasoning", "code_review"},
    AgentType.KIMI_CODE: {"parallel_implementation", "routine_coding", "fast_iteration"},
    AgentType.AGENT_API: {"research", "analysis", "specialized"},
    AgentType.TIMMY: {"triage", "planning", "creative", "orchestration"},
}

ROUTES = [(task, agent) for agent, tasks in STRENGTHS.items() for task in sorted(tasks)]


@pytest.mark.parametrize(
    ("title", "description", "expected"),
    [
        ("Design the LLM router", "", "architecture"),
        ("Write an ADR", "", "architecture"),
        ("Update the schema", "", "architecture"),
        ("Clean up imports", "", "refactoring"),
        ("Reorganise modules", "", "refactoring"),
        ("Audit the login", "", "code_review"),
        ("Preview pane", "", "code_review"),
        ("Debug the crash", "", "complex_reasoning"),
        ("Diagnose it", "", "complex_reasoning"),
        ("Benchmark the models", "", "research"),
        ("Analyze logs", "", "research"),
        ("Profiling run", "", "analysis"),
        ("Add a metric", "", "analysis"),
        ("Prioritize the backlog", "", "triage"),
        ("Roadmap for Q3", "", "planning"),
        ("Airplane mode", "", "planning"),
        ("Draft a letter", "", "creative"),
        ("A personal page", "", "creative"),
        ("Coordinate the swarm", "", "orchestration"),
        ("Run in parallel", "", "parallel_implementation"),
        ("Batch of fixes", "", "parallel_implementation"),
        ("Quick fix", "", "fast_iteration"),
        ("Breakfast menu", "", "fast_iteration"),
        ("Fix the button", "", "routine_coding"),
        ("", "", "routine_coding"),
        ("Fix the button", "it needs a REFACTOR", "refactoring"),
        ("Quick", "design", "architecture"),
        ("Plan a review of the schema refactor", "", "architecture"),
        ("swarmetric", "", "analysis"),
        ("Clean", "up the mess", "refactoring"),
        ("Clean ", "up the mess", "routine_coding"),
        ("clean\nup", "", "routine_coding"),
        ("spi\N{KELVIN SIGN}e", "", "planning"),
        ("aud\N{LATIN CAPITAL LETTER I WITH DOT ABOVE}t", "", "routine_coding"),
        ("DE\N{LATIN SMALL LETTER LONG S}IGN", "", "routine_coding"),
        ("\N{FULLWIDTH LATIN SMALL LETTER A}dr", "", "routine_coding"),
        ("\ud83d de\udc00sign", "\udfff", "routine_coding"),
        ("\ud800design\udfff", "", "architecture"),
        ("Fix \N{TEST TUBE} the\0 p\0lan", "", "routine_coding"),
        ("x" * 100_000 + "poc", "", "fast_iteration"),
        ("poc", "y" * 100_000 + "batch", "parallel_implementation"),
    ],
    ids=ascii,
)
def test_the_words_decide(title, description, expected):
    assert infer_task_type(title, description) is TaskType(expected)


def test_the_description_may_be_left_out_and_named():
    assert infer_task_type("Plan") is infer_task_type(title="Plan", description="")


@pytest.mark.parametrize("texts", [(None,), (7,), (b"plan",), ("plan", None), ("plan", 7)])
def test_only_text_can_be_judged(texts):
    with pytest.raises(TypeError):
        infer_task_type(*texts)


def test_a_subclass_of_str_is_text():
    class Title(str):
        __slots__ = ()

    assert infer_task_type(Title("Plan"), Title("it")) is TaskType.PLANNING


@pytest.mark.parametrize(("task", "agent"), ROUTES)
def test_each_type_has_its_agent(task, agent):
    assert select_agent(TaskType(task)) is agent
    assert select_agent(task) is agent


@pytest.mark.parametrize("unknown", ["nonesuch", None, 7])
def test_an_unknown_type_goes_to_timmy(unknown):
    assert select_agent(unknown) is AgentType.TIMMY


def test_the_routing_table_is_a_plain_dict_of_members():
    assert type(_TASK_ROUTING) is dict
    assert list(_TASK_ROUTING) == list(TaskType)
    assert {type(agent) for agent in _TASK_ROUTING.values()} == {AgentType}


def test_the_registry_is_a_plain_dict_of_specs():
    assert type(AGENT_REGISTRY) is dict
    assert list(AGENT_REGISTRY) == list(AgentType)
    assert all(spec.name is agent for agent, spec in AGENT_REGISTRY.items())


@pytest.mark.parametrize(
    ("agent", "display_name", "label", "concurrent", "interface"),
    [
        ("claude_code", "Claude Code", "claude-ready", 1, "gitea"),
        ("kimi_code", "Kimi Code", "kimi-ready", 1, "gitea"),
        ("agent_api", "Agent API", None, 5, "api"),
        ("timmy", "Timmy", None, 1, "local"),
    ],
)
def test_each_agent_has_its_spec(agent, display_name, label, concurrent, interface):
    agent = AgentType(agent)
    spec = AGENT_REGISTRY[agent]
    assert spec == AgentSpec(
        name=agent,
        display_name=display_name,
        strengths=frozenset(STRENGTHS[agent]),
        gitea_label=label,
        max_concurrent=concurrent,
        interface=interface,
    )
    assert type(spec.strengths) is frozenset
    assert {type(task) for task in spec.strengths} == {TaskType}


def test_a_changed_route_is_taken(monkeypatch):
    monkeypatch.setitem(_TASK_ROUTING, TaskType.RESEARCH, AgentType.KIMI_CODE)
    assert select_agent(TaskType.RESEARCH) is AgentType.KIMI_CODE


def test_a_removed_route_leads_to_timmy(monkeypatch):
    monkeypatch.delitem(_TASK_ROUTING, TaskType.ARCHITECTURE)
    assert select_agent(TaskType.ARCHITECTURE) is AgentType.TIMMY


def test_a_replaced_routing_table_is_read(monkeypatch):
    monkeypatch.setattr(dispatcher, "_TASK_ROUTING", {TaskType.TRIAGE: AgentType.CLAUDE_CODE})
    assert select_agent(TaskType.TRIAGE) is AgentType.CLAUDE_CODE
    assert select_agent(TaskType.ARCHITECTURE) is AgentType.TIMMY


@pytest.mark.parametrize(
    ("agent", "label"),
    [
        (AgentType.CLAUDE_CODE, "claude-ready"),
        (AgentType.KIMI_CODE, "kimi-ready"),
        ("kimi_code", "kimi-ready"),
        (AgentType.AGENT_API, None),
        (AgentType.TIMMY, None),
    ],
)
def test_the_label_of_an_agent(agent, label):
    assert dispatcher._select_label(agent) == label


@pytest.mark.parametrize(
    ("agent", "issue_number", "strategy"),
    [
        (AgentType.CLAUDE_CODE, 7, "gitea"),
        (AgentType.KIMI_CODE, 7, "gitea"),
        (AgentType.KIMI_CODE, 0, "gitea"),
        (AgentType.KIMI_CODE, "7", "gitea"),
        (AgentType.CLAUDE_CODE, None, "local"),
        (AgentType.KIMI_CODE, None, "local"),
        (AgentType.AGENT_API, 7, "api"),
        (AgentType.AGENT_API, None, "api"),
        (AgentType.TIMMY, 7, "local"),
        (AgentType.TIMMY, None, "local"),
    ],
)
def test_the_strategy_follows_the_interface_and_the_issue(agent, issue_number, strategy):
    assert dispatcher._select_dispatch_strategy(agent, issue_number) == strategy


@pytest.mark.parametrize(
    "ask", [dispatcher._select_label, lambda agent: dispatcher._select_dispatch_strategy(agent, 7)]
)
def test_an_agent_that_is_not_registered_is_a_key_error(ask):
    with pytest.raises(KeyError, match="nobody"):
        ask("nobody")


def test_a_changed_spec_is_read(monkeypatch):
    spec = AGENT_REGISTRY[AgentType.KIMI_CODE]
    monkeypatch.setattr(spec, "gitea_label", "robots")
    monkeypatch.setattr(spec, "interface", "api")
    assert dispatcher._select_label(AgentType.KIMI_CODE) == "robots"
    assert dispatcher._select_dispatch_strategy(AgentType.KIMI_CODE, 7) == "api"


def test_a_replaced_spec_is_read(monkeypatch):
    spec = dataclasses.replace(AGENT_REGISTRY[AgentType.TIMMY], interface="gitea", gitea_label="me")
    monkeypatch.setitem(AGENT_REGISTRY, AgentType.TIMMY, spec)
    assert dispatcher._select_label(AgentType.TIMMY) == "me"
    assert dispatcher._select_dispatch_strategy(AgentType.TIMMY, 7) == "gitea"


def test_a_replaced_registry_is_read(monkeypatch):
    spec = AgentSpec(AgentType.TIMMY, "T", frozenset(), "solo", interface="carrier pigeon")
    monkeypatch.setattr(dispatcher, "AGENT_REGISTRY", {AgentType.TIMMY: spec})
    assert dispatcher._select_label(AgentType.TIMMY) == "solo"
    assert dispatcher._select_dispatch_strategy(AgentType.TIMMY, 7) == "local"
    with pytest.raises(KeyError):
        dispatcher._select_label(AgentType.KIMI_CODE)
