"""The tour's second part: a worker is killed in the middle, and what it had begun goes on.

Tasks are submitted to a ledger; a worker, which is a process of its own, hands them over and
watches their issues, on which stand-ins of the agents work. It is killed by SIGKILL while one of
its requests has had its effect and no answer. Another worker goes on. Then the comments and labels
are counted on the sandbox.
"""

import asyncio
import dataclasses
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from uuid import UUID

from timmy import dispatcher
from timmy.dispatcher import AgentType
from timmy.dispatcher.durable import AgentOptions, Dispatcher, Record, Task, Timing
from timmy.dispatcher.sandbox import Sandbox

from . import interrupts

#: Titles of the tasks, and by the built-in rules who gets them.
TASKS = (
    ("Design the cache", AgentType.CLAUDE_CODE),
    ("Fix the typo in the help text", AgentType.KIMI_CODE),
    ("Review the login flow", AgentType.CLAUDE_CODE),
    ("Add the new handlers", AgentType.KIMI_CODE),
    ("Refactor the retry loop", AgentType.CLAUDE_CODE),
    ("Bump the linter", AgentType.KIMI_CODE),
    ("Simplify the parser", AgentType.CLAUDE_CODE),
    ("Rename the port option", AgentType.KIMI_CODE),
)
ACCOUNTS = {AgentType.CLAUDE_CODE: "claude-bot", AgentType.KIMI_CODE: "kimi-bot"}
#: So many hand-over comments are answered before the worker is killed.
ANSWERED = 3
#: Tasks that an agent holds at once.
SLOTS = 2
#: Seconds: an agent at work, between two looks of the agents, until the tour gives up.
WORK_TIME, LOOK, PATIENCE = 0.2, 0.02, 90.0
#: A worker's times, in seconds. The rest is as many times faster.
FASTER = 50
TIMES: Timing = {"request": 3.0, "quarantine": 0.8, "poll": 0.2, "lease": 15.0, "margin": 0.1}


@dataclass
class Survivor:
    """What became of one task, as counted on the sandbox."""

    task: str
    issue: int
    agent: str
    status: str
    attempts: int
    comments: int
    labels: int
    """How often its label was put on."""
    closed: bool


@dataclass
class Survival:
    """The outcome of the second part."""

    rows: list[Survivor]
    workers: list[int]
    """Their process ids; all but the last were killed."""
    begun: int
    """Tasks that the killed worker had begun to hand over."""
    unsettled: int
    """Effects that were never settled."""
    seconds: float

    def document(self) -> dict[str, Any]:
        """Return it as values for JSON."""
        return dataclasses.asdict(self)


@dataclass(frozen=True)
class Stage:
    """Where the second part plays."""

    sandbox: Sandbox
    repo: str
    ledger: str
    say: Callable[[str], None]

    def described(self) -> dict[str, str]:
        """Return what a worker has to be told."""
        return {
            "ledger": self.ledger,
            "url": self.sandbox.url,
            "token": self.sandbox.token,
            "repo": self.repo,
        }


def settings_of(described: dict[str, str]) -> SimpleNamespace:
    """Return the settings that lead to the sandbox, whatever the host's are."""
    return SimpleNamespace(
        gitea_url=described["url"],
        gitea_token=described["token"],
        gitea_repo=described["repo"],
        gitea_enabled=True,
    )


async def work() -> None:
    """Be a worker, of the dispatcher that is described on stdin, until killed."""
    registry = dispatcher.AGENT_REGISTRY
    for agent in ACCOUNTS:
        registry[agent] = dataclasses.replace(registry[agent], max_concurrent=SLOTS)
    described = json.loads(sys.stdin.readline())
    accounts = {str(agent): AgentOptions(gitea_user=user) for agent, user in ACCOUNTS.items()}
    async with Dispatcher(
        described["ledger"],
        settings=settings_of(described),
        agents=accounts,
        faster=FASTER,
        **TIMES,
    ):
        # Who started it holds the other end.
        await asyncio.to_thread(sys.stdin.read)


def play(sandbox: Sandbox, say: Callable[[str], None]) -> Survival:
    """Submit, kill, go on, and count."""
    started = time.monotonic()
    repo = sandbox.create_repo("survival")
    for user in ACCOUNTS.values():
        sandbox.create_user(user, f"{user}-token", "write:issue")
        sandbox.add_writer(repo, user)
    with tempfile.TemporaryDirectory(prefix="timmy-demo-") as folder:
        stage = Stage(sandbox, repo, str(Path(folder) / "dispatch.db"), say)
        return interrupts.run(_play(stage, started))


