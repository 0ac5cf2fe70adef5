"""Dispatching that survives its process: a task is kept in a ledger until it has come to its end.

The tasks are handed over, watched, reviewed, and given to the next agent or to a person; whoever
dies in between, the next process goes on::

    from timmy.dispatcher import Dispatcher, Task

    async with Dispatcher("sqlite:///data/dispatch.db") as dispatcher:
        dispatch = await dispatcher.submit(Task("Design the LLM router", issue_number=1072))
        outcome = await dispatch.wait()

`_dispatcher` holds `Dispatcher` and `Dispatch`, `_values` what goes in and comes out, `_config`
what the core is told of settings, agents and limits, `_calls` the calls of a program's own local
agents, gates and callbacks, `_doctor` what is said of a ledger without opening it, `_errors` what
can be raised. The work is done by the Rust core.
"""

from ._config import AgentOptions, Receive, Timing
from ._dispatcher import Dispatch, Dispatcher
from ._doctor import Finding, Inspection, Worker, check_ledger, inspect_ledger, ledger_place
from ._errors import (
    DispatcherError,
    Forked,
    LedgerError,
    NotNow,
    OtherTask,
    Refused,
    Unknown,
)
from ._values import (
    Assignment,
    Attempt,
    Effect,
    Escalation,
    Event,
    Outcome,
    Phase,
    Plan,
    PlannedAgent,
    PullRequest,
    Question,
    Record,
    Story,
    Task,
    Verdict,
)

__all__ = [
    "AgentOptions",
    "Assignment",
    "Attempt",
    "Dispatch",
    "Dispatcher",
    "DispatcherError",
    "Effect",
    "Escalation",
    "Event",
    "Finding",
    "Forked",
    "Inspection",
    "LedgerError",
    "NotNow",
    "OtherTask",
    "Outcome",
    "Phase",
    "Plan",
    "PlannedAgent",
    "PullRequest",
    "Question",
    "Receive",
    "Record",
    "Refused",
    "Story",
    "Task",
    "Timing",
    "Unknown",
    "Verdict",
    "Worker",
    "check_ledger",
    "inspect_ledger",
    "ledger_place",
]
