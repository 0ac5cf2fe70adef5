"""A stand-in for Gitea with agents' accounts, a place for a ledger, and dispatchers over both."""

import asyncio
import time
from types import SimpleNamespace

from timmy.dispatcher.durable import AgentOptions, Dispatcher, Task

#: Long enough for anything, on a machine that is busy with other things; in seconds.
PATIENCE = 60
#: Fifty times as fast, but with patience where a busy machine needs it.
PACE = {"faster": 50, "request": 2, "quarantine": 0.3, "lease": 20, "grace": 0.2}
#: For who dispatches without Gitea.
NOWHERE = SimpleNamespace(
    gitea_url="http://127.0.0.1:9",
    gitea_token="token-of-nobody",
    gitea_repo="timmy/swarm",
    gitea_enabled=True,
)


class World:
    def __init__(self, gitea, folder):
        self.gitea = gitea
        self.repo = gitea.create_repo("swarm")
        for login in ("kimi", "claude", "eve"):
            gitea.create_user(login, f"{login}-token", "write:issue", "write:repository")
            gitea.add_writer(self.repo, login)
        self.ledger = folder / "dispatch.db"
        self.settings = SimpleNamespace(
            gitea_url=gitea.url,
            gitea_token=gitea.token,
            gitea_repo=self.repo,
            gitea_enabled=True,
        )

    def dispatcher(self, **more):
        agents = {
            "kimi_code": AgentOptions(gitea_user="kimi"),
            "claude_code": AgentOptions(gitea_user="claude"),
        }
        given = {"settings": self.settings, "agents": agents} | PACE | more
        return Dispatcher(self.ledger, **given)

    def visitor(self):
        return Dispatcher.visit(self.ledger, settings=self.settings, **PACE)

    def task(self, title="Fix the typo", **more):
        number = self.gitea.create_issue(self.repo, title)
        return Task(title, issue_number=number, **({"agent": "kimi_code"} | more))

    def labels(self, task):
        return [label["name"] for label in self.gitea.issue_labels(self.repo, task.issue_number)]

    def comments(self, task):
        return [comment["body"] for comment in self.gitea.comments(self.repo, task.issue_number)]

    def close(self, login, task):
        path = f"/repos/{self.repo}/issues/{task.issue_number}"
        self.gitea.act(login, "PATCH", path, {"state": "closed"})


async def eventually(look, holds):
    """Look again and again until it holds, and return what was seen."""
    end = time.monotonic() + PATIENCE
    while not holds(seen := await look()):
        assert time.monotonic() < end, seen
        await asyncio.sleep(0.01)
    return seen


async def until(dispatch, phase):
    """Wait until a dispatch stands there."""
    return await eventually(dispatch.get, lambda record: record.phase == phase)
