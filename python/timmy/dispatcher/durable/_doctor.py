"""What can be said of a ledger without opening it, and what a doctor finds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from os import PathLike, fspath
from typing import Literal
from uuid import UUID

from .. import _core


@dataclass(frozen=True, kw_only=True)
class Finding:
    """Something that was looked at."""

    check: str
    """What: server, token, label claude-ready, …"""
    severity: Literal["ok", "warning", "error"]
    """With an error it cannot work; with a warning not as well as it could."""
    found: str
    advice: str
    """What to do about it; empty where there is nothing to do."""


@dataclass(frozen=True, kw_only=True)
class Worker:
    """A process that looks after dispatches."""

    id: UUID
    expires_in: float
    """In how many seconds others look after them, if it stays silent."""
    handles: tuple[str, ...]
    """The agents that it can hand tasks to."""
    revision: int
    """With which revision of the agents it works; 0 where an older program does not say."""


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What can be seen of a ledger from outside."""

    version: int
    known: int
    """The version that this program works with; with an older ledger the rest is empty."""
    revision: int
    """Of which revision the agents are."""
    agents: tuple[str, ...]
    workers: tuple[Worker, ...]


async def inspect_ledger(ledger: str | PathLike[str]) -> Inspection | None:
    """Look at a ledger and change nothing; None where there is none.

    Raises:
        LedgerError: It is somebody else's, newer, or cannot be read.
    """
    text = await _core.inspect_ledger(fspath(ledger))
    if text is None:
        return None
    seen = json.loads(text)
    workers = tuple(
        Worker(
            id=UUID(worker["id"]),
            expires_in=worker["expires_in"] / 1000,
            handles=tuple(worker["handles"]),
            revision=worker["revision"],
        )
        for worker in seen.pop("workers")
    )
    return Inspection(agents=tuple(seen.pop("agents")), workers=workers, **seen)


def ledger_place(ledger: str | PathLike[str]) -> str:
    """Return where a ledger is, as it may be shown: of a database without user and password.

    Raises:
        LedgerError: No ledger can be there.
    """
    return _core.ledger_place(fspath(ledger))


async def check_ledger(ledger: str | PathLike[str]) -> tuple[str, ...]:
    """Read a whole ledger and return what is wrong with it. Unknown where there is none."""
    return tuple(json.loads(await _core.check_ledger(fspath(ledger))))


async def examine(config: str) -> tuple[Finding, ...]:
    """Return what a doctor finds around the dispatcher that is described."""
    return tuple(Finding(**finding) for finding in json.loads(await _core.examine(config)))
