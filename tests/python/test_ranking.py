"""Ranked inference from Python: vectors, types, models, training."""

import copy
import dataclasses
import json
import pickle
from pathlib import Path

import pytest
from timmy.dispatcher import (
    AgentType,
    RankedClassifier,
    Span,
    TaskType,
    rank_task_types,
    select_agent,
)
from timmy.dispatcher import ranking as ranking_module
from timmy.dispatcher.ranking import Example, read_examples, shipped_examples

TESTS = Path(__file__).parent.parent
EVALUATION = TESTS / "routing" / "evaluation.jsonl"


def test_ranking_answers_as_the_vectors_say():
    with (TESTS / "vectors" / "ranking.jsonl").open(encoding="ascii") as lines:
        vectors = [json.loads(line) for line in lines]
    assert len(vectors) >= 150
    for title, description, probabilities, words in vectors:
        ranking = rank_task_types(title, description)
        found = {one.task_type: one.probability for one in ranking.types}
        assert [found[t] for t in TaskType] == [p / 10_000 for p in probabilities]
        assert [
            [one.text, one.weight, [[s.field, s.start, s.end] for s in one.spans]]
            for one in ranking.evidence[:5]
        ] == words


def test_all_types_are_there_the_likeliest_first():
    ranking = rank_task_types("Roadmap for the next quarter")
    assert {one.task_type for one in ranking.types} == set(TaskType)
    assert all(one.agent is select_agent(one.task_type) for one in ranking.types)
    shares = [one.probability for one in ranking.types]
    assert shares == sorted(shares, reverse=True)
    assert round(sum(shares) * 10_000) == 10_000
    assert (ranking.task_type, ranking.agent) == (TaskType.PLANNING, AgentType.TIMMY)
    assert ranking.probability == shares[0]


def test_places_are_code_points():
    title = "🦀🦀 Roadmap"
    [found] = [one for one in rank_task_types(title).evidence if one.text == "roadmap"]
    assert found.spans == (Span("title", 3, 10),)
    assert found.weight > 0


@pytest.mark.parametrize("title", ["\ud800 roadmap", "", "\x00", "ß" * 300])
def test_any_text_is_ranked(title):
    assert len(rank_task_types(title, title).types) == len(TaskType)


def test_a_ranking_is_a_frozen_value():
    ranking = rank_task_types("Roadmap")
    assert ranking == rank_task_types("Roadmap") != rank_task_types("Rename it")
    assert pickle.loads(pickle.dumps(rank_task_types("Roadmap"))) == ranking
    assert copy.deepcopy(rank_task_types("Roadmap")) == ranking
    assert repr(ranking).startswith("Ranking(types=(RankedType(task_type=<TaskType.PLANNING")
    with pytest.raises(dataclasses.FrozenInstanceError):
        ranking.types = ()
    with pytest.raises(TypeError):
        rank_task_types(7)


def test_a_model_that_cannot_be_read_names_the_file(tmp_path):
    path = tmp_path / "m.bin"
    RankedClassifier.built_in().save(path)
    whole = path.read_bytes()
    assert RankedClassifier.load(path).rank("Roadmap") == rank_task_types("Roadmap")
    for content, says in [
        (b"", "not a model"),
        (b"{}", "not a model"),
        (whole[:1000], "cut off"),
        (whole[:-1] + b"\x7f", "damaged"),
        (whole[:8] + b"\x07\x00" + whole[10:], "format 7"),
    ]:
        path.write_bytes(content)
        with pytest.raises(ValueError, match=says) as raised:
            RankedClassifier.load(path)
        assert str(path) in str(raised.value)
    with pytest.raises(FileNotFoundError):
        RankedClassifier.load(tmp_path / "none")


