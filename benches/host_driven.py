"""Hand-overs through a host's own httpx client, beside another implementation: `make bench`.

Nothing leaves the process, so what is measured is the dispatcher around the client's calls.
"""

import asyncio
import itertools
import os
import ssl
import time
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any
from unittest.mock import AsyncMock, patch

import comparison
import httpx

LABEL = {"id": 7, "name": "kimi-ready"}
COMMENT = {"id": 5}


def answer(status: int, body: Any) -> Any:
    """Return what a double answers."""
    return SimpleNamespace(
        status_code=status, json=lambda: body, text=str(body), content=b"something"
    )


class Double:
    """A client as a suite writes it by hand."""

    def __init__(self, timeout: float) -> None:
        """Take what httpx would take."""

    async def __aenter__(self) -> "Double":
        """Return itself."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Do nothing."""

    async def get(self, url: str, headers: Any = None) -> Any:
        """List the labels."""
        return answer(200, [LABEL])

    async def post(self, url: str, headers: Any = None, json: Any = None) -> Any:
        """Take a label or a comment."""
        return answer(200, [LABEL]) if "labels" in json else answer(201, COMMENT)


def mock() -> Callable[..., Any]:
    """Return a client as `unittest.mock` makes it."""
    client = AsyncMock()
    client.__aenter__.return_value = client
    client.get.side_effect = Double(15).get
    client.post.side_effect = Double(15).post
    return lambda timeout: client


def respond(request: httpx.Request) -> httpx.Response:
    """Answer as Gitea does."""
    if request.url.path.endswith("/comments"):
        return httpx.Response(201, json=COMMENT)
    return httpx.Response(200, json=[LABEL])


CONTEXT = ssl.create_default_context()


class Mocked(httpx.AsyncClient):
    """httpx's own client over a transport that answers by itself."""

    def __init__(self, timeout: float) -> None:
        """Open no connection."""
        super().__init__(timeout=timeout, transport=httpx.MockTransport(respond), verify=CONTEXT)


def prepared(
    dispatch: Callable[..., Awaitable[Any]], client: Any, description: str, times: int
) -> Callable[[], Callable[[], int]]:
    """Return hand-overs through a client that stands for httpx's."""

    async def hand_over() -> int:
        for _ in range(times):
            result = await dispatch("Fix the button", description, issue_number=3)
            assert result.comment_id == 5 and result.label_applied, result
        return times

    def timed() -> int:
        with patch("httpx.AsyncClient", client):
            return asyncio.run(hand_over())

    return lambda: timed


def main() -> None:
    """Print a row a client."""
    os.environ |= {"GITEA_URL": "http://gitea.test", "GITEA_TOKEN": "bench", "GITEA_REPO": "o/r"}
    arguments = comparison.arguments(__doc__)
    from timmy import dispatcher  # noqa: PLC0415 — the settings of the host come first

    rows: list[tuple[str, ...]] = [("hand-over through", "this", "the other", "ratio")]
    clients = [("a double", Double, 500), ("AsyncMock", mock(), 150), ("MockTransport", Mocked, 50)]
    texts = [("a short text", "It jumps."), ("2 KB", "It jumps when users click. " * 76)]
    for (name, client, times), (length, text) in itertools.product(clients, texts):
        runs = {"this": prepared(dispatcher.dispatch_task, client, text, times)}
        if arguments.against:
            runs["other"] = prepared(arguments.against.dispatch_task, client, text, times)
        # Processor time: another program's turns are nobody's here.
        medians = comparison.medians(runs, arguments.rounds, clock=time.process_time)
        other, ratio = "–", "–"
        if "other" in medians:
            other = comparison.duration(medians["other"])
            ratio = f"{medians['other'] / medians['this']:.2f}×"
        rows.append((f"{name}, {length}", comparison.duration(medians["this"]), other, ratio))
    comparison.table(*rows)


if __name__ == "__main__":
    main()
