"""The evidence of an inference, and signal tables of one's own."""

import copy
import dataclasses
import pickle
from concurrent.futures import ThreadPoolExecutor

import pytest
import timmy.dispatcher as d
from timmy.dispatcher import Classifier, Span, TaskType


def test_a_keyword_may_cross_from_title_to_description():
    explanation = d.explain_task_type("Clean", "up the mess")
    assert explanation.task_type is TaskType.REFACTORING
    assert explanation.agent is d.AgentType.CLAUDE_CODE
    assert explanation.matches[0].spans == (Span("title", 0, 5), Span("description", 0, 2))


def test_keywords_overlap_and_places_count_code_points():
    matches = d.explain_task_type("🦀 swarmetric").matches
    assert [(match.keyword, match.spans) for match in matches] == [
        ("swarm", (Span("title", 2, 7),)),
        ("metric", (Span("title", 6, 12),)),
    ]


PLAN = d.Explanation(
    TaskType.PLANNING,
    d.AgentType.TIMMY,
    (d.Match("plan", TaskType.PLANNING, (Span("description", 2, 6),)),),
)


@pytest.mark.parametrize(
    "use",
    [
        lambda explanation: explanation,
        copy.copy,
        copy.deepcopy,
        lambda explanation: pickle.loads(pickle.dumps(explanation)),
        dataclasses.replace,
        lambda explanation: d.Explanation(*vars(PLAN).values()),
    ],
    ids=["itself", "copy", "deepcopy", "pickle", "replace", "construct"],
)
def test_an_explanation_is_a_frozen_dataclass_whose_matches_are_made_when_looked_at(use):
    explained = use(d.explain_task_type("🦀", "a plan"))
    assert explained == PLAN
    assert (repr(explained), hash(explained)) == (repr(PLAN), hash(PLAN))
    assert dataclasses.asdict(explained) == dataclasses.asdict(PLAN)
    assert explained.deciding == PLAN.matches
    assert explained.matches is explained.matches
    with pytest.raises(dataclasses.FrozenInstanceError):
        explained.matches = ()
    with pytest.raises(AttributeError, match="'Explanation' object has no attribute 'match'"):
        _ = explained.match


def test_threads_may_look_at_the_same_explanation():
    text = "plan " * 200
    with ThreadPoolExecutor(8) as pool:
        for _ in range(20):
            explanation = d.explain_task_type(text)
            seen = list(pool.map(lambda _, of=explanation: of.matches, range(8)))
            assert {len(matches) for matches in seen} == {200}
            assert explanation.matches == seen[0]


@pytest.mark.parametrize("task_type", TaskType)
def test_every_type_can_be_the_answer(task_type):
    assert Classifier([], default=task_type).infer("anything") is task_type
    assert Classifier([(task_type, ["any"])]).explain("anything").task_type is task_type


@pytest.mark.parametrize("text", ["ROADMAP", "m\u0130lestone roadmap", "spi\u212ae", "\ud800plan"])
def test_what_lowers_into_ascii_matches(text):
    assert d.infer_task_type(text) is TaskType.PLANNING
    assert d.explain_task_type(text).task_type is TaskType.PLANNING


def test_a_table_of_ones_own():
    table = Classifier([(TaskType.RESEARCH, ["CVE"])], default=TaskType.TRIAGE)
    assert table.infer("Read the cve") is TaskType.RESEARCH
    assert table.infer("design") is TaskType.TRIAGE


def test_a_string_is_no_list_of_keywords():
    with pytest.raises(TypeError, match="the keywords of research are a string"):
        Classifier([(TaskType.RESEARCH, "cve")])


def test_a_table_from_a_file(tmp_path):
    path = tmp_path / "signals.toml"
    path.write_text('[[signal]]\ntype = "research"\nkeywords = ["cve"]\n', encoding="utf-8")
    assert Classifier.from_file(path).infer("cve") is TaskType.RESEARCH
    assert Classifier.from_file(path).infer("") is TaskType.ROUTINE_CODING
    path.write_text('[[signal]]\ntype = "gardening"\nkeywords = ["cve"]\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"signals.toml: line 2, column 8: unknown task type"):
        Classifier.from_file(path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("[[signal]]\n", "line 1, column 1: this signal has no type"),
        ('[[signal]]\ntype="triage"\nkeywords=[""]', "line 3, column 11: an empty keyword"),
        ('[[signal]]\ntype="triage"\nkeywords=[1]', "line 3, column 11: a keyword must be a"),
        ('[signal]\ntype="triage"', r"write \[\[signal\]\]"),
        ("colour = 1", "line 1, column 1: unknown key"),
        ("default = ", "line 1, column"),
    ],
)
def test_a_wrong_table_names_the_line(text, says):
    with pytest.raises(ValueError, match=says):
        Classifier.from_toml(text)


@pytest.mark.parametrize("wrong", [None, 3, b"plan"])
def test_what_is_no_text_is_a_type_error(wrong):
    with pytest.raises(TypeError):
        d.infer_task_type(wrong)
