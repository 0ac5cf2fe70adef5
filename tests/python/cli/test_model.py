"""`infer --ranked` and `model`."""

import json
from pathlib import Path

import pytest

EVALUATION = Path(__file__).parents[2] / "routing" / "evaluation.jsonl"


@pytest.fixture
def ours(tmp_path):
    path = tmp_path / "ours.jsonl"
    lines = [
        json.dumps({"title": f"{word} the {thing}", "label": label})
        for word, label in [("Flurbify", "planning"), ("Zwabble", "creative")]
        for thing in ("gate", "tower", "moat", "keep", "yard")
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_infer_ranked_shows_bars_and_words(command):
    ran = command("infer", "--ranked", "Roadmap", "-d", "for the next quarter")
    assert (ran.returncode, ran.stderr) == (0, "")
    lines = ran.stdout.splitlines()
    assert lines[0].startswith("planning ")
    assert lines[0].endswith("% for Timmy")
    assert lines[2].startswith("planning ")
    assert "█" in lines[2]
    assert "roadmap" in ran.stdout


def test_infer_ranked_is_coloured_on_a_terminal(command):
    _, shown = command.on_terminal("infer", "--ranked", "Roadmap for the parser")
    assert "\x1b[1;32mRoadmap" in shown


def test_infer_ranked_as_json(command):
    ran = command("infer", "--ranked", "Roadmap", "--json")
    answer = json.loads(ran.stdout)
    assert (answer["task_type"], answer["agent"]) == ("planning", "timmy")
    assert len(answer["types"]) == 14
    assert answer["evidence"][0]["spans"] == [{"field": "title", "start": 0, "end": 7}]


def test_a_model_is_trained_judged_and_read(command, ours):
    ran = command("model", "train", str(ours), "-o", "m.bin")
    assert (ran.returncode, ran.stderr) == (0, "")
    first = (command.folder / "m.bin").read_bytes()
    again = command("model", "train", "--data", str(ours), "-o", "again.bin", "--json")
    assert json.loads(again.stdout)["texts"] == 10
    assert (command.folder / "again.bin").read_bytes() == first
    ran = command("infer", "--ranked", "--model", "m.bin", "flurbify it", "--json")
    assert json.loads(ran.stdout)["task_type"] == "planning"
    ran = command("infer", "--ranked", "flurbify", "--json", TIMMY_DISPATCHER_MODEL="m.bin")
    assert json.loads(ran.stdout)["task_type"] == "planning"
    ran = command("model", "eval", str(ours), "--model", "m.bin")
    assert ran.returncode == 0
    assert "ranked       100.0%  100.0%" in ran.stdout
    ran = command("model", "show", "zwabble", "--model", "m.bin", "--json")
    assert json.loads(ran.stdout)["weights"][0]["task_type"] == "creative"


def test_the_shipped_model_is_judged_beside_the_rules(command):
    found = json.loads(command("model", "eval", str(EVALUATION), "--json").stdout)
    assert found["type"] > found["exact_type"]
    assert command("model", "show", "roadmap").stdout.splitlines()[1].startswith("planning")


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["model", "train", "-o", "m.bin"], "Which texts?"),
        (["model", "train", "--base", "-o", "none/m.bin"], "There is no folder none"),
        (["model", "eval", "empty.jsonl"], "There is no task in empty.jsonl"),
        (["infer", "Roadmap", "--model", "bad.bin"], "--model is for --ranked"),
        (["model", "train", "none.jsonl", "-o", "m.bin"], "No such file"),
        (["model", "eval", "none.jsonl"], "No such file"),
        (["model", "show", "x", "--model", "bad.bin"], "bad.bin: this is not a model"),
        (["infer", "--ranked", "x", "--model", "bad.bin"], "bad.bin: this is not a model"),
        (["model", "eval", "bad.bin"], "bad.bin, line 1"),
    ],
)
def test_what_cannot_be_is_told(command, arguments, says):
    (command.folder / "bad.bin").write_text("{}", encoding="utf-8")
    (command.folder / "empty.jsonl").write_text("\n", encoding="utf-8")
    ran = command(*arguments)
    assert ran.returncode == 2
    assert says in ran.stderr
    assert "Traceback" not in ran.stderr


def test_dispatch_asks_where_ranking_is_not_sure(command):
    variables = {
        "TIMMY_DISPATCHER_INFERENCE": "ranked",
        "TIMMY_DISPATCHER_MIN_CONFIDENCE": "0.999",
        "TIMMY_DISPATCHER_BELOW": "ask",
    }
    ran = command("dispatch", "xq vv", "--issue", "1", "--json", **variables)
    assert ran.returncode == 1
    answer = json.loads(ran.stdout)
    assert answer["status"] == "pending"
    assert "give the task_type" in answer["metadata"]["reason"]
    ran = command("dispatch", "xq", TIMMY_DISPATCHER_INFERENCE="guess")
    assert ran.returncode == 2
    assert "known are exact, ranked" in ran.stderr
