"""The token and a URL's password are read nowhere, whatever goes wrong."""

import asyncio
import base64
import io
import json
import logging
from urllib.parse import quote

import pytest
import timmy.dispatcher as d
from timmy.dispatcher._http import NativeClient

from endurance import scale
from endurance.raw import Raw

TOKENS = {
    "as Gitea makes them": "0123456789abcdef0123456789abcdef01234567",
    "of quotes and patterns": """t0"k'e\\$.*+?[(n)]{2}|^/%<&>""",
}
PASSWORD = "p@ss:w/r%d'\"\\"
USERINFO = f"me:{quote(PASSWORD, safe='')}@"
PAIR = base64.b64encode(f"me:{PASSWORD}".encode()).decode()


def spellings(secret):
    """Every way in which a text may hold a secret."""
    quoted = json.dumps(secret)[1:-1]
    return {secret, quoted, repr(secret)[1:-1], repr(secret.encode())[2:-1], quote(secret, safe="")}


def seen(connection):
    """Reads a request; what it said of who asks."""
    connection.request()
    for line in connection.server.heads[-1].split("\r\n"):
        if line.lower().startswith("authorization: "):
            return line.split(": ", 1)[1]
    return "nobody asks"


def echo(status, body, *headers, reason="X"):
    """A server that answers with what it was sent, at the place of a dollar sign."""

    def serve(connection):
        said = seen(connection)
        document = json.dumps(body).replace("$", json.dumps(said)[1:-1])
        text = document if not isinstance(body, str) else body.replace("$", said)
        lines = [f"HTTP/1.1 {status} {reason}", f"Content-Length: {len(text.encode())}"]
        lines += ["Connection: close", *headers]
        head = "\r\n".join(lines).replace("$", said.split(" ", 1)[1])
        connection.send(f"{head}\r\n\r\n{text}".encode())

    return serve


def spoken(text):
    """A server that says something that is no answer."""

    def serve(connection):
        connection.send(text.replace("$", seen(connection)).encode())

    return serve


#: What the server does. The pad puts the secret across the place where texts are cut.
FAULTS = {
    **{f"a refusal, {status}": echo(status, {"message": "no: $"}) for status in (400, 401, 404)},
    **{f"a refusal, {status}": echo(status, {"message": "no: $"}) for status in (403, 422, 423)},
    "a missing scope": echo(403, {"message": "required=[$], token scope="}),
    "too many requests": echo(429, {"message": "$"}, "Retry-After: $"),
    "an error in plain text": echo(500, "Traceback: headers = {'Authorization': '$'}"),
    "an error in HTML": echo(502, "<html>$</html>"),
    "an error with credentials alone": echo(500, {"message": "$", "errors": ["$"]}),
    "a long error": echo(500, "x" * 180 + "$"),
    "a long message": echo(422, {"message": "y" * 185 + " $"}),
    "a very long message": echo(422, {"message": "y" * 16380 + "$"}),
    "many times": echo(500, "$" * 400),
    "a redirect": echo(301, "", "Location: http://elsewhere.example/repos/$/$/labels"),
    "a redirect to itself": echo(307, "", "Location: /api/v1/repos/$"),
    "an id that is none": echo(201, {"id": "$"}),
    "a list that is none": echo(200, ["$"]),
    "labels that are none": echo(200, [{"id": 1, "name": "claude-ready", "color": {"$": 1}}, "$"]),
    "an object in place of a list": echo(200, {"$": "$"}),
    "no JSON": echo(201, "$"),
    "a state that is none": echo(200, {"number": 5, "state": ["$"]}),
    "a number that is none": echo(200, {"number": "$", "state": "$"}),
    "compressed unasked": echo(201, "$", "Content-Encoding: $"),
    "no HTTP": spoken("$\r\n\r\n"),
    "a header that is none": spoken("HTTP/1.1 200 OK\r\n$: \x01\r\n$\r\n\r\n"),
    "a length that is none": spoken("HTTP/1.1 200 OK\r\nContent-Length: $\r\n\r\n"),
    "a chunk that is none": spoken("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n$\r\n"),
    "half an answer": spoken("HTTP/1.1 201 OK\r\nContent-Length: 999\r\n\r\n$"),
    "no answer": lambda connection: seen(connection) and None,
    "no answer in time": lambda connection: seen(connection) and connection.wait_for_end(),
}


class Everything(logging.Handler):
    """Keeps whatever is logged, as it would be written and as it is."""

    def __init__(self):
        super().__init__(logging.NOTSET)
        self.setFormatter(logging.Formatter("%(name)s %(message)s %(exc_text)s"))
        self.text = io.StringIO()

    def emit(self, record):
        # What the server itself says, in the debugging of the host's own libraries.
        if record.name.startswith("httpcore") and "receive_response" in record.getMessage():
            return
        self.text.write(f"{self.format(record)}\n{record.args!r}\n{record.msg!r}\n")


