"""Read a task, decide what kind of work it is, and hand it to the right agent.

The work is done by the Rust core in :mod:`timmy.dispatcher._core`; this module holds what only
Python can be: the enums and dataclasses, the coroutine functions, the logger, and every name that
a caller may replace. A name is looked up when it is needed, so a replaced one is gone through::

    from timmy.dispatcher import dispatch_task

    result = await dispatch_task(
        "Design the LLM router",
        acceptance_criteria=["Failover works", "Metrics exposed"],
        issue_number=1072,
    )
"""

from __future__ import annotations

import asyncio
import atexit
import logging
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cache
from importlib import import_module
from os import PathLike
from typing import TYPE_CHECKING, Any, Literal

from . import _core, _http
from ._http import use_http as use_http
from ._settings import settings as settings

if TYPE_CHECKING:
    from .durable import Dispatcher as Dispatcher
    from .durable import DispatcherError as DispatcherError
    from .durable import Task as Task
    from .explanation import Explanation as Explanation
    from .explanation import Match as Match
    from .explanation import Span as Span
    from .ranking import RankedClassifier as RankedClassifier
    from .ranking import Ranking as Ranking
    from .ranking import rank_task_types as rank_task_types

logger = logging.getLogger(__name__)


class AgentType(StrEnum):
    """The agents of the swarm."""

    CLAUDE_CODE = "claude_code"
    KIMI_CODE = "kimi_code"
    AGENT_API = "agent_api"
    TIMMY = "timmy"


class TaskType(StrEnum):
    """The kinds of engineering work, grouped by the agent that is best at them."""

    ARCHITECTURE = "architecture"
    REFACTORING = "refactoring"
    COMPLEX_REASONING = "complex_reasoning"
    CODE_REVIEW = "code_review"

    PARALLEL_IMPLEMENTATION = "parallel_implementation"
    ROUTINE_CODING = "routine_coding"
    FAST_ITERATION = "fast_iteration"

    RESEARCH = "research"
    ANALYSIS = "analysis"
    SPECIALIZED = "specialized"

    TRIAGE = "triage"
    PLANNING = "planning"
    CREATIVE = "creative"
    ORCHESTRATION = "orchestration"


class DispatchStatus(StrEnum):
    """How a dispatched task stands."""

    PENDING = "pending"
    ASSIGNED = "assigned"
    IN_PROGRESS = "in_progress"
    COMPLETED = "completed"
    FAILED = "failed"
    ESCALATED = "escalated"
    TIMED_OUT = "timed_out"


@dataclass
class AgentSpec:
    """What an agent can do and how it is reached."""

    name: AgentType
    display_name: str
    strengths: frozenset[TaskType]
    gitea_label: str | None
    max_concurrent: int = 1
    interface: str = "gitea"
    api_endpoint: str | None = None


#: Who gets which task type. May be changed at run time.
_TASK_ROUTING: dict[TaskType, AgentType] = {
    TaskType(task_type): AgentType(agent) for task_type, agent in _core.routes()
}

#: Every agent. May be changed at run time.
AGENT_REGISTRY: dict[AgentType, AgentSpec] = {
    AgentType(name): AgentSpec(
        name=AgentType(name),
        display_name=display_name,
        strengths=frozenset(map(TaskType, strengths)),
        gitea_label=gitea_label,
        max_concurrent=max_concurrent,
        interface=interface,
    )
    for name, display_name, strengths, gitea_label, max_concurrent, interface in _core.agents()
}


@dataclass
class DispatchResult:
    """How a dispatch ended."""

    task_type: TaskType
    agent: AgentType
    issue_number: int | None
    status: DispatchStatus
    comment_id: int | None = None
    label_applied: str | None = None
    error: str | None = None
    retry_count: int = 0
    metadata: dict[str, Any] = field(default_factory=dict)

    @property
    def success(self) -> bool:
        """Whether the task reached its agent."""
        return self.status in (DispatchStatus.ASSIGNED, DispatchStatus.COMPLETED)


def select_agent(task_type: TaskType) -> AgentType:
    """Return the agent that gets tasks of this type; Timmy where there is no route."""
    return _TASK_ROUTING.get(task_type, AgentType.TIMMY)


def infer_task_type(title: str, description: str = "") -> TaskType:
    """Return the type whose keywords stand in the text, the first in priority order.

    Without a keyword it is :attr:`TaskType.ROUTINE_CODING`.
    """
    try:
        name = _core.infer_task_type(title, description)
    except TypeError:  # no text: what `+` makes of it, or says of it
        name = _core.infer_task_type(str(title + " " + description), "")
    return _TYPES[name]


#: Ranking is asked only where :func:`infer_task_type` is still this.
_EXACT_RULES = infer_task_type

# The core names a type by its place in this; the agents are those of the built-in routes.
_TYPES = tuple(TaskType(task_type) for task_type, _ in _core.routes())
_AGENTS = tuple(AgentType(agent) for _, agent in _core.routes())


@cache
def _explained() -> Callable[..., Explanation]:
    # What nobody explains with is not imported.
    from .explanation import explained  # noqa: PLC0415

    return explained


