"""9. Errors and log lines never hold the token or a URL's user and password."""

import base64

import pytest
import timmy.dispatcher as d

PASSWORD = "pass-word-of-mine"


@pytest.fixture
def everything(gitea, log):
    """A function giving all that people may read: the log, the comments, and what it is handed."""
    return lambda *results: "\n".join([log(), *map(repr, results)])


def clean(text, *secrets):
    return all(secret not in text for secret in secrets)


@pytest.mark.parametrize(
    "fault",
    [
        {"status": 400},
        {"status": 401},
        {"status": 403},
        {"status": 423},
        {"status": 429},
        {"status": 500},
    ],
)
async def test_a_server_that_repeats_the_token(gitea, way, slept, everything, fault):
    number = gitea.open_issue()
    said = f"Authorization: token {gitea.token} of http://me:{PASSWORD}@host/"
    gitea.sandbox.fault("/labels", **fault, message=said)
    gitea.sandbox.fault("/comments", **fault, message=said, times=2)
    gitea.sandbox.fault(f"/issues/{number}", **fault, message=said)
    result = await d.dispatch_task("Fix it", issue_number=number)
    waited = await d.wait_for_completion(number, 1, 5)
    text = everything(result, waited, gitea.comments(number))
    assert "***" in text
    assert clean(text, gitea.token, PASSWORD)


async def test_a_server_that_repeats_the_header(gitea, way, everything, agent_url, monkeypatch):
    pair = base64.b64encode(f"me:{PASSWORD}".encode()).decode()
    monkeypatch.setenv("GITEA_URL", f"http://me:{PASSWORD}@{gitea.host}")
    gitea.sandbox.fault(status=400, message=f"me:{PASSWORD}, Basic {pair}, {PASSWORD}")
    url = agent_url.replace("://", f"://me:{PASSWORD}@")
    result = await d.dispatch_task("Fix it", issue_number=1, max_retries=0)
    posted = await d.dispatch_task("Research it", api_endpoint=url, max_retries=0)
    assert "400 refused: ***, Basic ***, ***" in result.error
    assert "***, Basic ***, ***" in posted.error
    assert clean(everything(result, posted), PASSWORD, pair)


async def test_an_answer_that_is_not_what_was_expected(gitea, way, slept, everything):
    number = gitea.open_issue()
    said = f'"token {gitea.token}"'
    gitea.sandbox.fault("/labels", body=said)
    gitea.sandbox.fault(f"/issues/{number}", body=said)
    partly = await d.dispatch_task("Fix it", issue_number=number)
    gitea.sandbox.fault("/comments", method="POST", body=said)
    wholly = await d.dispatch_task("Fix it", issue_number=number)
    waited = await d.wait_for_completion(number, 1, 3)
    assert partly.metadata["failed_steps"]["label"]
    assert clean(everything(partly, wholly, waited), gitea.token)


@pytest.mark.parametrize("before", range(150, 201, 10))
async def test_half_a_token_is_not_shown_either(gitea, way, everything, agent_url, before):
    said = "x" * before + gitea.token
    gitea.sandbox.fault(status=400, message=said)
    result = await d.dispatch_task("Fix it", issue_number=3, max_retries=0)
    assert clean(everything(result), gitea.token[:5])
    gitea.sandbox.clear_faults()
    gitea.sandbox.fault(status=400, body=said)
    result = await d.dispatch_task("Fix it", issue_number=3, max_retries=0)
    assert clean(everything(result), gitea.token[:5])


async def test_a_redirect_that_holds_it(gitea, way, everything):
    gitea.sandbox.fault(redirect=f"http://me:{PASSWORD}@127.0.0.1:9/repos/{gitea.token}/x")
    result = await d.dispatch_task("Fix it", issue_number=3, max_retries=0)
    assert "301 moved to ***/x at http://127.0.0.1:9" in result.error
    assert clean(everything(result), gitea.token, PASSWORD)


@pytest.mark.parametrize("stopped", [False, True])
async def test_a_user_in_the_address(gitea, way, slept, everything, monkeypatch, stopped):
    number = gitea.open_issue()
    monkeypatch.setenv("GITEA_URL", f"http://me:{PASSWORD}@{gitea.host}")
    if stopped:
        gitea.sandbox.stop()
    result = await d.dispatch_task("Fix it", issue_number=number)
    waited = await d.wait_for_completion(number, 1, 3)
    assert result.status is d.DispatchStatus.ESCALATED
    assert clean(everything(result, waited), gitea.token, PASSWORD)


@pytest.mark.parametrize(
    "form",
    ["me:{}@host", "http:/me:{}@host", "ftp://me:{}@host/x", "http://me:{}/@host", "http://{}@:x"],
)
async def test_an_address_that_is_none(gitea, way, everything, monkeypatch, form):
    url = form.format(PASSWORD)
    monkeypatch.setenv("GITEA_URL", url)
    result = await d.dispatch_task("Fix it", issue_number=3)
    posted = await d.dispatch_task("Research it", api_endpoint=url)
    assert "no http or https URL" in result.error
    assert "no http or https URL" in posted.error
    assert clean(everything(result, posted, await d.wait_for_completion(3)), PASSWORD)


@pytest.mark.parametrize("status", [202, 422, 503])
async def test_a_user_in_the_endpoint(gitea, way, slept, everything, agent_url, status):
    url = agent_url.replace("://", f"://me:{PASSWORD}@")
    gitea.sandbox.fault("/agent", status=status, body=f'"at {url}"')
    result = await d.dispatch_task("Research it", api_endpoint=url)
    text = everything(result.error)
    assert clean(text, PASSWORD)
    if status == 202:
        assert f"at {agent_url.replace('://', '://***@')}" in text


@pytest.mark.parametrize("token", ["wrong-token\n", "wrong\r\ntoken: yes", "wrong-tökén"])
async def test_a_token_that_no_header_can_hold(gitea, way, everything, monkeypatch, token):
    monkeypatch.setenv("GITEA_TOKEN", token)
    result = await d.dispatch_task("Fix it", issue_number=3, max_retries=0)
    assert result.status is d.DispatchStatus.ESCALATED
    assert clean(everything(result), token, token.strip(), token.encode("unicode-escape").decode())
    assert all("token: yes" not in map(str, one.headers) for one in gitea.seen())


async def test_a_short_token_does_not_garble_the_words(gitea, monkeypatch):
    monkeypatch.setenv("GITEA_TOKEN", "t")
    result = await d.dispatch_task("Fix it", issue_number=3, max_retries=0)
    assert "check Gitea connectivity" in result.error
