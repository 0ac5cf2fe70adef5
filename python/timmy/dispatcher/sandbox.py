"""A Gitea stand-in on a loopback socket, for tests and demos.

It holds repos, issues, labels and comments, pull requests with their reviews and checks, and
webhooks; answers as a real Gitea does, records every request and webhook, and makes mistakes on
order::

    from timmy.dispatcher.sandbox import Sandbox

    with Sandbox(gitea="1.26") as gitea:
        repo = gitea.create_repo("swarm")
        number = gitea.create_issue(repo, "Design the LLM router")
        gitea.fault("/labels", method="GET", status=503, retry_after=2, times=1)
        ...  # point the dispatcher at gitea.url with gitea.token
        assert [request.status for request in gitea.requests()] == [503, 200, 201, 200]

Pull requests come from branches that `Sandbox.push` makes; merging closes the issues that they
say they close at once, where a real Gitea takes a second or two. Webhooks go out at most once
each, in order, and to this machine only, where ``webhook_hosts`` allows it.

Beside Gitea it plays an agent that takes tasks over HTTP: ``POST {url}/agent`` and
``POST {url}/agent/{name}`` answer 202.

In ``conftest.py``, for a fresh sandbox in every test that asks for one::

    from timmy.dispatcher.sandbox import gitea_sandbox  # answers like 1.26

or, for every such test to run against both kinds of Gitea::

    from timmy.dispatcher.sandbox import sandbox_fixture

    gitea_sandbox = sandbox_fixture("1.25", "1.26")

A single test chooses with ``@pytest.mark.parametrize("gitea_sandbox", ["1.25"], indirect=True)``.
Nothing global is set: no environment variable, no setting.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Self

from ._core import SandboxServer

if TYPE_CHECKING:
    gitea_sandbox: Callable[..., Iterator["Sandbox"]]
    """A pytest fixture: a fresh `Sandbox` for each test. Made when it is asked for."""

__all__ = [
    "Delivery",
    "GiteaVersion",
    "Request",
    "ReviewEvent",
    "Sandbox",
    "StatusState",
    "gitea_sandbox",
    "sandbox_fixture",
]

GiteaVersion = Literal["1.25", "1.26"]
"""Which Gitea to answer like: up to 1.25 (and Forgejo), or from 1.26 on.

They differ in the label list: from 1.26 it is always paged, before that only when ``page`` is
given.
"""


ReviewEvent = Literal["APPROVED", "REQUEST_CHANGES", "COMMENT", "PENDING"]
"""What a review says; PENDING is one that is not handed in yet."""

StatusState = Literal["pending", "success", "error", "failure", "warning", "skipped"]
"""How a check went."""


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it arrived, and how it was answered."""

    method: str
    path: str
    """With the query, as sent."""
    headers: tuple[tuple[str, str], ...]
    """Names and values in the order and letter case in which they were sent."""
    body: bytes
    status: int | None
    """What was answered; None while there is no answer, for ever if the connection was dropped."""

    def header(self, name: str) -> str | None:
        """The first header of that name, in any letter case."""
        wanted = name.lower()
        return next((value for known, value in self.headers if known.lower() == wanted), None)

    def json(self) -> Any:
        """The body as JSON; ValueError if it is none."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Delivery:
    """A webhook, and what became of it."""

    hook: int
    """The hook's id."""
    event: str
    """``X-Gitea-Event``: ``issues``, ``issue_comment``, …"""
    event_type: str
    """``X-Gitea-Event-Type``: ``issue_label``, …"""
    id: str
    """``X-Gitea-Delivery``, a UUID. A repeat on order has the same."""
    url: str
    payload: str
    """What was signed: the JSON."""
    status: int | None
    """The receiver's answer."""
    error: str | None
    """Why there is none."""


