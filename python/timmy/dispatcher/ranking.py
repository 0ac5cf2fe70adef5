"""Ranked inference: how likely each task type is, learned from texts, and the words that say so.

::

    from timmy.dispatcher import rank_task_types

    ranking = rank_task_types("Roadmap for the next quarter")
    ranking.task_type, ranking.probability, [found.text for found in ranking.evidence[:3]]

A team's own model is trained with ``timmy-dispatch model train`` or :meth:`RankedClassifier.train`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from os import PathLike
from typing import Any

from . import _AGENTS, _TYPES, AgentType, TaskType, _core
from .explanation import Span

#: What the core counts probabilities in.
_WHOLE = 10_000


@dataclass(frozen=True)
class RankedType:
    """A task type, its agent by the built-in routes, and how likely it is: from 0 to 1."""

    task_type: TaskType
    agent: AgentType
    probability: float


@dataclass(frozen=True)
class Evidence:
    """A word, or two neighbours, that spoke for (above 0) or against (below 0) the first type.

    The text is lowered, and every number in it is ``0``. The weight is by how much it moved the
    type's logit, in 1/1000 nat. The spans are all its places, in code points.
    """

    text: str
    weight: int
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Ranking:
    """Every task type, the likeliest first, and the evidence about that, the weightiest first."""

    types: tuple[RankedType, ...]
    evidence: tuple[Evidence, ...]

    @property
    def task_type(self) -> TaskType:
        """The likeliest type."""
        return self.types[0].task_type

    @property
    def agent(self) -> AgentType:
        """The agent of the likeliest type by the built-in routes."""
        return self.types[0].agent

    @property
    def probability(self) -> float:
        """How likely the likeliest type is, from 0 to 1, in steps of 1/10,000."""
        return self.types[0].probability

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, for pickle and copy."""
        return {"types": self.types, "evidence": self.evidence}


class _TypesWhenLookedAt:
    """Makes the objects the first time: that takes longer than ranking."""

    def __get__(self, ranking: Ranking | None, owner: type | None = None) -> Any:
        found = ranking and ranking.__dict__.get("_found")
        if not found:
            raise AttributeError("types")
        types = tuple(
            RankedType(_TYPES[of], _AGENTS[of], probability / _WHOLE) for of, probability in found
        )
        ranking.__dict__["types"] = types
        return types


class _EvidenceWhenLookedAt:
    """Finds the evidence the first time."""

    def __get__(self, ranking: Ranking | None, owner: type | None = None) -> Any:
        found_by = ranking and ranking.__dict__.get("_found_by")
        if not found_by:
            raise AttributeError("evidence")
        model, title, description = found_by
        evidence = tuple(
            Evidence(text, weight, tuple(Span(*span) for span in spans))
            for text, weight, spans in model.evidence(title, description)
        )
        ranking.__dict__["evidence"] = evidence
        return evidence


# After the decorator, which would take them for the defaults of the fields.
type.__setattr__(Ranking, "types", _TypesWhenLookedAt())
type.__setattr__(Ranking, "evidence", _EvidenceWhenLookedAt())


@dataclass(frozen=True)
class Example:
    """A task whose type is known.

    The weight says how much it counts beside others, which count 1. The set is who wrote it or
    where it comes from: probabilities are made true by holding back whole sets.
    """

    title: str
    description: str
    task_type: TaskType
    weight: float = 1.0
    set: str = ""


@dataclass(frozen=True)
class TypeScore:
    """Of one task type: how many tasks have it, on how many of these it is said, and on how many
    tasks in all.
    """

    task_type: TaskType
    tasks: int
    right: int
    said: int


@dataclass(frozen=True)
class Confusion:
    """How often a task of one type was taken for one of another."""

    right: TaskType
    said: TaskType
    count: int


@dataclass(frozen=True)
class Calibration:
    """Of the tasks whose first type has a probability in one tenth: how many there are, on what
    share of them it is right, and what share was promised.
    """

    tasks: int
    right: float
    promised: float


@dataclass(frozen=True)
class Evaluation:
    """How good a model is on tasks whose types are known; shares are from 0 to 1.

    ``exact_type`` and ``exact_agent`` are what the exact rules reach on the same tasks.
    """

    tasks: int
    type: float
    agent: float
    exact_type: float
    exact_agent: float
    types: tuple[TypeScore, ...]
    confusions: tuple[Confusion, ...]
    calibration: tuple[Calibration, ...]
    calibration_error: float


