"""The tour: a Gitea stand-in, a dozen tasks for all four agents, and what became of them.

The dozen take the way that every task takes (`dispatch_task` over a real socket); only the
settings are the tour's own. Its second part, a worker that is killed, is `survival`. At the end
both look into the sandbox and check what they show.
"""

import asyncio
import os
import shlex
import shutil
import sys
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from rich.progress import Progress, SpinnerColumn, TaskID, TextColumn
from rich.text import Text
from timmy import dispatcher
from timmy.dispatcher import AgentType, DispatchStatus, TaskType
from timmy.dispatcher.sandbox import GiteaVersion, Sandbox

from . import interrupts, survival
from .display import deciding_words, line, notes, print_table, results, status_text, visible
from .survival import Survival, Survivor

#: A label that the repository has already, and the one that has to be created.
EXISTING_LABEL, NEW_LABEL = "claude-ready", "kimi-ready"
#: Attempts after the first at the agent that is down.
RETRIES = 2
#: Seconds: until the tour's "agent" closes its issue, between two looks at it, until giving up.
WORK_TIME, POLL_INTERVAL, PATIENCE = 0.8, 0.2, 20.0
#: Seconds between two dispatches on a terminal, so that an eye can follow.
PACE = 0.12


@dataclass(frozen=True)
class Plan:
    """A task of the tour, and what is to happen with it."""

    title: str
    description: str = ""
    criteria: tuple[str, ...] = ()
    task_type: TaskType | None = None
    on_issue: bool = False
    agent_down: bool = False
    gets_closed: bool = False


PLANS = (
    Plan(
        "Design the LLM router",
        "A cascade with failover between three providers.",
        criteria=("Failover works", "Errors name the provider"),
        on_issue=True,
    ),
    Plan("Clean up the retry loop", "Five exits where one would do.", on_issue=True),
    Plan(
        "The login test fails at night",
        "Investigate why; the days are fine.",
        on_issue=True,
        gets_closed=True,
    ),
    Plan("Rename the port option", "It should be called --port.", on_issue=True),
    Plan("Move the handlers to the new API", "Sixty files, in parallel.", on_issue=True),
    Plan("A quick form for new tasks", "It may be thrown away later.", on_issue=True),
    Plan("Survey message queues", "Which of them keep what they took?"),
    Plan("Check the Basque grammar rules", task_type=TaskType.SPECIALIZED),
    Plan(
        "Report last week's metrics",
        "The agent that does it is down.",
        on_issue=True,
        agent_down=True,
    ),
    Plan("Triage the new bug reports"),
    Plan("Roadmap for the winter"),
    Plan("Coordinate the night shift", "Who works on what, and who hands over to whom."),
)


@dataclass
class Row:
    """What became of one task."""

    task: str
    issue: int | None
    task_type: str = ""
    words: list[str] = field(default_factory=list)
    decided_by: str = "words"
    agent: str = ""
    label: str | None = None
    comment_id: int | None = None
    status: str = DispatchStatus.PENDING
    retries: int = 0
    error: str | None = None


@dataclass
class Check:
    """Something that must be true at the end, looked up in the sandbox."""

    what: str
    ok: bool


@dataclass
class Report:
    """The outcome of the tour."""

    gitea: str
    rows: list[Row]
    checks: list[Check]
    survival: Survival
    requests: int
    seconds: float

    @property
    def ok(self) -> bool:
        """Whether everything is as it should be."""
        return all(check.ok for check in self.checks)

    def document(self) -> dict[str, Any]:
        """Return the report as values for JSON."""
        return {
            "ok": self.ok,
            "gitea": self.gitea,
            "seconds": round(self.seconds, 3),
            "requests": self.requests,
            "tasks": [vars(row) for row in self.rows],
            "survival": self.survival.document(),
            "checks": [vars(check) for check in self.checks],
        }


# ---------------------------------------------------------------------------
# Running
# ---------------------------------------------------------------------------


