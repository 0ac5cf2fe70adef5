"""Servers that mean no good: limits hold, memory stays bounded, the error says what happened."""

import asyncio
import functools
import gzip
import itertools
import time
import zlib

import pytest
import timmy.dispatcher as d
from timmy.dispatcher._http import NativeClient

from endurance import scale
from endurance.process import peak_memory, resident
from endurance.raw import CHUNK, Raw

MIB = 1024 * 1024
#: What one answer may add to the process: the most that is read of it, twice, and the buffers.
MEMORY = 60 * MIB
#: The time-out of the tests; the real ones are 10, 15 and 30 s and differ in nothing else.
LIMIT = 1.0


@pytest.fixture(autouse=True)
def gitea(monkeypatch):
    monkeypatch.setenv("GITEA_TOKEN", "t0k3n")
    monkeypatch.setenv("GITEA_REPO", "o/r")


def ask(server, limit=LIMIT):
    """The text of the error that a GET comes to."""

    async def main():
        with pytest.raises(ConnectionError) as caught:
            await NativeClient(timeout=limit).get(f"{server.url}/x")
        return str(caught.value)

    before = resident()
    with peak_memory() as peak:
        error = asyncio.run(asyncio.wait_for(main(), 60))
    assert peak() - before < MEMORY
    return error.replace(f"127.0.0.1:{server.port}", "HOST")


def forever(first, again):
    """A server that answers with the first bytes and then with the others until nobody listens."""

    def serve(connection):
        connection.request()
        connection.send(first)
        for _ in itertools.repeat(None):
            connection.send(again)

    return serve


def in_pieces(pieces, pause):
    """A server that answers by one piece per so many seconds."""

    def serve(connection):
        connection.request()
        for piece in pieces:
            connection.send(piece)
            time.sleep(pause)

    return serve


def by_the_byte(data, pause):
    return in_pieces([bytes([byte]) for byte in data], pause)


