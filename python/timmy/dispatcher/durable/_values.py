"""What goes into a dispatcher and comes out of it. Times are aware, by the ledger's clock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any, Literal
from uuid import UUID

from .. import AgentType, DispatchStatus, TaskType


class Phase(StrEnum):
    """Where a dispatch stands, more finely than its :class:`DispatchStatus`."""

    QUEUED = "queued"
    RETRY_WAIT = "retry_wait"
    HELD = "held"
    HANDING_OVER = "handing_over"
    HANDED_OVER = "handed_over"
    WORKING = "working"
    REVIEWING = "reviewing"
    WITHDRAWING = "withdrawing"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    ISSUE_GONE = "issue_gone"
    REFUSED = "refused"
    WORKER_LOST = "worker_lost"
    ESCALATED = "escalated"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True)
class PullRequest:
    """The gate that wants a merged pull request whose last commit's checks succeeded.

    The string ``"pull_request"`` is the same with *without_checks* false.
    """

    without_checks: bool = False
    """Whether a commit without any checks is good enough."""


Gate = str | PullRequest
"""What must hold before a task that its agent ended counts as done.

``"pull_request"`` or a `PullRequest`, ``"approved"`` (the pull request has an official approving
review), ``"checklist"`` (every acceptance criterion is ticked), an http or https URL of an endpoint
that answers ``{"verdict": "pass" | "fail" | "pending", "reason": …}``, or the name of one of the
program's own, by :meth:`Dispatcher.gate`.
"""


@dataclass(frozen=True)
class Task:
    """A task, as for :func:`timmy.dispatcher.dispatch_task`."""

    title: str
    """Short; a blank one is refused."""
    description: str = ""
    """The whole story."""
    acceptance_criteria: Sequence[str] = ()
    """What must hold when it is done."""
    task_type: TaskType | None = None
    """The kind of work; inferred from the text if omitted."""
    agent: AgentType | str | None = None
    """Who gets it first; chosen by the task type if omitted."""
    issue_number: int | None = None
    """The Gitea issue to hand over on."""
    api_endpoint: str | None = None
    """An endpoint instead of the agent's own."""
    max_retries: int = 1
    """How often the same agent is tried again after a failure that may pass."""


@dataclass(frozen=True, kw_only=True)
class Record:
    """Where a dispatch stands."""

    id: UUID
    status: DispatchStatus
    phase: Phase
    reason: str
    """Why it waits, or how it came to its end. Empty while all goes well."""
    agent: str | None
    """Whose turn it is: a name of :class:`AgentType` or of an agent of one's own."""
    fence: int
    """The number of its attempt; 0 before the first."""
    task: Task
    """As it was submitted, with the type that was inferred."""
    repo: str | None
    """Where its issue is, ``owner/name``."""
    route: tuple[str, ...]
    """The agents in the order in which they are tried."""
    gates: tuple[Gate, ...]
    priority: int
    idempotency_key: str | None
    reassignments: int
    """How often it went to a next agent."""
    created_at: datetime
    due_at: datetime | None
    """When something happens by itself: a retry, a deadline."""
    finished_at: datetime | None
    """When it ended."""

    @property
    def finished(self) -> bool:
        """Whether it has ended."""
        return self.finished_at is not None

    @property
    def success(self) -> bool:
        """Whether it was completed."""
        return self.status is DispatchStatus.COMPLETED


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One agent's turn."""

    fence: int
    agent: str
    started_at: datetime
    ended_at: datetime | None
    outcome: str | None
    """What came next; None while it lasts."""
    reason: str | None
    """Why."""


@dataclass(frozen=True, kw_only=True)
class Outcome(Record):
    """How a dispatch ended, with its attempts and the agent's result."""

    attempts: tuple[Attempt, ...]
    result: Any
    """What the agent itself returned or answered, if it did: JSON values."""


@dataclass(frozen=True, kw_only=True)
class Effect:
    """A request to the outside: a comment, a label, a POST, a call of a local agent."""

    id: UUID
    dispatch: UUID
    fence: int
    effect: str
    """What: comment, label, post, run, unlabel, withdrawal, reopen, callback, …"""
    state: str
    """How it stands: ready, sending, in_doubt, settling, done, refused, ambiguous, dropped."""
    sends: int
    """How many requests may have had an effect."""
    not_before: datetime | None
    """Nothing is done about it before."""
    agent: str
    repo: str | None
    issue_number: int | None
    remote_id: int | None
    """What the server calls it: the number of the comment."""
    reason: str
    """Why it is not done yet, where a request came to nothing; else why its dispatch is there."""


@dataclass(frozen=True, kw_only=True)
class Event:
    """An entry of the record of everything."""

    seq: int
    """Its place in the order."""
    dispatch: UUID
    fence: int
    kind: str
    """What happened: submitted, claimed, settled, finished, …"""
    at: datetime
    body: Mapping[str, Any]
    """More of it: the reason, the phase, the evidence.

    Of ``settled`` also the effect, how it came to its end (done, found, refused, ambiguous or
    dropped), and the ``remote_id`` that the server gave it, such as the number of a comment.
    """


@dataclass(frozen=True, kw_only=True)
class Story:
    """All that the ledger knows of a dispatch, each part from the first on."""

    record: Record
    attempts: tuple[Attempt, ...]
    effects: tuple[Effect, ...]
    events: tuple[Event, ...]


@dataclass(frozen=True, kw_only=True)
class PlannedAgent:
    """An agent that would be tried, and how it would be reached."""

    name: str
    display_name: str
    interface: str
    """gitea, api or local."""
    label: str | None
    endpoint: str | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What would become of a task."""

    task: Task
    """With the type that was inferred."""
    agents: tuple[PlannedAgent, ...]
    """In the order in which they would be tried."""
    fallback: tuple[str, ...]
    """Who may take the place of one that is busy."""
    repo: str | None
    gates: tuple[Gate, ...]
    callback: str | None
    max_reassignments: int
    decided_by: str
    """How its type was decided: caller, exact for the built-in inference, ranked, setting where a
    type was named for what is not likely enough, ask, or own rules for a replaced inference."""
    hold: str | None
    """Why nobody would get it before a person has said more."""


@dataclass(frozen=True, kw_only=True)
class Assignment:
    """What a local agent is given."""

    id: UUID
    """Of which dispatch."""
    fence: int
    """Of which attempt; with the id it is a key for what must not be done twice."""
    agent: str
    """The name under which it is asked."""
    task: Task
    repo: str | None


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a gate is asked about."""

    id: UUID
    fence: int
    agent: str
    """Whose work it is."""
    task: Task
    repo: str | None


@dataclass(frozen=True, kw_only=True)
class Escalation:
    """What an owner is told: nobody is left who could do it, and a person is asked."""

    id: UUID
    """Of which dispatch."""
    fence: int
    """Of which attempt, the last one; with the id it is a key for what must not be done twice."""
    reason: str
    """Why."""
    task: Task
    repo: str | None
    attempts: tuple[Attempt, ...]
    """Who tried, the first one first."""


@dataclass(frozen=True)
class Verdict:
    """What a gate says."""

    verdict: Literal["pass", "fail", "pending"]
    """With pending it is asked again later."""
    reason: str = ""
    evidence: Any = field(default=None, kw_only=True)
    """What it goes by, kept in the ledger: JSON values."""
