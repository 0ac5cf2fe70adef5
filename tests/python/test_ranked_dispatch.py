"""Dispatching by ranking: what the settings say, and what goes before them."""

import logging
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
from timmy import dispatcher
from timmy.dispatcher import DispatchStatus, RankedClassifier, TaskType, dispatch_task
from timmy.dispatcher.ranking import Example
from timmy.dispatcher.sandbox import gitea_sandbox  # noqa: F401  (a fixture)

#: The rules find nothing in it; ranking is sure.
SURE = "Write a friendly blog post for our users"
#: The rules say code_review; ranking is not so sure of something else.
UNSURE = "The review page crashes sometimes"


@pytest.fixture(autouse=True)
def ranked(monkeypatch):
    monkeypatch.setenv("GITEA_TOKEN", "")
    monkeypatch.setenv("TIMMY_DISPATCHER_INFERENCE", "ranked")


async def test_the_ranked_type_is_dispatched_with_its_words(caplog):
    with caplog.at_level(logging.INFO, "timmy.dispatcher"):
        result = await dispatch_task(SURE)
    ranking = dispatcher.rank_task_types(SURE)
    assert result.success
    assert result.task_type is TaskType.CREATIVE is ranking.task_type
    noted = result.metadata["ranking"]
    assert (noted["task_type"], noted["probability"]) == ("creative", ranking.probability)
    assert "blog" in noted["words"]
    [record] = [r for r in caplog.records if hasattr(r, "ranking")]
    assert record.ranking == noted
    assert "blog" in record.getMessage()


@pytest.mark.parametrize("value", ["", "exact"])
async def test_exact_is_the_default(monkeypatch, value):
    monkeypatch.setenv("TIMMY_DISPATCHER_INFERENCE", value)
    result = await dispatch_task(SURE)
    assert result.task_type is dispatcher.infer_task_type(SURE)
    assert "ranking" not in result.metadata


async def test_an_explicit_type_and_a_replaced_inference_win(monkeypatch):
    result = await dispatch_task(SURE, task_type=TaskType.TRIAGE)
    assert (result.task_type, "ranking" in result.metadata) == (TaskType.TRIAGE, False)
    monkeypatch.setattr(dispatcher, "infer_task_type", lambda *_: TaskType.PLANNING)
    result = await dispatch_task(SURE)
    assert (result.task_type, "ranking" in result.metadata) == (TaskType.PLANNING, False)


async def test_below_the_minimum_the_exact_rules_are_asked(monkeypatch):
    monkeypatch.setenv("TIMMY_DISPATCHER_MIN_CONFIDENCE", "0.999")
    result = await dispatch_task(UNSURE)
    assert result.success
    assert result.task_type is TaskType.CODE_REVIEW
    assert result.metadata["ranking"]["below"] == "exact"


async def test_below_the_minimum_a_type_can_be_named(monkeypatch):
    monkeypatch.setenv("TIMMY_DISPATCHER_MIN_CONFIDENCE", "0.999")
    monkeypatch.setenv("TIMMY_DISPATCHER_BELOW", "triage")
    result = await dispatch_task(UNSURE)
    assert result.task_type is TaskType.TRIAGE
    assert result.metadata["ranking"]["below"] == "triage"


async def test_below_the_minimum_a_person_can_be_asked(monkeypatch, gitea_sandbox):  # noqa: F811
    repo = gitea_sandbox.create_repo("swarm")
    number = gitea_sandbox.create_issue(repo, UNSURE, "")
    monkeypatch.setenv("GITEA_URL", gitea_sandbox.url)
    monkeypatch.setenv("GITEA_TOKEN", gitea_sandbox.token)
    monkeypatch.setenv("GITEA_REPO", repo)
    monkeypatch.setenv("TIMMY_DISPATCHER_MIN_CONFIDENCE", "0.999")
    monkeypatch.setenv("TIMMY_DISPATCHER_BELOW", "ask")
    gitea_sandbox.clear_requests()
    result = await dispatch_task(UNSURE, issue_number=number)
    assert result.status is DispatchStatus.PENDING
    assert not result.success
    assert result.issue_number == number
    assert result.error is None
    assert "below min_confidence 0.999: give the task_type" in result.metadata["reason"]
    assert gitea_sandbox.requests() == []
    result = await dispatch_task(UNSURE, task_type=TaskType.REFACTORING, issue_number=number)
    assert result.success


