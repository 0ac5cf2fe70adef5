"""Proxies of the environment, real ones on loopback, natively and as httpx does it."""

import select
import socket

import pytest
import trustme

from endurance.raw import Raw
from endurance.tls import server_context

CLOSED = b'{"number":5,"state":"closed"}'


def origin(connection):
    while connection.request() is not None:
        connection.answer(200, CLOSED)


def proxy(connection):
    """Tunnels to loopback; what is asked in plain text it answers itself."""
    while (asked := connection.request()) is not None:
        method, target = asked
        if method != "CONNECT":
            connection.answer(200, CLOSED)
            continue
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as there:
            connection.answer(200)
            here = connection.stream
            while True:
                for ready in select.select([here, there], [], [])[0]:
                    data = ready.recv(65536)
                    if not data:
                        return
                    (there if ready is here else here).sendall(data)


@pytest.fixture
def reach(reaching):
    """Asks through a proxy, if so; gives the outcome and what the proxy and the server saw."""

    def reach(way, env, url="http://git.example", respond=proxy, **context):
        with Raw(respond) as between, Raw(origin, **context) as server:
            places = {"PROXY": f"127.0.0.1:{between.port}", "ORIGIN": f"{server.port}"}

            def filled(text):
                for place, value in places.items():
                    text = text.replace(place, value)
                return text

            came = reaching(way, filled(url), {name: filled(value) for name, value in env.items()})
            credentials = {
                line.split(": ")[1]
                for head in between.heads
                for line in head.split("\r\n")
                if line.lower().startswith("proxy-authorization: ")
            }
            asked = [f"{method} {target}" for method, target in between.requests]
            for place, value in places.items():
                asked = [line.replace(value, place) for line in asked]
            return came, asked, credentials, len(server.requests)

    return reach


LOCAL = "http://127.0.0.1:ORIGIN"
ASKED = ["GET http://git.example/api/v1/repos/o/r/issues/5"]
#: Environment, address, whether the proxy is asked: alike natively and by httpx.
ALIKE = {
    "upper case": ({"HTTP_PROXY": "http://PROXY"}, "http://git.example", True),
    "lower case": ({"http_proxy": "http://PROXY"}, "http://git.example", True),
    "for all": ({"ALL_PROXY": "http://PROXY"}, "http://git.example", True),
    "for all, lower case": ({"all_proxy": "http://PROXY"}, "http://git.example", True),
    "without a scheme": ({"HTTP_PROXY": "PROXY"}, "http://git.example", True),
    "with a path": ({"HTTP_PROXY": "http://PROXY/"}, "http://git.example", True),
    "only for https": ({"HTTPS_PROXY": "http://PROXY"}, LOCAL, False),
    "empty": ({"HTTP_PROXY": "", "ALL_PROXY": ""}, LOCAL, False),
    "its own before all": (
        {"HTTP_PROXY": "http://PROXY", "ALL_PROXY": "http://127.0.0.1:1"},
        "http://git.example",
        True,
    ),
    "not this host": ({"HTTP_PROXY": "http://PROXY", "NO_PROXY": "127.0.0.1"}, LOCAL, False),
    "not these": ({"HTTP_PROXY": "http://PROXY", "NO_PROXY": "a.example, 127.0.0.1"}, LOCAL, False),
    "lower case no": ({"HTTP_PROXY": "http://PROXY", "no_proxy": "127.0.0.1"}, LOCAL, False),
    "none": ({"HTTP_PROXY": "http://PROXY", "NO_PROXY": "*"}, LOCAL, False),
    "not localhost": (
        {"HTTP_PROXY": "http://PROXY", "NO_PROXY": "localhost"},
        "http://localhost:ORIGIN",
        False,
    ),
    "loopback is not excepted": ({"HTTP_PROXY": "http://PROXY"}, LOCAL, True),
    "another host": (
        {"HTTP_PROXY": "http://PROXY", "NO_PROXY": "hub.example"},
        "http://git.example",
        True,
    ),
    "the end of a name": (
        {"HTTP_PROXY": "http://PROXY", "NO_PROXY": "it.example"},
        "http://git.example",
        True,
    ),
    "a domain": (
        {"HTTP_PROXY": "http://PROXY", "NO_PROXY": "example"},
        "http://git.example",
        False,
    ),
    "a domain with a dot": (
        {"HTTP_PROXY": "http://PROXY", "NO_PROXY": ".example"},
        "http://git.example",
        False,
    ),
    "in a web server's program": (
        {"HTTP_PROXY": "http://PROXY", "REQUEST_METHOD": "GET"},
        LOCAL,
        False,
    ),
}
#: Where the two differ, as the README says: what each does.
DIFFERENT = {
    "both cases": (
        {"HTTP_PROXY": "http://PROXY", "http_proxy": "http://127.0.0.1:1"},
        "http://git.example",
        {"native": True, "httpx": False},
    ),
    "a network": (
        {"HTTP_PROXY": "http://PROXY", "NO_PROXY": "127.0.0.0/8"},
        LOCAL,
        {"native": False, "httpx": True},
    ),
    "a port": (
        {"HTTP_PROXY": "http://PROXY", "NO_PROXY": "127.0.0.1:ORIGIN"},
        LOCAL,
        {"native": True, "httpx": False},
    ),
}