async def _play(stage: Stage, started: float) -> Survival:
    submitted: dict[int, UUID] = {}
    workers: list[subprocess.Popen[str]] = []
    settings = settings_of(stage.described())
    async with Dispatcher.visit(stage.ledger, settings=settings, faster=FASTER) as visitor:
        for title, agent in TASKS:
            issue = stage.sandbox.create_issue(stage.repo, title)
            task = Task(title, issue_number=issue, agent=agent)
            submitted[issue] = (await visitor.submit(task)).id
        agents = asyncio.create_task(_agents(stage, list(submitted)))
        try:
            # It has its effect, and who asked for it is dead before the answer.
            stage.sandbox.fault(
                "*/comments", method="POST", skip=ANSWERED, times=1, hold=True, after_effect=True
            )
            workers.append(_start(stage))
            stage.say(f"{len(TASKS)} tasks are in the ledger; worker {workers[0].pid} begins")
            async with asyncio.timeout(PATIENCE):
                begun = await _until_in_the_middle(stage, list(submitted))
            workers[0].kill()
            workers[0].wait()
            stage.sandbox.clear_faults()
            stage.say(
                f"Worker {workers[0].pid} is killed (SIGKILL): {begun} tasks are begun, and the "
                "comment on one of them has no answer"
            )
            workers.append(_start(stage))
            stage.say(f"Worker {workers[1].pid} goes on")
            async with asyncio.timeout(PATIENCE):
                ended = [await visitor.wait(id) for id in submitted.values()]
                unsettled = await _settled(visitor)
        finally:
            agents.cancel()
            with suppress(asyncio.CancelledError):
                await agents
            for worker in workers:
                worker.kill()
                worker.communicate()
        records: list[Record] = list(ended)
        rows = [
            _counted(stage, issue, record, len((await visitor.story(record.id)).attempts))
            for issue, record in zip(submitted, records, strict=True)
        ]
    return Survival(
        rows, [worker.pid for worker in workers], begun, unsettled, time.monotonic() - started
    )


def _start(stage: Stage) -> subprocess.Popen[str]:
    """Start a worker."""
    worker = subprocess.Popen([sys.executable, "-m", __name__], stdin=subprocess.PIPE, text=True)  # noqa: S603
    if worker.stdin is not None:
        worker.stdin.write(json.dumps(stage.described()) + "\n")
        worker.stdin.flush()
    return worker


async def _agents(stage: Stage, issues: list[int]) -> None:
    """Play the agents: whose label is put on takes it off, says so, works, and closes the issue."""
    labels = {
        str(dispatcher.AGENT_REGISTRY[agent].gitea_label): user for agent, user in ACCOUNTS.items()
    }
    at_work: dict[int, tuple[str, float]] = {}
    while True:
        for issue in issues:
            path = f"/repos/{stage.repo}/issues/{issue}"
            for label in stage.sandbox.issue_labels(stage.repo, issue):
                user = labels.get(label["name"])
                if user is not None:
                    stage.sandbox.act(user, "DELETE", f"{path}/labels/{label['id']}")
                    stage.sandbox.act(user, "POST", f"{path}/comments", {"body": "On it."})
                    at_work[issue] = (user, time.monotonic() + WORK_TIME)
            user, until = at_work.get(issue, ("", 0.0))
            if user and time.monotonic() >= until:
                del at_work[issue]
                stage.sandbox.act(user, "PATCH", path, {"state": "closed"})
        await asyncio.sleep(LOOK)


async def _until_in_the_middle(stage: Stage, issues: list[int]) -> int:
    """Wait for the comment that gets no answer; return how many tasks are begun."""
    while True:
        comments = [
            request
            for request in stage.sandbox.requests()
            if request.method == "POST"
            and request.path.endswith("/comments")
            and stage.repo in request.path
        ]
        if len(comments) > ANSWERED:
            return sum(bool(_ours(stage, issue)) for issue in issues)
        await asyncio.sleep(LOOK)


async def _settled(visitor: Dispatcher) -> int:
    """Wait until nothing is to be sent or looked for any more; return what is left."""
    end = time.monotonic() + PATIENCE / 3
    while True:
        left = len(await visitor.outbox())
        if not left or time.monotonic() > end:
            return left
        await asyncio.sleep(LOOK)


def _ours(stage: Stage, issue: int) -> list[dict[str, Any]]:
    """Return the comments of the dispatcher's own account."""
    comments = stage.sandbox.comments(stage.repo, issue)
    return [comment for comment in comments if comment["user"]["login"] == stage.sandbox.owner]


def _counted(stage: Stage, issue: int, record: Record, attempts: int) -> Survivor:
    """Count what is on the sandbox."""
    put_on = [
        entry
        for entry in stage.sandbox.timeline(stage.repo, issue)
        if entry["type"] == "label" and entry["body"] == "1"
    ]
    return Survivor(
        task=record.task.title,
        issue=issue,
        agent=record.agent or "",
        status=record.status.value,
        attempts=attempts,
        comments=len(_ours(stage, issue)),
        labels=len(put_on),
        closed=stage.sandbox.issue(stage.repo, issue)["state"] == "closed",
    )


if __name__ == "__main__":
    asyncio.run(work())
