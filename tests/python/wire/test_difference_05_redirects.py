"""5. No redirect is followed on a write, and none is success."""

import pytest
import timmy.dispatcher as d
from timmy.dispatcher.sandbox import Sandbox


@pytest.mark.live
async def test_a_renamed_repo(gitea):
    number = gitea.open_issue()
    gitea.rename(gitea.repo.partition("/")[2] + "-new")
    result = await d.dispatch_task("Fix it", issue_number=number, max_retries=0)
    assert result.status is d.DispatchStatus.ESCALATED
    assert f"label: 301 moved to {gitea.repo}; comment: 301 moved to {gitea.repo}" in result.error
    assert gitea.issue_labels(number) == gitea.comments(number) == gitea.labels("kimi-ready") == []


async def test_a_renamed_owner(gitea, way):
    number = gitea.open_issue()
    gitea.sandbox.rename_user("timmy", "tim")
    gitea.repo = "tim/swarm"
    result = await d.dispatch_task("Fix it", issue_number=number, max_retries=0)
    assert "label: 307 moved to tim/swarm; comment: 307 moved to tim/swarm" in result.error
    assert [one.status for one in gitea.seen()] == [307, 307, 307]
    assert gitea.comments(number) == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_another_server_is_never_asked(gitea, way, status, agent_url):
    number = gitea.open_issue()
    with Sandbox(token=gitea.token) as other:
        gitea.sandbox.fault(redirect=f"{other.url}/api/v1/repos/o/r", status=status)
        result = await d.dispatch_task("Fix it", issue_number=number, max_retries=0)
        posted = await d.dispatch_task("Research it", api_endpoint=agent_url, max_retries=0)
        waited = await d._poll_issue_completion(number, 1, 0.1)
        assert other.requests() == []
    assert result.status is d.DispatchStatus.ESCALATED
    assert f"{status} moved to o/r at {other.url}" in result.error
    assert f"API agent returned {status}" in posted.error
    assert waited is d.DispatchStatus.TIMED_OUT
    assert len(gitea.seen()) == 5


@pytest.mark.parametrize("step", ["/issues/*/labels", "/labels", "/issues/*/comments"])
async def test_a_redirect_of_one_step_fails_that_step(gitea, way, step):
    number = gitea.open_issue()
    # A client that follows a 301 turns the POST into a GET, which answers 200.
    followed = f"/api/v1/repos/{gitea.repo}/issues"
    gitea.sandbox.fault(f"*/{gitea.repo}{step}", method="POST", redirect=followed)
    result = await d.dispatch_task("Fix it", issue_number=number)
    failed = "comment" if step.endswith("comments") else "label"
    steps = {failed: f"301 moved to {gitea.repo}"}
    assert (result.success, result.metadata) == (True, {"failed_steps": steps})