OK = b"HTTP/1.1 200 OK\r\n"
DRIPPED = OK + b"Content-Length: 100000\r\n\r\n" + b" " * 100000
#: What the server does, and the words of the error.
TIMED = {
    "never answers": lambda connection: connection.request() and connection.wait_for_end(),
    "drips its body": by_the_byte(DRIPPED, 0.02),
    "drips its header": by_the_byte(OK + b"X: " + b"x" * 100000, 0.02),
    "informs endlessly": forever(
        b"", b"HTTP/1.1 103 Early Hints\r\nLink: <" + b"x" * 60000 + b">\r\n\r\n"
    ),
    "continues endlessly": in_pieces([b"HTTP/1.1 100 Continue\r\n\r\n"] * 10000, 0.005),
    "sends small chunks": in_pieces(
        [OK + b"Transfer-Encoding: chunked\r\n\r\n"] + [b"1\r\n \r\n"] * 10000, 0.005
    ),
}
LARGE = {
    "announces 5 GB": forever(OK + b"Content-Length: 5368709120\r\n\r\n", CHUNK),
    "sends 5 GB in chunks": forever(
        OK + b"Transfer-Encoding: chunked\r\n\r\n", b"10000\r\n" + CHUNK + b"\r\n"
    ),
    "sends until it closes": forever(OK + b"\r\n", CHUNK),
}
BROKEN = {
    "header without end": (forever(OK + b"X: ", CHUNK), "message head is too large"),
    "headers without end": (forever(OK, b"X: y\r\n" * 1000), "message head is too large"),
    "trailers without end": (
        forever(OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n \r\n0\r\n", b"X: y\r\n" * 1000),
        "trailers",
    ),
    "no status line": (
        lambda connection: connection.request() and connection.send(b"<html>hello</html>\r\n\r\n"),
        "invalid HTTP",
    ),
    "a banner of another protocol": (
        lambda connection: connection.send(b"220 mail.example ESMTP\r\n") or connection.request(),
        "",
    ),
    "no answer": (lambda connection: connection.request(), "closed before"),
    "half a header": (
        lambda connection: connection.request() and connection.send(OK + b"Content-"),
        "",
    ),
    "less than announced": (
        lambda connection: (
            connection.request() and connection.send(OK + b"Content-Length: 9\r\n\r\n{}")
        ),
        "end of file before message length",
    ),
    "an unfinished chunk": (
        lambda connection: (
            connection.request()
            and connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{}")
        ),
        "",
    ),
    "a chunk of no size": (
        lambda connection: (
            connection.request()
            and connection.send(OK + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n{}\r\n")
        ),
        "chunk size",
    ),
    "two lengths": (
        lambda connection: (
            connection.request()
            and connection.send(OK + b"Content-Length: 2\r\nContent-Length: 3\r\n\r\n{}!")
        ),
        "content-length",
    ),
}


@pytest.mark.parametrize("what", TIMED)
def test_the_time_out_holds(what):
    with Raw(TIMED[what]) as server:
        assert ask(server) == "no answer from HOST within 1 s"


@pytest.mark.parametrize("what", LARGE)
def test_what_is_too_large_is_not_read(what):
    with Raw(LARGE[what]) as server:
        assert ask(server, limit=30) == "the answer of HOST is larger than 16 MiB"
        assert len(server.requests) == 1


@pytest.mark.parametrize("what", BROKEN)
def test_what_is_broken_is_asked_for_once_more(what):
    serve, words = BROKEN[what]
    with Raw(serve) as server:
        error = ask(server, limit=30)
        assert error.startswith("HOST broke off: ")
        assert words in error
        assert server.accepted == 2


def gitea_answer(connection):
    """Answers as a server does whose repo has the label claude-ready."""
    method, path = connection.request()
    if path.endswith("/repos/o/r/labels"):
        body = b'[{"id":7,"name":"claude-ready"}]'
    elif path.endswith("/labels"):
        body = b'[{"id":7}]'
    else:
        body = b'{"id":9,"number":5,"state":"closed"}'
    return (200 if method == "GET" else 201), body


def dispatch(server, monkeypatch, **given):
    monkeypatch.setenv("GITEA_URL", server.url)
    before = resident()
    with peak_memory() as peak:
        result = asyncio.run(d.dispatch_task("Design it", issue_number=5, max_retries=0, **given))
    assert peak() - before < MEMORY
    return result


def test_http_1_0(monkeypatch):
    def serve(connection):
        status, body = gitea_answer(connection)
        connection.send(f"HTTP/1.0 {status} OK\r\n\r\n".encode() + body)

    with Raw(serve) as server:
        result = dispatch(server, monkeypatch)
        assert (result.label_applied, result.comment_id) == ("claude-ready", 9)
        assert server.carriers == [0, 1, 2]


def test_an_answer_that_is_continued_first(monkeypatch):
    def serve(connection):
        status, body = gitea_answer(connection)
        connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        connection.send(b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n")
        connection.answer(status, body, "Connection: close")

    with Raw(serve) as server:
        result = dispatch(server, monkeypatch)
        assert (result.label_applied, result.comment_id) == ("claude-ready", 9)


@functools.cache
def bomb():
    """A gigabyte in the soak, were it unpacked."""
    packing = zlib.compressobj(wbits=31)
    packed = b"".join(packing.compress(bytes(MIB)) for _ in range(scale.of(64, 1024)))
    return gzip.compress(packed + packing.flush())


@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate", "zstd"])
def test_what_is_compressed_unasked_stays_compressed(monkeypatch, encoding):
    packed = bomb()

    def serve(connection):
        connection.request()
        connection.answer(200, packed, f"Content-Encoding: {encoding}", "Connection: close")

    with Raw(serve) as server:
        result = dispatch(server, monkeypatch)
        assert f"(it is compressed with {encoding}, unasked)" in result.error
        assert not any("accept-encoding" in head.lower() for head in server.heads)


def test_an_agent_that_compresses_unasked(monkeypatch):
    def serve(connection):
        connection.request()
        connection.answer(200, gzip.compress(b"{}"), "Content-Encoding: gzip", "Connection: close")

    with Raw(serve) as server:
        result = dispatch(
            server, monkeypatch, agent=d.AgentType.AGENT_API, api_endpoint=f"{server.url}/agent"
        )
        assert "(it is compressed with gzip, unasked)" in result.error


def test_a_refusal_before_the_whole_request_has_come(monkeypatch):
    def serve(connection):
        connection.stream.recv(1000)
        connection.answer(413, b"at most a page", "Connection: close")
        connection.wait_for_end()

    with Raw(serve) as server:
        result = dispatch(
            server,
            monkeypatch,
            description="x" * 8 * MIB,
            agent=d.AgentType.AGENT_API,
            api_endpoint=f"{server.url}/agent",
        )
        assert result.error == "API agent returned 413: at most a page"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(monkeypatch, status):
    with Raw(lambda connection: connection.request()) as other:

        def serve(connection):
            connection.request()
            location = f"Location: {other.url}/api/v1/repos/a/b/labels"
            connection.answer(status, b"", location, "Connection: close")

        with Raw(serve) as server:
            result = dispatch(server, monkeypatch)
            assert result.status is d.DispatchStatus.ESCALATED
            assert f"{status} moved to a/b" in result.error
        assert other.accepted == 0


def test_the_limits_of_the_module(monkeypatch):
    """They are what a client is made with, and the core's own requests have the same."""
    limits = []

    def factory(timeout):
        limits.append(timeout)
        return NativeClient(timeout=LIMIT)

    monkeypatch.setattr("timmy.dispatcher._http._chosen", factory)
    with Raw(lambda connection: connection.answer(500)) as server:
        dispatch(server, monkeypatch)
        dispatch(
            server, monkeypatch, agent=d.AgentType.AGENT_API, api_endpoint=f"{server.url}/agent"
        )
        asyncio.run(d.wait_for_completion(5, 1, 0.01))
    # Gitea and the escalation, an agent and the escalation, a question.
    assert limits == [15, 10, 30, 10, 10]


if scale.SOAK:  # as long as the real time-outs are

    def test_the_real_limits(monkeypatch):
        with Raw(TIMED["never answers"]) as server:
            monkeypatch.setenv("GITEA_URL", server.url)

            async def main():
                return await asyncio.gather(
                    d.dispatch_task("Design it", issue_number=5, max_retries=0),
                    d.dispatch_task(
                        "research it", api_endpoint=f"{server.url}/agent", max_retries=0
                    ),
                )

            gitea, agent = asyncio.run(main())
        assert f"label: no answer from 127.0.0.1:{server.port} within 15 s" in gitea.error
        assert agent.error == f"no answer from 127.0.0.1:{server.port} within 30 s"