def explain_task_type(title: str, description: str = "") -> Explanation:
    """Return the type of a text with every keyword found and its place."""
    of = _core.infer_task_type(title, description)
    return _explained()(of, _core.matches, title, description)


class Classifier:
    """A signal table of one's own: keywords of task types, an earlier type before a later one.

    Keywords match anywhere in ``title + " " + description``, lowered as by :meth:`str.lower`
    (of a Unicode version of its own). A lone surrogate reads as U+FFFD.
    """

    def __init__(
        self,
        signals: Iterable[tuple[TaskType, Iterable[str]]],
        default: TaskType = TaskType.ROUTINE_CODING,
    ) -> None:
        """Take a table; ValueError for an unknown type or an empty keyword."""
        table = []
        for task_type, keywords in signals:
            if isinstance(keywords, str):
                raise TypeError(f"the keywords of {task_type} are a string: put it into a list")
            table.append((str(task_type), list(keywords)))
        self._core = _core.Classifier(table, str(default))

    @classmethod
    def built_in(cls) -> Classifier:
        """Take the table of :func:`infer_task_type`."""
        made = cls.__new__(cls)
        made._core = _core.Classifier.built_in()
        return made

    @classmethod
    def from_toml(cls, text: str) -> Classifier:
        """Take a table from TOML; ValueError names the line and the column.

        It has ``[[signal]]`` entries with ``type`` and ``keywords``, and perhaps a ``default``.
        """
        made = cls.__new__(cls)
        made._core = _core.Classifier.from_toml(text)
        return made

    @classmethod
    def from_file(cls, path: str | PathLike[str]) -> Classifier:
        """Take a table from a TOML file; ValueError names the file, the line and the column."""
        with open(path, encoding="utf-8") as file:
            text = file.read()
        try:
            return cls.from_toml(text)
        except ValueError as error:
            raise ValueError(f"{os.fspath(path)}: {error}") from None

    def infer(self, title: str, description: str = "") -> TaskType:
        """Return the type of a text."""
        return _TYPES[self._core.infer(title, description)]

    def explain(self, title: str, description: str = "") -> Explanation:
        """Return the type of a text with every keyword found and its place."""
        of = self._core.infer(title, description)
        return _explained()(of, self._core.matches, title, description)


# It needs the names above.
from . import _inference  # noqa: E402


async def _post_gitea_comment(
    client: Any,
    base_url: str,
    repo: str,
    headers: dict[str, str],
    issue_number: int,
    body: str,
) -> int | None:
    """Comment on an issue with the client given; return the comment's id, None if it failed."""
    flow = _seams.post_gitea_comment(client, base_url, repo, headers, issue_number, body)
    comment_id: int | None = await flow
    return comment_id


async def _apply_gitea_label(
    client: Any,
    base_url: str,
    repo: str,
    headers: dict[str, str],
    issue_number: int,
    label_name: str,
    label_color: str = "#0075ca",
) -> bool:
    """Find or create a label and add it to an issue; return whether it is on it."""
    flow = _seams.apply_gitea_label(
        client, base_url, repo, headers, issue_number, label_name, label_color
    )
    applied: bool = await flow
    return applied


async def _poll_issue_completion(
    issue_number: int,
    poll_interval: int = 60,
    max_wait: int = 7200,
) -> DispatchStatus:
    """Ask for an issue every *poll_interval* seconds until it is closed.

    FAILED after the same refusal three times in a row, TIMED_OUT after *max_wait* seconds.
    """
    flow = _seams.poll_issue_completion(issue_number, poll_interval, max_wait)
    status: DispatchStatus = await flow
    return status


def _format_assignment_comment(
    display_name: str,
    task_type: TaskType,
    description: str,
    acceptance_criteria: list[str],
) -> str:
    """Return the markdown of the comment that hands a task over."""
    return _core.assignment_comment(display_name, task_type.value, description, acceptance_criteria)


def _select_label(agent: AgentType) -> str | None:
    """Return the label that makes an agent pick up an issue, if it has one."""
    return AGENT_REGISTRY[agent].gitea_label


async def _dispatch_via_gitea(
    agent: AgentType,
    issue_number: int,
    title: str,
    description: str,
    acceptance_criteria: list[str],
) -> DispatchResult:
    """Hand a task over by a label and a comment on its issue."""
    flow = _seams.dispatch_via_gitea(agent, issue_number, title, description, acceptance_criteria)
    result: DispatchResult = await flow
    return result


async def _dispatch_via_api(
    agent: AgentType,
    title: str,
    description: str,
    acceptance_criteria: list[str],
    issue_number: int | None = None,
    endpoint: str | None = None,
) -> DispatchResult:
    """Hand a task over by an HTTP POST to *endpoint*, or to the agent's own."""
    flow = _seams.dispatch_via_api(
        agent, title, description, acceptance_criteria, issue_number, endpoint
    )
    result: DispatchResult = await flow
    return result


async def _dispatch_local(
    title: str,
    description: str = "",
    acceptance_criteria: list[str] | None = None,
    issue_number: int | None = None,
) -> DispatchResult:
    """Take a task for Timmy itself; carrying it out is the host's business."""
    result: DispatchResult = await _seams.dispatch_local(title, description, issue_number)
    return result


