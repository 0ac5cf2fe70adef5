"""Whole hand-overs and waits through what people put between httpx and the network."""

import functools
import json
from unittest.mock import AsyncMock, patch

import httpcore
import httpx
import pytest
import respx
import timmy.dispatcher as d
import vcr
from timmy.dispatcher import _http

REPO = "http://gitea.test/api/v1/repos/o/r"
LABELS = f"{REPO}/labels"
ADDED = f"{REPO}/issues/3/labels"
COMMENTS = f"{REPO}/issues/3/comments"
ISSUE = f"{REPO}/issues/3"
AGENT = "http://agent.test/run"
KIMI = [{"id": 7, "name": "kimi-ready"}]
ANSWERS = {
    ("GET", LABELS): (200, KIMI),
    ("POST", ADDED): (200, KIMI),
    ("POST", COMMENTS): (201, {"id": 42}),
    ("POST", AGENT): (202, {"job": 9}),
    ("GET", ISSUE): (200, {"number": 3, "state": "closed"}),
}
EVERYTHING = list(ANSWERS)


@pytest.fixture(autouse=True)
def gitea(monkeypatch):
    monkeypatch.setenv("GITEA_URL", "http://gitea.test")
    monkeypatch.setenv("GITEA_TOKEN", "t0ken-of-the-tests")
    monkeypatch.setenv("GITEA_REPO", "o/r")
    monkeypatch.delenv("TIMMY_DISPATCHER_HTTP", raising=False)
    monkeypatch.setattr(_http, "_chosen", None)
    monkeypatch.setattr(_http, "_told", set())


def answer(request):
    status, body = ANSWERS[request.method, str(request.url)]
    return httpx.Response(status, json=body, request=request)


async def all_of_it():
    """A hand-over on an issue, one to an agent, and a wait."""
    result = await d.dispatch_task("Quick fix", issue_number=3)
    assert (result.label_applied, result.comment_id) == ("kimi-ready", 42)
    result = await d.dispatch_task("Research it", api_endpoint=AGENT)
    assert result.metadata == {"response": {"job": 9}}
    assert await d.wait_for_completion(3, 1, 2) is d.DispatchStatus.COMPLETED


def route_all(router):
    for (method, url), (status, body) in ANSWERS.items():
        router.request(method, url).mock(return_value=httpx.Response(status, json=body))


def seen(router):
    return [(call.request.method, str(call.request.url)) for call in router.calls]


async def test_respx_as_a_context_manager():
    async with respx.mock() as router:
        route_all(router)
        await all_of_it()
        assert seen(router) == EVERYTHING
        authorized = [call.request.headers.get("authorization") for call in router.calls]
    assert authorized == ["token t0ken-of-the-tests"] * 3 + [None, "token t0ken-of-the-tests"]


@respx.mock
async def test_respx_as_a_decorator():
    route_all(respx.mock)
    await all_of_it()
    assert seen(respx.mock) == EVERYTHING


async def test_respx_as_a_fixture(respx_mock):
    route_all(respx_mock)
    await all_of_it()
    assert seen(respx_mock) == EVERYTHING


async def test_respx_and_a_connection_that_fails(respx_mock):
    refused = httpx.ConnectError("refused")
    respx_mock.route().mock(side_effect=refused)
    with patch("asyncio.sleep", AsyncMock()):
        result = await d.dispatch_task("Quick fix", issue_number=3)
    assert result.status is d.DispatchStatus.ESCALATED
    assert "label: refused; comment: refused" in result.error


async def test_respx_and_a_title_that_cannot_be_encoded(respx_mock):
    route_all(respx_mock)
    assert (await d.dispatch_task("Quick \ud800", "\udfff", issue_number=3)).comment_id == 42
    assert "**Description:**\n\ufffd" in json.loads(respx_mock.calls[2].request.content)["body"]


async def test_pytest_httpx(httpx_mock):
    for (method, url), (status, body) in ANSWERS.items():
        httpx_mock.add_response(method=method, url=url, status_code=status, json=body)
    await all_of_it()
    assert [(one.method, str(one.url)) for one in httpx_mock.get_requests()] == EVERYTHING