class Sandbox:
    """A Gitea stand-in; ``with`` starts and stops it, as do `start` and `stop`.

    Repos are named ``owner/name``. Unknown repos and issues are a KeyError, what Gitea would
    refuse is a ValueError, a port that is taken is an OSError.

    The server is a thread of this process. A forked child does not have it: there, every method
    but `stop` raises RuntimeError.
    """

    def __init__(
        self,
        gitea: GiteaVersion = "1.26",
        *,
        token: str = "sandbox-token",  # noqa: S107  (it guards nothing)
        owner: str = "timmy",
        host: str = "127.0.0.1",
        port: int = 0,
        webhook_hosts: str = "loopback",
    ) -> None:
        """Say how it is to be; nothing is opened yet.

        Args:
            gitea: which Gitea to answer like.
            token: the administrator's token.
            owner: the administrator, who owns the repos.
            host: a loopback address.
            port: 0 is a free one.
            webhook_hosts: where webhooks may go, in the words of Gitea's ``ALLOWED_HOST_LIST``;
                with ``external``, the default of a fresh Gitea, none arrives on this machine.
                Beyond it nothing is sent.
        """
        self.gitea: GiteaVersion = gitea
        self.token = token
        self.owner = owner
        self._address = (host, port)
        self._webhook_hosts = webhook_hosts
        self._started: SandboxServer | None = None
        self._running = False

    def __repr__(self) -> str:
        """Without the token."""
        where = f"at {self.url}" if self._running else "not running"
        return f"<Sandbox of Gitea {self.gitea} {where}>"

    def start(self) -> Self:
        """Open the socket and serve; when this returns, connections are accepted.

        After `stop` it starts anew, with nothing of what it held.
        """
        if self._running:
            raise RuntimeError("the sandbox is running already")
        host, port = self._address
        self._started = SandboxServer(
            gitea=self.gitea,
            token=self.token,
            owner=self.owner,
            host=host,
            port=port,
            webhook_hosts=self._webhook_hosts,
        )
        self._running = True
        return self

    def stop(self) -> None:
        """Close every connection and the socket; what was held and recorded can still be read."""
        self._running = False
        if self._started is not None:
            self._started.stop()

    def __enter__(self) -> Self:
        """Start."""
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop."""
        self.stop()

    @property
    def _server(self) -> SandboxServer:
        if self._started is None:
            raise RuntimeError("the sandbox is not started: use `with` or start()")
        return self._started

    @property
    def url(self) -> str:
        """``http://127.0.0.1:PORT``."""
        return self._server.url

    def create_repo(self, name: str) -> str:
        """Make a repo of the owner's; its full name, ``owner/name``."""
        return self._server.create_repo(name)

    def create_issue(self, repo: str, title: str, body: str = "") -> int:
        """Open an issue; its number."""
        return self._server.create_issue(repo, title, body)

    def create_label(self, repo: str, name: str, color: str = "#ededed") -> int:
        """Make a label; its id. Asked twice, it makes two, as Gitea does."""
        return self._server.create_label(repo, name, color)

    def create_comment(self, repo: str, number: int, body: str) -> int:
        """Comment on an issue as the owner; the comment's id."""
        return self._server.create_comment(repo, number, body)

    def close_issue(self, repo: str, number: int) -> None:
        """Close an issue, as somebody else would."""
        self._server.close_issue(repo, number)

    def reopen_issue(self, repo: str, number: int) -> None:
        """Open a closed issue again."""
        self._server.reopen_issue(repo, number)

    def lock_issue(self, repo: str, number: int) -> None:
        """Lock an issue: who may not write may not comment either."""
        self._server.lock_issue(repo, number)

    def rename_repo(self, repo: str, name: str) -> str:
        """Rename a repo; its new full name. The old one answers 301 from now on."""
        return self._server.rename_repo(repo, name)

    def rename_user(self, login: str, new: str) -> None:
        """Rename a user; paths with the old login answer 307 from now on."""
        self._server.rename_user(login, new)

    def archive_repo(self, repo: str) -> None:
        """Archive a repo: issues and comments are refused with 423 from now on."""
        self._server.archive_repo(repo)

    def set_issues_enabled(self, repo: str, enabled: bool) -> None:
        """Switch a repo's issues off or on."""
        self._server.set_issues_enabled(repo, enabled)

    def set_private(self, repo: str, private: bool) -> None:
        """Make a repo private or public."""
        self._server.set_private(repo, private)

    def create_user(self, login: str, token: str, *scopes: str) -> None:
        """Make a user who is no administrator, with a token of scopes like ``write:issue``."""
        self._server.create_user(login, token, list(scopes))

    def add_writer(self, repo: str, login: str) -> None:
        """Let a user write to a repo."""
        self._server.add_writer(repo, login)

    def act(self, login: str, method: str, path: str, body: Mapping[str, Any] | None = None) -> Any:
        """Do what a request to the API by this user would; what Gitea answers, parsed.

        Without a socket, not recorded, past all faults, with every scope. The path is what
        follows ``/api/v1``. None is an answer without a body. What Gitea refuses is a ValueError
        with its status and message.
        """
        text = None if body is None else json.dumps(body)
        return json.loads(self._server.act(login, method, path, text))

    def push(self, repo: str, branch: str) -> str:
        """Make a branch off ``main`` with a new file, or add one to it; the commit's digits.

        The reviews of its open pull requests become stale.
        """
        return self._server.push(repo, branch)

    def create_pull(self, repo: str, title: str, head: str, body: str = "") -> int:
        """Open a pull request from a branch to ``main``; its number, shared with issues.

        ``Closes #7`` in its body closes that issue when it is merged.
        """
        return self._server.create_pull(repo, title, body, head)

    def pull(self, repo: str, number: int) -> dict[str, Any]:
        """A pull request as served."""
        pull: dict[str, Any] = json.loads(self._server.pull(repo, number))
        return pull

    def merge_pull(self, repo: str, number: int) -> None:
        """Merge a pull request and close the issues that it says it closes."""
        self._server.merge_pull(repo, number)

    def review_pull(
        self, repo: str, number: int, login: str, event: ReviewEvent, body: str = ""
    ) -> int:
        """Review a pull request in a user's name; the review's id.

        It is official where the user may write.
        """
        return self._server.review_pull(repo, number, login, event, body)

    def set_status(
        self, repo: str, commit: str, context: str, state: StatusState = "success"
    ) -> None:
        """Say how a check of a commit went; the commit by its digits or by a branch."""
        self._server.set_status(repo, commit, context, state)

    def create_hook(self, repo: str, url: str, *events: str, secret: str = "") -> int:
        """Make an active webhook that sends JSON; its id. See ``webhook_hosts``."""
        return self._server.create_hook(repo, url, secret, list(events))

    def delete_comment(self, repo: str, comment: int) -> None:
        """Remove a comment by its id, as a moderator would."""
        self._server.delete_comment(repo, comment)

    def delete_issue(self, repo: str, number: int) -> None:
        """Remove an issue; its number does not come back."""
        self._server.delete_issue(repo, number)

    def duplicate_label(self, repo: str, name: str) -> int:
        """Make a second label of that name; its id, the higher one."""
        return self._server.duplicate_label(repo, name)

    def page_2_label(self, repo: str, name: str) -> int:
        """Push a label behind the first page of any size, by labels that sort before it; its id."""
        return self._server.page_2_label(repo, name)

    def issue(self, repo: str, number: int) -> dict[str, Any]:
        """An issue as served."""
        issue: dict[str, Any] = json.loads(self._server.issue(repo, number))
        return issue

    def labels(self, repo: str) -> list[dict[str, Any]]:
        """All labels of a repo as served, on one page."""
        labels: list[dict[str, Any]] = json.loads(self._server.labels(repo))
        return labels

    def issue_labels(self, repo: str, number: int) -> list[dict[str, Any]]:
        """The labels of an issue as served."""
        labels: list[dict[str, Any]] = json.loads(self._server.issue_labels(repo, number))
        return labels

    def comments(self, repo: str, number: int) -> list[dict[str, Any]]:
        """The comments of an issue as served, oldest first."""
        comments: list[dict[str, Any]] = json.loads(self._server.comments(repo, number))
        return comments

    def timeline(self, repo: str, number: int) -> list[dict[str, Any]]:
        """The whole timeline of an issue or pull request as served, oldest first."""
        timeline: list[dict[str, Any]] = json.loads(self._server.timeline(repo, number))
        return timeline

    def deliveries(self) -> list[Delivery]:
        """Every webhook that was sent, or could not be, in order; of very many the last 10,000."""
        return [Delivery(*sent) for sent in self._server.deliveries()]

    def wait_for_deliveries(self, count: int, timeout: float = 5.0) -> list[Delivery]:
        """Wait until so many webhooks are done with since the start, arrived or not.

        Raises:
            TimeoutError: fewer were within ``timeout`` seconds.
        """
        done = self._server.wait_for_deliveries(count, timeout)
        deliveries = self.deliveries()
        if not done:
            seen = ", ".join(sent.event_type for sent in deliveries)
            raise TimeoutError(f"{len(deliveries)} of {count} webhooks in {timeout} s: {seen}")
        return deliveries

    def wait_for_late_effects(self, timeout: float = 5.0) -> None:
        """Wait until nothing is still to be committed late.

        Raises:
            TimeoutError: something still is after ``timeout`` seconds.
        """
        if not self._server.wait_for_late_effects(timeout):
            raise TimeoutError(f"effects are still to come after {timeout} s")

    def requests(self) -> list[Request]:
        """Every request since the start or the last clearing, in order of arrival.

        Of very many, the last 50,000.
        """
        return [
            Request(method, path, tuple(headers), body, status)
            for method, path, headers, body, status in self._server.requests()
        ]

    def clear_requests(self) -> None:
        """Forget the requests."""
        self._server.clear_requests()

    def wait_for_requests(self, count: int, timeout: float = 5.0) -> list[Request]:
        """Wait until so many requests have arrived since the last clearing, answered or not.

        A request that is neither delayed nor held before its effect has had it by then. This
        blocks: in async code call it with ``asyncio.to_thread``.

        Raises:
            TimeoutError: fewer arrived within ``timeout`` seconds.
        """
        arrived = self._server.wait_for_requests(count, timeout)
        requests = self.requests()
        if not arrived:
            seen = ", ".join(f"{request.method} {request.path}" for request in requests)
            raise TimeoutError(f"{len(requests)} of {count} requests in {timeout} s: {seen}")
        return requests

    def fault(
        self,
        path: str | None = None,
        *,
        method: str | None = None,
        skip: int = 0,
        times: int | None = None,
        after_effect: bool = False,
        commit_late: float | Literal["release"] | None = None,
        delay: float | None = None,
        hold: bool = False,
        status: int | None = None,
        message: str | None = None,
        body: bytes | str | None = None,
        headers: Mapping[str, str] | None = None,
        retry_after: float | str | datetime | None = None,
        drop: bool = False,
        reset: bool = False,
        truncate: bool | int = False,
        huge: int | None = None,
        zeroed_issue: bool = False,
        redirect: str | None = None,
        drip: float | None = None,
    ) -> None:
        """Order a fault of one kind for the requests that match.

        Faults are asked in the order in which they were added. Delays and holds that match add
        up; the first matching fault of any other kind decides, and the rest is not asked.

        Args:
            path: what the path ends with, like ``/labels`` or ``/issues/7/comments``. With a
                ``*`` (any run of characters) the whole path must match; with a ``?`` the query
                belongs to it. None is every path.
            method: None is every method.
            skip: leave the first matching requests alone.
            times: meet so many and no more; None is for ever.
            after_effect: let the request have its effect first. Unless said, a delay or hold
                comes before the effect and the other kinds come instead of it, except truncated
                and dripping answers, which are real ones.
            commit_late: let the request have its effect so many seconds after it was dropped or
                answered in Gitea's place, or at the next `release`.
            delay: wait so many seconds.
            hold: do not answer until `release`.
            status: answer with this status and Gitea's error, in which `message` stands, or
                with `body` as it stands.
            message: see `status`.
            body: alone: answer 200 with this. With `status`, `truncate`, `drip`: their body.
            headers: headers of the answer.
            retry_after: the header of that name, in seconds or as a time.
            drop: close the connection without an answer.
            reset: the same by RST, not FIN.
            truncate: announce the whole answer, send half of it, or so many bytes, and close.
            huge: answer with so many bytes.
            zeroed_issue: answer 200 with the issue of number 0 and empty state.
            redirect: answer 301 (or `status`) with this Location.
            drip: send the body by one byte per so many seconds.

        Raises:
            ValueError: no kind or more than one, or what cannot be sent.
        """
        # None and False are what is not asked for; True is a kind without an amount.
        asked: dict[str, float | bool | None] = {
            "delay": delay,
            "hold": hold,
            "status": status if redirect is None else None,
            "drop": drop,
            "reset": reset,
            "truncate": truncate,
            "huge": huge,
            "zeroed_issue": zeroed_issue,
            "redirect": None if redirect is None else 301 if status is None else status,
            "drip": drip,
        }
        # By identity: 0 is an amount.
        kinds = {k: v for k, v in asked.items() if v is not None and v is not False}
        if not kinds and body is not None:
            kinds["replace"] = True
        if len(kinds) != 1:
            raise ValueError(f"a fault is of one kind, not {len(kinds)}: {', '.join(kinds)}")
        sent = dict(headers or {})
        if retry_after is not None:
            sent["Retry-After"] = _retry_after(retry_after)
        [(kind, amount)] = kinds.items()
        self._server.fault(
            kind,
            amount=None if amount is True else amount,
            method=method,
            path=path,
            skip=skip,
            times=times,
            after_effect=after_effect,
            commit_late=None if commit_late == "release" else commit_late,
            commit_at_release=commit_late == "release",
            message=message,
            body=body.encode() if isinstance(body, str) else body,
            location=redirect,
            headers=list(sent.items()),
        )

    def delivery_fault(
        self,
        event: str | None = None,
        *,
        lose: bool = False,
        repeat: int | None = None,
        overtake: bool = False,
        skip: int = 0,
        times: int | None = None,
    ) -> None:
        """Order a fault of one kind for the webhooks that match.

        Args:
            event: as in ``X-Gitea-Event-Type``, with ``*`` for any run of characters; None is
                every webhook.
            lose: it never arrives.
            repeat: it arrives so many times more, the same to the last byte.
            overtake: it waits until the next one was sent, or for `release`.
            skip: leave the first matching webhooks alone.
            times: meet so many and no more; None is for ever.

        Raises:
            ValueError: no kind or more than one, or more than 1,000 repeats.
        """
        asked = {"lose": lose, "repeat": repeat is not None, "overtake": overtake}
        kinds = [kind for kind, wanted in asked.items() if wanted]
        if len(kinds) != 1:
            raise ValueError(f"a fault is of one kind, not {len(kinds)}: {', '.join(kinds)}")
        self._server.delivery_fault(
            kinds[0], repeat=repeat or 0, event=event, skip=skip, times=times
        )

    def clear_faults(self) -> None:
        """Forget all faults, of webhooks too, and release what they hold."""
        self._server.clear_faults()

    def release(self) -> None:
        """Let go on what is held, late effects and webhooks too. What comes later is held."""
        self._server.release()


def _retry_after(value: float | str | datetime) -> str:
    if isinstance(value, datetime):
        return format_datetime(value.astimezone(UTC), usegmt=True)
    return str(value)


def sandbox_fixture(*versions: GiteaVersion) -> Callable[..., Iterator[Sandbox]]:
    """A pytest fixture that gives a fresh sandbox, run once for each version."""
    # Who uses the sandbox without pytest need not have it.
    import pytest  # noqa: PLC0415

    @pytest.fixture(params=versions, name="gitea_sandbox")
    def fixture(request: pytest.FixtureRequest) -> Iterator[Sandbox]:
        with Sandbox(request.param) as sandbox:
            yield sandbox

    return fixture


def __getattr__(name: str) -> object:
    if name == "gitea_sandbox":
        return sandbox_fixture("1.26")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
