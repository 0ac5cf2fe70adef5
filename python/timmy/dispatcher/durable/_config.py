"""What the core is told when it opens: settings, agents, routes, limits and times."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, TypedDict

import timmy.dispatcher as dispatching

from .._inference import way
from ._values import Gate, PullRequest, Task

Busy = Literal["queue", "fallback"]

_BUILT_IN_GATES = ("pull_request", "approved", "checklist")


class Timing(TypedDict, total=False):
    """How long everything takes, in seconds. What is not given has the core's default."""

    heartbeat: float
    """How often a process says that it lives; 5."""
    lease: float
    """How long it may be silent before others look after its dispatches; 30. At least twice the
    heartbeat, and more than a request and the margin together."""
    request: float
    """How long a request to Gitea may take; 10."""
    margin: float
    """How much more of the lease than that must be left when it begins; 2."""
    quarantine: float
    """How long a server may still carry out a request whose answer was lost; 25."""
    grace: float
    """How long an agent must be silent after its task was taken back; 600."""
    deadline: float
    """How long an agent has for a task, where it has no time of its own; a day."""
    review: float
    """How long the gates may take; 7 days."""
    backoff: float
    """The first wait before an agent is tried again; 30."""
    again: float
    """The first wait before a request that failed is tried again; 1."""
    poll: float
    """How often watched issues are looked at; 15."""
    single_read: float
    """How often each of them is read singly, to find those that were deleted; an hour."""
    review_poll: float
    """How often gates are asked; 60."""
    tick: float
    """How soon a change by another process is noticed; 0.25."""
    retention: float
    """How long what has ended is kept; 90 days."""


@dataclass(frozen=True, kw_only=True)
class AgentOptions:
    """What durable dispatch knows of an agent beside its :class:`AgentSpec`."""

    deadline: float | None = None
    """How long it has for a task, in seconds."""
    idempotent: bool = False
    """Whether it bears the same task twice: a handler that may be run again after its process was
    lost, an endpoint that honours ``Idempotency-Key``."""
    gitea_user: str | None = None
    """Its account on Gitea, by which its signs of life are known."""
    timeout: float | None = None
    """How long a request to its endpoint may take, in seconds; 10 if omitted."""


@dataclass(frozen=True, kw_only=True)
class Receive:
    """Where webhooks and agents' callbacks are received."""

    address: str
    """``host:port``, the host as an IP address."""
    secret: str = field(repr=False)
    """What Gitea signs its webhooks with, and agents their callbacks."""
    public_url: str | None = None
    """The address under which agents reach it."""


def gate(wanted: Gate) -> dict[str, Any]:
    """Return a gate as the core reads it."""
    if isinstance(wanted, PullRequest):
        return {"gate": "pull_request", "without_checks": wanted.without_checks}
    if not isinstance(wanted, str) or not wanted:
        raise TypeError(f"a gate is a name, a URL or a PullRequest, not {wanted!r}")
    if wanted in _BUILT_IN_GATES:
        return {"gate": wanted}
    if "://" in wanted:
        return {"gate": "endpoint", "url": wanted}
    return {"gate": "named", "name": wanted}


def check_gate_name(name: str) -> None:
    """Raise ValueError for a name that means something else."""
    if not name or name in _BUILT_IN_GATES or "://" in name:
        raise ValueError(f"a gate of one's own cannot be called {name!r}")


def check_callback_name(name: str) -> None:
    """Raise ValueError for a name that is none, or a URL."""
    if not name.strip() or "://" in name:
        raise ValueError(f"a callback of one's own cannot be called {name!r}")


def gates(wanted: Sequence[Gate]) -> list[dict[str, Any]]:
    """Return gates as the core reads them."""
    if isinstance(wanted, str):
        raise TypeError(f"gates are a sequence; write [{wanted!r}]")
    return [gate(each) for each in wanted]


def config(
    ledger: str,
    settings: Any,
    ranking: Mapping[str, Any],
    agents: Mapping[str, AgentOptions],
    policy: Mapping[str, Any],
    timing: Timing,
    faster: int,
) -> str:
    """Return all of it as JSON. The registry, the routes and the settings are read now."""
    if settings is None:
        settings = dispatching.settings
    ranked = way(settings, ranking)
    return to_json(
        {
            "ledger": ledger,
            "settings": {
                "url": str(settings.gitea_url),
                "token": str(settings.gitea_token),
                "repo": str(settings.gitea_repo),
                "enabled": bool(settings.gitea_enabled),
            },
            "registry": [
                {
                    "name": str(name),
                    "display_name": spec.display_name,
                    "strengths": sorted(map(str, spec.strengths)),
                    "gitea_label": spec.gitea_label,
                    "max_concurrent": spec.max_concurrent,
                    "interface": spec.interface,
                    "api_endpoint": spec.api_endpoint,
                }
                for name, spec in dispatching.AGENT_REGISTRY.items()
            ],
            "routes": [
                [str(task_type), str(agent)]
                for task_type, agent in dispatching._TASK_ROUTING.items()
            ],
            "agents": [[str(name), asdict(options)] for name, options in agents.items()],
            "inference": ranked and ranked._asdict(),
            "policy": policy,
            "timing": timing,
            "faster": faster,
        }
    )


def submission(task: Task, wishes: Mapping[str, Any]) -> str:
    """Return a task and what is wanted of its submission as JSON."""
    if not isinstance(task, Task):
        raise TypeError(f"a task is a timmy.dispatcher.Task, not {task!r}")
    if isinstance(task.acceptance_criteria, str):
        raise TypeError("acceptance_criteria is a string: put it into a list")
    return to_json(
        {
            "title": task.title,
            "description": task.description,
            "acceptance_criteria": list(task.acceptance_criteria),
            "task_type": task.task_type,
            "agent": task.agent,
            "issue_number": task.issue_number,
            "api_endpoint": task.api_endpoint,
            "max_retries": task.max_retries,
            "inferred": _inferred(task),
            "wishes": wishes,
        }
    )


def _inferred(task: Task) -> str | None:
    """Return the type that a replaced `infer_task_type` finds; it goes before ranking."""
    replaced = dispatching.infer_task_type is not dispatching._EXACT_RULES
    if not replaced or task.task_type or not task.title.strip():
        return None
    return str(dispatching.infer_task_type(task.title, task.description))


def to_json(value: Any) -> str:
    """Return JSON; TypeError or ValueError for what JSON cannot hold."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False)