@pytest.mark.parametrize(
    ("variable", "value", "says"),
    [
        ("INFERENCE", "guess", "unknown inference 'guess'; known are exact, ranked"),
        ("MIN_CONFIDENCE", "2", "min_confidence is '2'"),
        ("MIN_CONFIDENCE", "nan", "min_confidence is 'nan'"),
        ("MIN_CONFIDENCE", "high", "min_confidence is 'high'"),
        ("BELOW", "nobody", "unknown below_confidence 'nobody'"),
        ("MODEL", "/nowhere/m.bin", "the model /nowhere/m.bin cannot be read"),
    ],
)
async def test_a_setting_that_cannot_be_is_told(monkeypatch, variable, value, says):
    monkeypatch.setenv(f"TIMMY_DISPATCHER_{variable}", value)
    with pytest.raises(ValueError, match=says):
        await dispatch_task(SURE)


async def test_attributes_of_the_settings_go_before_the_environment(monkeypatch):
    theirs = SimpleNamespace(
        gitea_enabled=False, inference="ranked", min_confidence=1, below_confidence="planning"
    )
    monkeypatch.setenv("TIMMY_DISPATCHER_INFERENCE", "exact")
    monkeypatch.setattr(dispatcher, "settings", theirs)
    assert (await dispatch_task(UNSURE)).task_type is TaskType.PLANNING


async def test_attributes_can_be_strings_and_paths(monkeypatch, tmp_path):
    theirs = SimpleNamespace(
        gitea_enabled=False, inference="ranked", min_confidence="1", below_confidence="ask"
    )
    monkeypatch.setattr(dispatcher, "settings", theirs)
    assert (await dispatch_task(UNSURE)).status is DispatchStatus.PENDING
    theirs.ranking_model = tmp_path / "none.bin"
    with pytest.raises(ValueError, match=r"none.bin cannot be read: No such file"):
        await dispatch_task(UNSURE)
    theirs.ranking_model = tmp_path
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        await dispatch_task(UNSURE)
    theirs.ranking_model, theirs.min_confidence = None, "high"
    with pytest.raises(ValueError, match="min_confidence is 'high'"):
        await dispatch_task(UNSURE)


@pytest.mark.parametrize("title", ["\ud800 roadmap", "\x00", "roadmap " * 5_000])
async def test_any_text_is_dispatched(title):
    result = await dispatch_task(title, "\x00\ud800")
    assert (result.success, "ranking" in result.metadata) == (True, True)


async def test_a_mock_of_settings_says_nothing_of_inference(monkeypatch):
    monkeypatch.delenv("TIMMY_DISPATCHER_INFERENCE")
    monkeypatch.setattr(dispatcher, "settings", MagicMock(gitea_enabled=False))
    result = await dispatch_task(SURE)
    assert "ranking" not in result.metadata


async def test_a_model_of_ones_own_is_read_anew_when_it_changes(monkeypatch, tmp_path):
    path = tmp_path / "ours.bin"
    monkeypatch.setenv("TIMMY_DISPATCHER_MODEL", str(path))
    for task_type in (TaskType.PLANNING, TaskType.RESEARCH, TaskType.CREATIVE):
        other = TaskType.TRIAGE
        ours = [Example(f"flurbify the {n}x", "", task_type) for n in "abcdefgh"]
        ours += [Example(f"zwabble the {n}x", "", other) for n in "abcdefgh"]
        RankedClassifier.train(ours, features=100 + 10 * len(task_type)).save(path)
        assert (await dispatch_task("flurbify it")).task_type is task_type


async def test_a_negative_number_of_retries_is_refused_before_anyone_is_asked(monkeypatch):
    monkeypatch.setenv("TIMMY_DISPATCHER_MIN_CONFIDENCE", "1")
    monkeypatch.setenv("TIMMY_DISPATCHER_BELOW", "ask")
    with pytest.raises(ValueError, match="max_retries"):
        await dispatch_task(UNSURE, max_retries=-1)
