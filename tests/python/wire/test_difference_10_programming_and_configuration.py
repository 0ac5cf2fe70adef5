"""10. Strangers are a ValueError before any request; a setting that cannot work is a failure."""

import pytest
import timmy.dispatcher as d


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            {"agent": "nobody"},
            "unknown agent 'nobody'; known are claude_code, kimi_code, agent_api",
        ),
        ({"task_type": "gardening"}, "unknown task type 'gardening'; known are architecture, "),
        ({"max_retries": -1}, "max_retries must not be negative, but is -1"),
    ],
)
async def test_strangers(gitea, arguments, message):
    with pytest.raises(ValueError, match=message):
        await d.dispatch_task("Fix it", issue_number=gitea.open_issue(), **arguments)
    assert gitea.seen() == []


@pytest.mark.live
async def test_known_names_as_text(gitea):
    number = gitea.open_issue()
    result = await d.dispatch_task(
        "Fix it", task_type="planning", agent="claude_code", issue_number=number
    )
    assert (result.task_type, result.agent) == (d.TaskType.PLANNING, d.AgentType.CLAUDE_CODE)
    assert type(result.task_type) is d.TaskType
    assert gitea.issue_labels(number) == gitea.labels("claude-ready")


@pytest.mark.parametrize(
    ("setting", "value", "error"),
    [
        ("GITEA_REPO", "swarm", 'GITEA_REPO is "swarm"; it must be owner/name, such as'),
        ("GITEA_REPO", "timmy/swarm/x", "it must be owner/name"),
        ("GITEA_REPO", "timmy/..", "it must be owner/name"),
        ("GITEA_REPO", "timmy/swarm?x=", "it must be owner/name"),
        ("GITEA_REPO", "", "it must be owner/name"),
        ("GITEA_URL", "localhost:3000", 'GITEA_URL is "localhost:3000", which is no http or'),
        ("GITEA_URL", "ftp://git.example", "no http or https URL"),
        ("GITEA_URL", "http://", "no http or https URL"),
        ("GITEA_URL", "http://host:port", "no http or https URL"),
        ("GITEA_URL", "http://host/?x=1", "has a query"),
    ],
)
async def test_a_setting_that_cannot_work(gitea, way, slept, monkeypatch, setting, value, error):
    monkeypatch.setenv(setting, value)
    result = await d.dispatch_task("Fix it", issue_number=3)
    assert (result.status, result.retry_count) == (d.DispatchStatus.ESCALATED, 1)
    assert error in result.error
    assert (slept, gitea.seen()) == ([], [])


@pytest.mark.parametrize("url", ["agent", "ftp://agent", "http://", "/agent", "http://a b/"])
async def test_an_endpoint_that_cannot_work(gitea, way, slept, url):
    result = await d.dispatch_task("Research it", api_endpoint=url)
    assert (result.status, result.retry_count) == (d.DispatchStatus.ESCALATED, 1)
    assert f'the API endpoint is "{url}", which is no http or https URL' in result.error
    assert slept == []


async def test_no_endpoint(gitea, slept):
    result = await d.dispatch_task("Research it")
    assert result.error == "No API endpoint configured for agent agent_api."
    assert slept == []


@pytest.mark.parametrize(("setting", "value"), [("GITEA_TOKEN", ""), ("GITEA_ENABLED", "false")])
async def test_gitea_switched_off(gitea, slept, monkeypatch, setting, value):
    monkeypatch.setenv(setting, value)
    result = await d.dispatch_task("Fix it", issue_number=3)
    assert result.error == "Gitea integration not configured (no token or disabled)."
    assert (slept, gitea.seen()) == ([], [])


async def test_blanks_around_the_address_are_taken_off(gitea, way, monkeypatch):
    monkeypatch.setenv("GITEA_URL", f" {gitea.url}/ \n")
    assert (await d.dispatch_task("Fix it", issue_number=gitea.open_issue())).success