@pytest.fixture
def logged():
    """All that any logger says, at every level."""
    everything, root = Everything(), logging.getLogger()
    levels = {}
    for logger in [root, *map(logging.getLogger, list(root.manager.loggerDict))]:
        levels[logger] = logger.level
        logger.setLevel(1)
    root.addHandler(everything)
    yield everything.text.getvalue
    root.removeHandler(everything)
    for logger, level in levels.items():
        logger.setLevel(level)


@pytest.fixture(params=["native", "httpx"])
def way(request, monkeypatch, one_tls_context):
    monkeypatch.setattr("timmy.dispatcher._http._chosen", request.param)
    sleep = asyncio.sleep
    monkeypatch.setattr(asyncio, "sleep", lambda _: sleep(0))
    return request.param


def everything_tried(monkeypatch, url, token, limit=10):
    """The text of all results of whatever can be asked, in asyncio's debug mode."""
    monkeypatch.setenv("GITEA_URL", url)
    monkeypatch.setenv("GITEA_TOKEN", token)
    monkeypatch.setenv("GITEA_REPO", "o/r")
    headers = {"Authorization": f"token {token}"}

    async def main():
        results = [
            await d.dispatch_task("Design it", issue_number=5),
            await d.dispatch_task("research it", api_endpoint=f"{url}/agent", issue_number=5),
            await d.wait_for_completion(5, 1, 2),
        ]
        given = (f"{url}/api/v1", "o/r", headers, 5)
        async with NativeClient(timeout=limit) as client:
            results.append(await d._apply_gitea_label(client, *given, "claude-ready"))
            results.append(await d._post_gitea_comment(client, *given, "a comment"))
        return results

    results = asyncio.run(main(), debug=True)
    return f"{results!r} {d.settings!r}"


def check(read, token):
    secrets = spellings(token) | spellings(PASSWORD) | {PAIR}
    for secret in secrets:
        # A part of it gives as much away.
        assert secret[: max(8, len(secret) // 2)] not in read, (secret, read)


@pytest.mark.parametrize("token", scale.of(list(TOKENS)[1:], list(TOKENS)))
@pytest.mark.parametrize("userinfo", ["", USERINFO], ids=["token", "password"])
@pytest.mark.parametrize("fault", FAULTS)
def test_no_fault_brings_a_secret_to_light(way, monkeypatch, logged, capfd, fault, userinfo, token):
    limit = 10
    if fault == "no answer in time":
        limit = 0.1
        monkeypatch.setattr("timmy.dispatcher._http._chosen", lambda **_: NativeClient(limit))
    with Raw(FAULTS[fault]) as server:
        url = f"http://{userinfo}127.0.0.1:{server.port}"
        results = everything_tried(monkeypatch, url, TOKENS[token], limit)
        assert len(server.requests) >= 5
        asked = zip(server.requests, server.bodies, strict=True)
        bodies = "\n".join(body for (_, path), body in asked if path.endswith("/comments"))
    check(f"{results}\n{logged()}\n{bodies}\n{capfd.readouterr()}", TOKENS[token])


@pytest.mark.parametrize(
    "url",
    [
        f"http://{USERINFO}127.0.0.1:1",
        f"https://{USERINFO}127.0.0.1:1",
        f"http://{USERINFO}nowhere.invalid",
        f"http://{USERINFO}127.0.0.1:99999",
        f"http://{USERINFO}127.0.0.1:port",
        f"http://{USERINFO}",
        f"http://{USERINFO}[::1",
        f"ftp://{USERINFO}127.0.0.1",
        f"http:/{USERINFO}127.0.0.1",
        f"{USERINFO}127.0.0.1",
        f"//{USERINFO}127.0.0.1",
    ],
)
def test_no_address_that_cannot_be_brings_a_secret_to_light(way, monkeypatch, logged, capfd, url):
    token = TOKENS["as Gitea makes them"]
    results = everything_tried(monkeypatch, url, token)
    check(f"{results}\n{logged()}\n{capfd.readouterr()}", token)


@pytest.mark.parametrize("token", ["s3cr3t-with\nnewline", "s3cr3t-mit-Ümlaut", "s3cr3t-\ud800"])
def test_a_token_that_no_header_can_hold(way, monkeypatch, logged, capfd, token):
    monkeypatch.setattr(
        d,
        "settings",
        type(
            "Settings",
            (),
            {
                "gitea_url": "http://127.0.0.1:1",
                "gitea_repo": "o/r",
                "gitea_token": token,
                "gitea_enabled": True,
            },
        )(),
    )
    results = [
        asyncio.run(d.dispatch_task("Design it", issue_number=5)),
        asyncio.run(d.wait_for_completion(5, 1, 2)),
    ]
    read = f"{results!r}\n{logged()}\n{capfd.readouterr()}"
    assert "s3cr3t" not in read


def test_a_redirect_takes_no_secret_along(way, monkeypatch, logged):
    with Raw(lambda connection: connection.request()) as other:
        location = f"Location: http://127.0.0.1:{other.port}/repos/a/b"
        with Raw(echo(302, "", location)) as server:
            url = f"http://{USERINFO}127.0.0.1:{server.port}"
            everything_tried(monkeypatch, url, TOKENS["as Gitea makes them"])
        assert other.accepted == 0
