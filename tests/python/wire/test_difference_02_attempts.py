"""2. The escalation comment names the real number of attempts."""

import pytest
import timmy.dispatcher as d


@pytest.mark.parametrize("retries", [0, 1, 3])
async def test_the_escalation_counts_the_attempts(gitea, way, retries):
    number = gitea.open_issue()
    gitea.sandbox.fault("*/issues/*/labels", status=422, message="no")
    gitea.sandbox.fault("/comments", method="POST", status=422, message="no", times=retries + 1)
    result = await d.dispatch_task("Design it", issue_number=number, max_retries=retries)
    assert (result.status, result.retry_count) == (d.DispatchStatus.ESCALATED, retries)
    assert gitea.comments(number) == [
        "## Dispatch Escalated\n\n"
        f"Could not assign to **Claude Code** after {retries + 1} attempt(s).\n\n"
        f"**Error:** {result.error}\n\n"
        "Manual intervention required.\n\n---\n*Timmy agent dispatcher.*"
    ]
    assert [one.path for one in gitea.seen()].count(gitea.seen()[-1].path) == retries + 2


async def test_by_itself_it_says_one_as_before(gitea):
    number = gitea.open_issue()
    await d._log_escalation(number, d.AgentType.KIMI_CODE, "no")
    assert "**Kimi Code** after 1 attempt(s)" in gitea.comments(number)[0]
