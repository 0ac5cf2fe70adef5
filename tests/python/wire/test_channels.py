"""What each channel puts on the wire, byte for byte."""

import base64
import dataclasses
import json

import pytest
import timmy.dispatcher as d

STRANGE = 'Grüße, 世界 🚀\x00\x1f\x7f "quoted" \\ </script>\u2028\r\n\ttail'
CRITERIA = ["läuft", 7, 2.5, None, True, {"a": [1]}, ("x", "y")]
#: What may be sent to Gitea; nothing of the machine, the process or the user is in it.
HEADERS = {"host", "authorization", "accept", "user-agent", "content-type", "content-length"}
#: What httpx adds of its own.
OF_HTTPX = {"accept-encoding", "connection"}


def comment(name, task_type, description, criteria):
    return (
        f"## Assigned to {name}\n\n**Task type:** `{task_type}`\n\n"
        f"**Description:**\n{description}\n\n**Acceptance criteria:**\n{criteria}\n\n"
        "---\n*Dispatched by Timmy agent dispatcher.*"
    )


def document(value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.encode()


def names(request):
    return [name.lower() for name, _ in request.headers]


@pytest.mark.live
@pytest.mark.parametrize(
    ("title", "agent", "label", "name"),
    [
        ("Design the router", "claude_code", "claude-ready", "Claude Code"),
        ("Fix the typo", "kimi_code", "kimi-ready", "Kimi Code"),
    ],
)
async def test_a_task_is_labelled_then_commented(gitea, title, agent, label, name):
    number = gitea.open_issue(title)
    result = await d.dispatch_task(title, "All of it", ["It works"], issue_number=number)
    assert result == d.DispatchResult(
        task_type=d.infer_task_type(title),
        agent=d.AgentType(agent),
        issue_number=number,
        status=d.DispatchStatus.ASSIGNED,
        comment_id=result.comment_id,
        label_applied=label,
    )
    (posted,) = gitea.ask("GET", f"/issues/{number}/comments")
    assert posted["id"] == result.comment_id
    assert posted["body"] == comment(name, result.task_type.value, "All of it", "- It works")
    assert gitea.issue_labels(number) == gitea.labels(label)
    assert len(gitea.labels(label)) == 1


async def test_the_requests_of_a_hand_over(gitea, way, log):
    number = gitea.open_issue()
    result = await d.dispatch_task("Design it", STRANGE, CRITERIA, issue_number=number)
    assert result.success, result.error
    (label,) = gitea.labels("claude-ready")
    criteria = "- läuft\n- 7\n- 2.5\n- None\n- True\n- {'a': [1]}\n- ('x', 'y')"
    body = comment("Claude Code", "architecture", STRANGE, criteria)
    root = f"/api/v1/repos/{gitea.repo}"
    expected = [
        ("GET", f"{root}/labels", b""),
        ("POST", f"{root}/labels", b'{"name":"claude-ready","color":"#0075ca"}'),
        ("POST", f"{root}/issues/{number}/labels", b'{"labels":[%d]}' % label),
        ("POST", f"{root}/issues/{number}/comments", document({"body": body})),
    ]
    seen = gitea.seen()
    assert [(one.method, one.path, one.body) for one in seen] == expected
    for one in seen:
        assert one.header("Authorization") == f"token {gitea.token}"
        assert one.header("Host") == gitea.host
        assert one.header("Accept") == "*/*"
        assert len(names(one)) == len(set(names(one)))
        allowed = HEADERS | (OF_HTTPX if way == "httpx" else set())
        assert set(names(one)) <= allowed, names(one)
        if way == "native":
            assert one.header("User-Agent") == f"timmy-dispatcher/{_version()}"
        if one.method == "POST":
            assert one.header("Content-Type") == "application/json"
            assert one.header("Content-Length") == str(len(one.body))
    assert gitea.token not in log()


def _version():
    from importlib.metadata import version

    return version("timmy-dispatcher")


@pytest.mark.parametrize("given", ["1", 1.0, True, "1 "])
async def test_an_issue_number_is_sent_as_it_is_given(gitea, given):
    await d.dispatch_task("Design it", issue_number=given, max_retries=0)
    path = f"/issues/{given}/comments".replace(" ", "%20")
    assert f"POST {path}" in gitea.sequence()


async def test_a_very_long_description_arrives(gitea, way):
    number = gitea.open_issue()
    description = "ü" * 1_000_000
    result = await d.dispatch_task("Design it", description, issue_number=number)
    assert result.success, result.error
    assert description in gitea.comments(number)[0]


@pytest.mark.parametrize("ending", ["", "/", "//"])
async def test_a_slash_at_the_end_of_the_address(gitea, way, ending, monkeypatch):
    monkeypatch.setenv("GITEA_URL", gitea.url + ending)
    assert (await d.dispatch_task("Design it", issue_number=gitea.open_issue())).success
    assert gitea.sequence()[0] == "GET /labels"


async def test_an_address_with_a_path(gitea, way, monkeypatch):
    monkeypatch.setenv("GITEA_URL", f"{gitea.url}/sub/path/")
    await d.dispatch_task("Design it", issue_number=1, max_retries=0)
    root = f"/sub/path/api/v1/repos/{gitea.repo}"
    assert [one.path for one in gitea.seen()] == [
        f"{root}/labels",
        f"{root}/issues/1/comments",
        f"{root}/issues/1/comments",
    ]


async def test_an_address_with_a_user(gitea, way, monkeypatch):
    monkeypatch.setenv("GITEA_URL", f"http://tim%6dy:{gitea.token}@{gitea.host}")
    assert (await d.dispatch_task("Design it", issue_number=gitea.open_issue())).success
    pair = base64.b64encode(f"timmy:{gitea.token}".encode()).decode()
    for one in gitea.seen():
        assert one.header("Authorization") == f"Basic {pair}"
        assert one.header("Host") == gitea.host
        assert "@" not in one.path


async def test_an_api_agent_gets_the_task(gitea, way, agent_url):
    result = await d.dispatch_task(
        "Research it", STRANGE, CRITERIA, issue_number=5, api_endpoint=f"{agent_url}?team=ü&x=1"
    )
    assert (result.status, result.metadata) == (
        d.DispatchStatus.ASSIGNED,
        {"response": {"status": "accepted", "id": 1}},
    )
    (one,) = gitea.seen()
    assert (one.method, one.path) == ("POST", "/agent?team=%C3%BC&x=1")
    assert one.body == document(
        {
            "title": "Research it",
            "description": STRANGE,
            "acceptance_criteria": CRITERIA,
            "issue_number": 5,
            "agent": "agent_api",
            "task_type": "research",
        }
    )
    assert one.header("Authorization") is None
    assert one.header("Content-Type") == "application/json"
    allowed = HEADERS | (OF_HTTPX if way == "httpx" else set())
    assert set(names(one)) <= allowed - {"authorization"}


async def test_an_api_agent_has_an_endpoint_of_its_own(gitea, way, agent_url):
    spec = d.AGENT_REGISTRY[d.AgentType.AGENT_API]
    endpoint = agent_url.replace("://", "://me:pass%20word@") + "/own"
    d.AGENT_REGISTRY[d.AgentType.AGENT_API] = dataclasses.replace(spec, api_endpoint=endpoint)
    assert (await d.dispatch_task("Research it")).success
    (one,) = gitea.seen()
    assert one.path == "/agent/own"
    assert one.header("Authorization") == "Basic " + base64.b64encode(b"me:pass word").decode()


async def test_what_cannot_be_json_is_not_sent(gitea, way, agent_url):
    for criteria, error in [([{1}], "not JSON serializable"), ([float("nan")], "not JSON compl")]:
        result = await d.dispatch_task(
            "Research it", "", criteria, api_endpoint=agent_url, max_retries=0
        )
        assert result.status is d.DispatchStatus.ESCALATED
        assert error in result.error
    assert gitea.seen() == []


@pytest.mark.parametrize("title", ["Triage the bugs", "Design it"])
async def test_what_stays_here_sends_nothing(gitea, title):
    result = await d.dispatch_task(title, "All of it", issue_number=None)
    assert result == d.DispatchResult(
        task_type=d.infer_task_type(title),
        agent=d.AgentType.TIMMY,
        issue_number=None,
        status=d.DispatchStatus.ASSIGNED,
        metadata={"local": True, "description": "All of it"},
    )
    assert gitea.seen() == []


@pytest.mark.live
async def test_waiting_ends_when_the_issue_is_closed(gitea):
    number = gitea.open_issue()
    gitea.close_issue(number)
    assert await d.wait_for_completion(number, 60, 600) is d.DispatchStatus.COMPLETED


async def test_the_requests_of_a_wait(gitea, way, slept):
    number = gitea.open_issue()
    assert await d.wait_for_completion(number, 1, 3) is d.DispatchStatus.TIMED_OUT
    seen = gitea.seen()
    path = f"/api/v1/repos/{gitea.repo}/issues/{number}"
    assert [(one.method, one.path, one.body) for one in seen] == [("GET", path, b"")] * 3
    for one in seen:
        assert one.header("Authorization") == f"token {gitea.token}"
        assert one.header("Content-Type") is None
        allowed = HEADERS | (OF_HTTPX if way == "httpx" else set())
        assert set(names(one)) <= allowed
