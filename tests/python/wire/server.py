"""A Gitea as a test sees it: one repo of its own, and what the API says of it."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from timmy.dispatcher.sandbox import GiteaVersion, Request, Sandbox

#: What the tests themselves send is told from the dispatcher's requests by this.
OURSELVES = "wire-tests"
#: One for all, because making one takes long; no connection outlives its server.
_client = httpx.Client(
    headers={"User-Agent": OURSELVES},
    limits=httpx.Limits(max_keepalive_connections=0),
    timeout=30,
    trust_env=False,
)


class UnusableError(Exception):
    """The server cannot be tested against; the text says why and what to do."""


@dataclass
class Gitea:
    """A server and a fresh repo on it. All but `sandbox` and `seen` works on any Gitea."""

    url: str
    token: str
    _sandbox: Sandbox | None = None
    repo: str = ""
    _made: list[int] = field(default_factory=list)

    @property
    def sandbox(self) -> Sandbox:
        assert self._sandbox is not None, "a test marked live cannot order faults"
        return self._sandbox

    @property
    def host(self) -> str:
        return self.url.partition("://")[2].strip("/")

    def call(
        self, method: str, path: str, body: object = None, *, token: str | None = None
    ) -> httpx.Response:
        url = f"{self.url.rstrip('/')}/api/v1{path}"
        headers = {"Authorization": f"token {token or self.token}"}
        return _client.request(method, url, json=body, headers=headers)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        answer = self.call(method, f"/repos/{self.repo}{path}", body)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json() if answer.content else None

    def make_repo(self) -> None:
        name = f"timmy-wire-{uuid.uuid4().hex[:12]}"
        made = self.call("POST", "/user/repos", {"name": name})
        if made.status_code in {401, 403}:
            raise UnusableError(
                f"GITEA_TOKEN cannot make repositories ({made.status_code}: {made.text.strip()}); "
                "these tests need the scopes write:user, write:repository and write:issue"
            )
        if made.status_code != 201:
            raise UnusableError(f"POST /user/repos: {made.status_code} {made.text.strip()}")
        self.repo = made.json()["full_name"]
        self._made.append(made.json()["id"])

    def remove_repo(self) -> None:
        """Remove the repo that `make_repo` made, whatever it is called by now."""
        answer = self.call("GET", f"/repos/{self.repo}")
        if answer.status_code == 200 and answer.json()["id"] in self._made:
            removed = self.call("DELETE", f"/repos/{self.repo}")
            assert removed.status_code == 204, f"left behind: {self.repo} ({removed.text.strip()})"

    def open_issue(self, title: str = "Design it") -> int:
        number: int = self.ask("POST", "/issues", {"title": title})["number"]
        return number

    def close_issue(self, number: int) -> None:
        self.ask("PATCH", f"/issues/{number}", {"state": "closed"})

    def make_label(self, name: str) -> int:
        label: int = self.ask("POST", "/labels", {"name": name, "color": "#0075ca"})["id"]
        return label

    def rename(self, name: str) -> str:
        """Rename the repo; the old full name."""
        old = self.repo
        self.repo = self.ask("PATCH", "", {"name": name})["full_name"]
        return old

    def labels(self, name: str) -> list[int]:
        """The ids of the repo's labels of that name, on whatever page they are."""
        found: list[int] = []
        page = 1
        while entries := self.ask("GET", f"/labels?page={page}&limit=50"):
            found += [entry["id"] for entry in entries if entry["name"] == name]
            page += 1
        return found

    def issue_labels(self, number: int) -> list[int]:
        return [label["id"] for label in self.ask("GET", f"/issues/{number}/labels")]

    def comments(self, number: int) -> list[str]:
        return [comment["body"] for comment in self.ask("GET", f"/issues/{number}/comments")]

    def seen(self) -> list[Request]:
        """The requests of the dispatcher, in the order in which they arrived."""
        requests = self.sandbox.requests()
        return [request for request in requests if request.header("User-Agent") != OURSELVES]

    def sequence(self) -> list[str]:
        """The same as `METHOD what`, the path shown from the repo on."""
        root = f"/api/v1/repos/{self.repo}"
        return [f"{one.method} {one.path.removeprefix(root)}" for one in self.seen()]


@contextmanager
def sandboxed(version: GiteaVersion) -> Iterator[Gitea]:
    with Sandbox(version) as sandbox:
        gitea = Gitea(sandbox.url, sandbox.token, sandbox)
        gitea.repo = sandbox.create_repo("swarm")
        yield gitea


@contextmanager
def live(url: str, token: str) -> Iterator[Gitea]:
    gitea = Gitea(url, token)
    gitea.make_repo()
    try:
        yield gitea
    finally:
        gitea.remove_repo()