@pytest.mark.parametrize("way", ["native", "httpx"])
@pytest.mark.parametrize("what", ALIKE)
def test_where_both_do_the_same(reach, way, what):
    env, url, through = ALIKE[what]
    came, asked, credentials, direct = reach(way, env, url)
    assert (len(asked) == 1) is through
    assert credentials == set()
    if through or "ORIGIN" in url:
        assert came["status"] == "completed", came
        assert direct == (not through)


@pytest.mark.parametrize("way", ["native", "httpx"])
@pytest.mark.parametrize("what", DIFFERENT)
def test_where_they_differ(reach, way, what):
    env, url, through = DIFFERENT[what]
    _, asked, _, _ = reach(way, env, url)
    assert (len(asked) == 1) is through[way]


@pytest.mark.parametrize("way", ["native", "httpx"])
def test_a_proxy_that_wants_to_know_who_asks(reach, way):
    env = {"HTTP_PROXY": "http://me:p%40ss@PROXY"}
    came, asked, credentials, _ = reach(way, env)
    assert came["status"] == "completed"
    assert (asked, credentials) == (ASKED, {"Basic bWU6cEBzcw=="})


@pytest.mark.parametrize("way", ["native", "httpx"])
@pytest.mark.parametrize("user", ["", "me:p%40ss@"])
def test_a_tunnel_to_https(reach, way, user, tmp_path):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    env = {"HTTPS_PROXY": f"http://{user}PROXY", "SSL_CERT_FILE": str(tmp_path / "ca.pem")}
    came, asked, credentials, reached = reach(
        way, env, "https://127.0.0.1:ORIGIN", context=server_context(authority)
    )
    assert came["status"] == "completed", came
    assert (asked, reached) == (["CONNECT 127.0.0.1:ORIGIN"], 1)
    assert credentials == ({"Basic bWU6cEBzcw=="} if user else set())


def refuse(connection):
    while connection.request() is not None:
        connection.answer(407, b"who are you, me:p@ss?", 'Proxy-Authenticate: Basic realm="x"')


@pytest.mark.parametrize("way", ["native", "httpx"])
@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_proxy_that_refuses(reach, way, scheme):
    env = {"ALL_PROXY": "http://me:p%40ss@PROXY"}
    came, asked, _, reached = reach(way, env, f"{scheme}://127.0.0.1:ORIGIN", respond=refuse)
    assert (came["status"], reached) == ("timed_out", 0)
    assert len(asked) >= 1
    assert not any(part in str(came) for part in ("p%40ss", "p@ss", "bWU6"))
    if scheme == "https" and way == "native":
        assert "roxy" in came["said"][0], came


def test_socks_is_refused_and_not_passed_by(reach):
    came, asked, _, reached = reach("native", {"ALL_PROXY": "socks5://PROXY"}, LOCAL)
    assert "unsupported scheme socks5" in came["said"][0]
    assert (asked, reached) == ([], 0)


def test_what_is_no_proxy_is_ignored(reach):
    came, _, _, reached = reach("native", {"ALL_PROXY": "ftp://PROXY"}, LOCAL)
    assert (came["status"], reached) == ("completed", 1)


@pytest.mark.parametrize("way", ["native", "httpx"])
def test_a_proxy_that_is_not_there(reach, way):
    came, _, _, _ = reach(way, {"HTTP_PROXY": "http://me:p%40ss@127.0.0.1:1"})
    assert came["status"] == "timed_out"
    assert "onnect" in came["said"][0]
    assert "p%40ss" not in str(came)