class RankedClassifier:
    """A learned way from text to task types."""

    _model: _core.RankedClassifier

    def __init__(self) -> None:
        """Is made by :meth:`built_in`, :meth:`load` and :meth:`train`."""
        raise TypeError("take RankedClassifier.built_in(), .load(path) or .train(examples)")

    @classmethod
    def _of(cls, core: _core.RankedClassifier) -> RankedClassifier:
        made = cls.__new__(cls)
        made._model = core
        return made

    @classmethod
    def built_in(cls) -> RankedClassifier:
        """Take the shipped model."""
        return cls._of(_core.RankedClassifier.built_in())

    @classmethod
    def load(cls, path: str | PathLike[str]) -> RankedClassifier:
        """Read a model that was saved.

        Raises:
            ValueError: It is no model, cut off, damaged or of another format; names the file.
            OSError: It cannot be read.
        """
        with open(path, "rb") as file:
            content = file.read()
        try:
            return cls._of(_core.RankedClassifier.from_bytes(content))
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    @classmethod
    def train(
        cls,
        examples: str | PathLike[str] | Iterable[Example],
        *,
        base: bool = False,
        weight: float = 5.0,
        seed: int = 1,
        features: int = 32_000,
    ) -> RankedClassifier:
        """Learn a model; the same examples in the same order give the same bytes.

        Word vectors of the package tell which words are alike, also of those in no example.

        Args:
            examples: At least ten, of two types or more; thousands are better. Or a file of them,
                as for :func:`read_examples`.
            base: Whether to learn from the shipped texts too.
            weight: With *base*: what the weight of an example is multiplied by; a shipped one
                counts 1.
            seed: Which examples are held back together for the probabilities, where all are of
                one set; below 2**64.
            features: How many features are kept, of some 5 bytes each when compressed.

        Raises:
            ValueError: Too few examples, a weight, seed or number of features that is not a
                positive number, or a file that :func:`read_examples` refuses.
            OSError: The file cannot be read.
        """
        if not 0 <= seed < 2**64 or features < 1:
            raise ValueError(f"seed {seed} or features {features} is not a positive number")
        if isinstance(examples, str | PathLike):
            examples = read_examples(examples)
        if base:
            ours = [replace(one, weight=one.weight * weight) for one in examples]
            examples = [*shipped_examples(), *ours]
        vectors = _shipped("vectors.bin")
        return cls._of(_core.RankedClassifier.train(_parts(examples), seed, features, vectors))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the model into a file, whole or not at all."""
        beside = f"{os.fspath(path)}.part"
        with open(beside, "wb") as file:
            file.write(self._model.to_bytes())
        try:
            os.replace(beside, path)
        except OSError:
            os.unlink(beside)
            raise

    @property
    def features(self) -> int:
        """How many features it knows."""
        return self._model.features

    def rank(self, title: str, description: str = "") -> Ranking:
        """Return how likely each type is, and the words that say so."""
        ranking = object.__new__(Ranking)
        fields = ranking.__dict__
        fields["_found"] = self._model.types(title, description)
        fields["_found_by"] = self._model, title, description
        return ranking

    def word_weights(self, word: str) -> dict[TaskType, tuple[int, int]]:
        """Return how a word alone moves each type's logit, in 1/1000 nat: in a title, and in a
        description.
        """
        return dict(zip(_TYPES, self._model.word_weights(word), strict=True))

    def evaluate(self, examples: Iterable[Example]) -> Evaluation:
        """Rank tasks whose types are known, and say how good that is."""
        tasks, ranked, exact, types, confusions, calibration, error = self._model.evaluate(
            _parts(examples)
        )
        count = max(tasks, 1)
        return Evaluation(
            tasks=tasks,
            type=ranked[0] / count,
            agent=ranked[1] / count,
            exact_type=exact[0] / count,
            exact_agent=exact[1] / count,
            types=tuple(TypeScore(t, *counts) for t, counts in zip(_TYPES, types, strict=True)),
            confusions=tuple(
                Confusion(_TYPES[right], _TYPES[said], n) for right, said, n in confusions
            ),
            calibration=tuple(
                Calibration(n, right / max(n, 1), promised / _WHOLE / max(n, 1))
                for n, right, promised in calibration
            ),
            calibration_error=error / _WHOLE,
        )


def _parts(examples: Iterable[Example]) -> list[tuple[str, str, str, float, str]]:
    return [(e.title, e.description, str(e.task_type), e.weight, e.set) for e in examples]


@cache
def _built_in() -> RankedClassifier:
    return RankedClassifier.built_in()


def rank_task_types(title: str, description: str = "") -> Ranking:
    """Return how likely each task type is by the shipped model, and the words that say so."""
    return _built_in().rank(title, description)


def read_examples(path: str | PathLike[str]) -> list[Example]:
    """Read tasks whose types are known from a file with a JSON object in each line.

    An object has ``title`` and ``label``, the task type, and perhaps ``description`` and ``set``.

    Raises:
        ValueError: A line is something else; names the file and the line.
        OSError: The file cannot be read.
    """
    with open(path, "rb") as lines:
        return list(_examples(lines, os.fspath(path)))


def _shipped(name: str) -> bytes:
    """Read what training takes from the package."""
    from importlib.resources import files  # noqa: PLC0415

    return (files(__package__) / "routing" / name).read_bytes()


def shipped_examples() -> list[Example]:
    """Return what the shipped model was trained on."""
    return list(_examples(_shipped("train.jsonl").splitlines(), "the shipped texts"))


def _examples(lines: Iterable[bytes], name: str) -> Iterator[Example]:
    for number, line in enumerate(lines, start=1):
        try:
            # Some editors write a mark of the encoding at the beginning.
            text = line.decode("utf-8-sig" if number == 1 else "utf-8")
            if not text.strip():
                continue
            task = json.loads(text)
            if not isinstance(task, Mapping):
                raise ValueError("it is no object")
            # A tracker's export may say null for a text that is not there.
            texts = [task["title"], task.get("description") or "", task.get("set") or ""]
            if not all(isinstance(text, str) for text in texts):
                raise ValueError("title, description and set are texts")
            title, description, of = texts
            yield Example(title, description, TaskType(task["label"]), set=of)
        except KeyError as error:
            raise ValueError(f"{name}, line {number}: {error} is missing") from None
        except (ValueError, RecursionError) as error:
            raise ValueError(f"{name}, line {number}: {error}") from None