@dataclass(frozen=True)
class _Settings:
    """The dispatcher's settings while the tour lasts, whatever the host's are."""

    gitea_url: str
    gitea_token: str
    gitea_repo: str
    gitea_enabled: bool = True


@contextmanager
def _dispatching_to(settings: _Settings) -> Iterator[None]:
    """Point the dispatcher at the sandbox, past any proxy, and put everything back."""
    module = vars(dispatcher)
    before = module["settings"]
    environment = {name: os.environ.get(name) for name in ("NO_PROXY", "no_proxy")}
    module["settings"] = settings
    for name, value in environment.items():
        os.environ[name] = f"{value},127.0.0.1" if value else "127.0.0.1"
    try:
        yield
    finally:
        module["settings"] = before
        for name, value in environment.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def run_demo(gitea: GiteaVersion) -> Report:
    """Start a sandbox, dispatch the tour's tasks, check what is in the sandbox then."""
    started = time.monotonic()
    with Sandbox(gitea) as sandbox:
        repo = sandbox.create_repo("demo")
        sandbox.create_label(repo, EXISTING_LABEL, "#0075ca")
        rows = [
            Row(
                task=plan.title,
                issue=sandbox.create_issue(repo, plan.title, plan.description)
                if plan.on_issue
                else None,
            )
            for plan in PLANS
        ]
        sandbox.fault(method="POST", path="/agent/down", status=503)
        with (
            _dispatching_to(_Settings(sandbox.url, sandbox.token, repo)),
            _Display(
                f"Gitea {gitea} stand-in at {sandbox.url}, repository {repo}", rows
            ) as display,
        ):
            interrupts.run(_Tour(sandbox, repo, rows, display.show, display.pace).run())
        checks = _checks(sandbox, repo, rows)
        settings = _Settings(sandbox.url, sandbox.token, repo)
        with _dispatching_to(settings):
            survived = survival.play(sandbox, lambda text: line(notes(), text))
        checks += _checks_of(survived)
        requests = len(sandbox.requests())
    return Report(gitea, rows, checks, survived, requests, time.monotonic() - started)


class _Tour:
    """The dispatches of one tour, all on one event loop."""

    def __init__(
        self,
        sandbox: Sandbox,
        repo: str,
        rows: list[Row],
        show: Callable[[Row], None],
        pace: float,
    ) -> None:
        self.sandbox = sandbox
        self.repo = repo
        self.rows = rows
        self.show = show
        self.pace = pace

    async def run(self) -> None:
        """Dispatch everything, at once or at the display's pace."""
        async with asyncio.TaskGroup() as group:
            for plan, row in zip(PLANS, self.rows, strict=True):
                group.create_task(self._dispatch(plan, row))
                await asyncio.sleep(self.pace)

    async def _dispatch(self, plan: Plan, row: Row) -> None:
        """Dispatch one task, and wait for its issue if that gets closed."""
        explanation = dispatcher.explain_task_type(plan.title, plan.description)
        row.words = deciding_words(explanation) if plan.task_type is None else []
        if plan.task_type is not None:
            row.decided_by = "given"
        elif not row.words:
            row.decided_by = "default"
        result = await dispatcher.dispatch_task(
            plan.title,
            plan.description,
            acceptance_criteria=list(plan.criteria),
            task_type=plan.task_type,
            issue_number=row.issue,
            api_endpoint=f"{self.sandbox.url}/agent{'/down' if plan.agent_down else ''}",
            max_retries=RETRIES,
        )
        row.task_type, row.agent, row.status = result.task_type, result.agent, result.status
        row.label, row.comment_id = result.label_applied, result.comment_id
        row.retries, row.error = result.retry_count, result.error
        if row.issue is not None and row.comment_id is None:
            # The result of an escalation does not name its comment.
            comments = self.sandbox.comments(self.repo, row.issue)
            row.comment_id = comments[-1]["id"] if comments else None
        self.show(row)
        if plan.gets_closed and row.issue is not None:
            work = asyncio.create_task(self._work(row.issue))
            waited: Awaitable[DispatchStatus] = dispatcher.wait_for_completion(
                row.issue,
                POLL_INTERVAL,  # type: ignore[arg-type]  # floats are taken too
                PATIENCE,  # type: ignore[arg-type]
            )
            row.status = await waited
            await work
            self.show(row)

    async def _work(self, issue: int) -> None:
        """Do what an agent does that finishes its task."""
        await asyncio.sleep(WORK_TIME)
        self.sandbox.close_issue(self.repo, issue)