def test_training_learns_and_repeats_itself(tmp_path):
    ours = [
        Example(f"{word} the {thing} now", "", task_type)
        for word, task_type in [
            ("flurbify", TaskType.PLANNING),
            ("gronkle", TaskType.RESEARCH),
            ("zwabble", TaskType.CREATIVE),
        ]
        for thing in ("gate", "tower", "moat", "keep", "yard")
    ]
    first = RankedClassifier.train(ours)
    assert first.rank("Gronkle a dragon").task_type is TaskType.RESEARCH
    assert first.evaluate(ours).type == 1
    first.save(tmp_path / "a")
    RankedClassifier.train(ours).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a", "b"]
    with pytest.raises(ValueError, match="at least 10 examples"):
        RankedClassifier.train(ours[:3])
    with pytest.raises(ValueError, match="example 0 has a weight"):
        RankedClassifier.train([dataclasses.replace(ours[0], weight=-1.0), *ours])


def test_training_takes_files_odd_texts_and_the_shipped_texts(tmp_path, monkeypatch):
    path = tmp_path / "ours.jsonl"
    lines = ['\ufeff{"title": "flurbify", "label": "planning", "description": null}']
    lines += ['{"title": "\\ud800 zwabble \\u0000", "label": "creative"}'] * 12
    path.write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    ours = read_examples(path)
    assert [ours[0].description, len(ours)] == ["", 13]
    some = shipped_examples()[::400]
    monkeypatch.setattr(ranking_module, "shipped_examples", lambda: some)
    trained = RankedClassifier.train(path, base=True, weight=3.0)
    trained.save(tmp_path / "a")
    weighed = [dataclasses.replace(one, weight=3.0) for one in ours]
    RankedClassifier.train([*some, *weighed]).save(tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert trained.evaluate(ours).tasks == 13
    for wrong in ({"seed": -1}, {"seed": 2**64}, {"features": 0}):
        with pytest.raises(ValueError, match="is not a positive number"):
            RankedClassifier.train(ours, **wrong)


def test_what_cannot_be_saved_leaves_nothing(tmp_path):
    with pytest.raises(IsADirectoryError):
        RankedClassifier.built_in().save(tmp_path)
    assert not tmp_path.with_name(f"{tmp_path.name}.part").exists()
    with pytest.raises(TypeError, match="built_in"):
        RankedClassifier()


def test_the_figures_of_the_readme_and_of_the_model_card():
    found = RankedClassifier.built_in().evaluate(read_examples(EVALUATION))
    figures = f"type {found.type:.1%}, agent {found.agent:.1%}"
    rules = f"type {found.exact_type:.1%}, agent {found.exact_agent:.1%}"
    calibration = f"calibration error {100 * found.calibration_error:.1f} points"
    root = TESTS.parent
    card = (root / "docs" / "model-card.md").read_text(encoding="utf-8")
    readme = (root / "README.md").read_text(encoding="utf-8")
    for text in (card, readme):
        assert all(part in " ".join(text.split()) for part in (figures, rules, calibration))
    for one in found.types:
        right = f"{one.right / one.said:.0%}"
        assert f"| {one.task_type} | {one.tasks} | {one.right / one.tasks:.0%} | {right} |" in card


def test_examples_are_read_or_the_line_is_named(tmp_path):
    assert len(shipped_examples()) > 4_000
    path = tmp_path / "data.jsonl"
    path.write_text('{"title": "a", "label": "planning"}\n\n{"title": "b"}\n', encoding="utf-8")
    with pytest.raises(ValueError, match=r"data.jsonl, line 3: 'label' is missing"):
        read_examples(path)
    for line, says in [("[]", "no object"), ("{", "line 1"), ('{"title":1,"label":"x"}', "texts")]:
        path.write_text(line, encoding="utf-8")
        with pytest.raises(ValueError, match=says):
            read_examples(path)
    for content in (b'{"title": "\xff"}', b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises(ValueError, match=r"data\.jsonl, line 1: "):
            read_examples(path)
    path.write_text('{"title": "a", "label": "nap"}', encoding="utf-8")
    with pytest.raises(ValueError, match="line 1: 'nap' is not a valid TaskType"):
        read_examples(path)
