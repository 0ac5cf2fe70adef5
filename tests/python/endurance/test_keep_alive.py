"""A kept connection that breaks at the worst moment: what is asked again, and what never is.

A GET and the adding of a label by its id are asked once more, on a fresh connection. A comment, a
label's creation and a hand-over to an agent are not: a server that was sent a byte may have taken
them.
"""

import asyncio

import pytest
import timmy.dispatcher as d

from endurance.process import connections, eventually
from endurance.raw import Raw

LABEL = ("POST", "/api/v1/repos/o/r/issues/5/labels")
COMMENT = ("POST", "/api/v1/repos/o/r/issues/5/comments")
LIST = ("GET", "/api/v1/repos/o/r/labels")
CREATE = ("POST", "/api/v1/repos/o/r/labels")
ISSUE = ("GET", "/api/v1/repos/o/r/issues/5")
AGENT = ("POST", "/agent")


class Gitea(Raw):
    """Keeps connections open, and breaks off when it has read one of the requests named."""

    def __init__(self, breaks=(), *, known=True, reset=False, always=False):
        super().__init__(self._keep)
        self.breaks = list(breaks)
        self._known = known
        self._reset = reset
        self._always = always
        self.closes_when_idle = False

    def _keep(self, connection):
        while (asked := connection.request()) is not None:
            if asked in self.breaks:
                if not self._always:
                    self.breaks.remove(asked)
                if self._reset:
                    connection.reset()
                return
            body = {
                LIST: b'[{"id":7,"name":"claude-ready"}]' if self._known else b"[]",
                CREATE: b'{"id":7}',
                LABEL: b'[{"id":7}]',
                COMMENT: b'{"id":9}',
                ISSUE: b'{"number":5,"state":"closed"}',
            }.get(asked, b"{}")
            connection.answer(200 if asked[0] == "GET" else 201, body)
            if self.closes_when_idle:
                return


@pytest.fixture
def use(monkeypatch):
    def use(server):
        monkeypatch.setenv("GITEA_URL", server.url)
        monkeypatch.setenv("GITEA_TOKEN", "t0k3n")
        monkeypatch.setenv("GITEA_REPO", "o/r")
        return server

    return use


async def dispatch(**given):
    return await d.dispatch_task("Design it", issue_number=5, max_retries=0, **given)


async def test_a_connection_is_kept(use):
    with use(Gitea()) as server:
        assert (await dispatch()).success
        assert (await dispatch()).success
        assert server.accepted == 1


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("breaks", [LIST, LABEL, ISSUE])
async def test_what_may_be_asked_again_is(use, breaks, reset):
    with use(Gitea(known=True, reset=reset)) as server:
        assert await d.wait_for_completion(5) is d.DispatchStatus.COMPLETED
        server.breaks.append(breaks)
        result = await dispatch()
        assert (result.label_applied, result.comment_id) == ("claude-ready", 9)
        assert "failed_steps" not in result.metadata
        assert await d.wait_for_completion(5) is d.DispatchStatus.COMPLETED
        assert server.breaks == []
        first, second = [
            carrier
            for carrier, asked in zip(server.carriers, server.requests, strict=True)
            if asked == breaks
        ][-2:]
        assert first != second


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("breaks", [LIST, LABEL])
async def test_nothing_is_asked_a_third_time(use, breaks, reset):
    with use(Gitea([breaks], reset=reset, always=True)) as server:
        result = await dispatch()
        assert result.comment_id == 9
        assert "broke off" in result.metadata["failed_steps"]["label"]
        assert server.requests.count(breaks) == 2


@pytest.mark.parametrize("reset", [False, True])
@pytest.mark.parametrize("breaks", [COMMENT, CREATE])
async def test_what_the_server_may_have_taken_is_not_sent_again(use, breaks, reset):
    with use(Gitea([breaks], known=False, reset=reset)) as server:
        result = await dispatch()
        step = "comment" if breaks is COMMENT else "label"
        assert "broke off" in result.metadata["failed_steps"][step]
        assert server.requests.count(breaks) == 1


@pytest.mark.parametrize("reset", [False, True])
async def test_a_task_is_sent_to_an_agent_once(use, reset):
    with use(Gitea([AGENT], reset=reset)) as server:
        result = await dispatch(agent=d.AgentType.AGENT_API, api_endpoint=f"{server.url}/agent")
        assert "broke off" in result.error
        assert server.requests.count(AGENT) == 1


async def test_a_task_never_takes_a_kept_connection(use):
    with use(Gitea()) as server:
        for _ in range(3):
            # A connection to the same place is at hand.
            assert (await dispatch()).success
            result = await dispatch(agent=d.AgentType.AGENT_API, api_endpoint=f"{server.url}/agent")
            assert result.success
        before = [
            asked
            for number, asked in enumerate(server.requests)
            if server.carriers[number] in server.carriers[:number]
        ]
        assert AGENT not in before


async def test_a_connection_that_was_closed_when_idle_is_not_taken(use):
    # No byte of a comment was sent then, so it may go over another.
    with use(Gitea()) as server:
        server.closes_when_idle = True
        for number in range(1, 6):
            assert await d.wait_for_completion(5) is d.DispatchStatus.COMPLETED
            await asyncio.to_thread(
                eventually, lambda: connections(server.port) == 0, "the client keeps what is closed"
            )
            server.closes_when_idle = False
            d.AGENT_REGISTRY[d.AgentType.CLAUDE_CODE].gitea_label = None
            try:
                result = await dispatch()
            finally:
                d.AGENT_REGISTRY[d.AgentType.CLAUDE_CODE].gitea_label = "claude-ready"
            server.closes_when_idle = True
            assert result.comment_id == 9
            assert server.requests.count(COMMENT) == number


async def test_a_server_that_closes_after_each_answer(use):
    # Its end and the next request may cross; nothing is done twice.
    with use(Gitea()) as server:
        server.closes_when_idle = True
        for _ in range(20):
            server.requests.clear()
            result = await dispatch()
            assert result.label_applied == "claude-ready"
            assert server.requests.count(COMMENT) <= 1
            assert server.requests.count(LIST) <= 2
            assert server.requests.count(LABEL) <= 2


async def test_an_answer_with_more_than_announced_spoils_no_other(use):
    def serve(connection):
        while connection.request() is not None:
            connection.send(
                b"HTTP/1.1 200 OK\r\nContent-Length: 29\r\n\r\n"
                b'{"number":5,"state":"closed"}'
                b'HTTP/1.1 200 OK\r\nContent-Length: 27\r\n\r\n{"number":5,"state":"open"}'
            )

    with use(Raw(serve)) as server:
        for _ in range(5):
            assert await d.wait_for_completion(5, 1, 0.01) is d.DispatchStatus.COMPLETED
        assert len(server.requests) <= 10