# ---------------------------------------------------------------------------
# Checking
# ---------------------------------------------------------------------------


def _checks(sandbox: Sandbox, repo: str, rows: list[Row]) -> list[Check]:
    """Hold the rows, and what they must be, against what the sandbox has."""
    on_gitea = [row for row in rows if row.label is not None]
    down = next(row for row, plan in zip(rows, PLANS, strict=True) if plan.agent_down)
    closed = next(row for row, plan in zip(rows, PLANS, strict=True) if plan.gets_closed)
    others = [row for row in rows if row is not down and row is not closed]

    def comments(row: Row) -> list[dict[str, Any]]:
        return sandbox.comments(repo, row.issue) if row.issue is not None else []

    def labels(row: Row) -> list[str]:
        names = sandbox.issue_labels(repo, row.issue) if row.issue is not None else []
        return [label["name"] for label in names]

    label_names = Counter(label["name"] for label in sandbox.labels(repo))
    return [
        Check("all four agents got tasks", {row.agent for row in rows} == set(AgentType)),
        Check(
            "six issues were assigned by label and comment",
            len(on_gitea) == 6
            and all(labels(row) == [row.label] for row in on_gitea)
            and all([c["id"] for c in comments(row)] == [row.comment_id] for row in on_gitea),
        ),
        Check(
            f"the label {NEW_LABEL} was created, once",
            label_names == Counter([EXISTING_LABEL, NEW_LABEL]),
        ),
        Check(
            "the agent that is down was escalated, with a comment on the issue",
            down.status == DispatchStatus.ESCALATED
            and down.retries == RETRIES
            and labels(down) == []
            and ["Escalated" in c["body"] for c in comments(down)] == [True],
        ),
        Check(
            "a type that was given is kept",
            all(
                row.task_type == plan.task_type
                for row, plan in zip(rows, PLANS, strict=True)
                if plan.task_type is not None
            ),
        ),
        Check(
            "the issue that was waited for is closed",
            closed.status == DispatchStatus.COMPLETED
            and closed.issue is not None
            and sandbox.issue(repo, closed.issue)["state"] == "closed",
        ),
        Check(
            "every other task was assigned",
            all(row.status == DispatchStatus.ASSIGNED for row in others),
        ),
    ]


def _checks_of(survived: Survival) -> list[Check]:
    """Hold what was counted after the kill against what was promised."""
    rows = survived.rows
    return [
        Check(
            "nothing was lost: every task was completed, begun or not",
            all(row.status == DispatchStatus.COMPLETED and row.closed for row in rows)
            and len(rows) == len(survival.TASKS),
        ),
        Check(
            "nothing was done twice: one attempt, one comment and one label for each",
            all((row.attempts, row.comments, row.labels) == (1, 1, 1) for row in rows),
        ),
        Check("nothing is in doubt any more", survived.unsettled == 0),
    ]


# ---------------------------------------------------------------------------
# Showing
# ---------------------------------------------------------------------------


def _task_name(row: Row) -> str:
    """Return the task as it is shown: its issue, if it has one, and its title."""
    return f"#{row.issue} {visible(row.task)}" if row.issue is not None else visible(row.task)


