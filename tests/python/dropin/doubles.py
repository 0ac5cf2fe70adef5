"""Stand-ins for httpx that a dashboard's tests write by hand, and the addresses they expect."""

import json
from dataclasses import dataclass
from unittest.mock import AsyncMock, MagicMock

import httpx

from dropin.host import HostSettings

GITEA = f"{HostSettings.gitea_url}/api/v1"
REPO = HostSettings.gitea_repo
LABELS = f"{GITEA}/repos/{REPO}/labels"
READ_HEADERS = {"Authorization": f"token {HostSettings.gitea_token}"}
WRITE_HEADERS = {**READ_HEADERS, "Content-Type": "application/json"}
KIMI_LABELS = [{"id": 3, "name": "bug"}, {"id": 7, "name": "kimi-ready"}]
AGENT_URL = "http://agent.invalid/run"


def issue_url(number):
    return f"{GITEA}/repos/{REPO}/issues/{number}"


def comments_url(number):
    return f"{issue_url(number)}/comments"


def issue_labels_url(number):
    return f"{issue_url(number)}/labels"


def mock_answer(status, body=None, text=""):
    """A response as most suites make one: a mock with the attributes that matter set."""
    return MagicMock(
        status_code=status, json=MagicMock(return_value=body), text=text, content=b"something"
    )


def mock_client(get=None, post=None):
    """An `AsyncMock` client; `get` and `post` are an answer, a list of them, or an exception."""
    client = AsyncMock()
    client.__aenter__.return_value = client
    client.__aexit__.return_value = False
    for method, answers in ((client.get, get), (client.post, post)):
        if isinstance(answers, list | BaseException | type):
            method.side_effect = answers
        else:
            method.return_value = answers
    return client


class PlainAnswer:
    """A response with the four members the dispatcher may read, and nothing else."""

    __slots__ = ("_body", "content", "status_code", "text")

    def __init__(self, status_code, body=None, text="", content=None):
        self.status_code = status_code
        self.text = text
        if content is None:
            unreadable = body is None or isinstance(body, BaseException)
            content = text.encode() if unreadable else json.dumps(body).encode()
        self.content = content
        self._body = body

    def json(self):
        if isinstance(self._body, BaseException):
            raise self._body
        return self._body


@dataclass
class Call:
    """One request as the client saw it: the address is positional, the rest by keyword."""

    method: str
    url: str
    keywords: dict


class ScriptedClient:
    """A client that gives its answers in order and raises those that are exceptions."""

    def __init__(self, *answers):
        self.answers = list(answers)
        self.calls = []
        self.entered = 0
        self.exited = 0

    async def __aenter__(self):
        self.entered += 1
        return self

    async def __aexit__(self, *exc_info):
        self.exited += 1

    async def get(self, url, **keywords):
        return self._answer(Call("GET", url, keywords))

    async def post(self, url, **keywords):
        return self._answer(Call("POST", url, keywords))

    def _answer(self, call):
        self.calls.append(call)
        answer = self.answers.pop(0)
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def sequence(self):
        return [(call.method, call.url) for call in self.calls]


class Wire:
    """What is beyond httpx: answers by method and address, and remembers the requests."""

    def __init__(self, answers):
        self.answers = answers
        self.requests = []

    def __call__(self, request):
        self.requests.append(request)
        status, body = self.answers[request.method, str(request.url)]
        if isinstance(body, bytes):
            return httpx.Response(status, content=body)
        return httpx.Response(status, json=body)

    @property
    def sequence(self):
        return [(request.method, str(request.url)) for request in self.requests]


def dispatch_answers(number, label="kimi-ready", label_id=7, comment_id=42):
    """What a healthy Gitea answers while issue `number` is handed over."""
    labels = [{"id": label_id, "name": label}]
    return {
        ("GET", LABELS): (200, labels),
        ("POST", issue_labels_url(number)): (200, labels),
        ("POST", comments_url(number)): (201, {"id": comment_id}),
    }


def healthy_client(comment_id=42):
    """A scripted client for one hand-over to Kimi that goes well."""
    return ScriptedClient(
        PlainAnswer(200, KIMI_LABELS),
        PlainAnswer(200, KIMI_LABELS[1:]),
        PlainAnswer(201, {"id": comment_id}),
    )


def message(logged):
    """The text of one call of a replaced logger, as the handler would print it."""
    template, *values = logged.args
    return template % tuple(values) if values else template
