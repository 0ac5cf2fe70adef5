"""The core's JSON as values."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from .. import DispatchStatus, TaskType
from ._values import (
    Assignment,
    Attempt,
    Effect,
    Escalation,
    Event,
    Gate,
    Outcome,
    Phase,
    Plan,
    PlannedAgent,
    PullRequest,
    Question,
    Record,
    Story,
    Task,
)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def records(text: str) -> tuple[Record, ...]:
    """Return the records of a list."""
    return tuple(_record(each) for each in json.loads(text))


def record(text: str) -> Record:
    """Return a record."""
    return _record(json.loads(text))


def story(text: str) -> Story:
    """Return a story."""
    given = json.loads(text)
    return Story(
        record=_record(given["record"]),
        attempts=tuple(map(_attempt, given["attempts"])),
        effects=tuple(map(_effect, given["effects"])),
        events=tuple(map(_event, given["events"])),
    )


def outcome(text: str) -> Outcome:
    """Return the outcome that a story came to."""
    told = story(text)
    ended = told.record
    return Outcome(**vars(ended), attempts=told.attempts, result=_result(told))


def effects(text: str) -> tuple[Effect, ...]:
    """Return the effects of a list."""
    return tuple(map(_effect, json.loads(text)))


def events(text: str) -> tuple[Event, ...]:
    """Return the events of a list."""
    return tuple(map(_event, json.loads(text)))


def plan(text: str) -> Plan:
    """Return a plan."""
    given = json.loads(text)
    order = given["task"]
    return Plan(
        task=_task(order, given["max_retries"]),
        agents=tuple(PlannedAgent(**agent) for agent in given["agents"]),
        fallback=tuple(given["fallback"]),
        repo=_repo(order),
        gates=_gates(order),
        callback=given["callback"],
        max_reassignments=given["max_reassignments"],
        decided_by=given["decided_by"],
        hold=given["hold"],
    )


def assignment(given: Mapping[str, Any], name: str) -> Assignment:
    """Return what a local agent is given."""
    return Assignment(agent=name, **_about(given))


def question(given: Mapping[str, Any]) -> Question:
    """Return what a gate is asked about."""
    return Question(agent=given["agent"], **_about(given))


def escalation(given: Mapping[str, Any]) -> Escalation:
    """Return what an owner is told."""
    attempts = tuple(map(_attempt, given["attempts"]))
    return Escalation(reason=given["reason"], attempts=attempts, **_about(given))


def _about(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every function of a program's own is told of an attempt."""
    order = given["task"]
    return {
        "id": UUID(given["id"]),
        "fence": given["fence"],
        "task": _task(order, given["max_retries"]),
        "repo": _repo(order),
    }


def _time(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else _moment(milliseconds)


def _moment(milliseconds: int) -> datetime:
    # By a float some milliseconds would come out one too low.
    return _EPOCH + timedelta(milliseconds=milliseconds)


def _task(order: Mapping[str, Any], max_retries: int) -> Task:
    return Task(
        title=order["title"],
        description=order["description"],
        acceptance_criteria=tuple(order["acceptance_criteria"]),
        task_type=TaskType(order["task_type"]),
        issue_number=order["issue"],
        api_endpoint=order["endpoint"],
        max_retries=max_retries,
    )


def _repo(order: Mapping[str, Any]) -> str | None:
    return order["repo"] or None


def _gates(order: Mapping[str, Any]) -> tuple[Gate, ...]:
    return tuple(map(_gate, order["gates"]))


def _gate(given: Mapping[str, Any]) -> Gate:
    match given:
        case {"gate": "pull_request", "without_checks": True}:
            return PullRequest(without_checks=True)
        case {"gate": "endpoint", "url": str(url)}:
            return url
        case {"gate": "named", "name": str(name)}:
            return name
        case _:
            return str(given["gate"])


def _record(given: Mapping[str, Any]) -> Record:
    order = given["task"]
    return Record(
        id=UUID(given["id"]),
        status=DispatchStatus(given["status"]),
        phase=Phase(given["phase"]),
        reason=given["reason"],
        agent=given["agent"],
        fence=given["fence"],
        task=_task(order, given["max_retries"]),
        repo=_repo(order),
        route=tuple(given["route"]),
        gates=_gates(order),
        priority=given["priority"],
        idempotency_key=given["idempotency_key"],
        reassignments=given["reassignments"],
        created_at=_moment(given["created_at"]),
        due_at=_time(given["due_at"]),
        finished_at=_time(given["finished_at"]),
    )


def _attempt(given: Mapping[str, Any]) -> Attempt:
    return Attempt(
        fence=given["fence"],
        agent=given["agent"],
        started_at=_moment(given["started_at"]),
        ended_at=_time(given["ended_at"]),
        outcome=given["outcome"],
        reason=given["reason"],
    )


def _effect(given: Mapping[str, Any]) -> Effect:
    return Effect(
        id=UUID(given["id"]),
        dispatch=UUID(given["dispatch"]),
        fence=given["fence"],
        effect=given["effect"],
        state=given["state"],
        sends=given["sends"],
        not_before=_time(given["not_before"]),
        agent=given["agent"],
        repo=given["repo"] or None,
        issue_number=given["issue_number"],
        remote_id=given["remote_id"],
        reason=given["reason"],
    )


def _event(given: Mapping[str, Any]) -> Event:
    return Event(
        seq=given["seq"],
        dispatch=UUID(given["dispatch"]),
        fence=given["fence"],
        kind=given["kind"],
        at=_moment(given["at"]),
        body=given["body"],
    )


def _result(told: Story) -> Any:
    # Of an agent that works on an issue the evidence is what was seen there.
    answering = {effect.fence for effect in told.effects if effect.effect in {"run", "post"}}
    finished = (
        event.body.get("evidence")
        for event in reversed(told.events)
        if event.kind == "finished" and event.fence in answering
    )
    return next(finished, None)