class _Display:
    """Progress on stderr: a moving list on a terminal, a line for each event elsewhere."""

    def __init__(self, heading: str, rows: list[Row]) -> None:
        self._console = notes()
        self._live: AbstractContextManager[Any] = nullcontext()
        self._progress: Progress | None = None
        self._tasks: dict[int, TaskID] = {}
        self.pace = 0.0
        line(self._console, heading)
        if self._console.file.isatty() and not self._console.is_dumb_terminal:
            self._watch(rows)

    def _watch(self, rows: list[Row]) -> None:
        """Prepare the moving list."""
        ascii_only = self._console.options.ascii_only
        self._progress = Progress(
            SpinnerColumn("line" if ascii_only else "dots", finished_text="*"),
            TextColumn("{task.description}", markup=False),
            TextColumn("{task.fields[state]}", markup=False),
            console=self._console,
            transient=True,
        )
        self._live = self._progress
        self._tasks = {
            id(row): self._progress.add_task(_task_name(row), total=1, state="") for row in rows
        }
        self.pace = PACE

    def __enter__(self) -> "_Display":
        self._live.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._live.__exit__(*exception)

    def show(self, row: Row) -> None:
        """Show where a task stands now."""
        if self._progress is None:
            text = status_text(row.status)
            text.append(f"  {_task_name(row)} ({visible(row.agent)})", style="none")
            line(self._console, text)
        else:
            self._progress.update(
                self._tasks[id(row)], completed=1, state=f"{row.agent}: {row.status}"
            )


def print_report(report: Report) -> None:
    """Print the table, what it adds up to, and where to go from here."""
    console = results()
    columns = ["task", "type", "decided by", "agent", "label", "comment", "status"]
    print_table(console, columns, [_cells(row) for row in report.rows])
    line(console)
    survived = report.survival
    line(console, f"A worker was killed with {survived.begun} tasks begun, and another went on:")
    columns = ["task", "agent", "attempts", "comments", "labels", "status"]
    print_table(console, columns, [_survivor_cells(row) for row in survived.rows])
    line(console)
    counts = Counter([row.status for row in report.rows] + [row.status for row in survived.rows])
    line(
        console,
        f"{len(report.rows) + len(survived.rows)} tasks in {report.seconds:.1f} s "
        f"over {report.requests} requests: "
        + ", ".join(f"{count} {status}" for status, count in counts.items())
        + ".",
    )
    for check in report.checks:
        mark = ("ok    ", "green") if check.ok else ("WRONG ", "bold red")
        line(console, Text.assemble(mark, check.what))
    line(console)
    command = _this_command()
    line(console, f"Your own words:  {command} infer 'Review the login flow'")
    line(console, "Your own Gitea:  set GITEA_URL, GITEA_TOKEN and GITEA_REPO, then")
    line(console, f"                 {command} dispatch 'Review the login flow' --issue 1")


def _this_command() -> str:
    """Return what to type to run this command again: by its path where PATH does not lead to it."""
    called = sys.argv[0]
    if os.path.basename(called) == "__main__.py":
        return f"{shlex.quote(sys.executable)} -m timmy.dispatcher.cli"
    found = shutil.which("timmy-dispatch")
    if found is not None and os.path.realpath(found) == os.path.realpath(called):
        return "timmy-dispatch"
    return shlex.quote(called)


def _survivor_cells(row: Survivor) -> list[str | Text]:
    """Return a row of the second table."""
    return [
        f"#{row.issue} {visible(row.task)}",
        visible(row.agent),
        str(row.attempts),
        str(row.comments),
        str(row.labels),
        status_text(row.status),
    ]


def _cells(row: Row) -> list[str | Text]:
    """Return a row of the table."""
    if row.words:
        decided: str | Text = Text(", ".join(row.words), style="green")
    else:
        decided = {"given": "(given)", "default": "(no keyword)"}.get(row.decided_by, "")
    note = f", {row.retries + 1} attempts" if row.status == DispatchStatus.ESCALATED else ""
    return [
        _task_name(row),
        row.task_type,
        decided,
        visible(row.agent),
        visible(row.label or "-"),
        str(row.comment_id) if row.comment_id is not None else "-",
        status_text(row.status, note),
    ]
