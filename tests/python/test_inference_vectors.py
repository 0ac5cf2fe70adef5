"""The golden vectors; `tests/vectors/generate.py` says what is in them."""

import json
from pathlib import Path

from timmy import dispatcher
from timmy.dispatcher import Classifier, Explanation, Match, Span, TaskType

VECTORS = Path(__file__).parent.parent / "vectors"
BUILT_IN = Classifier.built_in()


def vectors(name):
    with (VECTORS / name).open(encoding="ascii") as lines:
        return [json.loads(line) for line in lines]


def test_inference_answers_as_the_vectors_say():
    read = vectors("inference.jsonl")
    assert len(read) >= 20_000
    for title, description, task_type in read:
        assert dispatcher.infer_task_type(title, description) is TaskType(task_type)
        assert BUILT_IN.infer(title, description) is TaskType(task_type)


def test_the_evidence_is_what_the_vectors_say():
    read = vectors("explanation.jsonl")
    assert len(read) >= 2_000
    for title, description, task_type, agent, matches in read:
        expected = Explanation(
            TaskType(task_type),
            dispatcher.AgentType(agent),
            tuple(
                Match(keyword, TaskType(of), tuple(Span(*span[:3]) for span in spans))
                for keyword, of, spans in matches
            ),
        )
        assert dispatcher.explain_task_type(title, description) == expected
        assert BUILT_IN.explain(title, description) == expected
