"""Which way a dispatch finds a task's type: by the exact rules, or by ranking.

=================================== ====================== ======================================
environment                         attribute of settings
=================================== ====================== ======================================
``TIMMY_DISPATCHER_INFERENCE``      ``inference``          ``exact`` (default) or ``ranked``
``TIMMY_DISPATCHER_MIN_CONFIDENCE`` ``min_confidence``     from 0 (default) to 1
``TIMMY_DISPATCHER_BELOW``          ``below_confidence``   what a task below that gets: ``exact``
                                                           rules (default), ``ask``, or a type
``TIMMY_DISPATCHER_MODEL``          ``ranking_model``      a model of one's own; default the
                                                           shipped one
=================================== ====================== ======================================

The attribute goes before the environment where it is of the right type; a mock's is not.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from . import _TYPES, DispatchResult, TaskType, _core, logger

if TYPE_CHECKING:
    from .ranking import RankedClassifier


@dataclass(frozen=True)
class Decision:
    """What ranking made of a task."""

    #: The type to dispatch as; the likeliest where somebody is asked.
    task_type: TaskType
    #: Why somebody is asked instead of dispatching.
    reason: str | None
    #: What goes into the metadata.
    noted: dict[str, object]
    #: What goes into the log.
    line: str

    @property
    def asks(self) -> bool:
        """Whether somebody is asked instead of dispatching."""
        return self.reason is not None

    def note(self, title: str, result: DispatchResult) -> None:
        """Put probability and words into the metadata and the log."""
        logger.info("Ranked task %r: %s", title[:60], self.line, extra={"ranking": self.noted})
        # A replaced channel may return anything.
        metadata = getattr(result, "metadata", None)
        if isinstance(metadata, dict):
            metadata["ranking"] = self.noted
            if self.reason is not None:
                metadata["reason"] = self.reason


@dataclass(frozen=True)
class Way:
    """How tasks are ranked."""

    #: What a task below the minimum gets: exact, ask, or a type.
    below: str
    min_confidence: float
    #: The file of a model of one's own; empty for the shipped one.
    model: str


def way(settings: Any) -> Way | None:
    """Return how the settings have tasks ranked; None where they ask the exact rules.

    Raises:
        ValueError: A setting that cannot be.
    """
    inference = _text(settings, "inference", "TIMMY_DISPATCHER_INFERENCE") or "exact"
    if inference not in ("exact", "ranked"):
        raise ValueError(f"unknown inference {inference!r}; known are exact, ranked")
    if inference == "exact":
        return None
    below = _text(settings, "below_confidence", "TIMMY_DISPATCHER_BELOW") or "exact"
    if below not in ("exact", "ask", *TaskType):
        known = ", ".join(("exact", "ask", *TaskType))
        raise ValueError(f"unknown below_confidence {below!r}; known are {known}")
    return Way(below, _minimum(settings), _path(settings))


def unread(settings: Any) -> dict[str, object]:
    """Return the settings as they were given, for a page, which says itself what cannot be."""
    return {
        "inference": _text(settings, "inference", "TIMMY_DISPATCHER_INFERENCE") or "exact",
        "minConfidence": _given_minimum(settings),
        "belowConfidence": _text(settings, "below_confidence", "TIMMY_DISPATCHER_BELOW"),
    }


def classifier(settings: Any) -> RankedClassifier:
    """Return the model that the settings name, or the shipped one.

    Raises:
        ValueError: It cannot be read.
    """
    # What nobody ranks with is not imported.
    from . import ranking as ranks  # noqa: PLC0415

    path = _path(settings)
    return _model(path, _stamp(path)) if path else ranks._built_in()


def decide(settings: Any, title: Any, description: Any) -> Decision | None:
    """Rank a text where the settings say "ranked"; None where the exact rules are asked.

    Raises:
        ValueError: A setting that cannot be, or a model that cannot be read.
    """
    ranked = way(settings)
    if ranked is None or not (isinstance(title, str) and isinstance(description, str)):
        return None
    from .ranking import _WHOLE  # noqa: PLC0415

    model = classifier(settings)._model
    decided = model.decide(title, description, ranked.min_confidence, ranked.below)
    found, likeliest, probability, below, reason, line, words = decided
    noted: dict[str, object] = {
        "task_type": str(_TYPES[likeliest]),
        "probability": probability / _WHOLE,
        "words": words,
    }
    if below:
        noted |= {"min_confidence": ranked.min_confidence, "below": ranked.below}
    return Decision(_TYPES[found], reason, noted, line)


def _text(settings: Any, name: str, variable: str) -> str:
    value = getattr(settings, name, None)
    if not isinstance(value, str) or not value.strip():
        value = _core.environment(variable) or ""
    return value.strip()


def _path(settings: Any) -> str:
    return _text(settings, "ranking_model", "TIMMY_DISPATCHER_MODEL")


def _given_minimum(settings: Any) -> int | float | str:
    value = getattr(settings, "min_confidence", None)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return os.environ.get("TIMMY_DISPATCHER_MIN_CONFIDENCE", "").strip() or 0
    return value


def _minimum(settings: Any) -> float:
    value = _given_minimum(settings)
    try:
        minimum = float(value)
    except ValueError:
        minimum = -1
    if not 0 <= minimum <= 1:
        raise ValueError(f"min_confidence is {value!r}; it is a number from 0 to 1")
    return minimum


def _stamp(path: str) -> tuple[int, int]:
    """Return what changes when a file is replaced."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise ValueError(f"the model {path} cannot be read: {error.strerror}") from None
    return found.st_mtime_ns, found.st_size


@lru_cache(maxsize=4)
def _model(path: str, _stamped: tuple[int, int]) -> RankedClassifier:
    from .ranking import RankedClassifier  # noqa: PLC0415

    return RankedClassifier.load(path)
