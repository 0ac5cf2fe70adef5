"""7. A partial success says what failed; a whole failure names the causes with their status."""

import pytest
import timmy.dispatcher as d

SENTENCE = "Failed to apply label and post comment — check Gitea connectivity."


async def fail(number, **options):
    result = await d.dispatch_task("Fix it", issue_number=number, max_retries=0, **options)
    assert result.status is d.DispatchStatus.ESCALATED
    assert result.error.startswith(f"{SENTENCE} label: ")
    return result.error.removeprefix(f"{SENTENCE} ")


@pytest.mark.live
async def test_an_issue_that_does_not_exist(gitea):
    error = await fail(99999)
    assert error.startswith("label: 404 not found: issue #99999; comment: 500 ")
    assert error.endswith(": issue #99999")


async def test_what_gitea_tells_others_of_it(gitea, way, monkeypatch):
    gitea.sandbox.create_user("guest", "guest-token", "write:issue")
    gitea.sandbox.add_writer(gitea.repo, "guest")
    monkeypatch.setenv("GITEA_TOKEN", "guest-token")
    assert await fail(7) == (
        "label: 404 not found: issue #7; comment: "
        "500 of the server, which also means that there is no such issue: issue #7"
    )


async def test_an_administrator_is_not_made_to_wait_for_it(gitea, way, slept):
    await d.dispatch_task("Fix it", issue_number=7)
    assert slept == []


@pytest.mark.live
async def test_a_bad_token(gitea, monkeypatch):
    monkeypatch.setenv("GITEA_TOKEN", "0" * 40)
    error = await fail(gitea.open_issue())
    assert error.startswith("label: 401 unauthorized, check GITEA_TOKEN: ")
    assert "; comment: 401 unauthorized, check GITEA_TOKEN: " in error


@pytest.mark.live
async def test_no_such_repo(gitea, monkeypatch):
    missing = f"{gitea.repo}-missing"
    monkeypatch.setenv("GITEA_REPO", missing)
    assert await fail(3) == (
        f"label: 404 not found: repository {missing}; comment: 404 not found: issue #3"
    )


@pytest.mark.parametrize("scope", ["read:issue", "read:user"])
async def test_a_narrow_token(gitea, way, scope, monkeypatch):
    gitea.sandbox.create_user("guest", "guest-token", scope)
    monkeypatch.setenv("GITEA_TOKEN", "guest-token")
    needed = "write:issue" if scope == "read:issue" else "read:issue"
    assert await fail(gitea.open_issue()) == (
        f"label: 403 forbidden: required scope {needed}; "
        "comment: 403 forbidden: required scope write:issue"
    )


@pytest.mark.live
async def test_an_archived_repo(gitea):
    number = gitea.open_issue()
    gitea.ask("PATCH", "", {"archived": True})
    result = await d.dispatch_task("Fix it", issue_number=number)
    assert (result.status, result.label_applied) == (d.DispatchStatus.ASSIGNED, "kimi-ready")
    steps = {"comment": f"423 locked: {gitea.repo} is archived"}
    assert (result.comment_id, result.metadata) == (None, {"failed_steps": steps})


async def test_who_may_not_write(gitea, way, monkeypatch):
    number, locked = gitea.open_issue(), gitea.open_issue()
    gitea.make_label("kimi-ready")
    gitea.sandbox.lock_issue(gitea.repo, locked)
    gitea.sandbox.create_user("guest", "guest-token", "write:issue")
    monkeypatch.setenv("GITEA_TOKEN", "guest-token")
    result = await d.dispatch_task("Fix it", issue_number=number)
    reason = "403 forbidden: write permission is required"
    assert result.metadata == {"failed_steps": {"label": reason}}
    assert result.comment_id is not None
    assert await fail(locked) == (
        f"label: {reason}; comment: 403 forbidden: You cannot comment on a locked issue."
    )


async def test_no_server(gitea, way):
    gitea.sandbox.stop()
    error = await fail(3)
    if way == "native":
        reason = f"cannot connect to {gitea.host}: Connection refused (os error 111)"
        assert error == f"label: {reason}; comment: {reason}"
    else:
        assert error == (
            "label: All connection attempts failed; comment: All connection attempts failed"
        )


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ({"status": 429}, "429 too many requests"),
        ({"status": 503, "body": "plain text"}, "503 refused"),
        ({"status": 503, "message": "in  main\ntenance"}, "503 refused: in main tenance"),
        ({"status": 412, "message": "no"}, "412 refused: no"),
        ({"status": 405, "body": ""}, "405 refused"),
        ({"status": 599, "body": '{"message": {"a": 1}}'}, "599 refused"),
        ({"redirect": "/user/login"}, "301 redirect, which is not followed: check GITEA_URL"),
        (
            {"redirect": "https://me:pw@git.example/x"},
            "301 moved to https://git.example: check GITEA_URL",
        ),
    ],
)
async def test_other_refusals(gitea, way, answer, text):
    gitea.sandbox.fault(**answer)
    assert await fail(3) == f"label: {text}; comment: {text}"


async def test_an_error_of_any_length_is_cut(gitea, way):
    gitea.sandbox.fault(status=500, message="ü" * 1_000_000)
    # Longer than the part that is read, so it is no JSON and says nothing.
    assert len(await fail(3)) < 300
    gitea.sandbox.clear_faults()
    gitea.sandbox.fault(status=500, message="ü" * 900)
    text = f"500 refused: {'ü' * 200}"
    assert await fail(3) == f"label: {text}; comment: {text}"


async def test_an_agent_that_refuses(gitea, way, agent_url):
    gitea.sandbox.fault("/agent", status=422, body="ü" * 1000)
    result = await d.dispatch_task("Research it", api_endpoint=agent_url, max_retries=0)
    assert result.error == f"API agent returned 422: {'ü' * 200}"


async def test_each_part_alone_is_a_success(gitea, way):
    number = gitea.open_issue()
    gitea.sandbox.fault("/comments", method="POST", status=403, message="blocked", times=1)
    result = await d.dispatch_task("Fix it", issue_number=number)
    assert (result.success, result.label_applied, result.comment_id) == (True, "kimi-ready", None)
    assert result.metadata == {"failed_steps": {"comment": "403 forbidden: blocked"}}
    assert result.error is None


async def test_the_log_says_it_too(gitea, way, log):
    gitea.sandbox.fault("/comments", status=403, message="blocked")
    await d.dispatch_task("Fix it", issue_number=gitea.open_issue())
    assert "Comment on #1 returned 403: " in log()