async def test_vcr(tmp_path):
    interactions = [
        {
            "request": {"method": method, "uri": url, "body": "", "headers": {}},
            "response": {
                "status": {"code": status, "message": "OK"},
                "headers": {"content-type": ["application/json"]},
                "body": {"string": json.dumps(body)},
            },
        }
        for (method, url), (status, body) in ANSWERS.items()
    ]
    cassette = tmp_path / "dispatch.json"
    cassette.write_text(json.dumps({"version": 1, "interactions": interactions}))
    recorder = vcr.VCR(serializer="json", record_mode="none")
    with recorder.use_cassette(str(cassette)) as played:
        await all_of_it()
        assert played.all_played


async def test_patched_get_and_post():
    async def get(self, url, **_):
        return answer(httpx.Request("GET", url))

    async def post(self, url, **_):
        return answer(httpx.Request("POST", url))

    with (
        patch.object(httpx.AsyncClient, "get", autospec=True, side_effect=get) as got,
        patch.object(httpx.AsyncClient, "post", autospec=True, side_effect=post) as posted,
    ):
        await all_of_it()
    assert (got.await_count, posted.await_count) == (2, 3)


@pytest.mark.parametrize("wraps", [True, False])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (httpx.AsyncClient, "send"),
        (httpx.AsyncClient, "_send_single_request"),
        (httpx.AsyncHTTPTransport, "handle_async_request"),
    ],
    ids=lambda value: value if isinstance(value, str) else value.__name__,
)
async def test_a_patched_step_of_sending(owner, name, wraps, monkeypatch, caplog):
    caplog.set_level("DEBUG", "timmy.dispatcher")
    passed, original = [], getattr(owner, name)

    async def traced(self, request, *_, **__):
        passed.append((request.method, str(request.url)))
        return answer(request)

    monkeypatch.setattr(owner, name, functools.wraps(original)(traced) if wraps else traced)
    await all_of_it()
    assert passed == EVERYTHING
    told = [record.getMessage() for record in caplog.records if record.levelname == "DEBUG"]
    assert told == [f"Requests go through httpx: httpx.{owner.__name__}.{name} was replaced"]


async def test_a_patched_request(monkeypatch):
    async def request(self, method, url, **_):
        return answer(httpx.Request(method, url))

    monkeypatch.setattr(httpx.AsyncClient, "request", request)
    await all_of_it()


async def test_a_patched_pool(monkeypatch):
    passed = []

    async def handle(self, request):
        url = f"http://{request.url.host.decode()}{request.url.target.decode()}"
        passed.append((request.method.decode(), url))
        status, body = ANSWERS[passed[-1]]
        return httpcore.Response(status, content=json.dumps(body).encode())

    monkeypatch.setattr(httpcore.AsyncConnectionPool, "handle_async_request", handle)
    await all_of_it()
    assert passed == EVERYTHING


@pytest.mark.parametrize("place", ["httpx._client.AsyncHTTPTransport", "httpx.AsyncHTTPTransport"])
def test_a_transport_replaced_by_name_is_noticed(place):
    with patch(place):
        assert _http.choose() is httpx.AsyncClient
    assert _http.choose() is None


@pytest.mark.parametrize("overrides", [True, False])
async def test_a_subclass(overrides, monkeypatch):
    passed = []

    class Bare(httpx.AsyncClient):
        pass

    class Recorded(httpx.AsyncClient):
        async def send(self, request, **_):
            passed.append((request.method, str(request.url)))
            return answer(request)

    monkeypatch.setattr(httpx, "AsyncClient", Recorded if overrides else Bare)
    if overrides:
        await all_of_it()
        assert passed == EVERYTHING
    else:
        assert _http.choose() is Bare


async def test_a_patch_that_comes_between_two_requests(monkeypatch):
    below, above = [], []

    async def handle(self, request):
        below.append((request.method, str(request.url)))
        return answer(request)

    async def post(self, url, **_):
        above.append(("POST", url))
        return answer(httpx.Request("POST", url))

    def comment(*_):
        monkeypatch.setattr(httpx.AsyncClient, "post", post)
        return "body"

    monkeypatch.setattr(httpx.AsyncHTTPTransport, "handle_async_request", handle)
    monkeypatch.setattr(d, "_format_assignment_comment", comment)
    assert (await d.dispatch_task("Quick fix", issue_number=3)).comment_id == 42
    assert (below, above) == (EVERYTHING[:2], EVERYTHING[2:3])


