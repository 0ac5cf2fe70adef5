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

The attribute goes before the environment where it is a string, a number or a path; a mock's is not.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from . import _TYPES, DispatchResult, TaskType, _core, logger

if TYPE_CHECKING:
    from .ranking import RankedClassifier


# A tuple is made faster than a dataclass, and this is imported with everything.
class Decision(NamedTuple):
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

    def log(self, title: str) -> None:
        """Put probability and words into the log."""
        logger.info("Ranked task %r: %s", title[:60], self.line, extra={"ranking": self.noted})

    def note(self, result: DispatchResult) -> None:
        """Put probability and words into the metadata."""
        # A replaced channel may return anything.
        metadata = getattr(result, "metadata", None)
        if isinstance(metadata, dict):
            metadata["ranking"] = self.noted
            if self.reason is not None:
                metadata["reason"] = self.reason


class Way(NamedTuple):
    """How tasks are ranked."""

    #: What a task below the minimum gets: exact, ask, or a type.
    below: str
    min_confidence: float
    #: The file of a model of one's own; empty for the shipped one.
    model: str


def way(settings: Any, given: Mapping[str, Any] | None = None) -> Way | None:
    """Return how tasks are ranked; None where the exact rules are asked.

    What is given, by the name of the attribute, goes before the settings, these before the
    environment.

    Raises:
        ValueError: A setting that cannot be.
    """

    def value(name: str) -> Any:
        mine = given.get(name) if given else None
        return setting(settings, name) if mine is None else mine

    if _name(value("inference") or "exact") == "exact":
        return None
    return Way(
        _below(value("below_confidence") or "exact"),
        _minimum(value("min_confidence") or 0),
        os.fspath(value("ranking_model") or ""),
    )


def check(given: Mapping[str, Any]) -> None:
    """Raise ValueError for what is given and cannot be; None is not given."""
    checks: dict[str, Callable[[Any], object]] = {
        "inference": _name,
        "below_confidence": _below,
        "min_confidence": _minimum,
        "ranking_model": os.fspath,
    }
    for name, value in given.items():
        if value is not None:
            checks[name](value)


def unread(settings: Any) -> dict[str, object]:
    """Return the settings as they were given, for a page, which says itself what cannot be."""
    return {
        "inference": setting(settings, "inference") or "exact",
        "minConfidence": setting(settings, "min_confidence") or 0,
        "belowConfidence": setting(settings, "below_confidence"),
    }


def classifier(settings: Any) -> RankedClassifier:
    """Return the model that the settings name, or the shipped one.

    Raises:
        ValueError: It cannot be read.
    """
    return _read(os.fspath(setting(settings, "ranking_model")))


def _read(path: str) -> RankedClassifier:
    # What nobody ranks with is not imported.
    from . import ranking as ranks  # noqa: PLC0415

    return _model(path, _stamp(path)) if path else ranks._built_in()


def decide(settings: Any, title: Any, description: Any) -> Decision | None:
    """Rank a text where the settings say "ranked"; None where the exact rules are asked.

    Raises:
        ValueError: A setting that cannot be, or a model that cannot be read.
    """
    ranked = way(settings)
    if ranked is None or not (isinstance(title, str) and isinstance(description, str)):
        return None
    # What nobody ranks with is not imported.
    from .ranking import _WHOLE  # noqa: PLC0415

    decided = _read(ranked.model)._model.decide(
        title, description, ranked.min_confidence, ranked.below
    )
    found, likeliest, probability, below, reason, line, words = decided
    noted: dict[str, object] = {
        "task_type": str(_TYPES[likeliest]),
        "probability": probability / _WHOLE,
        "words": words,
    }
    if below:
        noted |= {"min_confidence": ranked.min_confidence, "below": ranked.below}
    return Decision(_TYPES[found], reason, noted, line)


_VARIABLES = {
    "inference": "TIMMY_DISPATCHER_INFERENCE",
    "below_confidence": "TIMMY_DISPATCHER_BELOW",
    "min_confidence": "TIMMY_DISPATCHER_MIN_CONFIDENCE",
    "ranking_model": "TIMMY_DISPATCHER_MODEL",
}


def setting(settings: Any, name: str) -> Any:
    """Return a setting's value, stripped; "" where there is none."""
    value = getattr(settings, name, None)
    if isinstance(value, int | float) and not isinstance(value, bool):
        # Of the others only a minimum can be a number.
        return value if name == "min_confidence" else ""
    if isinstance(value, os.PathLike):
        from pathlib import PurePath  # noqa: PLC0415

        # A mock is a PathLike too.
        value = str(value) if isinstance(value, PurePath) else ""
    found = value.strip() if isinstance(value, str) else ""
    return found or (_core.environment(_VARIABLES[name]) or "").strip()


def _name(inference: Any) -> str:
    if inference not in ("exact", "ranked"):
        raise ValueError(f"unknown inference {inference!r}; known are exact, ranked")
    return str(inference)


def _below(below: Any) -> str:
    if below not in ("exact", "ask", *TaskType):
        known = ", ".join(("exact", "ask", *TaskType))
        raise ValueError(f"unknown below_confidence {below!r}; known are {known}")
    return str(below)


def _minimum(value: Any) -> float:
    try:
        minimum = float(value)
    except (TypeError, ValueError):
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

    try:
        return RankedClassifier.load(path)
    except OSError as error:
        raise ValueError(f"the model {path} cannot be read: {error.strerror}") from None