def _validate_task(
    title: str,
    task_type: TaskType | None,
    agent: AgentType | None,
    issue_number: int | None,
) -> DispatchResult | None:
    """Return a failed result for a task without a title, None for a valid one."""
    if title.strip():
        return None
    return DispatchResult(
        task_type=task_type or TaskType.ROUTINE_CODING,
        agent=agent or AgentType.TIMMY,
        issue_number=issue_number,
        status=DispatchStatus.FAILED,
        error="`title` is required.",
    )


def _select_dispatch_strategy(agent: AgentType, issue_number: int | None) -> str:
    """Return how a task reaches an agent: "gitea", "api" or "local"."""
    interface = AGENT_REGISTRY[agent].interface
    if interface == "api" or (interface == "gitea" and issue_number is not None):
        return interface
    return "local"


def _log_dispatch_result(
    title: str,
    result: DispatchResult,
    attempt: int,
    max_retries: int,
) -> None:
    """Write a failed attempt to the log; *attempt* counts from 0."""
    if result.success:
        return
    shown = title[:60]
    if attempt > 0:
        logger.info("Retry %d/%d for task %r", attempt, max_retries, shown)
    logger.warning("Dispatch attempt %d failed for task %r: %s", attempt + 1, shown, result.error)


async def dispatch_task(
    title: str,
    description: str = "",
    acceptance_criteria: list[str] | None = None,
    task_type: TaskType | None = None,
    agent: AgentType | None = None,
    issue_number: int | None = None,
    api_endpoint: str | None = None,
    max_retries: int = 1,
) -> DispatchResult:
    """Route a task to the best agent and hand it over.

    Args:
        title: Short title; a blank one is a failed result.
        description: The whole story.
        acceptance_criteria: What must hold when it is done.
        task_type: The kind of work; inferred from the text if omitted, as the settings say.
        agent: Who gets it; chosen by the task type if omitted.
        issue_number: The Gitea issue to hand over on.
        api_endpoint: An endpoint instead of the agent's own.
        max_retries: How often to try again after a failure.

    Raises:
        ValueError: An unknown agent or task type, a negative *max_retries*, or a setting of the
            inference that cannot be.
    """
    refused = _validate_task(title, task_type, agent, issue_number)
    if refused:
        return refused
    known_type = _member(TaskType, task_type, "task type", TaskType) if task_type else None
    known_agent = _member(AgentType, agent, "agent", AGENT_REGISTRY) if agent else None
    decided = None if known_type else _decide(title, description)
    flow = _seams.dispatch_task(
        title,
        description,
        acceptance_criteria or [],
        decided.task_type if decided else known_type,
        known_agent,
        issue_number,
        api_endpoint,
        max_retries,
    )
    if decided:
        decided.log(title)
    if decided and decided.asks:
        flow.close()
        result = DispatchResult(
            task_type=decided.task_type,
            agent=known_agent or select_agent(decided.task_type),
            issue_number=issue_number,
            status=DispatchStatus.PENDING,
        )
    else:
        result = await flow
    if decided:
        decided.note(result)
    return result


def _decide(title: Any, description: Any) -> _inference.Decision | None:
    """Rank a text where the settings want that; a replaced `infer_task_type` goes before them."""
    if infer_task_type is not _EXACT_RULES:
        return None
    return _inference.decide(settings, title, description)


def _member(members: type[StrEnum], given: Any, what: str, known: Iterable[Any]) -> Any:
    """Return the member of that name, or the key of the registry; ValueError for a stranger."""
    if isinstance(given, members):
        return given
    if isinstance(given, str) and given in set(members):
        return members(given)
    if isinstance(given, str) and given not in set(known):
        names = ", ".join(str(name) for name in known)
        raise ValueError(f"unknown {what} {str(given)!r}; known are {names}")
    return given


async def _log_escalation(
    issue_number: int,
    agent: AgentType,
    error: str,
) -> None:
    """Tell an issue that no agent could take it."""
    await _seams.log_escalation(issue_number, agent, error)


async def wait_for_completion(
    issue_number: int,
    poll_interval: int = 60,
    max_wait: int = 7200,
) -> DispatchStatus:
    """Wait until an issue is closed, at most *max_wait* seconds, asking every *poll_interval*."""
    return await _poll_issue_completion(issue_number, poll_interval, max_wait)


_seams = _core.Seams(
    globals(),
    [
        "_apply_gitea_label",
        "_dispatch_local",
        "_dispatch_via_api",
        "_dispatch_via_gitea",
        "_format_assignment_comment",
        "_log_escalation",
        "_post_gitea_comment",
        "infer_task_type",
    ],
)
atexit.register(_core.shut_down)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_core.after_fork)

#: Names of modules that are imported when one of their names is asked for.
_LATER = {
    "Dispatcher": "durable",
    "DispatcherError": "durable",
    "Explanation": "explanation",
    "Match": "explanation",
    "Span": "explanation",
    "Task": "durable",
    "RankedClassifier": "ranking",
    "Ranking": "ranking",
    "rank_task_types": "ranking",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
