"""What a text's type is, and the keywords that say so."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from . import _AGENTS, _TYPES, AgentType, TaskType


@dataclass(frozen=True)
class Span:
    """A part of the title or the description, in code points."""

    field: Literal["title", "description"]
    start: int
    end: int


@dataclass(frozen=True)
class Match:
    """A keyword that stands in a text.

    It has two spans where it runs from the end of the title into the description; the blank
    between the two belongs to neither.
    """

    keyword: str
    task_type: TaskType
    spans: tuple[Span, ...]


@dataclass(frozen=True)
class Explanation:
    """A task type, its agent by the built-in routes, and every keyword found, by position."""

    task_type: TaskType
    agent: AgentType
    matches: tuple[Match, ...]

    @property
    def deciding(self) -> tuple[Match, ...]:
        """The matches of the type itself."""
        return tuple(match for match in self.matches if match.task_type == self.task_type)

    def __getstate__(self) -> dict[str, Any]:
        """Return the fields, for pickle and copy."""
        return {"task_type": self.task_type, "agent": self.agent, "matches": self.matches}


class _MatchesWhenLookedAt:
    """Finds the matches of an explanation the first time, and puts them into its place."""

    def __get__(self, explanation: Explanation | None, owner: type | None = None) -> Any:
        found_by = explanation and explanation.__dict__.get("_found_by")
        if not found_by:
            raise AttributeError("matches")
        find, title, description = found_by
        matches = find(title, description, (Match, Span, _TYPES))
        explanation.__dict__["matches"] = matches
        return matches


# After the decorator, which would take it for the default of the field.
type.__setattr__(Explanation, "matches", _MatchesWhenLookedAt())


def explained(of: int, find: Callable[..., Any], title: str, description: str) -> Explanation:
    """Return an explanation whose matches are found when they are looked at."""
    explanation = object.__new__(Explanation)
    fields = explanation.__dict__
    fields["task_type"] = _TYPES[of]
    fields["agent"] = _AGENTS[of]
    fields["_found_by"] = find, title, description
    return explanation