async def test_a_client_that_changes_between_two_dispatches(monkeypatch):
    first = _Client()
    monkeypatch.setattr(httpx, "AsyncClient", lambda **_: first)
    original = d._dispatch_via_api
    assert (await d.dispatch_task("Quick fix", issue_number=3)).comment_id == 42
    second = _Client()

    async def step(*arguments):
        monkeypatch.setattr(httpx, "AsyncClient", lambda **_: second)
        return await original(*arguments)

    monkeypatch.setattr(d, "_dispatch_via_api", step)
    assert (await d.dispatch_task("Research it", api_endpoint=AGENT)).success
    assert (first.asked, second.asked) == (EVERYTHING[:3], EVERYTHING[3:4])


class _Client:
    """A client of the host's own."""

    def __init__(self, **options):
        self.options, self.asked = options, []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *_):
        return None

    async def get(self, url, **_):
        return self._answer("GET", url)

    async def post(self, url, **_):
        return self._answer("POST", url)

    def _answer(self, method, url):
        self.asked.append((method, url))
        return answer(httpx.Request(method, url))


async def test_a_factory_is_gone_through():
    made = []

    def factory(**options):
        made.append(_Client(**options))
        return made[-1]

    d.use_http(factory)
    await all_of_it()
    assert [client.options for client in made] == [
        {"timeout": 15},
        {"timeout": 30},
        {"timeout": 10},
    ]
    assert [one for client in made for one in client.asked] == EVERYTHING


@pytest.mark.parametrize("by", ["call", "environment"])
@pytest.mark.parametrize("way", ["native", "auto", "httpx"])
def test_the_way_is_chosen(way, by, monkeypatch):
    if by == "call":
        d.use_http(way)
    else:
        monkeypatch.setenv("TIMMY_DISPATCHER_HTTP", way)
    assert (_http.choose() is httpx.AsyncClient) is (way == "httpx")
    with patch.object(httpx.AsyncClient, "send"):
        assert (_http.choose() is httpx.AsyncClient) is (way != "native")


def test_a_call_goes_before_the_environment(monkeypatch):
    monkeypatch.setenv("TIMMY_DISPATCHER_HTTP", "httpx")
    d.use_http("native")
    assert _http.choose() is None


@pytest.mark.parametrize("way", ["", "Native", "requests", None, 7])
def test_a_way_that_nobody_knows(way):
    with pytest.raises(ValueError, match="use_http"):
        d.use_http(way)


async def test_an_environment_that_nobody_knows_is_a_failure(monkeypatch):
    monkeypatch.setenv("TIMMY_DISPATCHER_HTTP", "fast")
    with patch("asyncio.sleep", AsyncMock()) as sleep:
        for options in ({"issue_number": 3}, {"api_endpoint": AGENT, "agent": "agent_api"}):
            result = await d.dispatch_task("Quick fix", **options)
            assert result.status is d.DispatchStatus.ESCALATED
            assert "TIMMY_DISPATCHER_HTTP: 'fast' is not auto, native" in result.error
    sleep.assert_not_called()


async def test_a_replaced_helper_gets_the_clients_of_the_factory():
    client = _Client()
    d.use_http(lambda **_: client)
    with patch("timmy.dispatcher._post_gitea_comment", return_value=5) as post:
        result = await d.dispatch_task("Quick fix", issue_number=3)
    assert (result.comment_id, post.await_args.args[0]) == (5, client)
    assert client.asked == EVERYTHING[:2]


async def test_native_gives_a_replaced_helper_a_client_all_the_same():
    d.use_http("native")
    with (
        patch("timmy.dispatcher._apply_gitea_label", return_value=True) as apply,
        patch("timmy.dispatcher._post_gitea_comment", return_value=5),
    ):
        assert (await d.dispatch_task("Quick fix", issue_number=3)).comment_id == 5
    assert isinstance(apply.await_args.args[0], httpx.AsyncClient)
